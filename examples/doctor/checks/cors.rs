//! The CORS rules of the bucket, by the preflight of a browser.

use http::{
    HeaderValue, Method,
    header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use crate::{
    finding::Finding,
    oss::{Oss, Signature},
};

const CHECK: &str = "CORS rules";

pub(super) async fn check(oss: &Oss<'_>) -> Finding {
    let Some(origin) = &oss.settings.options.origin else {
        return Finding::skipped(
            CHECK,
            "no page was named",
            "pass --origin with the origin of the page that uploads, such as https://app.example",
        );
    };
    let did = format!("sent the preflight of a form upload from {origin}");
    let Ok(value) = HeaderValue::from_str(origin) else {
        return Finding::failed(
            CHECK,
            did,
            "it is not an origin",
            "write one such as https://app.example",
        );
    };
    let request = oss
        .request(Method::OPTIONS, "")
        .signature(Signature::None)
        .header(ORIGIN, value)
        .header(
            ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("POST"),
        )
        .header(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("content-type"),
        );
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Finding::failed(CHECK, did, error.to_string(), "run the check again"),
    };
    let allowed = answer.header("access-control-allow-origin");
    let matches = allowed.is_some_and(|allowed| allowed == "*" || allowed == origin);
    if answer.is_success() && matches {
        let exposed = answer
            .header("access-control-expose-headers")
            .unwrap_or("nothing");
        return Finding::passed(
            CHECK,
            did,
            format!("{}; exposes {exposed}", answer.describe()),
        );
    }
    Finding::failed(
        CHECK,
        did,
        answer.describe(),
        "add a CORS rule to the bucket: this origin, method POST, header *, expose ETag and \
         x-oss-request-id",
    )
}
