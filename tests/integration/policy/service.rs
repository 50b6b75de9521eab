//! `OssPolicyService` with different `Authorize` implementations.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::Future,
    iter,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tower::{Service as _, ServiceExt as _};
use tower_aliyun_oss::{
    Lookup, OssPolicyService,
    policy::{
        Authorize, CallbackDirective, CallbackTemplate, Condition, Credentials,
        CredentialsProvider, CredentialsProviderError, FieldProblem, Grant, Grants, PolicyBody,
        PolicyError, Refusal, RequestedFiles, SignatureVersion, TokenFormat,
    },
    protocol::{CallbackBodyType, Endpoint, ObjectKey, ObjectPrefix, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

const SECRET: &str = "canary-secret-OtxrzxIsfpFjA7";

/// 2024-12-31T23:59:30.9Z
fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_570_900)
}

fn grant() -> Grant {
    Grant::under("user/7/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
}

fn any_name() -> Grant {
    Grant::any_name_under("user/7/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
}

fn types() -> Grant {
    grant().content_types(["image/png", "image/jpeg"].map(|text| text.parse().unwrap()))
}

fn callback() -> CallbackDirective {
    CallbackDirective::new("https://app.example/oss/callback")
        .and_then(|callback| callback.body(CallbackTemplate::standard(CallbackBodyType::Json)))
        .unwrap()
}

fn service<A: Authorize>(authorize: A) -> OssPolicyService<A> {
    OssPolicyService::new(
        authorize,
        Credentials::new("LTAI5tExample", SECRET).unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback(),
    )
    .unwrap()
    .clock(clock)
}

/// A grant for files in parts serves forms, too, as far as OSS accepts them.
#[tokio::test]
async fn pl_14_a_form_has_at_most_5_gib() {
    let parts = |min| SizeRange::new(min, 80 << 30).unwrap();
    let grant = |min| Grant::under("user/7/".parse().unwrap(), parts(min));
    let (_, conditions) = granted(grant(1), "").await;
    assert!(has(
        &conditions,
        &json!(["content-length-range", 1, 5_u64 << 30])
    ));
    let query = format!("size={}", (5_u64 << 30) + 1);
    assert_eq!(
        refused(grant(1), &query).await,
        (403, json!("SizeNotGranted"))
    );
    let larger = grant((5 << 30) + 1);
    assert_eq!(refused(larger, "").await, (500, json!("PolicyUnavailable")));
}

/// A grant to read is no grant to upload.
#[tokio::test]
async fn a_grant_to_read_issues_no_token() {
    let read = Grant::read("user/7/a.png".parse::<ObjectKey>().unwrap());
    assert!(read.get_read() && read.get_processes().next().is_none());
    assert_eq!(refused(read, "").await, (403, json!("NotGranted")));
}

/// Returns the same grant for every request.
struct Always(Grant);

impl Authorize for Always {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

async fn send<A: Authorize>(
    service: &OssPolicyService<A>,
    request: Request<Full<Bytes>>,
) -> (Response<()>, Value) {
    let response: Result<Response<PolicyBody>, Infallible> = service.clone().oneshot(request).await;
    let (parts, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(
        parts.headers[header::CONTENT_LENGTH],
        body.len().to_string()
    );
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(parts.headers[name], value);
    }
    let json = serde_json::from_slice(&body).unwrap();
    (Response::from_parts(parts, ()), json)
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/oss/policy").header("content-type", "application/json");
    request.body(Full::new(body.into())).unwrap()
}

/// Requests a token with this query. Returns the token and the conditions of its policy.
async fn granted(grant: Grant, query: &str) -> (Value, Value) {
    let (response, token) = send(&service(Always(grant)), get(&format!("/?{query}"))).await;
    assert_eq!(response.status(), 200, "{token}");
    let conditions = conditions(&token["fields"]["policy"]);
    (token, conditions)
}

async fn refused(grant: Grant, query: &str) -> (u16, Value) {
    let (response, body) = send(&service(Always(grant)), get(&format!("/?{query}"))).await;
    assert_ne!(response.status(), 200, "{body}");
    assert!(body["message"].is_string());
    (response.status().as_u16(), body["code"].clone())
}

fn conditions(policy: &Value) -> Value {
    let text = STANDARD.decode(policy.as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&text).unwrap();
    policy["conditions"].clone()
}

fn has(conditions: &Value, condition: &Value) -> bool {
    conditions.as_array().unwrap().contains(condition)
}

/// Borrows the parts across an await, which `Authorize` must support.
async fn by_session(parts: &Parts) -> Result<Grant, Refusal> {
    tokio::task::yield_now().await;
    match parts.headers.get("session").map(HeaderValue::as_bytes) {
        Some(b"seven") => Ok(grant()),
        Some(_) => Err(Refusal::forbidden()),
        None => Err(Refusal::unauthorized()
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
    }
}

#[tokio::test]
async fn a_token_has_every_field_of_the_form() {
    let (token, conditions) = granted(grant(), "filename=Photo.PNG").await;
    assert_eq!(token["method"], "POST");
    assert_eq!(
        token["url"],
        "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(token["expires"], 1_735_690_470);
    let key = token["key"].as_str().unwrap();
    let uuid = key
        .strip_prefix("user/7/")
        .unwrap()
        .strip_suffix(".png")
        .unwrap();
    assert_eq!(uuid.len(), 36);
    assert_eq!(token["fields"]["key"], key);
    // The policy has a condition for every field except those of the signature.
    for (name, value) in token["fields"].as_object().unwrap() {
        let named = has(&conditions, &json!({ name: value }))
            || has(&conditions, &json!(["eq", format!("${name}"), value]));
        assert_eq!(
            named,
            !matches!(name.as_str(), "policy" | "x-oss-signature"),
            "{name}"
        );
    }
    for condition in [
        json!({ "bucket": "examplebucket" }),
        json!(["content-length-range", 1, 1000]),
        json!(["eq", "$x-oss-content-type", "application/octet-stream"]),
        json!(["eq", "$x-oss-object-acl", "private"]),
        json!(["eq", "$x-oss-forbid-overwrite", "true"]),
        json!(["eq", "$success_action_status", "200"]),
        json!({ "callback": callback().encoded() }),
    ] {
        assert!(has(&conditions, &condition), "{condition}");
    }
}

#[tokio::test]
async fn an_ask_only_narrows() {
    let (_, conditions) = granted(types(), "size=17&type=image/JPEG").await;
    assert!(has(&conditions, &json!(["content-length-range", 17, 17])));
    assert!(has(
        &conditions,
        &json!(["eq", "$x-oss-content-type", "image/jpeg"])
    ));
    let (token, _) = granted(types(), "type=image/png").await;
    assert_eq!(token["fields"]["x-oss-content-type"], "image/png");

    for size in ["0", "1001", "18446744073709551615"] {
        let answer = refused(grant(), &format!("size={size}")).await;
        assert_eq!(answer, (403, json!("SizeNotGranted")));
    }
    let not_granted = (403, json!("TypeNotGranted"));
    assert_eq!(refused(types(), "type=text/html").await, not_granted);
    assert_eq!(refused(grant(), "type=image/png").await, not_granted);
    let one = grant().content_type("image/png".parse().unwrap());
    assert_eq!(refused(one.clone(), "type=image/jpeg").await, not_granted);
    granted(one, "type=image/png").await;
    granted(grant(), "type=application/octet-stream").await;
    assert_eq!(refused(types(), "").await, (400, json!("TypeRequired")));
    let any = grant().any_content_type();
    assert_eq!(refused(any.clone(), "type=text/html").await, not_granted);
    granted(any.clone().allow_active_content(), "type=text/html").await;
    let (token, conditions) = granted(any, "").await;
    assert!(token["fields"].get("x-oss-content-type").is_none());
    assert!(!conditions.to_string().contains("content-type"));
}

#[tokio::test]
async fn the_three_ways_to_name_an_object() {
    let size = SizeRange::new(1, 1000).unwrap();
    let key: ObjectKey = "user/7/avatar.png".parse().unwrap();
    let (token, conditions) = granted(Grant::exact(key, size), "filename=other.gif").await;
    assert_eq!(token["key"], "user/7/avatar.png");
    assert!(has(
        &conditions,
        &json!(["eq", "$key", "user/7/avatar.png"])
    ));

    let (token, conditions) = granted(any_name(), "filename=a.png").await;
    assert_eq!(token["key"], "user/7/${filename}");
    assert_eq!(token["fields"]["key"], "user/7/${filename}");
    assert!(has(&conditions, &json!(["starts-with", "$key", "user/7/"])));

    let (token, _) = granted(grant(), "filename=../../etc/passwd").await;
    assert_eq!(token["key"].as_str().unwrap().len(), "user/7/".len() + 36);
    let (other, _) = granted(grant(), "").await;
    assert_ne!(token["key"], other["key"]);
}

#[tokio::test]
async fn everything_a_grant_can_say_is_in_the_token() {
    let full = grant()
        .lifetime(Duration::from_secs(60))
        .allow_overwrite()
        .success_action_status(201)
        .field("Cache-Control", "no-cache")
        .condition(Condition::starts_with("x-oss-meta-album", "a"))
        .variable("x:uid", "7");
    let (token, conditions) = granted(full, "").await;
    assert_eq!(token["expires"], 1_735_689_630);
    let fields = &token["fields"];
    assert_eq!(fields["x-oss-forbid-overwrite"], "false");
    assert_eq!(fields["success_action_status"], "201");
    assert_eq!(fields["Cache-Control"], "no-cache");
    assert_eq!(fields["x:uid"], "7");
    assert!(has(&conditions, &json!(["eq", "$x:uid", "7"])));
    assert!(has(
        &conditions,
        &json!(["starts-with", "$x-oss-meta-album", "a"])
    ));
    let callback = STANDARD
        .decode(fields["callback"].as_str().unwrap())
        .unwrap();
    let callback: Value = serde_json::from_slice(&callback).unwrap();
    let body = callback["callbackBody"].as_str().unwrap();
    assert!(body.ends_with(r#","x:uid":${x:uid}}"#), "{body}");
    // Errors in the grant are not shown to the client.
    for wrong in [
        grant().lifetime(Duration::ZERO),
        grant().field("key", "a"),
        grant().variable("uid", "7"),
        grant().variable("x:uid", "$"),
        grant().content_types([]),
        grant().content_type("text/html".parse().unwrap()),
    ] {
        assert_eq!(refused(wrong, "").await, (500, json!("PolicyUnavailable")));
    }
}

/// Counts how often credentials are requested.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl CredentialsProvider for Counted {
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Lookup::Ready(Ok(Credentials::new("id", SECRET).unwrap()))
    }
}

#[tokio::test]
async fn pl_25_nobody_is_signed_for_before_the_authoriser_has_answered() {
    let counted = Counted::default();
    let tokens = OssPolicyService::new(
        by_session,
        counted.clone(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback(),
    );
    let tokens = tokens.unwrap();
    let (response, body) = send(&tokens, get("/")).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(body["code"], "Unauthorized");
    let mut other = get("/");
    other
        .headers_mut()
        .insert("session", HeaderValue::from_static("eight"));
    assert_eq!(send(&tokens, other).await.0.status(), 403);
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    let mut seven = get("/");
    seven
        .headers_mut()
        .insert("session", HeaderValue::from_static("seven"));
    assert_eq!(send(&tokens, seven).await.0.status(), 200);
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refusal_is_what_the_authoriser_says() {
    let tokens = service(|_: &Parts| {
        std::future::ready(Err::<Grant, _>(
            Refusal::new(StatusCode::TOO_MANY_REQUESTS)
                .code("Slow\"Down")
                .message("wait\n")
                .header(header::RETRY_AFTER, HeaderValue::from_static("60"))
                .header(header::SET_COOKIE, HeaderValue::from_static("a=1"))
                .header(header::SET_COOKIE, HeaderValue::from_static("b=2"))
                .header(header::CACHE_CONTROL, HeaderValue::from_static("public"))
                .header(
                    header::HeaderName::from_static("cross-origin-resource-policy"),
                    HeaderValue::from_static("cross-origin"),
                )
                .header(header::CONTENT_LENGTH, HeaderValue::from_static("1")),
        ))
    });
    let (response, body) = send(&tokens, get("/")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "60");
    let cookies = response.headers().get_all("set-cookie").iter();
    assert!(cookies.eq(["a=1", "b=2"]));
    let policy = response.headers().get_all("cross-origin-resource-policy");
    assert!(policy.iter().eq(["same-origin"]));
    assert_eq!(body, json!({ "code": "Slow\"Down", "message": "wait\n" }));
    // A refusal with a status other than an error becomes 403, so no client takes it for a token.
    assert_eq!(Refusal::new(StatusCode::OK).status(), StatusCode::FORBIDDEN);
    assert_eq!(
        Refusal::new(StatusCode::FOUND).status(),
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_authoriser_sees_what_is_asked_for() {
    let tokens = service(|parts: &Parts| {
        let asked = parts.extensions.get::<RequestedFiles>().unwrap();
        let names: Vec<_> = asked.files().iter().map(|file| file.filename()).collect();
        let good = match parts.method.as_str() {
            "GET" => !asked.is_batch() && names == [Some("a b.png")],
            _ => asked.is_batch() && names == [Some("a"), None],
        };
        assert_eq!(asked.files()[0].size(), Some(5));
        std::future::ready(if good {
            Ok(grant())
        } else {
            Err(Refusal::forbidden())
        })
    });
    let (response, _) = send(&tokens, get("/?filename=a+b.png&size=5")).await;
    assert_eq!(response.status(), 200);
    let body = r#"{"files":[{"filename":"a","size":5},{}]}"#;
    // Both are read; one grant is not enough for both.
    assert_eq!(send(&tokens, post(body)).await.0.status(), 422);
}

#[tokio::test]
async fn a_batch_gives_a_token_for_each_file() {
    let files: Vec<_> = (1..=100)
        .map(|n| json!({ "filename": format!("{n}.png"), "size": n, "type": "image/png" }))
        .collect();
    let body = json!({ "files": files }).to_string();
    let types = || types().max_files(100);
    let (response, answer) = send(&service(Always(types())), post(body)).await;
    assert_eq!(response.status(), 200);
    let uploads = answer["uploads"].as_array().unwrap();
    assert_eq!(uploads.len(), 100);
    let keys: BTreeSet<_> = uploads
        .iter()
        .map(|upload| upload["key"].as_str())
        .collect();
    assert_eq!(keys.len(), 100);
    for (upload, n) in uploads.iter().zip(1..) {
        let conditions = conditions(&upload["fields"]["policy"]);
        assert!(has(&conditions, &json!(["content-length-range", n, n])));
    }

    // One rejected file rejects the whole batch.
    let body = r#"{"files":[{"size":1,"type":"image/png"},{"size":1001,"type":"image/png"}]}"#;
    let (response, answer) = send(&service(Always(types())), post(body)).await;
    assert_eq!(
        (response.status().as_u16(), &answer["code"]),
        (403, &json!("SizeNotGranted"))
    );

    let key: ObjectKey = "a".parse().unwrap();
    let exact = Grant::exact(key, SizeRange::new(1, 2).unwrap());
    let (response, answer) = send(&service(Always(exact)), post(r#"{"files":[{}]}"#)).await;
    assert_eq!(
        (response.status().as_u16(), &answer["code"]),
        (400, &json!("BatchUnderExactKey"))
    );
    let v4 = service(Always(any_name())).format(TokenFormat::V4).unwrap();
    let (response, answer) = send(&v4, post(r#"{"files":[{}]}"#)).await;
    assert_eq!(
        (response.status().as_u16(), &answer["code"]),
        (400, &json!("BatchNotSupported"))
    );
}

/// Returns the response to a batch of this many files, and how often credentials were requested.
async fn batch_of<A: Authorize>(authorize: A, files: usize) -> (u16, Value, usize) {
    let counted = Counted::default();
    let tokens = OssPolicyService::new(
        authorize,
        counted.clone(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback(),
    );
    let body = json!({ "files": vec![json!({}); files] }).to_string();
    let (response, answer) = send(&tokens.unwrap(), post(body)).await;
    let credentials = counted.0.load(Ordering::Relaxed);
    (response.status().as_u16(), answer, credentials)
}

#[tokio::test]
async fn pl_33_one_grant_serves_one_file_unless_it_says_how_many() {
    for (grant, files, served) in [
        (grant(), 1, true),
        (grant(), 2, false),
        (grant(), 100, false),
        (any_name(), 1, true),
        (any_name(), 2, false),
        (grant().max_files(3), 3, true),
        (grant().max_files(3), 4, false),
        (grant().max_files(100), 100, true),
        (grant().max_files(0), 1, false),
    ] {
        let (status, answer, credentials) = batch_of(Always(grant), files).await;
        if served {
            assert_eq!((status, credentials), (200, 1), "{answer}");
            assert_eq!(answer["uploads"].as_array().unwrap().len(), files);
        } else {
            assert_eq!((status, &answer["code"]), (422, &json!("TooManyFiles")));
            assert_eq!(credentials, 0, "nothing is signed");
        }
    }
    // An exact key is for one file, which is a mistake of the server.
    let exact = Grant::exact("a".parse().unwrap(), SizeRange::new(1, 2).unwrap());
    for files in [0, 2] {
        let answer = refused(exact.clone().max_files(files), "").await;
        assert_eq!(answer.0, if files == 0 { 422 } else { 500 });
    }
}

#[tokio::test]
async fn pl_33_several_grants_serve_one_file_each() {
    fn album(n: u64) -> Grant {
        let prefix = ObjectPrefix::from_segments(["album", &n.to_string()]).unwrap();
        Grant::under(prefix, SizeRange::new(n, n).unwrap())
    }

    async fn as_many_as_asked(parts: &Parts) -> Result<Vec<Grant>, Refusal> {
        tokio::task::yield_now().await;
        let asked: &RequestedFiles = parts.extensions.get().unwrap();
        Ok((1..).map(album).take(asked.files().len()).collect())
    }

    let (status, answer, _) = batch_of(as_many_as_asked, 5).await;
    assert_eq!(status, 200, "{answer}");
    for (upload, n) in answer["uploads"].as_array().unwrap().iter().zip(1..) {
        let key = upload["key"].as_str().unwrap();
        assert!(key.starts_with(&format!("album/{n}/")), "{key}");
        let conditions = conditions(&upload["fields"]["policy"]);
        assert!(has(&conditions, &json!(["content-length-range", n, n])));
    }
    // One file without a batch has one grant.
    let (response, token) = send(&service(as_many_as_asked), get("/?size=1")).await;
    assert_eq!(response.status(), 200);
    assert!(token["key"].as_str().unwrap().starts_with("album/1/"));

    // Keys that the server chose.
    let exact = |parts: &Parts| {
        let asked: &RequestedFiles = parts.extensions.get().unwrap();
        let key = |n: usize| format!("a/{n}").parse().unwrap();
        let one = |n| Grant::exact(key(n), SizeRange::new(1, 2).unwrap());
        let grants: Vec<_> = (0..asked.files().len()).map(one).collect();
        std::future::ready(Ok::<_, Refusal>(grants))
    };
    let (status, answer, _) = batch_of(exact, 2).await;
    assert_eq!((status, &answer["uploads"][1]["key"]), (200, &json!("a/1")));

    // Any other number is a mistake of the server, and nothing is signed.
    for (grants, files) in [(0, 1), (1, 2), (2, 1), (3, 2), (99, 100)] {
        let authorize = move |_: &Parts| {
            // `max_files` does not make one of several grants serve two files.
            let grants = vec![grant().max_files(100); grants];
            std::future::ready(Ok::<_, Refusal>(grants))
        };
        let (status, answer, credentials) = batch_of(authorize, files).await;
        assert_eq!(
            (status, &answer["code"]),
            (500, &json!("PolicyUnavailable"))
        );
        assert_eq!(credentials, 0);
    }

    // One wrong grant fails all, and a type that is sometimes one and sometimes several works.
    struct Mixed;

    impl Authorize for Mixed {
        type Granted = Grants;

        async fn authorize(&self, parts: &Parts) -> Result<Grants, Refusal> {
            match parts.extensions.get::<RequestedFiles>().unwrap().files() {
                [_] => Ok(grant().into()),
                [_, _] => Ok(vec![grant(), grant().field("key", "a")].into()),
                files => Ok(vec![grant(); files.len()].into()),
            }
        }
    }

    for (files, status) in [(1, 200), (2, 500), (3, 200)] {
        assert_eq!(batch_of(Mixed, files).await.0, status);
    }
}

#[tokio::test]
async fn pl_27_asks_that_are_too_large_or_cannot_be_read() {
    let tokens = service(Always(grant()));
    let spaces = |len: usize| format!("{{{}}}", " ".repeat(len - 2));
    assert_eq!(send(&tokens, post(spaces(65_536))).await.0.status(), 200);
    for large in [spaces(65_537), spaces(1 << 20)] {
        let (response, body) = send(&tokens, post(large)).await;
        assert_eq!(
            (response.status().as_u16(), &body["code"]),
            (413, &json!("AskTooLarge"))
        );
    }
    // A body without an announced length.
    let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; 40_000])));
    let body = StreamBody::new(tokio_stream::iter([chunk(), chunk()]));
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(body);
    let response = tokens.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 413);
    let lied = Request::post("/")
        .header("content-type", "application/json")
        .header("content-length", "1000000")
        .body(Full::new(Bytes::from("{}")));
    assert_eq!(send(&tokens, lied.unwrap()).await.0.status(), 413);

    let deep = format!("{{\"files\":{}", "[".repeat(60_000));
    for body in [
        &b"{\"size\":1,\"size\":1}"[..],
        b"{\"filename\":\"\xff\"}",
        b"{\"size\":1e400}",
        b"[]",
        deep.as_bytes(),
    ] {
        let (response, answer) = send(&tokens, post(body.to_vec())).await;
        assert_eq!(
            (response.status().as_u16(), &answer["code"]),
            (400, &json!("InvalidAsk"))
        );
        assert!(answer["message"].as_str().unwrap().len() < 120);
    }
    for query in ["size=x", "filename=a&filename=b", "type=%FF", "type=a"] {
        assert_eq!(refused(grant(), query).await, (400, json!("InvalidAsk")));
    }
    let mut both = post("{}");
    *both.uri_mut() = "/?size=1".parse().unwrap();
    assert_eq!(send(&tokens, both).await.0.status(), 400);

    // A truncated body is rejected, even if the received part is valid.
    let broken = StreamBody::new(tokio_stream::iter([
        Ok(Frame::data(Bytes::from("{}"))),
        Err("reset by peer"),
    ]));
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(broken);
    let response = tokens.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn pl_28_only_json_is_read() {
    let tokens = service(Always(grant()));
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
    ] {
        for body in ["{}", ""] {
            let request = Request::post("/").header("content-type", content_type);
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            let (response, answer) = send(&tokens, request).await;
            assert_eq!(response.status(), 415, "{content_type:?}");
            assert_eq!(answer["code"], "UnsupportedMediaType");
        }
    }
    // A page of another origin can send a POST without a type: `navigator.sendBeacon(url)`.
    for body in ["{}", ""] {
        let none = Request::post("/?size=3").body(Full::new(Bytes::from(body)));
        assert_eq!(send(&tokens, none.unwrap()).await.0.status(), 415);
    }
    // Two types, of which a proxy or framework may choose the other one.
    for types in [
        ["application/json", "text/plain"],
        ["text/plain", "application/json"],
        ["application/json", "application/json"],
    ] {
        let mut two = post("{}");
        two.headers_mut().remove(header::CONTENT_TYPE);
        for one in types {
            let one = HeaderValue::from_static(one);
            two.headers_mut().append(header::CONTENT_TYPE, one);
        }
        assert_eq!(send(&tokens, two).await.0.status(), 415);
    }
    for content_type in ["application/json", "Application/JSON ; charset=utf-8"] {
        let request = Request::post("/").header("content-type", content_type);
        let request = request.body(Full::new(Bytes::from("{}"))).unwrap();
        assert_eq!(send(&tokens, request).await.0.status(), 200);
    }
    // The content type of a GET is ignored.
    let mut odd = get("/");
    let text = HeaderValue::from_static("text/plain");
    odd.headers_mut().insert(header::CONTENT_TYPE, text);
    assert_eq!(send(&tokens, odd).await.0.status(), 200);
    // A POST without a body uses the query.
    let mut bare = post("");
    *bare.uri_mut() = "/?size=3".parse().unwrap();
    let (_, token) = send(&tokens, bare).await;
    let conditions = conditions(&token["fields"]["policy"]);
    assert!(has(&conditions, &json!(["content-length-range", 3, 3])));
}

#[tokio::test]
async fn pl_23_methods() {
    let tokens = service(Always(grant()));
    let with = |method: &str| {
        Request::builder()
            .method(method)
            .body(Full::<Bytes>::default())
    };
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "QUERY"] {
        let (response, _) = send(&tokens, with(method).unwrap()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST");
    }
    let posted = tokens.clone().post_only();
    for method in ["GET", "PUT"] {
        let (response, _) = send(&posted, with(method).unwrap()).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
    }
    assert_eq!(send(&posted, post("")).await.0.status(), 200);
    let head = posted.oneshot(with("HEAD").unwrap()).await.unwrap();
    assert_eq!(head.status(), 405);

    let head = tokens.clone().oneshot(with("HEAD").unwrap()).await.unwrap();
    assert_eq!(head.status(), 200);
    assert_ne!(head.headers()["content-length"], "0");
    assert!(
        head.into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    // A refusal of HEAD has no body either.
    let head = service(by_session)
        .oneshot(with("HEAD").unwrap())
        .await
        .unwrap();
    assert_eq!(head.status(), 401);
    assert!(
        head.into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn df_a_body_that_dribbles_is_given_ten_seconds() {
    let mut tokens = service(Always(grant()));
    let body = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(body);
    let start = tokio::time::Instant::now();
    let response = tokens.call(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 408);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_endless_empty_frames_meets_its_time() {
    let mut tokens = service(Always(grant()));
    let empty = || Some(Ok::<_, Infallible>(Frame::data(Bytes::new())));
    let body = StreamBody::new(tokio_stream::iter(iter::from_fn(empty)));
    let request = Request::post("/")
        .header("content-type", "application/json")
        .body(body);
    let mut answer = pin!(tokens.call(request.unwrap()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(answer.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(Duration::from_secs(11)).await;
    let Poll::Ready(Ok(response)) = answer.as_mut().poll(&mut cx) else {
        panic!("the deadline has passed")
    };
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn the_formats_of_the_samples() {
    let v4 = service(Always(any_name())).format(TokenFormat::V4).unwrap();
    let (response, token) = send(&v4, get("/?size=5&type=image/png&filename=a")).await;
    assert_eq!(response.status(), 200);
    let names = [
        "version",
        "x_oss_signature_version",
        "policy",
        "x_oss_credential",
        "x_oss_date",
        "signature",
        "security_token",
        "dir",
        "host",
        "callback",
    ];
    assert_eq!(token.as_object().unwrap().len(), names.len());
    for name in names {
        assert!(token[name].is_string(), "{name}");
    }
    assert_eq!(token["version"], "OSS4-HMAC-SHA256");
    assert_eq!(token["x_oss_date"], "20241231T235930Z");
    assert_eq!(
        token["x_oss_credential"],
        "LTAI5tExample/20241231/cn-hangzhou/oss/aliyun_v4_request"
    );
    assert_eq!(token["security_token"], "");
    assert_eq!(token["dir"], "user/7/");
    assert_eq!(
        token["host"],
        "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(token["callback"], callback().encoded());
    assert_eq!(
        conditions(&token["policy"]),
        json!([
            ["starts-with", "$key", "user/7/"],
            { "bucket": "examplebucket" },
            { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
            { "x-oss-credential": token["x_oss_credential"] },
            { "x-oss-date": token["x_oss_date"] },
            ["content-length-range", 5, 5],
            ["eq", "$success_action_status", "200"],
            { "callback": token["callback"] }
        ])
    );

    let legacy = service(Always(any_name()))
        .format(TokenFormat::Legacy)
        .unwrap();
    let (_, token) = send(&legacy, get("/")).await;
    assert_eq!(token.as_object().unwrap().len(), 7);
    assert_eq!(token["accessid"], "LTAI5tExample");
    assert_eq!(token["expire"], 1_735_690_470);
    assert_eq!(
        conditions(&token["policy"]),
        json!([
            ["starts-with", "$key", "user/7/"],
            { "bucket": "examplebucket" },
            ["content-length-range", 1, 1000],
            ["eq", "$success_action_status", "200"],
            { "callback": token["callback"] }
        ])
    );

    // A grant that needs fields which the clients of these formats do not send is an error.
    for more in [
        grant(),
        Grant::exact("a".parse().unwrap(), SizeRange::new(1, 2).unwrap()),
        any_name().content_type("image/png".parse().unwrap()),
        any_name().field("Expires", "0"),
        any_name().variable("x:uid", "7"),
        any_name().allow_overwrite(),
        any_name().success_action_status(204),
    ] {
        for format in [TokenFormat::V4, TokenFormat::Legacy] {
            let tokens = service(Always(more.clone())).format(format).unwrap();
            let (response, body) = send(&tokens, get("/")).await;
            assert_eq!(response.status(), 500);
            assert_eq!(body["code"], "PolicyUnavailable");
        }
    }
    let with_variable = callback().variable("x:uid", "7").unwrap();
    let tokens = OssPolicyService::new(
        by_session,
        Credentials::new("id", "secret").unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        with_variable,
    );
    let error = tokens.unwrap().format(TokenFormat::Legacy).unwrap_err();
    let expected = PolicyError::Field {
        field: "x:uid".into(),
        problem: FieldProblem::NotInFormat,
    };
    assert_eq!(error, expected);
    let dollar = callback().variable("x:uid", "US$").unwrap();
    let tokens = OssPolicyService::new(
        by_session,
        Credentials::new("id", "secret").unwrap(),
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        dollar,
    );
    assert!(matches!(
        tokens.unwrap_err(),
        PolicyError::Field {
            problem: FieldProblem::Dollar,
            ..
        }
    ));
}

/// Clients of the Java sample read one name, all others read the other one.
#[tokio::test]
async fn issue_18_line_01_the_v4_format_has_both_names_of_the_signature_version() {
    let service = service(Always(any_name())).format(TokenFormat::V4).unwrap();
    let (_, token) = send(&service, get("/")).await;
    for name in ["version", "x_oss_signature_version"] {
        assert_eq!(token[name], "OSS4-HMAC-SHA256", "{name}");
    }
}

/// Photos of a gallery, `.heic` and `.md` have an empty type in browsers.
#[tokio::test]
async fn issue_18_line_05_an_empty_type_is_read_from_the_name() {
    let granted_types = |types: &[&str]| {
        let types: Vec<_> = types.iter().map(|text| text.parse().unwrap()).collect();
        grant().content_types(types)
    };
    for (types, query, expected) in [
        (
            &["image/png", "image/heic"][..],
            "filename=IMG_1.HEIC&type=",
            "image/heic",
        ),
        (
            &["image/png", "text/markdown"],
            "filename=a.b.md",
            "text/markdown",
        ),
        (
            &["image/png", "text/x-markdown"],
            "filename=.md",
            "text/x-markdown",
        ),
        (&["image/png", "image/jpeg"], "filename=a.jpg", "image/jpeg"),
        (&["image/png", "image/jpg"], "filename=a.jpg", "image/jpg"),
        // The type decides, not the name.
        (
            &["image/png", "image/jpeg"],
            "filename=a.png&type=image/jpeg",
            "image/jpeg",
        ),
        (&["image/png", "image/jpeg"], "type=image/jpg", "image/jpeg"),
        (&["image/jpeg"], "type=Image/JPG", "image/jpeg"),
        (&["image/png", "image/jpg"], "type=image/jpeg", "image/jpg"),
        // A single type needs no request.
        (&["image/png"], "filename=a.heic", "image/png"),
    ] {
        let (token, policy) = granted(granted_types(types), query).await;
        assert_eq!(token["fields"]["x-oss-content-type"], expected, "{query}");
        let condition = json!(["eq", "$x-oss-content-type", expected]);
        assert!(has(&policy, &condition), "{query}");
    }
    let (token, _) = granted(grant().any_content_type(), "type=image/jpg").await;
    assert_eq!(token["fields"]["x-oss-content-type"], "image/jpeg");
    // Any type may stay open, so a name narrows nothing.
    let (token, _) = granted(grant().any_content_type(), "filename=a.png").await;
    assert!(token["fields"].get("x-oss-content-type").is_none());
}

#[tokio::test]
async fn issue_18_line_05_the_refusal_names_what_would_do() {
    for (query, code, part) in [
        ("", "TypeRequired", "the type is empty"),
        ("type=", "TypeRequired", "the type is empty"),
        ("filename=a.exe&type=", "TypeRequired", "the type is empty"),
        ("filename=%3Cb%3E.html", "TypeRequired", "the type is empty"),
        ("filename=a", "TypeRequired", "the type is empty"),
        (
            "type=text/x-canary",
            "TypeNotGranted",
            "this type is not granted",
        ),
    ] {
        let (_, body) = send(&service(Always(types())), get(&format!("/?{query}"))).await;
        assert_eq!(body["code"], code, "{query}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with(part), "{message}");
        assert!(message.ends_with("image/png, image/jpeg"), "{message}");
        // Nothing of the request is repeated.
        for text in ["canary", "html", "<b>", "exe"] {
            assert!(!message.contains(text), "{message}");
        }
    }
}

/// OSS compares the expiry when the complete request has arrived.
#[tokio::test]
async fn issue_18_line_04_a_requested_size_lengthens_the_lifetime() {
    const GIB: u64 = 1 << 30;
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let large = || Grant::under("a/".parse().unwrap(), SizeRange::new(1, 5 * GIB).unwrap());
    for (grant, query, seconds) in [
        // 125,000 bytes per second, and at least 15 minutes.
        (large(), String::new(), 900),
        (large(), "size=112500000".to_owned(), 900),
        (large(), "size=112500001".to_owned(), 901),
        (large(), format!("size={GIB}"), 8_590),
        (large(), format!("size={}", 5 * GIB), 42_950),
        // A lifetime is fixed unless the maximum is set too, in either order.
        (large().lifetime(minutes(1)), format!("size={GIB}"), 60),
        (
            large().lifetime(minutes(1)).max_lifetime(minutes(10)),
            format!("size={GIB}"),
            600,
        ),
        (
            large().max_lifetime(minutes(10)).lifetime(minutes(1)),
            format!("size={GIB}"),
            600,
        ),
        (
            large().max_lifetime(minutes(10)).lifetime(minutes(1)),
            "size=1".to_owned(),
            60,
        ),
        (
            large().max_lifetime(minutes(60)),
            format!("size={}", 5 * GIB),
            3_600,
        ),
        (large().max_lifetime(minutes(60)), String::new(), 900),
    ] {
        let (token, _) = granted(grant, &query).await;
        assert_eq!(token["expires"], 1_735_689_570 + seconds, "{query}");
    }
    let short = grant().max_lifetime(minutes(14));
    let long = grant().max_lifetime(minutes(7 * 24 * 60 + 1));
    for wrong in [short, long] {
        let answer = refused(wrong, "").await;
        assert_eq!(answer, (500, json!("PolicyUnavailable")));
    }
    // No token outlives the credentials.
    let sts = with_sts(minutes(30)).authorized_by(Always(large()));
    let (_, token) = send(&sts, get(&format!("/?size={GIB}"))).await;
    assert_eq!(token["expires"], 1_735_689_570 + 1_800);
}

fn tickets() -> Tickets {
    Tickets::in_memory(TicketKeys::new(1, TicketKey::generate().unwrap()))
}

/// PL-18: the callback is missing only where the grant opts out by name.
#[tokio::test]
async fn pl_18_issue_18_line_02_a_grant_without_callback() {
    let full = service(Always(grant().without_callback()));
    let (_, token) = send(&full.tickets(tickets()).unwrap(), get("/?size=5")).await;
    let policy = conditions(&token["fields"]["policy"]);
    assert!(!policy.to_string().contains("callback"), "{policy}");
    assert!(token["fields"].get("callback").is_none());
    assert!(has(&policy, &json!(["content-length-range", 5, 5])));
    // Clients of this format send every field of the token.
    let status = json!(["eq", "$success_action_status", "200"]);
    assert!(has(&policy, &status));
    assert_eq!(token["fields"]["success_action_status"], "200");

    for (format, members) in [(TokenFormat::V4, 9), (TokenFormat::Legacy, 6)] {
        let tokens = service(Always(any_name().without_callback()));
        let tokens = tokens.format(format).unwrap().tickets(tickets()).unwrap();
        let (_, token) = send(&tokens, get("/")).await;
        assert_eq!(token.as_object().unwrap().len(), members, "{token}");
        assert!(token.get("callback").is_none());
        // These clients send neither field.
        let policy = conditions(&token["policy"]);
        for field in ["callback", "success_action_status"] {
            assert!(!policy.to_string().contains(field), "{policy}");
        }
        for condition in [
            json!(["starts-with", "$key", "user/7/"]),
            json!({ "bucket": "examplebucket" }),
            json!(["content-length-range", 1, 1000]),
        ] {
            assert!(has(&policy, &condition), "{condition}");
        }
    }
}

/// Whatever only a callback could carry is an error, and so is a layer that accepts any callback.
#[tokio::test]
async fn issue_18_line_02_without_callback_is_refused_without_tickets_or_with_claims() {
    let without_tickets = service(Always(grant().without_callback()));
    let claims = service(Always(grant().without_callback().claims(&7)));
    let variable = service(Always(grant().variable("x:uid", "7").without_callback()));
    for tokens in [
        without_tickets,
        claims.tickets(tickets()).unwrap(),
        variable.tickets(tickets()).unwrap(),
    ] {
        let (response, body) = send(&tokens, get("/")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body["code"], "PolicyUnavailable");
    }
}

fn with_sts(expires_in: Duration) -> OssPolicyService<Always> {
    let sts = Credentials::new("STS.id", SECRET)
        .and_then(|pair| pair.with_security_token("canary-token"))
        .unwrap()
        .with_expiry(clock() + expires_in);
    OssPolicyService::new(
        Always(any_name()),
        sts,
        "examplebucket".parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback(),
    )
    .unwrap()
    .clock(clock)
}

#[tokio::test]
async fn pl_19_no_policy_outlives_the_token_of_sts() {
    let (_, token) = send(&with_sts(Duration::from_secs(100)), get("/")).await;
    assert_eq!(token["expires"], 1_735_689_670);
    assert_eq!(token["fields"]["x-oss-security-token"], "canary-token");
    assert!(has(
        &conditions(&token["fields"]["policy"]),
        &json!({ "x-oss-security-token": "canary-token" })
    ));
    let v4 = with_sts(Duration::from_secs(100))
        .format(TokenFormat::V4)
        .unwrap();
    let (_, token) = send(&v4, get("/")).await;
    assert_eq!(token["security_token"], "canary-token");
    assert!(has(
        &conditions(&token["policy"]),
        &json!({ "x-oss-security-token": "canary-token" })
    ));
    // The clients of this format do not send the STS token.
    let legacy = with_sts(Duration::from_secs(100))
        .format(TokenFormat::Legacy)
        .unwrap();
    assert_eq!(send(&legacy, get("/")).await.0.status(), 500);
    // Available, but expired by this clock.
    let (response, body) = send(&with_sts(Duration::ZERO), get("/")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(body["code"], "CredentialsUnavailable");
}

#[tokio::test]
async fn credentials_may_have_to_be_waited_for_and_may_fail() {
    #[derive(Clone, Copy)]
    struct Later(bool);

    impl CredentialsProvider for Later {
        fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
            let good = self.0;
            Lookup::Pending(Box::pin(async move {
                tokio::task::yield_now().await;
                if good {
                    Ok(Credentials::new("id", SECRET).unwrap())
                } else {
                    Err(CredentialsProviderError::Unavailable(Arc::new(
                        std::io::Error::other("the metadata service is silent"),
                    )))
                }
            }))
        }
    }

    for (good, status) in [(true, 200), (false, 503)] {
        let tokens = OssPolicyService::new(
            Always(grant()),
            Later(good),
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            callback(),
        );
        let (response, body) = send(&tokens.unwrap(), get("/")).await;
        assert_eq!(response.status(), status);
        assert!(!body.to_string().contains("metadata"));
    }
}

#[tokio::test]
async fn host_region_and_signature_are_settings_of_their_own() {
    let custom = Endpoint::custom("https://img.example.com".parse().unwrap());
    let tokens = service(Always(grant())).endpoint(custom).unwrap();
    let (_, token) = send(&tokens, get("/")).await;
    assert_eq!(token["url"], "https://img.example.com");
    let tokens = tokens.signature(SignatureVersion::V1).unwrap();
    let (_, token) = send(&tokens, get("/")).await;
    assert!(token["fields"]["Signature"].is_string());
    assert!(token["fields"].get("x-oss-signature").is_none());
}

#[tokio::test]
async fn an_upload_time_needs_tickets() {
    let tokens = service(Always(grant())).upload_time(Duration::from_secs(60));
    let (response, answer) = send(&tokens, get("/")).await;
    assert_eq!(
        (response.status().as_u16(), &answer["code"]),
        (500, &json!("PolicyUnavailable"))
    );
}

#[tokio::test]
async fn pl_12_a_token_is_of_one_instant() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let tokens = service(Always(grant())).clock(move || {
        let before_midnight = Duration::from_millis(1_735_689_599_900);
        let calls = count.fetch_add(1, Ordering::Relaxed);
        let later = Duration::from_millis(200) * u32::try_from(calls).unwrap();
        SystemTime::UNIX_EPOCH + before_midnight + later
    });
    for (day, date) in [
        ("20241231", "20241231T235959Z"),
        ("20250101", "20250101T000000Z"),
    ] {
        let (_, token) = send(&tokens, get("/")).await;
        let fields = &token["fields"];
        assert_eq!(
            fields["x-oss-credential"],
            format!("LTAI5tExample/{day}/cn-hangzhou/oss/aliyun_v4_request")
        );
        assert_eq!(fields["x-oss-date"], date);
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "one clock reading per request"
    );
}

#[tokio::test]
async fn pl_20_the_service_and_its_parts_show_no_secret() {
    let tokens = with_sts(Duration::from_secs(100));
    let request = get("/?filename=a");
    let future = tokens.clone().call(request);
    let shown = format!(
        "{tokens:?} {tokens:#?} {future:?} {:?} {:?}",
        any_name(),
        Refusal::forbidden()
    );
    let (_, token) = send(&tokens, get("/")).await;
    let serialised = token.to_string();
    for text in [&shown, &serialised] {
        assert!(!text.contains(SECRET));
    }
    assert!(!shown.contains("canary-token"));
}

/// A `GET` needs neither a timer nor a task, so it works without a runtime.
#[test]
fn a_get_needs_no_runtime() {
    let mut tokens = service(Always(grant()));
    let mut future = pin!(tokens.call(get("/")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn it_is_what_a_server_needs() {
    fn is<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let mut tokens = service(by_session);
    is(&tokens);
    is_send(&tokens.call(get("/")));
    // A body that is not `Send` is accepted; only the future loses `Send`.
    let local = Rc::new(());
    let frames = iter::from_fn(move || {
        let _held = &local;
        None::<Result<Frame<Bytes>, Infallible>>
    });
    let body = StreamBody::new(tokio_stream::iter(frames));
    let _future = tokens.call(Request::new(body));
}
