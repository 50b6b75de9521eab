//! What does not depend on the framework: the configuration, and who may upload what.

use std::error::Error;

use http::request::Parts;
use tower_aliyun_oss::{
    Credentials, Grant, ObjectPrefix, OssCallbackLayer, OssPolicyService, OssUploads, Refusal,
    SizeRange, TicketKey, key::PinnedKeys, policy::Authorize,
};

/// `OssUploads`, with a key source that tests replace.
#[derive(Clone, Debug)]
pub struct Uploads(OssUploads, PinnedKeys);

impl Uploads {
    /// Creates the configuration. A real application takes the credentials from
    /// `Credentials::from_env`, and the key from `TicketKey::from_env`.
    ///
    /// # Errors
    ///
    /// Fails if the callback URL is one that OSS would not call.
    pub fn new(callback_url: &str) -> Result<Self, Box<dyn Error>> {
        let credentials = Credentials::new("LTAI5tExample", "secret")?;
        let uploads = OssUploads::builder("examplebucket".parse()?, credentials)
            .region("cn-hangzhou".parse()?)
            .callback_url(callback_url)
            .ticket_key(TicketKey::generate()?)
            .build()?;
        Ok(Self(uploads, PinnedKeys::official()))
    }

    /// Trusts the keys of a test instead of the key of OSS.
    #[must_use]
    pub fn key_source(self, keys: PinnedKeys) -> Self {
        Self(self.0, keys)
    }

    /// Returns the service that issues tokens.
    pub fn policy_service<A: Authorize>(&self, authorize: A) -> OssPolicyService<A> {
        self.0.policy_service(authorize)
    }

    /// Returns the layer that verifies callbacks.
    pub fn callback_layer(&self) -> OssCallbackLayer {
        self.0.callback_layer().key_source(self.1.clone())
    }
}

/// The user, as your session layer knows it.
#[derive(Clone, Copy, Debug)]
pub struct UserId(u64);

/// Grants images of at most 10 MiB in the folder of the user.
///
/// # Errors
///
/// Refuses a client without a user.
pub async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    // Instead of a default, a real application refuses: `.ok_or_else(Refusal::unauthorized)?`.
    let UserId(user) = parts.extensions.get().copied().unwrap_or(UserId(7));
    let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])
        .map_err(|_| Refusal::forbidden())?;
    let size = SizeRange::new(1, 10 << 20).map_err(|_| Refusal::forbidden())?;
    let types = ["image/png", "image/jpeg"].map(|name| name.parse());
    Ok(Grant::under(prefix, size)
        .content_types(types.into_iter().flatten())
        .claims(&user))
}
