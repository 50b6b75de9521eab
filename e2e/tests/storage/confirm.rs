//! The attack "my ticket, my bucket": the holder of a ticket has OSS sign false callbacks.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::net::TcpListener;
use tower_aliyun_oss::{
    OssUploads, TicketKey,
    callback::{CallbackReply, ConfirmedUpload},
    policy::{CallbackDirective, Grant},
    protocol::SizeRange,
    storage::{ObjectMetadata, OssClient},
};

use super::support::{BUCKET, OTHER, Oss, REGION, Stored, credentials};

const PNG: (&str, &str) = ("content-type", "image/png");

/// An application that confirms uploads.
struct App {
    oss: Oss,
    uploads: OssUploads,
    runs: Arc<AtomicUsize>,
    confirmed: Arc<Mutex<Option<ObjectMetadata>>>,
}

impl App {
    async fn start() -> Self {
        let oss = Oss::start().await;
        let client = oss.client();
        Self::confirming(oss, client).await
    }

    async fn confirming(oss: Oss, client: OssClient) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uploads = OssUploads::builder(BUCKET.parse().unwrap(), credentials())
            .region(REGION.parse().unwrap())
            .endpoint(oss.endpoint())
            .callback_url(&format!("http://{address}/oss/callback"))
            .ticket_key(TicketKey::generate().unwrap())
            .confirm(client)
            .build()
            .unwrap();
        let app = Self {
            oss,
            uploads,
            runs: Arc::default(),
            confirmed: Arc::default(),
        };
        let (runs, confirmed) = (Arc::clone(&app.runs), Arc::clone(&app.confirmed));
        let on_upload = async move |upload: ConfirmedUpload| {
            runs.fetch_add(1, Ordering::SeqCst);
            *confirmed.lock().unwrap() = Some(upload.metadata().clone());
            CallbackReply::ok()
        };
        let layer = app.uploads.callback_layer();
        let layer = layer.key_source(app.oss.emulator.key_source());
        let router: Router = Router::new().route("/oss/callback", post(on_upload).layer(layer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        app
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn callback(&self, key: &str) -> CallbackDirective {
        let types = ["image/png", "image/gif"].map(|name| name.parse().unwrap());
        let grant = Grant::exact(key.parse().unwrap(), SizeRange::new(1, 1000).unwrap())
            .content_types(types);
        self.uploads.callback_for(&grant).unwrap()
    }
}

impl App {
    /// Uploads an object with its callback.
    async fn upload(&self, key: &str, callback: &CallbackDirective) -> Stored {
        let headers: Vec<_> = callback.headers().collect();
        let mut all = vec![PNG];
        all.extend(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap())),
        );
        self.oss.put(BUCKET, key, &all, b"hello").await
    }
}

/// What a forged callback reports.
struct Forged {
    size: &'static str,
    etag: &'static str,
    content_type: &'static str,
}

const TRUE: Forged = Forged {
    size: "5",
    etag: "5D41402ABC4B2A76B9719D911017C592",
    content_type: "image%2Fpng",
};

/// Returns the header of a callback whose variables are replaced by constants.
fn forge(callback: &CallbackDirective, key: &str, forged: &Forged) -> String {
    let mut headers = callback.headers();
    let (_, value) = headers.find(|(name, _)| *name == "x-oss-callback").unwrap();
    let json = STANDARD.decode(value.as_bytes()).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut body = json["callbackBody"].as_str().unwrap().to_owned();
    for (variable, value) in [
        ("${bucket}", BUCKET),
        ("${object}", &key.replace('/', "%2F")),
        ("${size}", forged.size),
        ("${etag}", forged.etag),
        ("${mimeType}", forged.content_type),
        ("${crc64}", ""),
        ("${contentMd5}", ""),
    ] {
        assert!(body.contains(variable), "{variable}");
        body = body.replace(variable, value);
    }
    json["callbackBody"] = body.into();
    STANDARD.encode(json.to_string())
}

#[tokio::test]
async fn co_03_a_holder_of_a_ticket_cannot_report_what_is_not_there() {
    let app = App::start().await;
    let attacks = [
        ("no object", false, TRUE),
        (
            "size",
            true,
            Forged {
                size: "999",
                ..TRUE
            },
        ),
        (
            "type",
            true,
            Forged {
                content_type: "image%2Fgif",
                ..TRUE
            },
        ),
        (
            "etag",
            true,
            Forged {
                etag: "00000000000000000000000000000000",
                ..TRUE
            },
        ),
    ];
    for (run, (name, exists, forged)) in attacks.into_iter().enumerate() {
        let key = format!("user/1/{run}.png");
        let callback = app.callback(&key);
        if exists {
            let stored = app.oss.put(BUCKET, &key, &[PNG], b"hello").await;
            stored.assert_stored();
        }
        let header = ("x-oss-callback", &*forge(&callback, &key, &forged));
        let refused = app.oss.put(OTHER, "x", &[PNG, header], b"anything").await;
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 203, "{name}: {body}");
        assert!(body.contains("Error status : 403."), "{name}: {body}");
        assert_eq!(app.runs(), run, "{name}");

        // The ticket is free: the genuine upload takes effect.
        app.upload(&key, &callback).await.assert_stored();
        assert_eq!(app.runs(), run + 1, "{name}");
        let confirmed = app.confirmed.lock().unwrap().take().unwrap();
        assert_eq!(
            (confirmed.size(), confirmed.content_type()),
            (5, Some("image/png"))
        );
        assert_eq!(confirmed.etag(), Some(TRUE.etag));
    }
}

/// A forged callback that reports the truth is worth nothing to its sender.
#[tokio::test]
async fn co_01_what_is_stored_as_reported_is_confirmed() {
    let app = App::start().await;
    let callback = app.callback("a.png");
    app.oss
        .put(BUCKET, "a.png", &[PNG], b"hello")
        .await
        .assert_stored();
    let header = ("x-oss-callback", &*forge(&callback, "a.png", &TRUE));
    app.oss
        .put(OTHER, "x", &[PNG, header], b"anything")
        .await
        .assert_stored();
    assert_eq!(app.runs(), 1);
}

#[tokio::test]
async fn co_04_wrong_credentials_refute_nothing() {
    let oss = Oss::start().await;
    let wrong = tower_aliyun_oss::Credentials::new("nobody", "wrong").unwrap();
    let client = OssClient::new(REGION.parse().unwrap(), wrong).endpoint(oss.endpoint());
    let app = App::confirming(oss, client).await;
    let callback = app.callback("a.png");
    let refused = app.upload("a.png", &callback).await;
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 203, "{body}");
    assert!(body.contains("Error status : 503."), "{body}");
    assert_eq!(app.runs(), 0);
}
