//! Every kind of rejection and its response, and what the response future guarantees.

use std::{
    convert::Infallible,
    future::{Future, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use md5::Md5;
use rsa::{pkcs1::DecodeRsaPrivateKey as _, pkcs8::EncodePublicKey as _};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use super::{
    CallbackError, CallbackErrorKind as Kind, CallbackReply, OssCallbackLayer, body::RequestBody,
};
use crate::{
    Lookup,
    key::{PinnedKeys, PublicKey},
    protocol::{Bucket, CallbackBodyType, SizeRange, SystemVariable, TICKET_FIELD},
    storage::{ObjectMetadata, ObjectPage, ObjectStorage, StorageError, StorageErrorKind},
    ticket::{
        MemoryStore, TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::{
            Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoreErrorKind, StoredReply,
        },
    },
};

/// Does not compile if a kind is missing.
fn all_kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::MethodNotAllowed];
    while let Some(next) = match kinds.last().unwrap() {
        Kind::MethodNotAllowed => Some(Kind::MissingHeader),
        Kind::MissingHeader => Some(Kind::DuplicateHeader),
        Kind::DuplicateHeader => Some(Kind::InvalidHeader),
        Kind::InvalidHeader => Some(Kind::KeyUrlRejected),
        Kind::KeyUrlRejected => Some(Kind::UnsupportedSignatureVersion),
        Kind::UnsupportedSignatureVersion => Some(Kind::NonCanonicalTarget),
        Kind::NonCanonicalTarget => Some(Kind::BodyTooLarge),
        Kind::BodyTooLarge => Some(Kind::UnsupportedContentType),
        Kind::UnsupportedContentType => Some(Kind::UnsupportedContentEncoding),
        Kind::UnsupportedContentEncoding => Some(Kind::BodyTimeout),
        Kind::BodyTimeout => Some(Kind::BodyIncomplete),
        Kind::BodyIncomplete => Some(Kind::TicketMissing),
        Kind::TicketMissing => Some(Kind::TicketInvalid),
        Kind::TicketInvalid => Some(Kind::KeyUnavailable),
        Kind::KeyUnavailable => Some(Kind::DeadlineExceeded),
        Kind::DeadlineExceeded => Some(Kind::SignatureMismatch),
        Kind::SignatureMismatch => Some(Kind::OutsideGrant),
        Kind::OutsideGrant => Some(Kind::TicketUsed),
        Kind::TicketUsed => Some(Kind::TooManyAttempts),
        Kind::TooManyAttempts => Some(Kind::StoreUnavailable),
        Kind::StoreUnavailable => Some(Kind::NotConfirmed),
        Kind::NotConfirmed => Some(Kind::ConfirmationUnavailable),
        Kind::ConfirmationUnavailable => Some(Kind::UnusableAnswer),
        Kind::UnusableAnswer => None,
    } {
        kinds.push(next);
    }
    kinds
}

/// A body of one chunk, or one that never arrives.
enum TestBody {
    Whole(Full<Bytes>),
    Never,
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Never => Poll::Pending,
        }
    }
}

