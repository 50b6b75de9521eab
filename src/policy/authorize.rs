//! Who may upload what.

use std::future::Future;

use http::request::Parts;

use super::{grant::Grant, refusal::Refusal};

/// Decides what the sender of a request may upload.
///
/// It sees the parts of the request: the session in a header or an extension, and in the extension
/// [`RequestedFiles`](super::RequestedFiles) what the client asks for. Nothing is signed before it has answered.
///
/// An `async fn(&Parts)` is one:
///
/// ```
/// use http::{header::AUTHORIZATION, request::Parts};
/// use tower_aliyun_oss::{
///     policy::{Authorize, Grant, Refusal},
///     protocol::SizeRange,
/// };
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let user = match parts.headers.get(AUTHORIZATION) {
///         Some(session) => user_of(session.as_bytes()).await?,
///         None => return Err(Refusal::unauthorized()),
///     };
///     let prefix = format!("user/{user}/").parse().map_err(|_| Refusal::forbidden())?;
///     let size = SizeRange::new(1, 10 * 1024 * 1024).map_err(|_| Refusal::forbidden())?;
///     Ok(Grant::under(prefix, size))
/// }
/// # async fn user_of(_: &[u8]) -> Result<u64, Refusal> { Ok(7) }
/// # fn is_authorize(_: impl Authorize) {}
/// # is_authorize(authorize);
/// ```
///
/// With a database or other state, implement it on a struct:
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::policy::{Authorize, Grant, Refusal};
///
/// struct Sessions {
///     // a connection pool, …
/// }
///
/// impl Authorize for Sessions {
///     async fn authorize(&self, parts: &Parts) -> Result<Grant, Refusal> {
///         let _ = parts;
///         Err(Refusal::unauthorized())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide who may upload what",
    label = "neither an `Authorize` nor an `async fn(&Parts) -> Result<Grant, Refusal>`",
    note = "a closure needs the type of its argument: `|parts: &Parts| …`; with state, implement `Authorize` on a struct"
)]
pub trait Authorize: Send + Sync + 'static {
    /// What the sender of this request may upload.
    ///
    /// # Errors
    ///
    /// When they may upload nothing; the [`Refusal`] is what they are told.
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send;
}

impl<F> Authorize for F
where
    F: for<'a> sealed::AuthorizeFn<'a> + Send + Sync + 'static,
{
    fn authorize(&self, parts: &Parts) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        self.call(parts)
    }
}

mod sealed {
    use super::{Future, Grant, Parts, Refusal};

    /// One `Fn` for each lifetime: the future of an `async fn` borrows the parts, and no other bound can say on stable
    /// Rust that it is `Send` then.
    #[allow(unnameable_types, reason = "sealed")]
    pub trait AuthorizeFn<'a> {
        type Future: Future<Output = Result<Grant, Refusal>> + Send;

        fn call(&self, parts: &'a Parts) -> Self::Future;
    }

    impl<'a, F, T> AuthorizeFn<'a> for F
    where
        F: Fn(&'a Parts) -> T,
        T: Future<Output = Result<Grant, Refusal>> + Send,
    {
        type Future = T;

        fn call(&self, parts: &'a Parts) -> T {
            self(parts)
        }
    }
}
