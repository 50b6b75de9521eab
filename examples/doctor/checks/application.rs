//! The callback URL of the application: what it answers to a stranger, and to OSS.

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use tower_aliyun_oss::policy::CallbackDirective;

use super::objects::{post_form, refused, remove};
use crate::{
    finding::Finding,
    oss::{Answer, Oss, without_query},
};

const STRANGER: &str = "callback URL";
const FORM: &str = "form upload with the callback of the application";

/// Codes of OSS for a callback URL that it does not call.
const NO_HOST: &str = "0007-00000007";
const PRIVATE_HOST: &str = "0007-00000008";

/// Sends an unsigned callback, as anyone can.
pub(super) async fn stranger(oss: &Oss<'_>) -> Finding {
    let url = &oss.settings.callback_url;
    let did = format!(
        "sent a callback without a signature to {}",
        without_query(url)
    );
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from_static(b"object=doctor")));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            return Finding::failed(STRANGER, did, error.to_string(), "correct OSS_CALLBACK_URL");
        }
    };
    let answer = match oss.http.send(request).await {
        Ok(answer) => answer,
        // OSS may reach what this machine does not.
        Err(error) => {
            return Finding::warning(
                STRANGER,
                did,
                error.to_string(),
                "start the application, or correct OSS_CALLBACK_URL; only OSS must reach it",
            );
        }
    };
    let got = format!("status {}", answer.status.as_u16());
    match answer.status {
        status if status.is_success() => Finding::failed(
            STRANGER,
            did,
            got,
            "put OssCallbackLayer around this route: it accepts callbacks that nobody signed",
        ),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Finding::failed(
            STRANGER,
            did,
            got,
            "correct the path of OSS_CALLBACK_URL: the application takes no POST there",
        ),
        status if status.is_redirection() => Finding::failed(
            STRANGER,
            did,
            got,
            "set OSS_CALLBACK_URL to the URL behind the redirect: OSS follows none",
        ),
        status if status.is_server_error() => Finding::failed(
            STRANGER,
            did,
            got,
            "look into the log of the application, or of the proxy in front of it",
        ),
        _ => Finding::passed(STRANGER, did, format!("{got}: rejected, as it must be")),
    }
}

/// Uploads a form whose callback goes to the application.
///
/// It has no ticket, so an application with tickets rejects it. An application without tickets
/// would run its handler.
pub(super) async fn form(oss: &Oss<'_>) -> Finding {
    if !oss.settings.has_tickets {
        return Finding::skipped(
            FORM,
            "without tickets, the application would take the object for one of a user",
            "set OSS_TICKET_KEY, or use --listen",
        );
    }
    let did = "signed a policy as the application does, without a ticket, and posted the form";
    let callback = match CallbackDirective::new(&oss.settings.callback_url) {
        Ok(callback) => callback,
        Err(error) => {
            return Finding::failed(FORM, did, error.to_string(), "correct OSS_CALLBACK_URL");
        }
    };
    let (key, answer) = match post_form(oss, callback).await {
        Ok(posted) => posted,
        Err(error) => return Finding::failed(FORM, did, error, "run the check again"),
    };
    remove(oss, &key).await;
    let got = answer.describe();
    match answer.status {
        StatusCode::NON_AUTHORITATIVE_INFORMATION if is_rejection(&answer) => Finding::passed(
            FORM,
            did,
            format!("{got}; OSS reaches the application, which rejects what has no ticket"),
        ),
        StatusCode::NON_AUTHORITATIVE_INFORMATION => Finding::failed(
            FORM,
            did,
            got,
            "let OSS reach OSS_CALLBACK_URL within 5 s from the internet, and see the log of the \
             application",
        ),
        status if status.is_success() => Finding::failed(
            FORM,
            did,
            got,
            "use OssUploads or OssCallbackLayer::tickets with OSS_TICKET_KEY: the application accepts \
             callbacks without a ticket",
        ),
        _ => Finding::failed(FORM, did, got, not_called(&answer, oss)),
    }
}

/// What to change after OSS refused an upload with a callback.
pub(super) fn not_called(answer: &Answer, oss: &Oss<'_>) -> String {
    match &*answer.error().ec {
        NO_HOST => "correct the host of the callback URL: it does not resolve".into(),
        PRIVATE_HOST => {
            "use a callback URL with a public address: OSS calls no private one, so use a tunnel"
                .into()
        }
        _ => refused(
            answer,
            oss,
            "grant oss:PutObject and oss:PutObjectAcl for OSS_UPLOAD_DIR to the RAM user",
        ),
    }
}

/// Whether OSS quotes a status between 400 and 499 of the application.
fn is_rejection(answer: &Answer) -> bool {
    let message = answer.error().message;
    let status = message.split("status").nth(1).unwrap_or_default();
    let digits = status.trim_start_matches([' ', ':']);
    digits.starts_with('4')
}
