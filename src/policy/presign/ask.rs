//! What a client asks for: the JSON of this crate, and that of uppy's `signRequest`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    policy::{
        requested::{Object, RequestedDownload, RequestedFile},
        service::{TokenError, TokenErrorKind},
    },
    protocol::ObjectKey,
};

/// Maximum number of parts of one request.
const MAX_PARTS: usize = 100;

/// Maximum length of an upload id. Those of OSS have 32 characters.
const MAX_UPLOAD_ID_LEN: usize = 256;

/// Maximum length of the file name of a download, in bytes.
const MAX_DOWNLOAD_LEN: usize = 1023;

/// Maximum length of an image process, in bytes.
const MAX_PROCESS_LEN: usize = 4096;

/// A request of a client.
#[derive(Debug)]
pub(super) enum Ask<'a> {
    Create(RequestedFile),
    /// Creates an upload, and uploads it with the first request. Only of uppy.
    CreateAndPut(RequestedFile),
    /// The next step of an upload.
    Continue {
        handle: Cow<'a, str>,
        step: Step<'a>,
    },
    Download(RequestedDownload),
}

/// A step of an upload that was created.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Parts(UploadId<'a>, Vec<u64>),
    List(UploadId<'a>, Option<u64>),
    Complete(UploadId<'a>),
    Abort(UploadId<'a>),
    Put,
}

/// The name that OSS gave to an upload in parts.
#[derive(Debug)]
pub(super) struct UploadId<'a>(Cow<'a, str>);

impl<'a> UploadId<'a> {
    pub(super) fn new(id: Cow<'a, str>) -> Result<Self, TokenError> {
        let plain = id.bytes().all(|b| b.is_ascii_graphic());
        if id.is_empty() || id.len() > MAX_UPLOAD_ID_LEN || !plain {
            return Err(TokenErrorKind::InvalidUploadId.into());
        }
        Ok(Self(id))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An ask in the JSON of this crate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, default)]
    filename: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default, rename = "type")]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    handle: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    upload_id: Option<Cow<'a, str>>,
    #[serde(default)]
    parts: Option<Vec<u64>>,
    #[serde(default)]
    marker: Option<u64>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    download: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    process: Option<Cow<'a, str>>,
}

const JSON: &str = "the body must be a JSON object with action, and the members of that action, \
                    each once";

impl<'a> Ask<'a> {
    /// Returns the name of the action in the metrics.
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::Create(_) | Self::CreateAndPut(_) => "create",
            Self::Download(_) => "get",
            Self::Continue { step, .. } => match step {
                Step::Parts(..) => "parts",
                Step::List(..) => "list",
                Step::Complete(_) => "complete",
                Step::Abort(_) => "abort",
                Step::Put => "put",
            },
        }
    }

    /// Reads the JSON of this crate.
    pub(super) fn from_json(body: &'a [u8]) -> Result<Self, TokenError> {
        let invalid = TokenError::invalid;
        let Object(body): Object<Body<'a>> =
            serde_json::from_slice(body).map_err(|_| invalid(JSON))?;
        let step = match &*body.action {
            "create" => {
                let size = body.size.ok_or_else(|| invalid("size is required"))?;
                let (name, of_type) = (body.filename.as_deref(), body.content_type.as_deref());
                return Ok(Self::Create(RequestedFile::new(name, Some(size), of_type)?));
            }
            "get" => {
                let key = body.key.ok_or_else(|| invalid("key is required"))?;
                let download = download(&key, body.download, body.process)?;
                return Ok(Self::Download(download));
            }
            "put" => Step::Put,
            action => {
                let id = body.upload_id.unwrap_or_default();
                let id = UploadId::new(id)?;
                match action {
                    "parts" => Step::Parts(id, body.parts.unwrap_or_default()),
                    "list" => Step::List(id, body.marker),
                    "complete" => Step::Complete(id),
                    "abort" => Step::Abort(id),
                    _ => {
                        return Err(invalid(
                            "action must be create, parts, list, complete, abort, put or get",
                        ));
                    }
                }
            }
        };
        let handle = body.handle.ok_or_else(|| invalid("handle is required"))?;
        Ok(Self::Continue { handle, step })
    }

    /// Returns the numbers of parts, of which a request has 1 to 100.
    pub(super) fn check_parts(numbers: &[u64]) -> Result<(), TokenError> {
        match numbers.len() {
            1..=MAX_PARTS => Ok(()),
            _ => Err(TokenErrorKind::InvalidPart.into()),
        }
    }
}