/// A layer, and a request that it rejects with this kind.
fn refused(kind: Kind) -> (OssCallbackLayer, Request<TestBody>) {
    let mut layer = OssCallbackLayer::new();
    let body = Full::from("bucket=yonghu-test");
    // The example of the Callback page of the OSS API reference, with its genuine signature.
    let mut request = Request::post("/index.php?id=1&index=2")
        .header("authorization", "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==")
        .header("x-oss-pub-key-url", "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(TestBody::Whole(body))
        .unwrap();
    let mut set = |name: &'static str, value: &str| {
        request.headers_mut().insert(name, value.parse().unwrap());
    };
    match kind {
        Kind::MethodNotAllowed => *request.method_mut() = http::Method::GET,
        Kind::MissingHeader => drop(request.headers_mut().remove("authorization")),
        Kind::DuplicateHeader => {
            request
                .headers_mut()
                .append("authorization", "QUJD".parse().unwrap());
        }
        Kind::InvalidHeader => set("authorization", "Bearer x"),
        // https://evil.example/k.pem
        Kind::KeyUrlRejected => set("x-oss-pub-key-url", "aHR0cHM6Ly9ldmlsLmV4YW1wbGUvay5wZW0="),
        Kind::UnsupportedSignatureVersion => set("x-oss-signature-version", "2.0"),
        Kind::NonCanonicalTarget => {
            *request.uri_mut() = "/index.php%3Fid=1&index=2".parse().unwrap();
        }
        Kind::BodyTooLarge => layer = layer.body_limit(17),
        Kind::UnsupportedContentType => layer = layer.content_types([CallbackBodyType::Json]),
        Kind::UnsupportedContentEncoding => set("content-encoding", "gzip"),
        Kind::BodyTimeout => *request.body_mut() = TestBody::Never,
        Kind::BodyIncomplete => set("content-length", "19"),
        // https://gosspublic.alicdn.com/callback_pub_key_v2.pem
        Kind::KeyUnavailable => set(
            "x-oss-pub-key-url",
            "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=",
        ),
        Kind::DeadlineExceeded => {
            layer = layer.deadline(Duration::from_secs(1));
            *request.body_mut() = TestBody::Never;
        }
        Kind::SignatureMismatch => {
            *request.body_mut() = TestBody::Whole(Full::from("bucket=yonghu-tesu"));
        }
        Kind::TicketMissing => layer = layer.tickets(Tickets::in_memory(ticket_keys())),
        Kind::TicketInvalid => {
            layer = layer.tickets(Tickets::in_memory(ticket_keys()));
            let body = Full::from(format!("bucket=yonghu-test&{TICKET_FIELD}=AQABAAA"));
            *request.body_mut() = TestBody::Whole(body);
        }
        Kind::OutsideGrant => return granted("object=b&size=5", MemoryStore::new()),
        Kind::TicketUsed => return granted("object=a&size=5", Store::UsedUp),
        Kind::TooManyAttempts => return granted("object=a&size=5", Store::Spent),
        Kind::StoreUnavailable => return granted("object=a&size=5", Store::Down),
        Kind::NotConfirmed => return unconfirmed(StorageErrorKind::NotFound),
        Kind::ConfirmationUnavailable => return unconfirmed(StorageErrorKind::Denied),
        Kind::UnusableAnswer => {
            let (layer, mut request) = granted("object=a&size=5", MemoryStore::new());
            request.extensions_mut().insert(TooLarge);
            return (layer, request);
        }
    }
    (layer, request)
}

#[derive(Clone)]
struct TooLarge;

/// A storage that has no objects, or does not tell.
struct Fails(StorageErrorKind);

impl ObjectStorage for Fails {
    fn head(&self, _: &Bucket, _: &str) -> Lookup<ObjectMetadata, StorageError> {
        Lookup::Ready(Err(self.0.into()))
    }

    fn list(&self, _: &Bucket, _: &str, _: Option<&str>) -> Lookup<ObjectPage, StorageError> {
        Lookup::Ready(Err(self.0.into()))
    }

    fn delete(&self, _: &Bucket, _: &str) -> Lookup<(), StorageError> {
        Lookup::Ready(Err(self.0.into()))
    }
}

fn unconfirmed(kind: StorageErrorKind) -> (OssCallbackLayer, Request<TestBody>) {
    let (layer, request) = granted("object=a&size=5", MemoryStore::new());
    (layer.confirm(Fails(kind)).unwrap(), request)
}

fn ticket_keys() -> TicketKeys {
    TicketKeys::new(
        1,
        TicketKey::from_bytes(&[[7; 16], [9; 16]].concat()).unwrap(),
    )
}

