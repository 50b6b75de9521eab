//! Uploads in parts: one row for each handle.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use tower_aliyun_oss::{
    policy::{OssPresignService, PresignFormat},
    storage::{CompletedUpload, MultipartStorage, PartPage, StorageError},
};

use super::*;

fn service(uploads: &OssUploads, grants: impl Into<Grants>) -> OssPresignService<impl Authorize> {
    uploads.presign_service(always(grants)).unwrap()
}

async fn presign(service: &OssPresignService<impl Authorize>, body: &Value) -> Answer {
    let request = Request::post("/oss/presign")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    Answer::of(service.clone().oneshot(request).await.unwrap()).await
}

fn create() -> Value {
    json!({ "action": "create", "filename": "a.png", "size": 5, "type": "image/png" })
}

/// Returns the parameters of the callback in the query of a signed request.
fn callback_of(request: &Value) -> Value {
    let (_, query) = request["url"].as_str().unwrap().split_once('?').unwrap();
    let callback = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("callback="));
    let callback = percent_decode_str(callback.unwrap()).decode_utf8().unwrap();
    serde_json::from_slice(&STANDARD.decode(&*callback).unwrap()).unwrap()
}

#[tokio::test]
async fn ps_12_an_upload_is_recorded_before_its_handle_is_sent() {
    for grant in [
        under(),
        any_name(),
        Grant::exact("u/x.png".parse().unwrap(), SizeRange::new(1, 9).unwrap())
            .content_type("image/png".parse().unwrap()),
    ] {
        let ledger = Ledger::default();
        let builder = builder().callback_url(URL).ledger(ledger.clone());
        let uploads = builder.upload_time(10 * MINUTE).build().unwrap();
        let grant = grant.variable("x:b", "2").lifetime(300 * MINUTE);
        let service = service(&uploads, grant);
        let created = presign(&service, &create()).await;
        assert_eq!(created.status, 200, "{}", created.json);
        assert!(ledger.recorded.load(Ordering::SeqCst));
        let rows = ledger.rows().await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(row.key().as_str(), created.json["key"]);
        assert_eq!(row.bucket().as_str(), "examplebucket");
        let handle_ends = created.json["expires"].as_u64().unwrap();
        let handle_ends = SystemTime::UNIX_EPOCH + Duration::from_secs(handle_ends);
        assert_eq!(row.granted_at(), handle_ends - 300 * MINUTE);
        assert_eq!(row.expires(), handle_ends + 10 * MINUTE);
        assert_eq!(row.due_at(), handle_ends + 11 * MINUTE);

        // The callbacks of all requests that store the object are that of the row. None of them,
        // and no other step, adds another.
        for action in ["complete", "put", "parts", "list", "abort", "complete"] {
            let body = json!({
                "action": action, "handle": created.json["handle"], "uploadId": "U", "parts": [1],
            });
            let answer = presign(&service, &body).await;
            assert_eq!(answer.status, 200, "{action}: {}", answer.json);
            if ["complete", "put"].contains(&action) {
                let callback = callback_of(&answer.json["request"]);
                assert_eq!(row.call().template(), callback["callbackBody"], "{action}");
            }
        }
        assert_eq!(row.call().target(), "/oss/callback");
        assert_eq!(
            row.call().get_variables().collect::<Vec<_>>(),
            [("x:b", "2")]
        );
        assert_eq!(ledger.grants.load(Ordering::SeqCst), 1);
    }
}

