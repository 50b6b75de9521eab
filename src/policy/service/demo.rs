//! Tokens for everybody.

use std::{sync::Arc, time::Duration};

use http::request::Parts;

use super::{OssPolicyService, TokenFormat};
use crate::{
    policy::{
        authorize::Authorize, credentials::CredentialsProvider, destination::Destination,
        directive::CallbackDirective, error::PolicyError, grant::Grant, refusal::Refusal,
        template::Template, terms::check_lifetime,
    },
    protocol::{Bucket, ObjectPrefix, Region, SizeRange, UploadUrl},
};

/// Grants everybody the same; see [`OssPolicyService::public_demo`].
#[derive(Clone, Debug)]
pub struct PublicDemo(Grant);

impl Authorize for PublicDemo {
    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

impl OssPolicyService<PublicDemo> {
    /// Gives a token to **everybody who asks**, as the sample servers do.
    ///
    /// Whoever reaches the route can upload anything under the prefix, again and again, at your expense. Put your own
    /// session check in front of it, or keep it to demonstrations. Unless you name the [bucket](Self::bucket), the
    /// token holds for every bucket that the AccessKey can write to.
    ///
    /// The answer is that of the first samples ([`TokenFormat::Legacy`]): uploads of up to 1,048,576,000 bytes, for 15
    /// minutes.
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
    /// When the callback has custom variables: the clients of the samples send none.
    pub fn public_demo(
        credentials: impl CredentialsProvider + 'static,
        host: UploadUrl,
        prefix: ObjectPrefix,
        callback: CallbackDirective,
    ) -> Result<Self, PolicyError> {
        #[expect(
            clippy::expect_used,
            reason = "both numbers are constants in the right order"
        )]
        let size = SizeRange::new(0, 1_048_576_000).expect("a constant range");
        let grant = Grant::any_name_under(prefix, size);
        let template = Template::to(Destination::url(host), None, callback);
        Self::issuing(
            PublicDemo(grant),
            credentials,
            template,
            TokenFormat::Legacy,
        )
    }

    /// How long a token can be used.
    ///
    /// # Errors
    ///
    /// When it is under a second or over seven days.
    pub fn lifetime(self, lifetime: Duration) -> Result<Self, PolicyError> {
        check_lifetime(lifetime)?;
        Ok(self.granting(|grant| grant.lifetime(lifetime)))
    }

    /// The sizes an upload may have.
    #[must_use]
    pub fn size(self, size: SizeRange) -> Self {
        self.granting(|grant| grant.size(size))
    }

    /// Holds the tokens to this bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: Bucket) -> Self {
        self.template().destination.name_bucket(bucket);
        self
    }

    /// Signs with version 4 for this region, and answers as the current samples do ([`TokenFormat::V4`]).
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        self.template().region = Some(region);
        self.shape(TokenFormat::V4);
        self
    }

    fn granting(self, change: impl FnOnce(Grant) -> Grant) -> Self {
        let PublicDemo(grant) = &*self.authorize;
        Self {
            authorize: Arc::new(PublicDemo(change(grant.clone()))),
            issuer: self.issuer,
        }
    }
}
