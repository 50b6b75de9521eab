//! A service that issues tokens to everybody, as the sample servers do.

use std::{sync::Arc, time::Duration};

use http::request::Parts;

use super::{OssPolicyService, TokenFormat, issuer::Issuer};
use crate::{
    policy::{
        authorize::{Authorize, Refusal},
        callback::CallbackDirective,
        conditions::check_lifetime,
        credentials::CredentialsProvider,
        error::PolicyError,
        grant::Grant,
        post_policy::{Destination, PolicyConfig},
    },
    protocol::{Bucket, ObjectPrefix, Region, SizeRange, UploadUrl},
};

/// Returns the same grant for every request; see [`OssPolicyService::public_demo`].
#[derive(Clone, Debug)]
pub struct PublicDemo(Grant);

impl Authorize for PublicDemo {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

impl OssPolicyService<PublicDemo> {
    /// Creates a service that issues a token to **every client that asks**, as the sample servers
    /// do.
    ///
    /// Every client that reaches the route can upload anything under the prefix, any number of
    /// times, at your expense. Check the session in front of it, or use it for demonstrations only.
    /// Unless you set the [bucket](Self::bucket), a token is valid for every bucket that the
    /// AccessKey can write to.
    ///
    /// The token has the format of the first samples ([`TokenFormat::Legacy`]), and permits uploads
    /// of up to 1,048,576,000 bytes for 15 minutes. A request with a larger `size` gets longer; see
    /// [`Grant::max_lifetime`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_aliyun_oss::policy::{CallbackDirective, Credentials, OssPolicyService};
    ///
    /// let tokens = OssPolicyService::public_demo(
    ///     Credentials::new("LTAI5tExample", "secret")?,
    ///     "http://bucket-name.oss-cn-hangzhou.aliyuncs.com".parse()?,
    ///     "user-dir-prefix/".parse()?,
    ///     CallbackDirective::new("http://88.88.88.88:8888")?,
    /// )?
    /// .lifetime(Duration::from_secs(30))?;
    /// # let _ = tokens;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the callback has custom variables, which the clients of the samples do not send.
    pub fn public_demo(
        credentials: impl CredentialsProvider + 'static,
        host: UploadUrl,
        prefix: ObjectPrefix,
        callback: CallbackDirective,
    ) -> Result<Self, PolicyError> {
        #[expect(clippy::expect_used, reason = "both numbers are constants")]
        let size = SizeRange::new(0, 1_048_576_000).expect("0 is below the maximum");
        let grant = Grant::any_name_under(prefix, size);
        let config = PolicyConfig::new(Destination::url(host), None);
        let issuer = Issuer::new(config, callback, credentials, TokenFormat::Legacy)?;
        Ok(Self::from_parts(PublicDemo(grant), issuer))
    }

    /// Sets how long a token is valid, whatever size is requested; defaults to 15 minutes.
    ///
    /// # Errors
    ///
    /// Fails if the lifetime is shorter than one second or longer than seven days.
    pub fn lifetime(self, lifetime: Duration) -> Result<Self, PolicyError> {
        check_lifetime(lifetime)?;
        Ok(self.with_grant(|grant| grant.lifetime(lifetime)))
    }

    /// Sets the permitted sizes.
    #[must_use]
    pub fn size(self, size: SizeRange) -> Self {
        self.with_grant(|grant| grant.with_size(size))
    }

    /// Restricts the tokens to this bucket.
    #[must_use]
    pub fn bucket(self, bucket: Bucket) -> Self {
        self.with(|issuer| issuer.config.destination.set_bucket(bucket))
    }

    /// Signs with version 4 for this region, in the format of the current samples
    /// ([`TokenFormat::V4`]) unless another [format](Self::format) is set.
    #[must_use]
    pub fn region(self, region: Region) -> Self {
        self.with(|issuer| {
            issuer.config.region = Some(region);
            issuer.default_format = TokenFormat::V4;
        })
    }

    fn with_grant(self, change: impl FnOnce(Grant) -> Grant) -> Self {
        let PublicDemo(grant) = &*self.authorize;
        Self {
            authorize: Arc::new(PublicDemo(change(grant.clone()))),
            issuer: self.issuer,
        }
    }
}