/// A signed callback with a ticket for `a` in `yonghu-test`. `report` is what the body reports
/// about the upload.
fn granted(
    report: &str,
    store: impl ReplayStore + 'static,
) -> (OssCallbackLayer, Request<TestBody>) {
    let target = "/index.php?id=1&index=2";
    let expires = SystemTime::now() + Duration::from_secs(3600);
    let grant = Scope::Exact("a".parse().unwrap());
    let terms = Terms::new(
        "yonghu-test".parse().unwrap(),
        grant,
        SizeRange::new(1, 10).unwrap(),
        &target.parse().unwrap(),
        expires,
    );
    let fields = [
        ("bucket", FieldValue::System(SystemVariable::Bucket)),
        ("object", FieldValue::System(SystemVariable::Object)),
        ("size", FieldValue::System(SystemVariable::Size)),
        (TICKET_FIELD, FieldValue::Ticket),
    ];
    let fields = fields.map(|(name, value)| BodyField::new(name, value));
    let ticket = ticket_keys()
        .issue(&terms, fields, SystemTime::now(), Nonce::random().unwrap())
        .unwrap();
    let body = format!("bucket=yonghu-test&{report}&{TICKET_FIELD}={ticket}");

    let key = include_str!("../../tests/keys/rsa_1024.pem");
    let key = rsa::PrivateKey::from_pkcs1_pem(key).unwrap();
    let signature = key.pkcs1v15_sign::<Md5>(format!("{target}\n{body}").as_bytes());
    let der = rsa::PublicKey::from(&key).to_public_key_der().unwrap();
    let public = PublicKey::from_der(der.as_bytes()).unwrap();
    let request = Request::post(target)
        .header("authorization", STANDARD.encode(signature.unwrap()))
        .header(
            "x-oss-pub-key-url",
            "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==",
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .body(TestBody::Whole(Full::from(body)))
        .unwrap();
    let layer = OssCallbackLayer::new()
        .key_source(PinnedKeys::official().with_version(1, public))
        .tickets(Tickets::new(ticket_keys(), store));
    (layer, request)
}

/// Stores that never grant a lease.
enum Store {
    Down,
    UsedUp,
    Spent,
}

impl ReplayStore for Store {
    fn begin(&self, _: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::Ready(match self {
            Self::Down => Err(StoreErrorKind::Unavailable.into()),
            Self::UsedUp => Ok(Begin::OtherText),
            Self::Spent => Ok(Begin::Spent { first: true }),
        })
    }

    fn start(&self, _: &Lease) -> Lookup<(), StoreError> {
        panic!("no lease was granted")
    }

    fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
        panic!("no lease was granted")
    }

    fn fail(&self, _: &Lease) -> Lookup<(), StoreError> {
        panic!("no lease was granted")
    }

    fn abandon(&self, _: &Lease) -> Lookup<(), StoreError> {
        match self {
            // Whether it is down for the other direction only is unknown.
            Self::Down => Lookup::Ready(Err(StoreErrorKind::Unavailable.into())),
            Self::UsedUp | Self::Spent => panic!("no lease was granted"),
        }
    }
}

