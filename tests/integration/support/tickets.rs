//! Terms, tickets, callbacks with tickets, and a layer that requires them.

#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::task::JoinSet;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::{CallbackError, CallbackErrorKind, CallbackReply, RequestBody},
    key::{KeyError, KeySource, KeyTable, KeyUrl, PinnedKeys, PublicKey},
    protocol::{CallbackBodyType, SizeRange, SystemVariable, TICKET_FIELD},
    testing::CallbackSigner,
    ticket::{
        MemoryStore, TicketError, TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::{Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoredReply},
    },
};

pub const TARGET: &str = "/oss/callback";
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn key(seed: u8) -> TicketKey {
    let mut bytes = [seed; 32];
    bytes[0] = !seed;
    TicketKey::from_bytes(&bytes).unwrap()
}

pub fn keys() -> TicketKeys {
    TicketKeys::new(1, key(1))
}

pub fn terms_at(target: &str, grant: Scope, expires: SystemTime) -> Terms {
    Terms::new(
        "examplebucket".parse().unwrap(),
        grant,
        SizeRange::new(1, 1000).unwrap(),
        &target.parse().unwrap(),
        expires,
    )
    .content_types(["image/png".parse().unwrap()])
}

pub fn exact(object: &str) -> Terms {
    let grant = Scope::Exact(object.parse().unwrap());
    terms_at(TARGET, grant, SystemTime::now() + HOUR)
}

pub fn under(prefix: &str) -> Terms {
    let grant = Scope::prefix(prefix.parse().unwrap());
    terms_at(TARGET, grant, SystemTime::now() + HOUR)
}

/// Returns fields of OSS under their own names, and the ticket: the template that a ticket seals.
pub fn fields(variables: &[SystemVariable]) -> Vec<BodyField<'static>> {
    let field =
        |&variable: &SystemVariable| BodyField::new(variable.name(), FieldValue::System(variable));
    let ticket = BodyField::new(TICKET_FIELD, FieldValue::Ticket);
    variables.iter().map(field).chain([ticket]).collect()
}

const FORM: [SystemVariable; 6] = [
    SystemVariable::ReqId,
    SystemVariable::Bucket,
    SystemVariable::Object,
    SystemVariable::Size,
    SystemVariable::Etag,
    SystemVariable::MimeType,
];

/// Returns the fields of [`form`].
pub fn form_fields() -> Vec<BodyField<'static>> {
    fields(&FORM)
}

/// Returns the fields of [`json`].
pub fn json_fields() -> Vec<BodyField<'static>> {
    fields(&[&FORM[..], &[SystemVariable::ImageHeight]].concat())
}

/// Issues a ticket that seals these fields.
pub fn mint_for(terms: &Terms, fields: Vec<BodyField<'_>>) -> String {
    let nonce = Nonce::random().unwrap();
    keys()
        .issue(terms, fields, SystemTime::now(), nonce)
        .unwrap()
}

/// Issues a ticket for a [`form`].
pub fn mint(terms: &Terms) -> String {
    mint_for(terms, form_fields())
}

/// Issues a ticket for a body of [`json`].
pub fn mint_json(terms: &Terms) -> String {
    let terms = terms.clone().body_type(CallbackBodyType::Json);
    mint_for(&terms, json_fields())
}

/// Returns the form body that OSS would send for an upload of this object.
pub fn form(object: &str, ticket: &str) -> String {
    let object = object.replace('/', "%2F");
    format!(
        "reqId=5CF3E7820000000000000001&bucket=examplebucket&object={object}&size=5&etag=D41D\
         &mimeType=image%2Fpng&{TICKET_FIELD}={ticket}"
    )
}

pub fn json(object: &str, ticket: &str) -> String {
    format!(
        r#"{{"reqId":"5CF3","bucket":"examplebucket","object":"{object}","size":5,"etag":"D41D","mimeType":"image/png","imageInfo.height":,"{TICKET_FIELD}":"{ticket}"}}"#
    )
}

pub fn signed(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let signer = CallbackSigner::new();
    signer.callback(TARGET).form(body).request().unwrap()
}

pub fn signed_json(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let signer = CallbackSigner::new();
    signer.callback(TARGET).json(body).request().unwrap()
}

/// Returns a layer without tickets, which accepts any valid signature.
pub fn by_signature_alone() -> OssCallbackLayer {
    OssCallbackLayer::new().key_source(CallbackSigner::new().key_source())
}

