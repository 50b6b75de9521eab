//! Forged and replayed callbacks, sent to the callback route itself.

use std::sync::Arc;

use axum::{Json, Router, body::Body, extract::State, response::IntoResponse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    protocol::TICKET_FIELD,
    testing::{CallbackBuilder, CallbackSigner},
};

use crate::{
    backend::CALLBACK_PATH,
    callback::{Callback, Watched},
    feed,
};

/// A false claim: an upload that did not happen.
const LIE: &str = "bucket=demo-bucket&object=demo%2Finvented.png&size=1&mimeType=image%2Fpng";
const KEY_URL_HEADER: &str = "x-oss-pub-key-url";

pub(crate) struct Attacks {
    /// The callback route, including the layer.
    pub(crate) route: Router,
    pub(crate) watched: Watched,
    /// The URL of the route.
    pub(crate) callback_url: String,
    /// Signs as OSS does for its customers. `None` for the real OSS.
    pub(crate) signer: Option<CallbackSigner>,
}

/// Sends forgeries and returns the result of each.
pub(crate) async fn forge(State(attacks): State<Arc<Attacks>>) -> Json<Value> {
    let mut attempts = vec![
        attacks.attempt("unsigned", unsigned()).await,
        attacks.attempt("ownKey", attacks.own_key()).await,
    ];
    let last = attacks.watched.last();
    if let Some(signer) = &attacks.signer {
        let foreign = attacks.signed(signer, LIE.as_bytes());
        attempts.push(attacks.attempt("otherCustomer", foreign).await);
        if let Some(stolen) = last.as_ref().and_then(stolen_ticket) {
            let request = attacks.signed(signer, stolen.as_bytes());
            attempts.push(attacks.attempt("stolenTicket", request).await);
        }
    }
    if let Some(last) = last {
        attempts.push(attacks.attempt("changed", changed(last)).await);
    }
    Json(attempts.into())
}

/// Sends the last genuine callback again, unmodified.
pub(crate) async fn replay(State(attacks): State<Arc<Attacks>>) -> impl IntoResponse {
    let Some(last) = attacks.watched.last() else {
        let error = json!({ "code": "NothingToReplay", "message": "no callback was received yet" });
        return (StatusCode::CONFLICT, Json(error));
    };
    (StatusCode::OK, Json(attacks.attempt("replay", last).await))
}

impl Attacks {
    async fn attempt(&self, name: &str, callback: Callback) -> Value {
        let before = self.watched.runs();
        let sent = json!({
            "target": callback.target,
            "headers": feed::headers(&callback.headers),
            "body": String::from_utf8_lossy(&callback.body),
        });
        let (status, answer) = self.send(callback).await;
        json!({
            "name": name,
            "sent": sent,
            "status": status.as_u16(),
            "answer": String::from_utf8_lossy(&answer),
            "runsBefore": before,
            "runsAfter": self.watched.runs(),
        })
    }

    /// Signed, but the key URL points to the attacker's own server.
    fn own_key(&self) -> Callback {
        let mut callback = self.signed(&CallbackSigner::new(), LIE.as_bytes());
        let url = STANDARD.encode("http://gosspublic.alicdn.com.attacker.example/key.pem");
        if let Ok(url) = HeaderValue::try_from(url) {
            callback.headers.insert(KEY_URL_HEADER, url);
        }
        callback
    }

    fn signed(&self, signer: &CallbackSigner, body: &[u8]) -> Callback {
        let request = signer
            .callback(&self.callback_url)
            .bucket("bucket-of-another-customer")
            .form(Bytes::copy_from_slice(body));
        let request = CallbackBuilder::request::<Bytes>(request);
        let headers = request.map(|request| request.into_parts().0.headers);
        Callback {
            target: CALLBACK_PATH.to_owned(),
            headers: headers.unwrap_or_default(),
            body: Bytes::copy_from_slice(body),
        }
    }

    async fn send(&self, callback: Callback) -> (StatusCode, Bytes) {
        let request = Request::post(callback.target).body(Body::from(callback.body));
        let Ok(mut request) = request else {
            return (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
        };
        *request.headers_mut() = callback.headers;
        let Ok(response) = self.route.clone().oneshot(request).await;
        let status = response.status();
        let body = response.into_body().collect().await;
        (status, body.map(|body| body.to_bytes()).unwrap_or_default())
    }
}

/// A request without a signature, which any client can send.
fn unsigned() -> Callback {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    Callback {
        target: CALLBACK_PATH.to_owned(),
        headers: [(http::header::CONTENT_TYPE, form)].into_iter().collect(),
        body: LIE.into(),
    }
}

/// A genuine callback with one digit of its size changed.
fn changed(mut last: Callback) -> Callback {
    let mut body = last.body.to_vec();
    let size = body.windows(5).position(|name| name == b"size=");
    if let Some(digit) = size.and_then(|at| body.get_mut(at + 5)) {
        *digit = if *digit == b'9' { b'8' } else { b'9' };
    }
    last.body = body.into();
    last
}

/// A body about an object that was never granted, with the ticket of another upload.
fn stolen_ticket(last: &Callback) -> Option<String> {
    let body = std::str::from_utf8(&last.body).ok()?;
    let ticket = body
        .split('&')
        .find(|field| field.split('=').next() == Some(TICKET_FIELD))?;
    Some(format!("{LIE}&reqId=0&etag=0&{ticket}"))
}
