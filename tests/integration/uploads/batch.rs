//! The files of a batch stay apart: claims for each, and the file name of the request, which the
//! ticket seals (RP-41).

use axum::{Router, body::Body, routing::post};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tower_aliyun_oss::{
    policy::{Authorize, Grants, RequestedFiles},
    ticket::MAX_TICKET_LEN,
};

use super::*;

/// The longest name that a request can have, in bytes.
const LONGEST: usize = 1023;

fn grant() -> Grant {
    Grant::under("album/".parse().unwrap(), SizeRange::new(1, 1000).unwrap())
        .content_type("image/png".parse().unwrap())
}

/// Returns what the handler learns about the file.
async fn on_file(Extension(runs): Extension<Runs>, callback: VerifiedCallback) -> CallbackReply {
    runs.fetch_add(1, Ordering::SeqCst);
    let reply = json!({
        "filename": callback.requested_filename(),
        "claims": callback.claims::<Value>().unwrap(),
    });
    CallbackReply::json(&reply).unwrap()
}

fn app(uploads: &OssUploads, authorize: impl Authorize) -> (Router, Runs) {
    let runs = Runs::default();
    let layer = uploads.callback_layer();
    let app = Router::new()
        .route_service("/oss/policy", uploads.policy_service(authorize))
        .route("/oss/callback", post(on_file).route_layer(layer))
        .layer(Extension(Arc::clone(&runs)));
    (app, runs)
}

fn always(grants: impl Into<Grants>) -> impl Authorize {
    let grants = grants.into();
    async move |_: &Parts| Ok::<_, Refusal>(grants.clone())
}