fn download(
    key: &str,
    name: Option<Cow<'_, str>>,
    process: Option<Cow<'_, str>>,
) -> Result<RequestedDownload, TokenError> {
    let key: ObjectKey = key
        .parse()
        .map_err(|_| TokenError::invalid("key is not the name of an object"))?;
    let control = |text: &str| text.contains(|c: char| c.is_control());
    if let Some(name) = &name
        && (name.len() > MAX_DOWNLOAD_LEN || control(name))
    {
        return Err(TokenError::invalid(
            "download must have at most 1023 bytes and no control characters",
        ));
    }
    if process
        .as_ref()
        .is_some_and(|text| text.len() > MAX_PROCESS_LEN)
    {
        return Err(TokenError::invalid("process is longer than 4096 bytes"));
    }
    let text = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Into::into);
    Ok(RequestedDownload::new(key, text(name), text(process)))
}

/// An ask of uppy: the argument of its `signRequest`, and optionally the size of the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignRequest<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    upload_id: Option<Cow<'a, str>>,
    #[serde(default)]
    part_number: Option<u64>,
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    #[serde(default)]
    expires_in: Option<u32>,
    #[serde(default)]
    size: Option<u64>,
}

impl<'a> Ask<'a> {
    /// Reads the argument of uppy's `signRequest`. Returns the validity that the client wants, too,
    /// in seconds.
    ///
    /// The first request names the file in `key`. All others have the handle there, because the
    /// service returns it as the key.
    pub(super) fn from_sign_request(body: &'a [u8]) -> Result<(Self, Option<u32>), TokenError> {
        let Object(body): Object<SignRequest<'a>> = serde_json::from_slice(body).map_err(|_| {
            TokenError::invalid("the body must be the request that uppy passes to signRequest")
        })?;
        let (seconds, handle) = (body.expires_in, body.key);
        let Some(id) = body.upload_id else {
            let file = |size| {
                // uppy sends this type for a file without one.
                let of_type = body.content_type.as_deref();
                let of_type = of_type.filter(|one| *one != "application/octet-stream");
                RequestedFile::new(Some(&*handle), size, of_type)
            };
            let ask = match &*body.method {
                "POST" => Self::Create(file(body.size)?),
                "PUT" => Self::CreateAndPut(file(body.size)?),
                // uppy deletes what it has uploaded, which no grant permits.
                _ => return Err(TokenErrorKind::NotGranted.into()),
            };
            return Ok((ask, seconds));
        };
        let id = UploadId::new(id)?;
        let step = match (&*body.method, body.part_number) {
            ("PUT", Some(number)) => Step::Parts(id, vec![number]),
            ("GET", None) => Step::List(id, None),
            ("POST", None) => Step::Complete(id),
            ("DELETE", None) => Step::Abort(id),
            _ => return Err(TokenErrorKind::NotGranted.into()),
        };
        Ok((Self::Continue { handle, step }, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Ask<'_>, TokenError>) -> String {
        result.unwrap_err().code().to_owned()
    }

    #[test]
    fn asks() {
        let ask = |text: &'static str| Ask::from_json(text.as_bytes()).unwrap();
        let Ask::Create(file) =
            ask(r#"{"action":"create","filename":"a.mp4","size":5,"type":"video/mp4"}"#)
        else {
            panic!()
        };
        assert_eq!((file.filename(), file.size()), (Some("a.mp4"), Some(5)));
        let Ask::Continue { handle, step } =
            ask(r#"{"action":"parts","handle":"h","uploadId":"U","parts":[1,2]}"#)
        else {
            panic!()
        };
        let Step::Parts(id, numbers) = step else {
            panic!()
        };
        assert_eq!((&*handle, id.as_str(), &*numbers), ("h", "U", &[1, 2][..]));
        let list = ask(r#"{"action":"list","handle":"h","uploadId":"U","marker":7}"#);
        assert!(matches!(
            list,
            Ask::Continue {
                step: Step::List(_, Some(7)),
                ..
            }
        ));
        let Ask::Download(get) =
            ask(r#"{"action":"get","key":"a/b","download":"c.txt","process":""}"#)
        else {
            panic!()
        };
        assert_eq!(
            (get.key().as_str(), get.filename(), get.process()),
            ("a/b", Some("c.txt"), None)
        );
    }

    #[test]
    fn asks_that_cannot_be_read() {
        for (body, expected) in [
            ("", "InvalidAsk"),
            ("[]", "InvalidAsk"),
            ("{}", "InvalidAsk"),
            (r#"["create"]"#, "InvalidAsk"),
            (r#"{"action":"create"}"#, "InvalidAsk"),
            (r#"{"action":"create","size":-1}"#, "InvalidAsk"),
            (r#"{"action":"create","size":1,"size":2}"#, "InvalidAsk"),
            (r#"{"action":"create","size":1,"acl":"x"}"#, "InvalidAsk"),
            (r#"{"action":"create","size":1,"type":"a"}"#, "InvalidAsk"),
            (r#"{"action":"put"}"#, "InvalidAsk"),
            (r#"{"action":"delete","uploadId":"U"}"#, "InvalidAsk"),
            (r#"{"action":"abort","handle":"h"}"#, "InvalidUploadId"),
            (r#"{"action":"abort","uploadId":"U"}"#, "InvalidAsk"),
            (
                r#"{"action":"abort","handle":"h","uploadId":"a b"}"#,
                "InvalidUploadId",
            ),
            (
                r#"{"action":"parts","handle":"h","uploadId":"U","parts":[1.5]}"#,
                "InvalidAsk",
            ),
            (r#"{"action":"get"}"#, "InvalidAsk"),
            (r#"{"action":"get","key":"../a"}"#, "InvalidAsk"),
            (
                r#"{"action":"get","key":"a","download":"a\nb"}"#,
                "InvalidAsk",
            ),
        ] {
            assert_eq!(code(Ask::from_json(body.as_bytes())), expected, "{body}");
        }
        let long = "U".repeat(257);
        assert!(UploadId::new(long.into()).is_err());
        for (count, good) in [(0, false), (1, true), (100, true), (101, false)] {
            assert_eq!(Ask::check_parts(&vec![1; count]).is_ok(), good);
        }
    }

    #[test]
    fn requests_of_uppy() {
        let ask = |text: &'static str| Ask::from_sign_request(text.as_bytes());
        let create = ask(r#"{"method":"POST","key":"a.mp4","expiresIn":60}"#).unwrap();
        assert!(matches!(create, (Ask::Create(_), Some(60))));
        let put = r#"{"method":"PUT","key":"a.png","contentType":"image/png"}"#;
        let (Ask::CreateAndPut(file), None) = ask(put).unwrap() else {
            panic!()
        };
        assert_eq!(file.content_type().unwrap().as_str(), "image/png");
        let part = r#"{"method":"PUT","key":"h","uploadId":"U","partNumber":3}"#;
        let (Ask::Continue { handle, step }, _) = ask(part).unwrap() else {
            panic!()
        };
        assert_eq!(handle, "h");
        assert!(matches!(step, Step::Parts(_, numbers) if numbers == [3]));
        for (text, expected) in [
            (r#"{"method":"DELETE","key":"a"}"#, "NotGranted"),
            (r#"{"method":"GET","key":"a"}"#, "NotGranted"),
            (r#"{"method":"PUT","key":"a","uploadId":"U"}"#, "NotGranted"),
            (
                r#"{"method":"DELETE","key":"a","uploadId":"U","partNumber":1}"#,
                "NotGranted",
            ),
            (
                r#"{"method":"GET","key":"a","uploadId":""}"#,
                "InvalidUploadId",
            ),
            (r#"{"method":"GET"}"#, "InvalidAsk"),
            ("x", "InvalidAsk"),
        ] {
            let error = ask(text).unwrap_err();
            assert_eq!(error.code(), expected, "{text}");
        }
    }
}
