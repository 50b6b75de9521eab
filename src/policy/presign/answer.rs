//! Signed requests, and the JSON in which a client gets them.

use http::Method;

use super::handle::Upload;
use crate::{policy::json::push_string, sign::url::push_number};

/// A request that a client sends itself.
pub(super) struct SignedRequest {
    pub(super) method: Method,
    pub(super) url: String,
    /// The headers that the client must send, with lower-case names. The browser sets
    /// `content-length` itself.
    pub(super) headers: Vec<(Box<str>, Box<str>)>,
    /// When OSS stops accepting the URL, in seconds of Unix time.
    pub(super) expires: u64,
}

impl SignedRequest {
    fn push_json(&self, out: &mut String) {
        out.push_str("{\"method\":");
        push_string(out, self.method.as_str());
        out.push_str(",\"url\":");
        push_string(out, &self.url);
        out.push_str(",\"headers\":");
        self.push_headers(out);
        out.push_str(",\"expires\":");
        push_number(out, self.expires);
        out.push('}');
    }

    fn push_headers(&self, out: &mut String) {
        let mut separator = "{";
        for (name, value) in &self.headers {
            out.push_str(separator);
            push_string(out, name);
            out.push(':');
            push_string(out, value);
            separator = ",";
        }
        out.push_str(if self.headers.is_empty() { "{}" } else { "}" });
    }

    /// `{"request":…}`.
    pub(super) fn json(&self) -> String {
        let mut out = String::with_capacity(self.url.len() + 256);
        out.push_str("{\"request\":");
        self.push_json(&mut out);
        out.push('}');
        out
    }

    /// The answer to a new upload.
    pub(super) fn created_json(&self, upload: &Upload, handle: &str) -> String {
        let mut out = String::with_capacity(self.url.len() + handle.len() + 512);
        out.push_str("{\"handle\":");
        push_string(&mut out, handle);
        out.push_str(",\"key\":");
        push_string(&mut out, upload.key.as_str());
        out.push_str(",\"size\":");
        push_number(&mut out, upload.sizes.max());
        out.push_str(",\"type\":");
        push_string(&mut out, upload.content_type.as_str());
        out.push_str(",\"partSize\":");
        push_number(&mut out, upload.part_size.unwrap_or_default());
        out.push_str(",\"partCount\":");
        push_number(&mut out, upload.plan().count().into());
        out.push_str(",\"expires\":");
        push_number(&mut out, upload.expires);
        out.push_str(",\"request\":");
        self.push_json(&mut out);
        out.push('}');
        out
    }

    /// The answer to uppy's `signRequest`: `{"url","headers"}`, and the key that uppy uses in its
    /// next requests.
    pub(super) fn uppy_json(&self, key: Option<&str>) -> String {
        let mut out = String::with_capacity(self.url.len() + 256);
        out.push_str("{\"url\":");
        push_string(&mut out, &self.url);
        if let Some(key) = key {
            out.push_str(",\"key\":");
            push_string(&mut out, key);
        }
        out.push_str(",\"headers\":");
        self.push_headers(&mut out);
        out.push('}');
        out
    }
}