pub fn layer(tickets: &Tickets) -> OssCallbackLayer {
    by_signature_alone().tickets(tickets.clone())
}

/// An inner service that counts its runs, and returns the count.
#[derive(Clone, Default)]
pub struct Handler(pub Arc<AtomicUsize>);

impl Handler {
    pub fn runs(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn run(&self) -> Response<Full<Bytes>> {
        let run = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        CallbackReply::json(&serde_json::json!({ "run": run }))
            .unwrap()
            .into()
    }
}

impl<B> Service<Request<RequestBody<B>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        ready(Ok(self.run()))
    }
}

/// A response.
#[derive(Debug)]
pub struct Outcome {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub error: Option<CallbackError>,
}

impl Outcome {
    pub fn kind(&self) -> Option<CallbackErrorKind> {
        self.error.as_ref().map(CallbackError::kind)
    }

    /// Returns the ticket error that caused the rejection.
    pub fn why(&self) -> Option<TicketError> {
        let source = std::error::Error::source(self.error.as_ref()?)?;
        source.downcast_ref::<TicketError>().copied()
    }

    /// Asserts that the response is the one of this run of the inner service.
    #[track_caller]
    pub fn assert_run(&self, run: usize) {
        assert_eq!((self.status, self.kind()), (StatusCode::OK, None));
        assert_eq!(self.body, format!("{{\"run\":{run}}}"));
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["content-length"], self.body.len().to_string());
    }

    /// Asserts a success.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!((self.status, self.kind()), (StatusCode::OK, None));
    }

    /// Asserts this rejection and its format.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, kind: CallbackErrorKind) {
        assert_eq!((self.status.as_u16(), self.kind()), (status, Some(kind)));
        let answer: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(answer["code"], format!("{kind:?}"));
        assert_eq!(answer["message"], kind.to_string());
    }
}

pub async fn send<S, R>(service: S, request: Request<Full<Bytes>>) -> Outcome
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: std::fmt::Debug>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    Outcome {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        error: parts.extensions.get().cloned(),
    }
}

/// Polls a future that must be ready at once.
pub fn now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future must be ready at once"),
    }
}

/// A key source that counts lookups.
#[derive(Clone)]
pub struct CountedKeys {
    pub keys: PinnedKeys,
    pub lookups: Arc<AtomicUsize>,
}

impl CountedKeys {
    pub fn new() -> Self {
        Self {
            keys: CallbackSigner::new().key_source(),
            lookups: Arc::default(),
        }
    }

    pub fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl KeySource for CountedKeys {
    fn table(&self) -> &KeyTable {
        self.keys.table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.keys.key(url)
    }
}

/// A store that counts calls.
#[derive(Clone, Default)]
pub struct CountedStore {
    pub store: Arc<MemoryStore>,
    pub begun: Arc<AtomicUsize>,
    pub started: Arc<AtomicUsize>,
    pub finished: Arc<AtomicUsize>,
    pub failed: Arc<AtomicUsize>,
    pub abandoned: Arc<AtomicUsize>,
    pub refused: Arc<AtomicUsize>,
}

impl CountedStore {
    /// Begun, finished, failed, abandoned.
    pub fn counts(&self) -> [usize; 4] {
        [&self.begun, &self.finished, &self.failed, &self.abandoned]
            .map(|count| count.load(Ordering::SeqCst))
    }
}

impl ReplayStore for CountedStore {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.store.begin(attempt)
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.store.start(lease)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        self.store.finish(lease, reply)
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.failed.fetch_add(1, Ordering::SeqCst);
        self.store.fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
        self.store.abandon(lease)
    }

    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.refused.fetch_add(1, Ordering::SeqCst);
        self.store.refuse(lease)
    }
}

/// Sends a thousand requests with one ticket over these layers, and asserts that all get the same
/// response. Returns the number of runs.
pub async fn a_thousand_at_once(layers: &[OssCallbackLayer]) -> usize {
    let handler = Handler::default();
    let body = form("a.png", &mint(&exact("a.png")));
    let request = signed(body);
    let mut tasks = JoinSet::new();
    for n in 0..1000 {
        let service = layers[n % layers.len()].layer(handler.clone());
        tasks.spawn(send(service, request.clone()));
    }
    for outcome in tasks.join_all().await {
        outcome.assert_run(1);
    }
    handler.runs()
}