/// The requests of `signRequest` that create an upload, in parts and whole.
#[tokio::test]
async fn ps_12_an_upload_of_uppy_is_recorded() {
    for (method, rest) in [("POST", 1), ("PUT", 0)] {
        let ledger = Ledger::default();
        let grant = under().lifetime(300 * MINUTE);
        let service = service(&with(&ledger), grant).format(PresignFormat::SignRequest);
        let body = json!({ "method": method, "key": "a.png" });
        let created = presign(&service, &body).await;
        assert_eq!(created.status, 200, "{}", created.json);
        let rows = ledger.rows().await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let url = created.json["url"].as_str().unwrap();
        assert!(url.contains(&row.key().to_string()), "{url}");
        for number in 1..=rest {
            let part = json!({
                "method": "PUT", "key": created.json["key"], "uploadId": "U", "partNumber": number,
            });
            assert_eq!(presign(&service, &part).await.status, 200);
        }
        assert_eq!(ledger.grants.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn ps_13_without_the_ledger_there_is_no_handle() {
    for (kind, seconds) in [
        (StoreErrorKind::Full, "60"),
        (StoreErrorKind::Unavailable, "5"),
        (StoreErrorKind::TimedOut, "5"),
    ] {
        let ledger = Ledger::default();
        ledger.fail(Some(kind));
        let formats = [
            (PresignFormat::Json, create()),
            (
                PresignFormat::SignRequest,
                json!({ "method": "POST", "key": "a.png" }),
            ),
            (
                PresignFormat::SignRequest,
                json!({ "method": "PUT", "key": "a.png" }),
            ),
        ];
        for (format, body) in formats {
            let answer = presign(&service(&with(&ledger), under()).format(format), &body).await;
            assert_eq!(answer.status, 503);
            assert_eq!(answer.kind(), Some(TokenErrorKind::LedgerUnavailable));
            assert_eq!(answer.json["code"], "LedgerUnavailable");
            assert_eq!(answer.json.as_object().unwrap().len(), 2, "{}", answer.json);
            assert!(!answer.json.to_string().contains("canary"));
            assert_eq!(answer.retry_after.as_deref(), Some(seconds));

            // Chosen by name.
            let builder = builder().callback_url(URL).ledger(ledger.clone());
            let uploads = builder.dangerous_issue_when_ledger_fails().build().unwrap();
            let answer = presign(&service(&uploads, under()).format(format), &body).await;
            assert_eq!((answer.status.as_u16(), ledger.open().await), (200, 0));
        }
    }
}

/// A storage that must not be asked.
struct NoStorage;

impl MultipartStorage for NoStorage {
    fn initiate(&self, _: &Bucket, _: &str, _: HeaderMap) -> Lookup<String, StorageError> {
        panic!("an upload is created that is not recorded")
    }

    fn list_parts(
        &self,
        _: &Bucket,
        _: &str,
        _: &str,
        _: Option<u16>,
    ) -> Lookup<PartPage, StorageError> {
        unreachable!()
    }

    fn complete(
        &self,
        _: &Bucket,
        _: &str,
        _: &str,
        _: &[(u16, String)],
        _: HeaderMap,
    ) -> Lookup<CompletedUpload, StorageError> {
        unreachable!()
    }

    fn abort(&self, _: &Bucket, _: &str, _: &str) -> Lookup<(), StorageError> {
        unreachable!()
    }
}

#[tokio::test]
async fn ps_13_companion_creates_no_upload_without_the_ledger() {
    let ledger = Ledger::default();
    ledger.fail(Some(StoreErrorKind::Full));
    let service = service(&with(&ledger), under()).storage(NoStorage);
    for (method, path) in [
        ("POST", "/s3/multipart"),
        ("GET", "/s3/params?filename=a.png&type=image/png"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(r#"{"filename":"a.png","type":"image/png"}"#))
            .unwrap();
        let answer = Answer::of(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.kind(), Some(TokenErrorKind::LedgerUnavailable));
        assert_eq!(answer.retry_after.as_deref(), Some("60"));
    }
    assert_eq!(ledger.grants.load(Ordering::SeqCst), 2);
}

/// A `GET` needs no CORS preflight, so any page can have a browser send it.
#[tokio::test]
async fn ps_17_pages_of_other_sites_get_no_token_with_the_cookies_of_a_user() {
    let ledger = Ledger::default();
    let service = service(&with(&ledger), under()).storage(NoStorage);
    for (site, credential, status) in [
        (Some("cross-site"), Some("cookie"), 403),
        (Some("cross-site"), Some("authorization"), 403),
        (Some("cross-site"), None, 200),
        (Some("same-site"), Some("cookie"), 200),
        (Some("same-origin"), Some("cookie"), 200),
        (None, Some("cookie"), 200),
    ] {
        let before = ledger.grants.load(Ordering::SeqCst);
        let mut request = Request::get("/s3/params?filename=a.png&type=image/png");
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        if let Some(credential) = credential {
            request = request.header(credential, "secret");
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = Answer::of(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, status, "{site:?} {credential:?}");
        let recorded = ledger.grants.load(Ordering::SeqCst) - before;
        assert_eq!(
            recorded,
            usize::from(status == 200),
            "{site:?} {credential:?}"
        );
        if status == 403 {
            assert_eq!(answer.kind(), Some(TokenErrorKind::CrossSite));
            assert!(!answer.json.to_string().contains("secret"));
        }
    }
}

/// A handle that the client has continues without the ledger.
#[tokio::test]
async fn ps_13_a_handle_needs_no_ledger() {
    let ledger = Ledger::default();
    let service = service(&with(&ledger), under());
    let created = presign(&service, &create()).await;
    ledger.fail(Some(StoreErrorKind::Unavailable));
    for action in ["parts", "complete"] {
        let body = json!({
            "action": action, "handle": created.json["handle"], "uploadId": "U", "parts": [1],
        });
        assert_eq!(presign(&service, &body).await.status, 200, "{action}");
    }
}

/// Refused requests, downloads, and grants that are excluded record nothing.
#[tokio::test]
async fn ps_14_what_is_excluded_is_not_recorded() {
    let ledger = Ledger::default();
    let uploads = with(&ledger);
    for (grant, body, status) in [
        (under().unrecovered(), create(), 200),
        (any_name().unrecovered(), create(), 200),
        (under().without_callback(), create(), 200),
        (
            Grant::read("u/".parse::<ObjectPrefix>().unwrap()),
            json!({ "action": "get", "key": "u/a.png" }),
            200,
        ),
        (
            Grant::read("u/".parse::<ObjectPrefix>().unwrap()),
            create(),
            403,
        ),
        (
            under(),
            json!({ "action": "create", "filename": "a.png", "size": 5000 }),
            403,
        ),
    ] {
        let answer = presign(&service(&uploads, grant), &body).await;
        assert_eq!(answer.status, status, "{body} {}", answer.json);
    }
    assert_eq!(ledger.grants.load(Ordering::SeqCst), 0);
}
