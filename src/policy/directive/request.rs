//! The same, for uploads that are no form.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};

use super::CallbackDirective;

/// `PutObject` and `CompleteMultipartUpload` take a callback in their headers **or** in the query of their URL: for a
/// server that uploads by itself, with whatever SDK, and for URLs that are signed for somebody else.
///
/// OSS refuses a request that has both. Whoever signs the request must sign these too: give them to the SDK as headers
/// or parameters before it signs. In a URL they must be percent-encoded, which an SDK does by itself.
impl CallbackDirective {
    /// The custom variables in one piece, as `x-oss-callback-var` and `callback-var` have them: Base64 of JSON. Nothing
    /// when there are none.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?;
    /// assert_eq!(callback.encoded_variables(), None);
    /// let callback = callback.variable("x:uid", "7")?;
    /// assert_eq!(callback.encoded_variables().as_deref(), Some("eyJ4OnVpZCI6IjcifQ=="));
    /// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
    /// ```
    #[must_use]
    pub fn encoded_variables(&self) -> Option<String> {
        let variables: BTreeMap<_, _> = self.variables().collect();
        if variables.is_empty() {
            return None;
        }
        // A map of texts is always JSON.
        let json = serde_json::to_vec(&variables).unwrap_or_default();
        Some(STANDARD.encode(json))
    }

    /// `x-oss-callback`, and `x-oss-callback-var` if there are custom variables. `Debug` of the values shows nothing,
    /// for a ticket may be in them.
    ///
    /// ```
    /// use http::Request;
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?.variable("x:uid", "7")?;
    /// let mut request = Request::put("https://examplebucket.oss-cn-hangzhou.aliyuncs.com/a.txt").body("hello")?;
    /// request.headers_mut().extend(callback.headers());
    /// assert_eq!(request.headers()["x-oss-callback"], callback.encoded());
    /// assert_eq!(request.headers()["x-oss-callback-var"], "eyJ4OnVpZCI6IjcifQ==");
    /// // Now sign it.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let names = ["x-oss-callback", "x-oss-callback-var"].map(HeaderName::from_static);
        // Base64 is always a value of a header.
        let values = self.values().map(|value| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        names
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value?)))
    }

    /// `callback`, and `callback-var` if there are custom variables; not percent-encoded.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?;
    /// let parameters: Vec<_> = callback.query_pairs().collect();
    /// assert_eq!(parameters, [("callback", callback.encoded().to_owned())]);
    /// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (&'static str, String)> {
        ["callback", "callback-var"].into_iter().zip(self.values())
    }

    fn values(&self) -> impl Iterator<Item = String> {
        let callback = std::iter::once(self.encoded().to_owned());
        callback.chain(self.encoded_variables())
    }
}
