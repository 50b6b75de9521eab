//! Prints the verdict of the layer for every case in `tests/cases`, one line each.
//!
//! `.ci/run verdicts` builds it once for each feature and compares the lines. Only lines that start
//! with `nested` may differ, and only with feature `axum`, as its documentation states.

use std::{convert::Infallible, error::Error};

use axum::extract::OriginalUri;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackError, CallbackReply, RequestBody},
};

const FORM: &str = "application/x-www-form-urlencoded";
const CALLBACKS: &str = include_str!("../cases/callbacks.json");
const KEY_URLS: &str = include_str!("../cases/key_urls.json");
const TARGETS: &str = include_str!("../cases/request_targets.json");
const COLLISION: &str = include_str!("../cases/md5_collision.json");
/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
const KEY_URL: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

/// A request before routing.
#[derive(Clone)]
struct Case {
    name: String,
    target: String,
    authorization: String,
    key_url: String,
    content_type: String,
    body: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for case in cases()? {
        println!("plain {} {}", case.name, answer(&case, None).await);
        let changed = Case {
            body: [&case.body[..], b"x"].concat().into(),
            ..case.clone()
        };
        println!("changed {} {}", case.name, answer(&changed, None).await);
        // As a handler behind `Router::nest("/outer", ..)` sees a request for the signed path.
        println!(
            "nested {} {}",
            case.name,
            answer(&case, Some("/inner")).await
        );
    }
    Ok(())
}

fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = Vec::new();
    let genuine: Vec<Value> = serde_json::from_str(CALLBACKS)?;
    for callback in &genuine {
        let header = |name: &str| callback["headers"][name].as_str().unwrap_or_default();
        let body = text(&callback["body"]);
        let content_type = match header("content-type") {
            "" if body.starts_with('{') => "application/json",
            "" => FORM,
            given => given,
        };
        cases.push(Case {
            name: text(&callback["name"]),
            target: text(&callback["path_and_query"]),
            authorization: header("authorization").to_owned(),
            key_url: header("x-oss-pub-key-url").to_owned(),
            content_type: content_type.to_owned(),
            body: body.into(),
        });
    }
    let first = cases.first().cloned().ok_or("there are no callbacks")?;
    for url in serde_json::from_str::<Vec<Value>>(KEY_URLS)? {
        cases.push(Case {
            name: text(&url["id"]),
            key_url: text(&url["header"]),
            ..first.clone()
        });
    }
    for target in serde_json::from_str::<Vec<Value>>(TARGETS)? {
        cases.push(Case {
            name: text(&target["id"]),
            target: text(&target["target"]),
            authorization: text(&target["authorization"]),
            key_url: KEY_URL.to_owned(),
            content_type: FORM.to_owned(),
            body: text(&target["body"]).into(),
        });
    }
    let collision: Value = serde_json::from_str(COLLISION)?;
    for body in ["body_a_base64", "body_b_base64"] {
        cases.push(Case {
            name: format!("SG-40-{body}"),
            target: text(&collision["target"]),
            body: STANDARD.decode(text(&collision[body]))?.into(),
            ..first.clone()
        });
    }
    Ok(cases)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the status and the error kind, or why the request cannot be built.
async fn answer(case: &Case, routed_as: Option<&str>) -> String {
    let Ok(uri) = case.target.parse::<Uri>() else {
        return "no URI".to_owned();
    };
    let request = Request::post(uri.clone())
        .header("authorization", &case.authorization)
        .header("x-oss-pub-key-url", &case.key_url)
        .header("content-type", &case.content_type)
        .body(Full::new(case.body.clone()));
    let Ok(mut request) = request else {
        return "no header".to_owned();
    };
    if let Some(path) = routed_as {
        let query = uri.query().map(|query| format!("?{query}"));
        let routed = format!("{path}{}", query.unwrap_or_default());
        let Ok(routed) = routed.parse() else {
            return "no URI".to_owned();
        };
        *request.uri_mut() = routed;
        request.extensions_mut().insert(OriginalUri(uri));
    }
    let service = OssCallbackLayer::new().layer(service_fn(accept));
    let response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let kind = response.extensions().get::<CallbackError>();
    let kind = kind.map(|error| format!("{:?}", error.kind()));
    format!(
        "{} {}",
        response.status().as_u16(),
        kind.unwrap_or_default()
    )
}

async fn accept(_: Request<RequestBody<Full<Bytes>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(CallbackReply::ok().into())
}
