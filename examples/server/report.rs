//! An upload as the emulator saw it, written for the page.

use aliyun_oss_emulator::{Exchange, UploadReport, UploadStep};
use serde_json::{Value, json};

/// The most of one text that is shown.
const MAX_TEXT: usize = 8 * 1024;

const STEPS: [(UploadStep, &str); 8] = [
    (UploadStep::Form, "form"),
    (UploadStep::Signature, "signature"),
    (UploadStep::Expiry, "expiry"),
    (UploadStep::Conditions, "conditions"),
    (UploadStep::CallbackParameters, "callbackParameters"),
    (UploadStep::Size, "size"),
    (UploadStep::Stored, "stored"),
    (UploadStep::Callback, "callback"),
];

pub(crate) fn to_json(report: &UploadReport) -> Value {
    let fields: Vec<_> = report
        .fields()
        .map(|(name, value)| json!([cut(name), cut(value)]))
        .collect();
    let passed: Vec<_> = STEPS
        .iter()
        .filter(|(step, _)| report.steps().contains(step))
        .map(|(_, name)| name)
        .collect();
    let exchanges: Vec<_> = report.exchanges().iter().map(exchange).collect();
    let refusal = report
        .refusal()
        .map(|(code, message)| json!({ "code": code, "message": cut(message), "ec": report.ec() }));
    json!({
        "kind": "oss",
        "requestId": report.request_id(),
        "bucket": report.bucket().to_string(),
        "fileName": report.file_name().map(cut),
        "fields": fields,
        "policy": report.policy().map(cut),
        "callback": report.callback().map(cut),
        "passed": passed,
        "exchanges": exchanges,
        "status": report.status().as_u16(),
        "refusal": refusal,
    })
}

fn exchange(exchange: &Exchange) -> Value {
    json!({
        "url": cut(exchange.url()),
        "headers": headers(exchange.headers()),
        "body": cut(&String::from_utf8_lossy(exchange.body())),
        "status": exchange.status().map(|status| status.as_u16()),
        "answer": cut(&String::from_utf8_lossy(exchange.answer())),
    })
}

/// Names and values, in the order they were sent.
pub(crate) fn headers(headers: &http::HeaderMap) -> Value {
    headers
        .iter()
        .map(|(name, value)| {
            json!([
                name.as_str(),
                cut(&String::from_utf8_lossy(value.as_bytes()))
            ])
        })
        .collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
