//! `OssUploads`: the callback layer accepts exactly what the policy service granted.

mod batch;
mod ledger;
mod targets;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::support::oss::{HABITS, Oss};
use axum::{Extension, Router, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssUploads, OssUploadsBuilder, OssUploadsError,
    callback::{CallbackReply, VerifiedCallback},
    key::KeySource,
    policy::{
        CallbackDirective, CallbackDirectiveError, CallbackTemplate, Credentials, Grant,
        PolicyError, Refusal, TokenFormat,
    },
    protocol::{CallbackBodyType, Endpoint, Region, SizeRange, SystemVariable, TICKET_FIELD},
    testing::CallbackSigner,
    ticket::{TicketKey, TicketKeys, Tickets},
};

const URL: &str = "https://app.example/oss/callback";

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Claims {
    user: u64,
    note: String,
}

fn claims() -> Claims {
    Claims {
        user: 7,
        note: "US$5 \"${object}\" & 中=1".into(),
    }
}

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000).unwrap();
    Ok(Grant::under("user/7/".parse().unwrap(), size)
        .content_types(["image/png", "image/jpeg"].map(|text| text.parse().unwrap()))
        .claims(&claims()))
}

async fn any_name(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000).unwrap();
    Ok(Grant::any_name_under("user/7/".parse().unwrap(), size).max_uses(3.try_into().unwrap()))
}

fn key(seed: u8) -> TicketKey {
    let bytes: Vec<u8> = (0..32).map(|n| n ^ seed).collect();
    TicketKey::from_bytes(&bytes).unwrap()
}

fn builder() -> OssUploadsBuilder {
    without_tickets().ticket_key(key(1))
}

fn without_tickets() -> OssUploadsBuilder {
    let credentials = Credentials::new("LTAI5tExample", "secret").unwrap();
    OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .key_source(CallbackSigner::new().key_source())
}

type Runs = Arc<AtomicUsize>;

async fn on_upload(Extension(runs): Extension<Runs>, callback: VerifiedCallback) -> CallbackReply {
    let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
    let event = callback.event().unwrap();
    let reply = json!({
        "run": run,
        "object": event.object(),
        "claims": callback.claims::<Claims>().ok(),
    });
    CallbackReply::json(&reply).unwrap()
}

/// Mounts the policy service and the callback layer, as an application does.
fn app(uploads: &OssUploads, route: &str) -> (Router, Runs) {
    let layer = uploads.callback_layer();
    let runs = Runs::default();
    let app = Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route_service("/oss/any", uploads.policy_service(any_name))
        .route(route, post(on_upload).route_layer(layer))
        .layer(Extension(Arc::clone(&runs)));
    (app, runs)
}

async fn token(app: &Router, ask: &str) -> Value {
    let request = Request::get(ask).body(axum::body::Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let token = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{token}");
    token
}

/// The properties of an upload that affect its callback.
#[derive(Clone)]
struct Upload<'a> {
    bucket: &'a str,
    object: &'a str,
    size: &'a str,
    content_type: &'a str,
    /// Replaces the target of the callback URL.
    target: Option<&'a str>,
    /// Index of the callback URL to use.
    url: usize,
}

impl<'a> Upload<'a> {
    fn of(object: &'a str) -> Self {
        Self {
            bucket: "examplebucket",
            object,
            size: "5",
            content_type: "image/png",
            target: None,
            url: 0,
        }
    }

