//! What OSS does where its documentation does not say.
//!
//! Every observation is an upload with a callback to this process, which shows the bytes that OSS
//! sent.

use http::{HeaderValue, Method, header::CONTENT_TYPE};
use serde::Serialize;
use tower_aliyun_oss::{
    policy::{CallbackDirective, CallbackDirectiveError, CallbackTemplate},
    protocol::{CallbackBodyType, ObjectKey},
};

use crate::{
    callback_server::{CallbackServer, Received},
    checks::{CONTENT, object_key, post_form, remove},
    oss::{Answer, Oss, without_query},
};

/// The answer to one question.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Observation {
    /// What was unknown.
    pub question: &'static str,
    /// What was sent.
    pub sent: String,
    /// What OSS answered to the upload.
    pub answer: String,
    /// The path and the body of every callback that arrived.
    pub callbacks: Vec<String>,
}

/// A name with the characters whose encoding is not documented. OSS accepts a backslash, keys of
/// this crate do not contain one.
const SPECIAL: &str = "a b+c*d'e(f)g~h\"i&j=k%l中.txt";

pub(crate) async fn observe(oss: &Oss<'_>, server: CallbackServer) -> Vec<Observation> {
    let mut observed = Vec::new();
    for (question, body_type) in [
        (
            "how a form body encodes an object name",
            CallbackBodyType::Form,
        ),
        (
            "how a JSON body escapes an object name",
            CallbackBodyType::Json,
        ),
    ] {
        observed.push(special_name(oss, &server, question, body_type).await);
    }
    observed.push(operation_of_a_form(oss, &server).await);
    observed.push(second_url(oss, &server).await);
    observed
}

fn callback(
    urls: [&str; 2],
    body_type: CallbackBodyType,
) -> Result<CallbackDirective, CallbackDirectiveError> {
    let callback = match urls {
        [only, ""] => CallbackDirective::new(only)?,
        urls => CallbackDirective::with_urls(urls)?,
    };
    callback.body(CallbackTemplate::standard(body_type))
}

async fn special_name(
    oss: &Oss<'_>,
    server: &CallbackServer,
    question: &'static str,
    body_type: CallbackBodyType,
) -> Observation {
    let sent = format!("{}{SPECIAL}", oss.settings.prefix);
    let key: Result<ObjectKey, _> = sent.parse();
    let outcome = match (key, callback([server.url(), ""], body_type)) {
        (Ok(key), Ok(callback)) => put(oss, &key, &callback).await,
        (Err(error), _) => Err(error.to_string()),
        (_, Err(error)) => Err(error.to_string()),
    };
    observation(question, sent, outcome, server)
}

async fn operation_of_a_form(oss: &Oss<'_>, server: &CallbackServer) -> Observation {
    let question = "the operation of a form upload";
    let outcome = match callback([server.url(), ""], CallbackBodyType::Form) {
        Ok(callback) => match post_form(oss, callback).await {
            Ok((key, answer)) => {
                remove(oss, &key).await;
                Ok(answer)
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error.to_string()),
    };
    observation(question, "a form".into(), outcome, server)
}

/// The first URL has a port on which nothing listens.
async fn second_url(oss: &Oss<'_>, server: &CallbackServer) -> Observation {
    let question = "whether and when OSS calls a second URL";
    let unused = with_port_9(server.url());
    let sent = format!("{};{}", without_query(&unused), without_query(server.url()));
    let outcome = match (
        callback([&unused, server.url()], CallbackBodyType::Form),
        object_key(oss),
    ) {
        (Ok(callback), Ok(key)) => put(oss, &key, &callback).await,
        (Err(error), _) => Err(error.to_string()),
        (_, Err(error)) => Err(error.to_string()),
    };
    observation(question, sent, outcome, server)
}

/// Replaces the port by the one of the discard service, which is not in use.
fn with_port_9(url: &str) -> String {
    let parsed: Result<http::Uri, _> = url.parse();
    match parsed {
        Ok(uri) => {
            let host = uri.host().unwrap_or_default();
            let target = uri.path_and_query().map_or("/", |target| target.as_str());
            format!("http://{host}:9{target}")
        }
        Err(_) => url.to_owned(),
    }
}

async fn put(
    oss: &Oss<'_>,
    key: &ObjectKey,
    callback: &CallbackDirective,
) -> Result<Answer, String> {
    let request = oss
        .request(Method::PUT, key.as_str())
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=\"a b\""),
        )
        .headers(callback.headers())
        .body(CONTENT);
    let answer = request.send().await;
    remove(oss, key).await;
    answer.map_err(|error| error.to_string())
}

fn observation(
    question: &'static str,
    sent: String,
    outcome: Result<Answer, String>,
    server: &CallbackServer,
) -> Observation {
    let callbacks = server.take().iter().map(describe).collect();
    let answer = match outcome {
        Ok(answer) => answer.describe(),
        Err(error) => error,
    };
    Observation {
        question,
        sent,
        answer,
        callbacks,
    }
}

fn describe(received: &Received) -> String {
    let content_type = received.headers.get(CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let verdict = match &received.rejected {
        Some(why) => format!("rejected: {why}"),
        None => "verified".into(),
    };
    let path = without_query(&received.target);
    let body = received.body.escape_ascii();
    format!("{path} {content_type} {body} ({verdict})")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_callback_is_described_without_the_query_of_its_url() {
        let received = Received {
            target: "/oss/callback?token=secret".into(),
            headers: HeaderMap::new(),
            body: "object=a".into(),
            rejected: None,
        };
        assert_eq!(describe(&received), "/oss/callback  object=a (verified)");
    }
}