async fn ask(app: &Router, ask: &Value) -> (StatusCode, Value) {
    let request = Request::post("/oss/policy")
        .header("content-type", "application/json")
        .body(Body::from(ask.to_string()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn tokens(app: &Router, names: &[Option<&str>]) -> Vec<Value> {
    let files: Vec<_> = names
        .iter()
        .map(|name| json!({ "filename": name, "size": 5, "type": "image/png" }))
        .collect();
    let (status, answer) = ask(app, &json!({ "files": files })).await;
    assert_eq!(status, 200, "{answer}");
    answer["uploads"].as_array().unwrap().clone()
}

fn callback_of<'a>(token: &'a Value, object: &'a Value) -> Request<Full<Bytes>> {
    Upload::of(object.as_str().unwrap()).callback(&token["fields"]["callback"])
}

/// Returns the callback parameters of a token with another ticket.
fn with_ticket(token: &Value, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Value {
    let callback = token["fields"]["callback"].as_str().unwrap();
    let text = String::from_utf8(STANDARD.decode(callback).unwrap()).unwrap();
    let (head, rest) = text.split_once(&format!("{TICKET_FIELD}=")).unwrap();
    let end = rest.find(['"', '&']).unwrap();
    let ticket = URL_SAFE_NO_PAD.decode(&rest[..end]).unwrap();
    let ticket = URL_SAFE_NO_PAD.encode(change(ticket));
    let changed = format!("{head}{TICKET_FIELD}={ticket}{}", &rest[end..]);
    json!(STANDARD.encode(changed))
}

/// Replaces a text by one of the same length.
fn replaced(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes
        .windows(from.len())
        .position(|part| part == from.as_bytes());
    let at = at.expect("the ticket contains the text");
    [&bytes[..at], to.as_bytes(), &bytes[at + to.len()..]].concat()
}

#[tokio::test]
async fn rp_41_each_callback_of_a_batch_has_the_claims_and_the_name_of_its_file() {
    async fn album(parts: &Parts) -> Result<Vec<Grant>, Refusal> {
        let requested: &RequestedFiles = parts.extensions.get().ok_or_else(Refusal::forbidden)?;
        let pages = 1..=requested.files().len();
        Ok(pages
            .map(|page| grant().claims(&("album 7", page)))
            .collect())
    }

    let names = [
        Some("a.png"),
        Some("../b\u{202e}gnp.exe\r\n\0&x:ticket=\"${object}<b>.png"),
        Some("中文 + 100%.png"),
        None,
        Some(""),
        // The name of another file in the batch.
        Some("a.png"),
    ];
    for body_type in [CallbackBodyType::Form, CallbackBodyType::Json] {
        let uploads = builder().body_type(body_type).callback_url(URL);
        let (app, runs) = app(&uploads.build().unwrap(), album);
        let tokens = tokens(&app, &names).await;
        assert_eq!(tokens.len(), names.len());

        // The ticket of one file does not serve another.
        for (one, other) in tokens.iter().zip(tokens.iter().cycle().skip(1)) {
            let (status, _) = call(&app, callback_of(one, &other["key"])).await;
            assert_eq!(status, 403);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 0);

        // In another order than requested.
        for (index, (token, name)) in tokens.iter().zip(names).enumerate().rev() {
            let (status, reply) = call(&app, callback_of(token, &token["key"])).await;
            let name = name.filter(|name| !name.is_empty());
            let expected = json!({ "filename": name, "claims": ["album 7", index + 1] });
            assert_eq!((status, reply), (StatusCode::OK, expected));
        }
        assert_eq!(runs.load(Ordering::SeqCst), names.len());
    }
}

#[tokio::test]
async fn rp_41_one_grant_for_several_files_keeps_their_names() {
    let uploads = builder().callback_url(URL).build().unwrap();
    let album = grant().max_files(3).claims(&"album 7");
    let (app, _) = app(&uploads, always(album));
    let names = [Some("a.png"), None, Some("b.png")];
    for (token, name) in tokens(&app, &names).await.iter().zip(names) {
        let (status, reply) = call(&app, callback_of(token, &token["key"])).await;
        let expected = json!({ "filename": name, "claims": "album 7" });
        assert_eq!((status, reply), (StatusCode::OK, expected));
    }
}

#[tokio::test]
async fn rp_41_the_holder_of_a_token_cannot_change_the_name() {
    let uploads = builder().callback_url(URL).build().unwrap();
    let (app, runs) = app(&uploads, always(grant().max_files(2)));
    let tokens = tokens(&app, &[Some("invoice.png"), Some("payment.png")]).await;
    let [token, _] = &tokens[..] else { panic!() };
    let upload = Upload::of(token["key"].as_str().unwrap());

    let renamed = with_ticket(token, |ticket| replaced(ticket, "invoice", "payment"));
    assert_eq!(call(&app, upload.callback(&renamed)).await.0, 403);
    // One text is as long as two, with other lengths between them.
    let moved = with_ticket(token, |ticket| {
        replaced(ticket, "\0\x0binvoice", "\0\x04invoice")
    });
    assert_eq!(call(&app, upload.callback(&moved)).await.0, 403);
    assert_eq!(runs.load(Ordering::SeqCst), 0);

    let unchanged = with_ticket(token, |ticket| ticket);
    let (status, reply) = call(&app, upload.callback(&unchanged)).await;
    assert_eq!(
        (status, &reply["filename"]),
        (StatusCode::OK, &json!("invoice.png"))
    );
}

/// OSS accepts 5 KiB for the whole callback.
#[tokio::test]
async fn rp_41_the_longest_name_fits_beside_long_claims() {
    let urls = ["/a", "/b", "/c", "/d"].map(|path| format!("https://app.example{path}"));
    let directive =
        CallbackDirective::with_urls([URL].into_iter().chain(urls.iter().map(|u| &**u)));
    let uploads = builder().callback(directive.unwrap()).build().unwrap();
    let claims = "c".repeat(600);
    let (app, _) = app(&uploads, always(grant().max_files(2).claims(&claims)));
    let longest = "中".repeat(LONGEST / 3);
    let names = [Some(&*longest), Some("a.png")];
    for (token, name) in tokens(&app, &names).await.iter().zip(names) {
        let callback = token["fields"]["callback"].as_str().unwrap();
        assert!(callback.len() <= 5 * 1024, "{}", callback.len());
        with_ticket(token, |ticket| {
            assert!(URL_SAFE_NO_PAD.encode(&ticket).len() <= MAX_TICKET_LEN);
            ticket
        });
        let (status, reply) = call(&app, callback_of(token, &token["key"])).await;
        let expected = json!({ "filename": name, "claims": claims });
        assert_eq!((status, reply), (StatusCode::OK, expected));
    }

    // A longer name is refused, not cut.
    let longer = format!("{longest}a");
    let (status, answer) = ask(&app, &json!({ "filename": longer, "type": "image/png" })).await;
    assert_eq!(
        (status.as_u16(), &answer["code"]),
        (400, &json!("InvalidAsk"))
    );
    assert!(answer["message"].as_str().unwrap().contains("1023"));
}

#[tokio::test]
async fn rp_41_a_name_that_does_not_fit_into_the_ticket_is_refused() {
    let exact = |claims: usize| {
        let key = "k".repeat(1000).parse().unwrap();
        let grant = Grant::exact(key, SizeRange::new(1, 1000).unwrap());
        grant.claims(&"c".repeat(claims))
    };
    // The rest of a long body leaves less room than the limit of a ticket.
    let constant = CallbackTemplate::standard(CallbackBodyType::Form)
        .constant("note", &"n".repeat(500))
        .unwrap();
    let long_body = CallbackDirective::new(URL).unwrap().body(constant).unwrap();
    let usual = CallbackDirective::new(URL).unwrap();
    for (callback, claims, fits, is_grant_valid) in [
        (&usual, 1000, 100, true),
        (&usual, 1020, 80, true),
        (&long_body, 900, 20, true),
        (&long_body, 1020, 0, false),
    ] {
        let uploads = builder().callback(callback.clone()).build().unwrap();
        let (app, _) = app(&uploads, always(exact(claims)));
        let named = async |length: usize| {
            let file = json!({ "filename": "n".repeat(length), "size": 5 });
            let (status, answer) = ask(&app, &file).await;
            (status.as_u16(), answer["code"].clone())
        };
        if is_grant_valid {
            assert_eq!(named(0).await, (200, Value::Null), "{claims}");
            assert_eq!(named(fits).await, (200, Value::Null), "{claims}");
            // Caused by the client, so it is not a mistake of the server.
            assert_eq!(named(LONGEST).await, (400, json!("InvalidAsk")), "{claims}");
        } else {
            assert_eq!(named(0).await, (500, json!("PolicyUnavailable")));
            assert_eq!(named(LONGEST).await, (500, json!("PolicyUnavailable")));
        }
    }
}

/// As the documentation recommends for logs.
#[test]
fn rp_41_a_debug_text_escapes_what_hides_or_reorders_a_name() {
    let marks = "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}";
    let name = format!("a\"\\\r\n\0\u{1b}\u{7f}\u{85}{marks}照片.png");
    let shown = format!("{name:?}");
    assert!(shown.ends_with("照片.png\""));
    let bare = shown.replace("照片", "");
    assert!(
        bare.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{shown}"
    );
}

#[tokio::test]
async fn without_a_ticket_there_is_no_requested_name() {
    async fn on_any(callback: VerifiedCallback) -> CallbackReply {
        assert_eq!(callback.requested_filename(), None);
        CallbackReply::ok()
    }
    let uploads = without_tickets()
        .callback_url(URL)
        .dangerous_without_tickets()
        .build()
        .unwrap();
    let layer = uploads.callback_layer();
    let app = Router::new()
        .route_service("/oss/policy", uploads.policy_service(always(grant())))
        .route("/oss/callback", post(on_any).route_layer(layer));
    let token = token(&app, "/oss/policy?filename=a.png&type=image/png").await;
    let (status, _) = call(&app, callback_of(&token, &token["key"])).await;
    assert_eq!(status, 200);
}