async fn answer(layer: OssCallbackLayer, request: Request<TestBody>) -> Response<Bytes> {
    let inner = service_fn(|request: Request<RequestBody<TestBody>>| {
        let answer: Response<Full<Bytes>> = CallbackReply::ok().into();
        ready(Ok::<_, Infallible>(answer.map(|body| {
            if request.extensions().get::<TooLarge>().is_some() {
                return Full::from(vec![b'x'; StoredReply::MAX_BODY_LEN + 1]);
            }
            body
        })))
    });
    let (parts, body) = layer
        .layer(inner)
        .oneshot(request)
        .await
        .unwrap()
        .into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

#[tokio::test(start_paused = true)]
async fn df_30_no_error_is_answered_with_success() {
    for kind in all_kinds() {
        assert!(kind.status().is_client_error() || kind.status().is_server_error());
        let (layer, request) = refused(kind);
        let response = answer(layer, request).await;
        let error: &CallbackError = response
            .extensions()
            .get()
            .expect("the error is in the extensions");
        assert_eq!((error.kind(), response.status()), (kind, kind.status()));
        // Not even if the rejection is rendered as a success.
        for status in [200, 201, 204, 299] {
            let (layer, request) = refused(kind);
            let layer = layer.rejection(move |_| {
                let mut response = Response::new(Bytes::from_static(b"fine"));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            });
            let response = answer(layer, request).await;
            assert_eq!(
                (response.status(), &response.body()[..]),
                (kind.status(), &b"fine"[..])
            );
            assert_eq!(response.headers()["content-length"], "4");
            assert!(response.extensions().get::<CallbackError>().is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn df_28_every_answer_is_json_of_constant_text_with_its_length() {
    for kind in all_kinds() {
        let (layer, request) = refused(kind);
        let response = answer(layer, request).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.headers()["content-length"],
            response.body().len().to_string()
        );
        assert!(response.body().len() < 200);
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["code"], format!("{kind:?}"));
        assert_eq!(json["message"], kind.to_string());
        assert_eq!(json.as_object().unwrap().len(), 2);
        let allow = response.headers().get("allow").is_some();
        assert_eq!(allow, kind == Kind::MethodNotAllowed);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_say_what_is_wrong_in_one_clause() {
    for kind in all_kinds() {
        let (layer, request) = refused(kind);
        let response = answer(layer, request).await;
        let error: &CallbackError = response.extensions().get().unwrap();
        let text = error.to_string();
        assert!(
            text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('.'),
            "{text}"
        );
        // Nothing from the request: neither its target, its key URL nor its body.
        let all = format!(
            "{error:?} {text} {}",
            std::error::Error::source(error).map_or(String::new(), ToString::to_string)
        );
        for theirs in ["index.php", "evil", "yonghu", "Bearer"] {
            assert!(!all.contains(theirs), "{all}");
        }
    }
}

#[test]
fn the_types_can_be_used_where_servers_want_them() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send>() {}
    shared::<OssCallbackLayer>();
    shared::<super::OssCallback<()>>();
    shared::<super::VerifiedCallback>();
    shared::<CallbackError>();
    shared::<super::VerifierConfig>();
    sent::<RequestBody<Full<Bytes>>>();
    sent::<super::ResponseBody<Full<Bytes>>>();
    sent::<super::ResponseFuture<(), Full<Bytes>, std::future::Ready<()>, Full<Bytes>>>();
}

#[test]
fn a_finished_future_panics_when_it_is_polled_again() {
    let mut service = OssCallbackLayer::new()
        .only_path("/index.php")
        .unwrap()
        .layer(service_fn(|_: Request<RequestBody<TestBody>>| {
            ready(Ok::<Response<Full<Bytes>>, Infallible>(
                CallbackReply::ok().into(),
            ))
        }));
    let mut untouched = refused(Kind::BodyTooLarge).1;
    *untouched.uri_mut() = "/other".parse().unwrap();
    let verified = refused(Kind::BodyTooLarge).1;
    let rejected = refused(Kind::MethodNotAllowed).1;
    for request in [untouched, verified, rejected] {
        let mut call = pin!(service.call(request));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_ready());
        assert_eq!(format!("{call:?}"), "ResponseFuture(done)");
        let again = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready()));
        let message = again.unwrap_err();
        assert_eq!(
            message.downcast_ref(),
            Some(&"ResponseFuture polled after completion")
        );
    }
}

/// Panics when it saves a response, and counts the abandoned leases.
struct PanicsInFinish(Arc<AtomicUsize>);

impl ReplayStore for PanicsInFinish {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::Ready(Ok(Begin::Fresh(Lease::new(attempt))))
    }

    fn start(&self, _: &Lease) -> Lookup<(), StoreError> {
        Lookup::Ready(Ok(()))
    }

    fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
        panic!("on purpose")
    }

    fn fail(&self, _: &Lease) -> Lookup<(), StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Lookup::Ready(Ok(()))
    }

    fn abandon(&self, _: &Lease) -> Lookup<(), StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Lookup::Ready(Ok(()))
    }
}

/// The handler ran, so it must not run again.
#[test]
fn a_panic_while_the_response_is_stored_does_not_free_the_ticket() {
    let abandoned = Arc::new(AtomicUsize::new(0));
    let (layer, request) = granted("object=a&size=5", PanicsInFinish(Arc::clone(&abandoned)));
    let mut call = Box::pin(answer(layer, request));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready()));
    assert_eq!(
        polled.unwrap_err().downcast_ref(),
        Some(&"on purpose"),
        "the store panicked"
    );
    drop(call);
    assert_eq!(abandoned.load(Ordering::SeqCst), 0);
}
