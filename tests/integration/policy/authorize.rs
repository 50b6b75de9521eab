//! What implements `Authorize`, and what its refusals become.

use std::{error::Error, io, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    policy::{
        Authorize, Grant, Grants, OssPolicyService, Refusal, RequestedFile, RequestedFiles,
        TokenError, TokenErrorKind, UploadToken, with_state,
    },
    protocol::{ContentType, ObjectError, ObjectPrefix, SizeRange},
};

use crate::support::{
    Log,
    tokens::{everybody, token_request, tokens},
};

/// A connection pool: clones share it.
#[derive(Clone)]
struct Pool(Arc<str>);

impl Pool {
    async fn grant(&self, parts: &Parts) -> Result<Grant, Refusal> {
        tokio::task::yield_now().await;
        let prefix = ObjectPrefix::from_segments([&*self.0, parts.uri.path().trim_matches('/')])?;
        Ok(Grant::under(prefix, SizeRange::new(1, 1000)?))
    }
}

fn pool(name: &str) -> Pool {
    Pool(name.into())
}

async fn with_pool(pool: &Pool, parts: &Parts) -> Result<Grant, Refusal> {
    pool.grant(parts).await
}

/// Returns the response as a server does, which needs the future to be `Send`.
async fn ask<A: Authorize>(service: OssPolicyService<A>) -> (Response<()>, Value) {
    let request: Request<Full<Bytes>> = Request::get("/a").body(Full::<Bytes>::default()).unwrap();
    let response = tokio::spawn(service.oneshot(request)).await;
    let (head, body) = response.unwrap().unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(head, ()),
        serde_json::from_slice(&body).unwrap(),
    )
}

async fn prefix_of<A: Authorize>(authorize: A) -> String {
    let (response, token) = ask(tokens(authorize)).await;
    assert_eq!(response.status(), 200, "{token}");
    let key = token["key"].as_str().unwrap();
    key.rsplit_once('/').unwrap().0.to_owned()
}

#[tokio::test]
async fn closures_with_captured_state_decide() {
    let state = pool("async");
    assert_eq!(
        prefix_of(async move |parts: &Parts| state.grant(parts).await).await,
        "async/a"
    );
    let state = pool("borrowed");
    let borrowing = async move |parts: &Parts| with_pool(&state, parts).await;
    // A clone of the service decides with a clone of the state.
    let service = tokens(borrowing);
    let (response, _) = ask(service.clone()).await;
    assert_eq!(response.status(), 200);
    let (response, _) = ask(service).await;
    assert_eq!(response.status(), 200);

    let state = pool("future");
    let future = move |parts: &Parts| {
        let (state, parts) = (state.clone(), parts.clone());
        async move { state.grant(&parts).await }
    };
    assert_eq!(prefix_of(future).await, "future/a");
    assert_eq!(prefix_of(everybody).await, "user/7");
}

#[tokio::test]
async fn shared_authorisers_and_functions_with_state_decide() {
    struct Sessions(Pool);

    impl Authorize for Sessions {
        type Granted = Grant;

        async fn authorize(&self, parts: &Parts) -> Result<Grant, Refusal> {
            self.0.grant(parts).await
        }
    }

    let shared = Arc::new(Sessions(pool("arc")));
    assert_eq!(prefix_of(Arc::clone(&shared)).await, "arc/a");
    assert_eq!(prefix_of(Arc::new(shared)).await, "arc/a");
    assert_eq!(prefix_of(Arc::new(everybody)).await, "user/7");
    assert_eq!(
        prefix_of(with_state(pool("state"), with_pool)).await,
        "state/a"
    );
    let inline = async |pool: &Pool, parts: &Parts| pool.grant(parts).await;
    assert_eq!(
        prefix_of(with_state(pool("inline"), inline)).await,
        "inline/a"
    );
    // Here the compiler infers the types of the arguments.
    let inferred = with_state(pool("inferred"), async |pool, parts| {
        pool.grant(parts).await
    });
    assert_eq!(prefix_of(inferred).await, "inferred/a");
    let each = async |pool: &Pool, parts: &Parts| Ok(vec![pool.grant(parts).await?]);
    assert_eq!(
        prefix_of(Arc::new(with_state(pool("each"), each))).await,
        "each/a"
    );
}