    /// Returns the signed request that OSS would send.
    fn callback(&self, callback: &Value) -> Request<Full<Bytes>> {
        let parameters = STANDARD.decode(callback.as_str().unwrap()).unwrap();
        let parameters: Value = serde_json::from_slice(&parameters).unwrap();
        let body_type = parameters["callbackBodyType"].as_str().unwrap();
        let body_type = CallbackBodyType::from_header(body_type.as_bytes()).unwrap();
        let system = [
            (SystemVariable::Bucket, self.bucket),
            (SystemVariable::Object, self.object),
            (SystemVariable::Size, self.size),
            (SystemVariable::MimeType, self.content_type),
            (SystemVariable::Etag, "D41D8CD98F00B204E9800998ECF8427E"),
            (SystemVariable::ReqId, "5CF3E7820000000000000001"),
        ];
        let system: HashMap<_, _> = system.into_iter().map(|(k, v)| (k, v.to_owned())).collect();
        let oss = Oss {
            body_type,
            system: &system,
            custom: HashMap::new(),
            habits: HABITS[0],
        };
        let body = oss.fill(parameters["callbackBody"].as_str().unwrap());
        let urls: Vec<_> = parameters["callbackUrl"]
            .as_str()
            .unwrap()
            .split(';')
            .collect();
        let url = self.target.unwrap_or(urls[self.url]);
        let signer = CallbackSigner::new();
        let builder = signer.callback(url);
        match body_type {
            CallbackBodyType::Form => builder.form(body).request().unwrap(),
            _ => builder.json(body).request().unwrap(),
        }
    }
}

