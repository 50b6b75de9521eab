//! What does not depend on the framework: the configuration, and who may upload what.

use std::error::Error;

use http::request::Parts;
use tower_aliyun_oss::{
    ContentType, Credentials, Grant, ObjectPrefix, OssUploads, OssUploadsBuilder, Refusal,
    SizeRange, TicketKey,
};

/// Returns the configuration, to which tests add the key of their callbacks. A real application
/// takes the credentials from `Credentials::from_env`, and the key from `TicketKey::from_env`.
///
/// # Errors
///
/// Fails if the operating system provides no random numbers.
pub fn uploads(callback_url: &str) -> Result<OssUploadsBuilder, Box<dyn Error>> {
    let credentials = Credentials::new("LTAI5tExample", "secret")?;
    Ok(OssUploads::builder("examplebucket".parse()?, credentials)
        .region("cn-hangzhou".parse()?)
        .callback_url(callback_url)
        .ticket_key(TicketKey::generate()?))
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
    let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
    Ok(Grant::under(prefix, SizeRange::new(1, 10 << 20)?)
        .content_types(ContentType::IMAGES)
        .claims(&user))
}
