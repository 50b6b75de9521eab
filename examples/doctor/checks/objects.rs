//! Uploads and permissions: an object is stored, read and deleted.

use std::time::SystemTime;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use http_body_util::Full;
use tower_aliyun_oss::{
    policy::{CallbackDirective, PolicyError, PostPolicy, unique_key},
    protocol::{ContentType, ObjectError, ObjectKey, Region, SizeRange},
};

use super::access;
use crate::{
    finding::Finding,
    oss::{Answer, Oss, Unreachable},
};

pub(super) const PUT: &str = "permission oss:PutObject";
const GET: &str = "permission oss:GetObject";
const DELETE: &str = "permission oss:DeleteObject";
const DOMAIN: &str = "downloads under the default domain";

/// The content of the objects.
pub(crate) const CONTENT: &str = "tower-aliyun-oss doctor";

pub(super) async fn check(oss: &Oss<'_>) -> Vec<Finding> {
    let key = match object_key(oss) {
        Ok(key) => key,
        Err(error) => {
            return vec![Finding::skipped(
                PUT,
                error.to_string(),
                "run the check again",
            )];
        }
    };
    let mut findings = vec![put(oss, &key).await];
    if findings.iter().any(|finding| !finding.change.is_empty()) {
        return findings;
    }
    findings.extend(read(oss, &key).await);
    findings.push(delete(oss, &key).await);
    findings
}

async fn put(oss: &Oss<'_>, key: &ObjectKey) -> Finding {
    let did = format!("stored {} bytes as {key}", CONTENT.len());
    let request = oss
        .request(Method::PUT, key.as_str())
        .header(CONTENT_TYPE, HeaderValue::from_static("text/plain"))
        .body(CONTENT);
    uploaded(
        PUT,
        did,
        request.send().await,
        oss,
        "grant oss:PutObject for OSS_UPLOAD_DIR to the RAM user",
    )
}

/// Signs a policy as the application does, and posts the form with this callback.
///
/// # Errors
///
/// Fails with the remedy if no form can be signed or sent.
pub(crate) async fn post_form(
    oss: &Oss<'_>,
    callback: CallbackDirective,
) -> Result<(ObjectKey, Answer), String> {
    let settings = oss.settings;
    let region: Region = match &settings.region {
        Some(region) => region.clone(),
        None => return Err("no region is known: set OSS_REGION".into()),
    };
    let key = object_key(oss).map_err(|error| error.to_string())?;
    let size = SizeRange::new(1, 1024).map_err(|error| error.to_string())?;
    let plain: ContentType = "text/plain"
        .parse()
        .map_err(|error: ObjectError| error.to_string())?;
    let policy = PostPolicy::builder(settings.bucket.clone(), region, key.clone(), size, callback)
        .endpoint(settings.endpoint())
        .content_type(plain)
        .build()
        .map_err(|error| error.to_string())?;
    let token = policy
        .sign(&settings.credentials, SystemTime::now())
        .map_err(|error| error.to_string())?;
    let request = multipart(token.url().as_str(), token.fields())?;
    let answer = oss
        .http
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    Ok((key, answer))
}

/// Returns a new key under the prefix of the application.
pub(crate) fn object_key(oss: &Oss<'_>) -> Result<ObjectKey, PolicyError> {
    unique_key(&oss.settings.prefix, Some("doctor.txt"), SystemTime::now())
}

/// Builds the form of a token, with [`CONTENT`] as its file.
fn multipart<'f>(
    url: &str,
    fields: impl Iterator<Item = (&'f str, &'f str)>,
) -> Result<Request<Full<Bytes>>, String> {
    const BOUNDARY: &str = "----tower-aliyun-oss-doctor";
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"doctor.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{CONTENT}\r\n--{BOUNDARY}--\r\n"
    ));
    // The bucket itself, with the path that an OSS of another host has.
    let url = match url.ends_with('/') {
        true => url.to_owned(),
        false => format!("{url}/"),
    };
    Request::post(url)
        .header(
            CONTENT_TYPE,
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .body(Full::from(body))
        .map_err(|error| error.to_string())
}

async fn read(oss: &Oss<'_>, key: &ObjectKey) -> Vec<Finding> {
    let did = "read the object back";
    let answer = oss.request(Method::GET, key.as_str()).send().await;
    let domain = match &answer {
        Ok(answer) if answer.is_success() => Some(domain(oss, answer)),
        _ => None,
    };
    let change = "grant oss:GetObject to the key that confirms uploads; tokens do not need it";
    let mut findings = vec![match answer {
        Ok(answer) if answer.is_success() && answer.body != CONTENT => Finding::failed(
            GET,
            did,
            "another content than was stored",
            "remove what changes objects between this machine and OSS",
        ),
        answer => permission(GET, did, answer, change),
    }];
    findings.extend(domain);
    findings
}

/// Under the default domain, browsers download an object instead of showing it.
fn domain(oss: &Oss<'_>, answer: &Answer) -> Finding {
    let did = "looked at the headers of the object";
    let attached = answer
        .headers
        .get(CONTENT_DISPOSITION)
        .is_some_and(|value| value.as_bytes().starts_with(b"attachment"));
    let forced = attached || answer.header("x-oss-force-download") == Some("true");
    match (forced, oss.settings.has_default_domain()) {
        (true, _) => Finding::warning(
            DOMAIN,
            did,
            "OSS makes browsers download objects",
            "bind a custom domain to the bucket to show pictures in a page",
        ),
        (false, true) => {
            Finding::passed(DOMAIN, did, "browsers show objects of the default domain")
        }
        (false, false) => Finding::passed(DOMAIN, did, "this is not a default domain"),
    }
}

async fn delete(oss: &Oss<'_>, key: &ObjectKey) -> Finding {
    let did = format!("deleted {key}");
    let answer = oss.request(Method::DELETE, key.as_str()).send().await;
    let change = format!(
        "grant oss:DeleteObject only if the application deletes orphans; the object {key} stays: \
         delete it"
    );
    permission(DELETE, did, answer, &change)
}

/// Deletes an object of a check, if the AccessKey may.
pub(crate) async fn remove(oss: &Oss<'_>, key: &ObjectKey) {
    // Its permission has a check of its own.
    let _answer = oss.request(Method::DELETE, key.as_str()).send().await;
}

/// The finding for a permission that only some applications need.
fn permission(
    check: &'static str,
    did: impl Into<String>,
    answer: Result<Answer, Unreachable>,
    change: &str,
) -> Finding {
    match answer {
        Ok(answer) if answer.is_success() => Finding::passed(check, did, answer.describe()),
        Ok(answer) => Finding::warning(check, did, answer.describe(), change),
        Err(error) => Finding::failed(check, did, error.to_string(), "run the check again"),
    }
}

/// The finding for an upload without a callback, which every application needs.
fn uploaded(
    check: &'static str,
    did: impl Into<String>,
    answer: Result<Answer, Unreachable>,
    oss: &Oss<'_>,
    permission: &str,
) -> Finding {
    match answer {
        Ok(answer) if answer.is_success() => Finding::passed(check, did, answer.describe()),
        Ok(answer) => {
            let change = refused(&answer, oss, permission);
            Finding::failed(check, did, answer.describe(), change)
        }
        Err(error) => Finding::failed(check, did, error.to_string(), "run the check again"),
    }
}

/// What to change after a refused upload.
pub(crate) fn refused(answer: &Answer, oss: &Oss<'_>, permission: &str) -> String {
    match access::refusal(answer, oss.settings) {
        Some((_, change)) => change,
        None => permission.into(),
    }
}