#[tokio::test]
async fn an_authoriser_is_tested_without_a_server() {
    async fn authorize(parts: &Parts) -> Result<Vec<Grant>, Refusal> {
        let requested: &RequestedFiles = parts.extensions.get().ok_or_else(Refusal::forbidden)?;
        let grant = |file: &RequestedFile| {
            let size = SizeRange::new(1, file.size().unwrap_or(1))?;
            let prefix = ObjectPrefix::from_segments(["user", "7"])?;
            let types = file.content_type().into_iter().cloned();
            Ok(Grant::under(prefix, size)
                .content_types(types)
                .claims(&file.filename()))
        };
        requested.files().iter().map(grant).collect()
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    assert_eq!(authorize(&parts).await.unwrap_err().status(), 403);

    let file = RequestedFile::default();
    let one = file
        .clone()
        .with_filename("a.png")
        .with_content_type(ContentType::PNG);
    parts
        .extensions
        .insert(RequestedFiles::batch([one.clone(), file.with_size(5)]));
    let grants = authorize(&parts).await.unwrap();
    let [first, second] = &*grants else {
        panic!("{grants:?}")
    };
    assert_eq!(first.get_content_types(), Some(vec![ContentType::PNG]));
    assert_eq!(first.get_claims::<String>().as_deref(), Some("a.png"));
    assert_eq!(second.get_size(), SizeRange::new(1, 5).unwrap());
    assert_ne!(first, second);
    assert_eq!(Grants::from(grants.clone()), Grants::from(grants));

    parts.extensions.insert(RequestedFiles::one(one));
    assert_eq!(authorize(&parts).await.unwrap().len(), 1);
}

#[test]
fn a_grant_can_be_read() {
    use std::{num::NonZeroU16, time::Duration};
    use tower_aliyun_oss::{policy::Condition, protocol::ObjectAcl};

    let size = SizeRange::new(1, 9).unwrap();
    let prefix: ObjectPrefix = "a/".parse().unwrap();
    let plain = Grant::under(prefix.clone(), size);
    assert_eq!((plain.get_key(), plain.get_prefix()), (None, Some(&prefix)));
    assert_eq!(
        plain.get_content_types(),
        Some(vec![ContentType::OCTET_STREAM])
    );
    assert_eq!(plain.get_lifetime(), Duration::from_secs(900));
    assert_eq!(plain.get_max_lifetime(), Duration::from_secs(12 * 3600));
    assert_eq!(plain.get_object_acl(), ObjectAcl::Private);
    assert_eq!(plain.get_success_action_status(), 200);
    assert_eq!((plain.get_max_uses().get(), plain.get_max_files()), (1, 1));
    assert!(!plain.get_any_name() && !plain.get_allow_overwrite());
    assert!(!plain.get_allow_active_content() && !plain.get_without_callback());
    assert_eq!(plain.get_claims::<Value>(), None);

    let album = Condition::equals("x-oss-meta-album", "1");
    let changed = Grant::any_name_under(prefix, size)
        .any_content_type()
        .allow_active_content()
        .allow_overwrite()
        .lifetime(Duration::from_secs(60))
        .object_acl(ObjectAcl::PublicRead)
        .success_action_status(201)
        .field("Cache-Control", "no-store")
        .condition(album.clone())
        .variable("x:a", "1")
        .claims(&json!({ "user": 7 }))
        .max_uses(NonZeroU16::new(3).unwrap())
        .max_files(2)
        .without_callback();
    assert!(changed.get_any_name() && changed.get_allow_overwrite());
    assert!(changed.get_allow_active_content() && changed.get_without_callback());
    assert_eq!(changed.get_content_types(), None);
    assert_eq!(changed.get_lifetime(), Duration::from_secs(60));
    assert_eq!(changed.get_max_lifetime(), Duration::from_secs(60));
    assert_eq!(changed.get_object_acl(), ObjectAcl::PublicRead);
    assert_eq!(changed.get_success_action_status(), 201);
    assert_eq!(
        changed.get_fields().collect::<Vec<_>>(),
        [("Cache-Control", "no-store")]
    );
    assert_eq!(changed.get_conditions(), [album]);
    assert_eq!(changed.get_variables().collect::<Vec<_>>(), [("x:a", "1")]);
    assert_eq!(changed.get_claims::<Value>(), Some(json!({ "user": 7 })));
    assert_eq!(changed.get_claims::<u64>(), None);
    assert_eq!(
        (changed.get_max_uses().get(), changed.get_max_files()),
        (3, 2)
    );
    assert_eq!(changed, changed.clone());
    assert_ne!(changed, changed.clone().claims(&7));

    let exact = Grant::exact("a/b".parse().unwrap(), size);
    assert_eq!(exact.get_key().unwrap().as_str(), "a/b");
    assert_eq!(exact.get_prefix(), None);
}

#[tokio::test]
async fn errors_become_refusals_that_are_logged_and_not_shown() {
    async fn parse_error(_: &Parts) -> Result<Grant, Refusal> {
        let prefix = ObjectPrefix::from_segments(["user", "canary/.."])?;
        Ok(Grant::under(prefix, SizeRange::new(1, 2)?))
    }
    async fn own_error(_: &Parts) -> Result<Grant, Refusal> {
        let rows: Result<(), io::Error> = Err(io::Error::other("canary table"));
        rows.map_err(Refusal::internal)?;
        unreachable!("the database fails")
    }

    let log = Log::default();
    let guard = log.listen();
    for (answer, logged) in [
        (
            token_of(parse_error).await,
            ObjectError::Character('/').to_string(),
        ),
        (token_of(own_error).await, "canary table".to_owned()),
    ] {
        let (status, body) = answer;
        assert_eq!(status, 500);
        assert_eq!(
            body,
            json!({
                "code": "InternalError",
                "message": "the server failed to decide on this upload",
            })
        );
        assert_eq!(log.count("ERROR", &logged), 1, "{logged}");
    }
    drop(guard);

    let refusal = parse_error(&Request::new(()).into_parts().0)
        .await
        .unwrap_err();
    let source = refusal.error().unwrap().downcast_ref::<ObjectError>();
    assert_eq!(source, Some(&ObjectError::Character('/')));
    assert!(format!("{refusal:?}").contains("must not contain the character"));
    assert!(Refusal::forbidden().error().is_none());
    // In a test that returns `Result<(), Box<dyn Error>>`.
    let boxed: Box<dyn Error> = refusal.into();
    assert!(boxed.to_string().starts_with("500"), "{boxed}");
}

/// On the current thread, which captures the log.
async fn token_of<A: Authorize>(authorize: A) -> (StatusCode, Value) {
    let response = tokens(authorize).oneshot(token_request()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn rendered(error: &TokenError) -> Response<Bytes> {
    let body = Bytes::from(format!("<{}: {}>", error.code(), error.message()));
    let mut response = Response::new(body);
    // A rejection that looks like a success, and headers that are not its own to set.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
    headers.insert(
        header::TRANSFER_ENCODING,
        HeaderValue::from_static("chunked"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert("x-own", HeaderValue::from_static("1"));
    response
}

async fn refuse(_: &Parts) -> Result<Grant, Refusal> {
    Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS)
        .code("Slow")
        .message("wait"))
}

#[tokio::test]
async fn rejections_are_rendered_by_the_application() {
    let post = |body: &'static str| {
        let request = Request::post("/").header("content-type", "application/json");
        request.body(Full::<Bytes>::from(body)).unwrap()
    };
    let delete = Request::delete("/").body(Full::<Bytes>::default()).unwrap();
    let head = Request::head("/?size=5000")
        .body(Full::<Bytes>::default())
        .unwrap();
    let everyone = tokens(everybody).rejection(rendered);
    let nobody = tokens(refuse).rejection(rendered);
    for (response, status, kind, body) in [
        (
            nobody.oneshot(token_request()).await,
            429,
            TokenErrorKind::Refused,
            "<Slow: wait>",
        ),
        (
            everyone.clone().oneshot(delete).await,
            405,
            TokenErrorKind::MethodNotAllowed,
            "<MethodNotAllowed: this method returns no token>",
        ),
        (
            everyone.clone().oneshot(post("{")).await,
            400,
            TokenErrorKind::InvalidAsk,
            "<InvalidAsk: the body must be a JSON object with filename, size and type, or with \
             files only, each once>",
        ),
        (
            everyone.clone().oneshot(post(r#"{"size":5000}"#)).await,
            403,
            TokenErrorKind::SizeNotGranted,
            "<SizeNotGranted: this size is not granted; a file may have 1 to 1000 bytes>",
        ),
        (
            everyone.clone().oneshot(head).await,
            403,
            TokenErrorKind::SizeNotGranted,
            "<SizeNotGranted: this size is not granted; a file may have 1 to 1000 bytes>",
        ),
    ] {
        let (head, sent) = response.unwrap().into_parts();
        let error: &TokenError = head.extensions.get().unwrap();
        assert_eq!((head.status.as_u16(), error.kind()), (status, kind));
        assert_eq!(error.status(), status);
        assert_eq!(error.refusal().is_some(), kind == TokenErrorKind::Refused);
        let sent = sent.collect().await.unwrap().to_bytes();
        assert!(sent.is_empty() || sent == body, "{sent:?}");
        assert_eq!(head.headers["content-length"], body.len().to_string());
        assert_eq!(head.headers["content-type"], "text/plain");
        assert_eq!(head.headers["cache-control"], "no-store");
        assert_eq!(head.headers["x-own"], "1");
        assert!(!head.headers.contains_key("transfer-encoding"));
        let allow = (status == 405).then_some("GET, HEAD, POST");
        let sent = head
            .headers
            .get("allow")
            .map(|value| value.to_str().unwrap());
        assert_eq!(sent, allow);
    }
    // Tokens are untouched.
    let token = everyone.oneshot(token_request()).await.unwrap();
    assert_eq!(token.status(), 200);
    assert!(token.extensions().get::<TokenError>().is_none());
}

#[tokio::test]
async fn default_rejections_contain_the_error() {
    let response = tokens(refuse).oneshot(token_request()).await.unwrap();
    let error: &TokenError = response.extensions().get().unwrap();
    assert_eq!((error.code(), error.message()), ("Slow", "wait"));
    assert_eq!(error.refusal().unwrap().status(), 429);
    // The cause of a mistake of the server is in the extension only.
    let wrong = async |_: &Parts| {
        let size = SizeRange::new(1, 2)?;
        Ok(Grant::under("a/".parse()?, size).content_types([]))
    };
    let response = tokens(wrong).oneshot(token_request()).await.unwrap();
    let error: &TokenError = response.extensions().get().unwrap();
    assert_eq!(error.kind(), TokenErrorKind::PolicyUnavailable);
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .contains("allows no value")
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({ "code": "PolicyUnavailable", "message": "no token can be issued" })
    );
}

/// Browsers leave the type of many files empty, and the extension decides.
#[tokio::test]
async fn groups_of_content_types_contain_those_of_common_files() {
    fn both(types: &[ContentType], names: &'static str) -> (Vec<ContentType>, &'static str) {
        (types.to_vec(), names)
    }
    for (types, names) in [
        both(&ContentType::IMAGES, "jpg JPEG png gif webp avif heic heif"),
        both(&ContentType::VIDEOS, "mp4 mov webm 3gp"),
        both(&ContentType::AUDIO, "mp3 m4a aac ogg wav flac"),
        both(
            &ContentType::DOCUMENTS,
            "pdf txt csv doc docx xls xlsx ppt pptx odt ods odp",
        ),
    ] {
        let granted = types.clone();
        let service = tokens(async move |_: &Parts| {
            let size = SizeRange::new(1, 1000)?;
            Ok(Grant::under("a/".parse()?, size).content_types(granted.clone()))
        });
        for extension in names.split(' ') {
            let request = Request::get(format!("/?filename=a.{extension}"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let token: UploadToken = serde_json::from_slice(&body)
                .unwrap_or_else(|error| panic!("{extension}: {error}: {body:?}"));
            let chosen = token.field("x-oss-content-type").unwrap().parse().unwrap();
            assert!(types.contains(&chosen), "{extension}: {chosen}");
        }
        for one in &types {
            let request = Request::get(format!("/?type={one}"));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{one}");
        }
    }
}