async fn call(app: &Router, mut request: Request<Full<Bytes>>) -> (StatusCode, Value) {
    // OSS requests an absolute URL; a server receives only path and query.
    let target = request.uri().path_and_query().unwrap().as_str().to_owned();
    *request.uri_mut() = target.parse().unwrap();
    let request = request.map(axum::body::Body::new);
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn what_is_granted_comes_back_with_its_claims_and_runs_once() {
    for body_type in [CallbackBodyType::Form, CallbackBodyType::Json] {
        let uploads = builder()
            .body_type(body_type)
            .callback_url(URL)
            .build()
            .unwrap();
        let (app, runs) = app(&uploads, "/oss/callback");
        let token = token(&app, "/oss/policy?filename=a.png&size=5&type=image/png").await;
        let key = token["key"].as_str().unwrap();
        let callback = &token["fields"]["callback"];
        let upload = Upload::of(key);

        let (status, reply) = call(&app, upload.callback(callback)).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!(
            reply,
            json!({ "run": 1, "object": key, "claims": claims() })
        );
        // SG-42: a replay gets the same response, and the handler does not run.
        let (status, again) = call(&app, upload.callback(callback)).await;
        assert_eq!((status, &again), (StatusCode::OK, &reply));
        assert_eq!(runs.load(Ordering::SeqCst), 1);

        for other in [
            Upload {
                object: "user/8/a.png",
                ..upload.clone()
            },
            Upload {
                bucket: "otherbucket",
                ..upload.clone()
            },
            Upload {
                size: "6",
                ..upload.clone()
            },
            Upload {
                content_type: "image/jpeg",
                ..upload.clone()
            },
            Upload {
                target: Some("https://app.example/oss/callback?x"),
                ..upload.clone()
            },
        ] {
            let (status, _) = call(&app, other.callback(callback)).await;
            assert_eq!(status, 403);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_token_for_a_prefix_is_good_for_as_many_files_as_granted() {
    let uploads = builder().callback_url(URL).build().unwrap();
    let (app, runs) = app(&uploads, "/oss/callback");
    let token = token(&app, "/oss/any").await;
    assert_eq!(token["key"], "user/7/${filename}");
    let callback = &token["fields"]["callback"];
    for (object, expected) in [
        ("user/7/a", 200),
        ("user/7/b", 200),
        ("user/7/a", 200),
        ("user/8/a", 403),
        ("user/7/../8/a", 403),
        ("user/7/c", 200),
        ("user/7/d", 403),
    ] {
        let mut upload = Upload::of(object);
        upload.content_type = "application/octet-stream";
        let (status, _) = call(&app, upload.callback(callback)).await;
        assert_eq!(status.as_u16(), expected, "{object}");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_body_has_what_a_ticket_is_checked_against() {
    let sample = CallbackDirective::new(URL).unwrap();
    for format in [TokenFormat::Fields, TokenFormat::V4, TokenFormat::Legacy] {
        let uploads = builder()
            .callback(sample.clone())
            .format(format)
            .build()
            .unwrap();
        let (app, _) = app(&uploads, "/oss/callback");
        let token = token(&app, "/oss/any").await;
        let callback = match format {
            TokenFormat::Fields => &token["fields"]["callback"],
            _ => &token["callback"],
        };
        let text = STANDARD.decode(callback.as_str().unwrap()).unwrap();
        let parameters: Value = serde_json::from_slice(&text).unwrap();
        let body = parameters["callbackBody"].as_str().unwrap();
        assert!(body.starts_with("filename=${object}&size=${size}&mimeType=${mimeType}"));
        for name in ["reqId", "bucket", "object", "etag"] {
            assert!(body.contains(&format!("&{name}=${{{name}}}")), "{body}");
        }
        assert!(body.contains(&format!("&{TICKET_FIELD}=")));
        // The policy pins the callback and its variables.
        let policy = token
            .get("policy")
            .unwrap_or_else(|| &token["fields"]["policy"]);
        let policy = STANDARD.decode(policy.as_str().unwrap()).unwrap();
        let policy: Value = serde_json::from_slice(&policy).unwrap();
        let pinned = json!({ "callback": callback });
        assert!(policy["conditions"].as_array().unwrap().contains(&pinned));
        let mut upload = Upload::of("user/7/x");
        upload.content_type = "application/octet-stream";
        assert_eq!(call(&app, upload.callback(callback)).await.0, 200);
    }
}

#[tokio::test]
async fn without_tickets_everything_signed_is_taken_and_nothing_claimed() {
    let bare = without_tickets()
        .callback_url(URL)
        .dangerous_without_tickets()
        .build()
        .unwrap();
    assert!(bare.tickets().is_none());
    let (app, runs) = app(&bare, "/oss/callback");
    let request = Request::get("/oss/policy?type=image/png");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500, "claims need a ticket");
    let token = token(&app, "/oss/any").await;
    let (status, _) = call(
        &app,
        Upload::of("any").callback(&token["fields"]["callback"]),
    )
    .await;
    assert_eq!((status.as_u16(), runs.load(Ordering::SeqCst)), (200, 1));
}

/// Nobody tells the server about such an upload. A callback that the uploader attaches has no
/// ticket.
#[tokio::test]
async fn issue_18_line_02_a_callback_attached_to_an_upload_without_one_never_passes() {
    async fn silent(_: &Parts) -> Result<Grant, Refusal> {
        let size = SizeRange::new(1, 1000).unwrap();
        Ok(Grant::under("user/7/".parse().unwrap(), size).without_callback())
    }

    let uploads = builder().callback_url(URL).build().unwrap();
    let (app, runs) = app(&uploads, "/oss/callback");
    let app = app.route_service("/oss/silent", uploads.policy_service(silent));
    let token = token(&app, "/oss/silent?size=5").await;
    assert!(token["fields"].get("callback").is_none());
    let standard = CallbackTemplate::standard(CallbackBodyType::Form);
    let attached = CallbackDirective::new(URL).and_then(|callback| callback.body(standard));
    let mut upload = Upload::of(token["key"].as_str().unwrap());
    upload.content_type = "application/octet-stream";
    let request = upload.callback(&json!(attached.unwrap().encoded()));
    assert_eq!(call(&app, request).await.0, 403);
    assert_eq!(runs.load(Ordering::SeqCst), 0);

    // Nor does the server get a callback for its own upload.
    let size = SizeRange::new(1, 2).unwrap();
    let grant = Grant::exact("a".parse().unwrap(), size).without_callback();
    let error = uploads.callback_for(&grant).unwrap_err();
    assert_eq!(error, PolicyError::WithoutCallback);

    // Without tickets, the layer could not tell the attached callback from its own.
    let credentials = Credentials::new("id", "secret").unwrap();
    let bare = OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .callback_url(URL)
        .dangerous_without_tickets()
        .build()
        .unwrap();
    let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let response = bare.policy_service(silent).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// An upload by the server has no policy, so only the ticket limits it.
#[tokio::test]
async fn an_upload_of_ones_own_is_held_to_its_grant() {
    let size = SizeRange::new(1, 5).unwrap();
    let png = |grant: Grant| grant.content_type("image/png".parse().unwrap());
    for format in [TokenFormat::Fields, TokenFormat::V4, TokenFormat::Legacy] {
        let uploads = builder().callback_url(URL).format(format).build().unwrap();
        let (app, runs) = app(&uploads, "/oss/callback");
        let callback = |grant: Grant| json!(uploads.callback_for(&grant).unwrap().encoded());

        let exact = Grant::exact("user/7/a".parse().unwrap(), size).claims(&claims());
        let exact = callback(png(exact));
        let good = Upload::of("user/7/a");
        for other in [
            Upload::of("user/7/b"),
            Upload {
                bucket: "otherbucket",
                ..good.clone()
            },
            Upload {
                size: "6",
                ..good.clone()
            },
            Upload {
                content_type: "text/html",
                ..good.clone()
            },
        ] {
            assert_eq!(call(&app, other.callback(&exact)).await.0, 403);
        }
        let expected = json!({ "run": 1, "object": "user/7/a", "claims": claims() });
        for _ in 0..2 {
            let (status, reply) = call(&app, good.callback(&exact)).await;
            assert_eq!((status, &reply), (StatusCode::OK, &expected));
        }

        // A prefix grant without a count permits one object, with any name under the prefix.
        let one = callback(png(Grant::under("user/7/".parse().unwrap(), size)));
        for (object, expected) in [("user/8/a", 403), ("user/7/c", 200), ("user/7/d", 403)] {
            let (status, _) = call(&app, Upload::of(object).callback(&one)).await;
            assert_eq!(status, expected, "{object}");
        }
        let two = Grant::any_name_under("user/7/".parse().unwrap(), size);
        let two = callback(png(two.max_uses(2.try_into().unwrap())));
        for (object, expected) in [("user/7/e", 200), ("user/7/f", 200), ("user/7/g", 403)] {
            let (status, _) = call(&app, Upload::of(object).callback(&two)).await;
            assert_eq!(status, expected, "{object}");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 4);
    }
}

#[test]
fn an_upload_of_ones_own_is_granted_no_more_than_a_policy_could() {
    let size = SizeRange::new(1, 5).unwrap();
    let grant = || Grant::exact("a".parse().unwrap(), size);
    let eight_days = Duration::from_secs(8 * 24 * 3600);
    for format in [TokenFormat::Fields, TokenFormat::V4, TokenFormat::Legacy] {
        let uploads = builder().callback_url(URL).format(format).build().unwrap();
        for refused in [
            grant().content_types([]),
            grant().content_type("text/html".parse().unwrap()),
            grant().lifetime(eight_days),
            grant().lifetime(Duration::ZERO),
        ] {
            assert!(uploads.callback_for(&refused).is_err(), "{refused:?}");
        }
        let allowed = grant()
            .content_type("text/html".parse().unwrap())
            .allow_active_content();
        let callback = uploads.callback_for(&allowed).unwrap();
        // Sensitive headers keep the ticket out of request logs.
        for (name, value) in callback.headers() {
            assert!(value.is_sensitive(), "{name}");
        }
    }
}

#[tokio::test]
async fn several_urls_are_all_in_the_ticket() {
    let urls = [
        "https://a.example/oss/callback",
        "https://b.example/gw/oss?x=1",
    ];
    let uploads = builder().callback_urls(urls).build().unwrap();
    let (first, _) = app(&uploads, "/oss/callback");
    let (second, _) = app(&uploads, "/gw/oss");
    let token = token(&first, "/oss/policy?type=image/png").await;
    let upload = Upload::of(token["key"].as_str().unwrap());
    let callback = &token["fields"]["callback"];
    let other = Upload {
        url: 1,
        ..upload.clone()
    };
    assert_eq!(call(&second, other.callback(callback)).await.0, 200);
    // Two different callbacks for one ticket: only the first is accepted.
    assert_eq!(call(&first, upload.callback(callback)).await.0, 403);
}

#[tokio::test]
async fn routes_and_buckets_share_their_tickets_and_keep_apart() {
    let documents = builder().callback_url(URL).build().unwrap();
    let avatar = CallbackDirective::new("https://app.example/oss/avatar").unwrap();
    let avatars = documents.with_callback(avatar).unwrap();
    assert_eq!(avatars.callback_target().as_str(), "/oss/avatar");
    let (documents_app, _) = app(&documents, "/oss/callback");
    let (avatars_app, runs) = app(&avatars, "/oss/avatar");
    let token_of = async |app: &Router| token(app, "/oss/policy?type=image/png").await;
    let avatar = token_of(&avatars_app).await;
    let upload = Upload::of(avatar["key"].as_str().unwrap());
    let callback = &avatar["fields"]["callback"];
    // The documents route rejects a ticket for the avatar route, even with a valid signature.
    let astray = Upload {
        target: Some(URL),
        ..upload.clone()
    };
    assert_eq!(call(&documents_app, astray.callback(callback)).await.0, 403);
    assert_eq!(call(&avatars_app, upload.callback(callback)).await.0, 200);
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    let shanghai = documents.with_bucket("other".parse().unwrap(), "cn-shanghai".parse().unwrap());
    let (other_app, _) = app(&shanghai, "/oss/callback");
    let token = token_of(&other_app).await;
    assert_eq!(token["url"], "https://other.oss-cn-shanghai.aliyuncs.com");
    let key = token["key"].as_str().unwrap();
    let callback = &token["fields"]["callback"];
    let wrong = Upload::of(key).callback(callback);
    assert_eq!(call(&other_app, wrong).await.0, 403);
    let right = Upload {
        bucket: "other",
        ..Upload::of(key)
    };
    // One route can serve both buckets.
    assert_eq!(call(&documents_app, right.callback(callback)).await.0, 200);
}

#[tokio::test]
async fn behind_a_proxy_that_strips_a_prefix() {
    let url = "https://app.example/gw/oss/callback";
    let uploads = builder()
        .callback_url(url)
        .proxy_prefix("/gw")
        .build()
        .unwrap();
    let (app, _) = app(&uploads, "/oss/callback");
    let token = token(&app, "/oss/policy?type=image/png").await;
    let upload = Upload::of(token["key"].as_str().unwrap());
    let mut request = upload.callback(&token["fields"]["callback"]);
    assert_eq!(request.uri().path(), "/gw/oss/callback");
    *request.uri_mut() = "/oss/callback".parse().unwrap();
    assert_eq!(call(&app, request).await.0, 200);
    for wrong in ["/g", "/gw/o", "/other"] {
        let error = builder()
            .callback_url(url)
            .proxy_prefix(wrong)
            .build()
            .unwrap_err();
        assert_eq!(error, OssUploadsError::ProxyPrefix);
    }
}

#[tokio::test]
async fn rp_03_a_ticket_lives_as_long_as_the_policy_and_the_upload() {
    let start = SystemTime::now();
    let later = Arc::new(AtomicUsize::new(0));
    let clock = {
        let later = Arc::clone(&later);
        move || start + Duration::from_secs(later.load(Ordering::SeqCst) as u64)
    };
    let tickets = Tickets::in_memory(TicketKeys::new(1, key(1))).clock(clock);
    let uploads = without_tickets()
        .tickets(tickets)
        .callback_url(URL)
        .upload_time(Duration::from_secs(600))
        .build()
        .unwrap();
    let (app, _) = app(&uploads, "/oss/callback");
    let token = token(&app, "/oss/any").await;
    let ends = token["expires"].as_u64().unwrap();
    let lasts = ends
        - start
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
    for (after_policy, expected) in [(600, 200), (655, 200), (665, 403), (4000, 403)] {
        later.store((lasts + after_policy) as usize, Ordering::SeqCst);
        let object = format!("user/7/{after_policy}");
        let mut upload = Upload::of(&object);
        upload.content_type = "application/octet-stream";
        let request = upload.callback(&token["fields"]["callback"]);
        assert_eq!(
            call(&app, request).await.0.as_u16(),
            expected,
            "{after_policy}"
        );
    }
}

#[test]
fn settings_that_cannot_be() {
    let credentials = || Credentials::new("id", "secret").unwrap();
    let empty = || OssUploads::builder("examplebucket".parse().unwrap(), credentials());
    let region = || empty().region("cn-hangzhou".parse().unwrap());
    assert_eq!(empty().build().unwrap_err(), OssUploadsError::NoRegion);
    assert_eq!(region().build().unwrap_err(), OssUploadsError::NoCallback);
    let error = region().callback_url(URL).build().unwrap_err();
    assert_eq!(error, OssUploadsError::NoTicketKey);
    assert!(matches!(
        builder()
            .callback_url("https://h/a/%2E%2e/b")
            .build()
            .unwrap_err(),
        OssUploadsError::Callback(CallbackDirectiveError::Target(_))
    ));
    assert!(matches!(
        builder().callback_urls([URL; 6]).build().unwrap_err(),
        OssUploadsError::Callback(CallbackDirectiveError::TooManyUrls)
    ));
    // The template already uses the name of the ticket field.
    let taken = CallbackTemplate::form()
        .constant(TICKET_FIELD, "mine")
        .unwrap();
    let taken = CallbackDirective::new(URL).and_then(|callback| callback.body(taken));
    let error = builder().callback(taken.unwrap()).build().unwrap_err();
    assert!(
        matches!(error, OssUploadsError::Policy(PolicyError::Callback(_))),
        "{error:?}"
    );
    // Whatever the order of the setters.
    let callback = || region().callback_url(URL);
    let tickets = || Tickets::in_memory(TicketKeys::new(1, key(1)));
    for without in [
        callback().ticket_key(key(1)).dangerous_without_tickets(),
        callback().dangerous_without_tickets().ticket_key(key(1)),
        callback().tickets(tickets()).dangerous_without_tickets(),
        callback().dangerous_without_tickets().tickets(tickets()),
    ] {
        let error = without.build().unwrap_err();
        assert_eq!(error, OssUploadsError::WithoutTickets);
    }
    for twice in [
        callback().ticket_key(key(1)).tickets(tickets()),
        callback().tickets(tickets()).ticket_key(key(1)),
    ] {
        let error = twice.build().unwrap_err();
        assert_eq!(error, OssUploadsError::TicketKeyAndTickets);
    }
    for (error, remedy) in [
        (OssUploadsError::NoRegion, "call region"),
        (OssUploadsError::NoCallback, "call callback_url"),
        (OssUploadsError::NoTicketKey, "openssl rand -base64 32"),
        (OssUploadsError::TicketKeyAndTickets, "remove ticket_key"),
        (OssUploadsError::WithoutTickets, "remove one of them"),
        (OssUploadsError::BodyType, "remove it"),
        (OssUploadsError::ProxyPrefix, "must start with it"),
        (error, "is set twice"),
    ] {
        let text = error.to_string();
        assert!(
            text.starts_with(char::is_lowercase) && !text.ends_with('.'),
            "{text}"
        );
        let printed = format!("{error:?}");
        assert!(printed.contains(remedy), "{printed}");
    }
}

/// `fn main() -> Result<(), Box<dyn Error>>` prints the `Debug` of the error.
#[test]
fn errors_at_start_name_the_remedy_where_main_prints_them() {
    fn main_prints<T, E: std::error::Error + 'static>(started: Result<T, E>) -> String {
        let error: Box<dyn std::error::Error> = match started {
            Ok(_) => panic!("no error"),
            Err(error) => error.into(),
        };
        format!("{error:?}")
    }

    let size = SizeRange::new(1, 2).unwrap();
    let grant = || Grant::exact("a".parse().unwrap(), size);
    let slow = builder()
        .callback_url(URL)
        .upload_time(Duration::from_secs(30 * 86_400));
    let open = without_tickets()
        .callback_url(URL)
        .dangerous_without_tickets();
    let (slow, open) = (slow.build().unwrap(), open.build().unwrap());
    let wrong_variable = |_: &str| Some("canary\n".into());
    for (printed, text) in [
        (
            main_prints(TicketKey::from_env("OSS_TICKET_KEY_UNSET")),
            "OSS_TICKET_KEY_UNSET: the ticket key is not set; create one with \
             `openssl rand -base64 32`",
        ),
        (
            main_prints(TicketKey::from_base64("canary!")),
            "the ticket key is not standard Base64 with padding; create one with \
             `openssl rand -base64 32`",
        ),
        (
            main_prints(Credentials::from_env_with(|_| None)),
            "the environment contains no AccessKey; set OSS_ACCESS_KEY_ID and \
             OSS_ACCESS_KEY_SECRET",
        ),
        (
            main_prints(Credentials::from_env_with(wrong_variable)),
            "OSS_ACCESS_KEY_ID: the AccessKey id contains white space or an invisible character; \
             was a line feed copied with it?",
        ),
        (
            main_prints(builder().callback_url("ftp://app.example/cb").build()),
            "the callback is not valid: callbackUrl must start with http:// or https:// \
             (EC 0007-00000004)",
        ),
        (
            main_prints(builder().callback_url("https://h//a/../b").build()),
            "the callback is not valid: the path of callbackUrl is not usable, so the callback \
             would be rejected: the callback path contains a segment",
        ),
        (
            main_prints("oss-cn-hangzhou".parse::<Region>()),
            "a region is written without the \"oss-\" of its endpoint, for example cn-hangzhou",
        ),
        (
            main_prints(SizeRange::new(2, 1)),
            "the smallest size is above the largest",
        ),
        (
            main_prints(slow.callback_for(&grant())),
            "a ticket is valid for at most eight days; shorten the lifetime",
        ),
        (
            main_prints(open.callback_for(&grant().claims(&7))),
            "claims must serialise to JSON, and need tickets to carry them; set the ticket key",
        ),
        (
            main_prints(open.callback_for(&grant().without_callback())),
            "a grant without a callback needs tickets, has neither claims nor variables, and is not \
             for signed URLs of any length, as uppy uploads parts; set the ticket key, or remove \
             without_callback",
        ),
    ] {
        assert!(printed.starts_with(text), "{printed}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[tokio::test]
async fn a_key_source_for_both_halves() {
    let keys: Box<dyn KeySource> = Box::new(CallbackSigner::new().key_source());
    let uploads = builder()
        .callback_url(URL)
        .key_source(keys)
        .build()
        .unwrap();
    let (app, runs) = app(&uploads, "/oss/callback");
    let token = token(&app, "/oss/policy?size=5&type=image/png").await;
    let upload = Upload::of(token["key"].as_str().unwrap());
    let callback = token["fields"]["callback"].clone();
    let (status, reply) = call(&app, upload.callback(&callback)).await;
    assert_eq!(
        (status, runs.load(Ordering::SeqCst)),
        (StatusCode::OK, 1),
        "{reply}"
    );
    // By default, the layer trusts the published key alone.
    let published = tower_aliyun_oss::key::PinnedKeys::official();
    let other = builder()
        .callback_url(URL)
        .key_source(published)
        .build()
        .unwrap();
    let (app, _) = self::app(&other, "/oss/callback");
    let (status, _) = call(&app, upload.callback(&callback)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[test]
fn pl_20_neither_half_shows_its_keys() {
    let credentials = Credentials::new("LTAI5tExample", "canary-secret").unwrap();
    let builder = OssUploads::builder("examplebucket".parse().unwrap(), credentials)
        .region("cn-hangzhou".parse().unwrap())
        .endpoint(Endpoint::accelerate())
        .ticket_key(TicketKey::from_bytes(b"canary-key-canary-key-canary-key").unwrap())
        .callback_url(URL);
    let shown = format!("{builder:?}");
    let uploads = builder.build().unwrap();
    let shown = format!(
        "{shown} {uploads:?} {:?} {:?}",
        uploads.policy_service(authorize),
        uploads.callback_layer()
    );
    assert!(!shown.contains("canary"), "{shown}");
}
