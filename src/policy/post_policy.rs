//! A policy for one upload: its settings, its checks, and its signature.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    callback::CallbackDirective,
    conditions::{
        CONTENT_TYPE_FIELD, Condition, ContentTypes, FieldSet, UploadConditions, check_value,
    },
    credentials::Credentials,
    document::{Clause, Form},
    error::{FieldProblem, PolicyError},
    object_name::UploadKey,
    upload_token::UploadToken,
    validity::{SignedAt, Validity},
};
use crate::{
    protocol::{Bucket, ContentType, Endpoint, ObjectAcl, Region, SizeRange, UploadUrl},
    sign::{
        SignatureVersion,
        request::{RequestSigner, encode_key},
        sign_v1,
        v4::{self, DayKeys},
    },
};

/// A validated policy for one upload, ready to be signed.
///
/// OSS does not check a form field that the policy does not mention. This policy therefore has a
/// condition on every field of the form: the bucket, the key, the size, the callback and each of
/// its `x:` variables, `success_action_status`, `x-oss-content-type`, `x-oss-object-acl`,
/// `x-oss-forbid-overwrite`, the fields of the signature, and every [field you
/// add](PostPolicyBuilder::field). There is no policy without a callback, and the uploader cannot
/// change the callback of one.
///
/// OSS accepts fields without a condition, so an uploader can add `Cache-Control`,
/// `Content-Disposition`, `Content-Encoding`, `Expires`, `x-oss-meta-*`, `x-oss-storage-class` or
/// `x-oss-server-side-encryption`. Restrict those that matter to you with a
/// [field](PostPolicyBuilder::field) or a [condition](PostPolicyBuilder::condition).
///
/// ```
/// use std::time::SystemTime;
/// use tower_aliyun_oss::{
///     policy::{CallbackDirective, Credentials, PostPolicy},
///     protocol::{ObjectKey, SizeRange},
/// };
///
/// let key: ObjectKey = "user/1/photo.png".parse()?;
/// let policy = PostPolicy::builder(
///     "examplebucket".parse()?,
///     "cn-hangzhou".parse()?,
///     key,
///     SizeRange::new(1, 10 * 1024 * 1024)?,
///     CallbackDirective::new("https://app.example/oss/callback")?,
/// )
/// .content_type("image/png".parse()?)
/// .build()?;
///
/// let credentials = Credentials::new("LTAI5tExample", "secret")?;
/// let token = policy.sign(&credentials, SystemTime::now())?;
/// assert_eq!(token.url().as_str(), "https://examplebucket.oss-cn-hangzhou.aliyuncs.com");
/// assert_eq!(token.fields().next(), Some(("key", "user/1/photo.png")));
/// println!("{}", serde_json::to_string(&token)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: the [PostObject] page.
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
#[derive(Clone, Debug)]
pub struct PostPolicy(PostPolicyBuilder);

impl PostPolicy {
    /// Creates a builder from the settings that have no default: where the object is stored, its
    /// permitted name and size, and the callback.
    ///
    /// The name is an [`ObjectKey`], or an [`ObjectPrefix`] under which the uploader chooses any
    /// name, including `../`. The form then carries `prefix/${filename}`. Prefer a key that the
    /// server creates for every upload, as [`unique_key`](super::unique_key) does: the holder of a
    /// token for a prefix can write to every key there.
    ///
    /// [`ObjectKey`]: crate::protocol::ObjectKey
    /// [`ObjectPrefix`]: crate::protocol::ObjectPrefix
    ///
    /// The policy is signed for `region`. The host that receives the form is a
    /// [separate setting](PostPolicyBuilder::endpoint).
    pub fn builder(
        bucket: Bucket,
        region: Region,
        key: impl Into<UploadKey>,
        size: SizeRange,
        callback: CallbackDirective,
    ) -> PostPolicyBuilder {
        PostPolicyBuilder {
            config: Arc::new(PolicyConfig::for_bucket(bucket, region)),
            callback: Arc::new(callback),
            key: key.into(),
            conditions: UploadConditions::new(size),
        }
    }

    /// Signs the policy at the time `at`.
    ///
    /// `at` is the current time; every date of the policy derives from it. The policy expires after
    /// its lifetime, or with the credentials if that is earlier.
    ///
    /// # Errors
    ///
    /// Fails if the credentials have expired at that time, or if a policy cannot express the time
    /// (before 1970 or after 9999).
    pub fn sign(
        &self,
        credentials: &Credentials,
        at: SystemTime,
    ) -> Result<UploadToken, PolicyError> {
        let Self(policy) = self;
        let conditions = &policy.conditions;
        let validity = Validity::new(at, conditions.lifetime, credentials.expires_at())?;
        let unsigned = UnsignedPolicy {
            config: &policy.config,
            key: &policy.key,
            size: conditions.size,
            content_types: &conditions.content_types,
            conditions,
            callback: Some(policy.callback.encoded()),
        };
        unsigned.sign(policy.callback.variables(), credentials, &validity)
    }
}

/// The settings of a [`PostPolicy`].
///
/// Keep one builder and clone it for every policy: the clones share the signing key of the day, so
/// it is derived only once.
///
/// ```
/// use tower_aliyun_oss::{
///     policy::{CallbackDirective, FieldProblem, PolicyError, PostPolicy},
///     protocol::{ObjectKey, SizeRange},
/// };
///
/// let template = PostPolicy::builder(
///     "examplebucket".parse()?,
///     "cn-hangzhou".parse()?,
///     "user/1/a.png".parse::<ObjectKey>()?,
///     SizeRange::new(1, 1024)?,
///     CallbackDirective::new("https://app.example/oss/callback")?,
/// )
/// .field("Cache-Control", "no-cache");
/// let other = template.clone().key("user/1/b.png".parse::<ObjectKey>()?).build()?;
/// # let _ = other;
///
/// // A field that the uploader could circumvent, or that OSS would reject, is an error.
/// let error = template.field("Content-Type", "image/png").build().unwrap_err();
/// assert!(matches!(error, PolicyError::Field { problem: FieldProblem::Reserved(_), .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct PostPolicyBuilder {
    config: Arc<PolicyConfig>,
    callback: Arc<CallbackDirective>,
    key: UploadKey,
    conditions: UploadConditions,
}

impl PostPolicyBuilder {
    /// Replaces the key or prefix, an [`ObjectKey`](crate::protocol::ObjectKey) or an
    /// [`ObjectPrefix`](crate::protocol::ObjectPrefix).
    pub fn key(mut self, key: impl Into<UploadKey>) -> Self {
        self.key = key.into();
        self
    }

    /// Replaces the permitted sizes.
    pub fn size(mut self, size: SizeRange) -> Self {
        self.conditions.size = size;
        self
    }

    /// Replaces the callback.
    pub fn callback(mut self, callback: CallbackDirective) -> Self {
        self.callback = Arc::new(callback);
        self
    }

    /// Sets the host that receives the form; defaults to the public endpoint of the region.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        let changed = self.config_mut().destination.set_endpoint(endpoint);
        #[expect(
            clippy::expect_used,
            reason = "only a demo has a URL instead of a bucket"
        )]
        changed.expect("a builder has a bucket and an endpoint");
        self
    }

    /// Sets how long the policy is valid, from one second to seven days; defaults to 15 minutes.
    ///
    /// The policy must outlive the upload: OSS compares the expiry when the complete request has
    /// arrived (EC 0006-00000213). At 1 Mbit/s, 100 MiB take 14 minutes, 1 GiB takes 2 h 24 min and
    /// 5 GiB take 12 hours.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.conditions.lifetime = lifetime;
        self
    }

    /// Sets the version of the signature; defaults to version 4.
    pub fn signature(mut self, version: SignatureVersion) -> Self {
        self.config_mut().version = version;
        self
    }

    /// Sets the content type of the object, whatever the client sends; defaults to
    /// `application/octet-stream`.
    ///
    /// The form carries it as `x-oss-content-type`, which overrides the type of the file part and
    /// the field `Content-Type`, and the policy requires it. It does not describe what the bytes
    /// are.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.conditions.content_types = ContentTypes::One(content_type);
        self
    }

    /// Sets the content types from which the client chooses one. Unless there is only one, the
    /// **client must add the field `x-oss-content-type`** with its choice.
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.conditions.content_types = ContentTypes::from_list(types);
        self
    }

    /// Lets the client set any content type. It can then store pages with scripts on your domain
    /// (stored cross-site scripting). Only for buckets whose objects are never opened in a browser.
    pub fn any_content_type(mut self) -> Self {
        self.conditions.content_types = ContentTypes::Any;
        self
    }

    /// Allows content types that browsers execute as a page of the domain that serves them: HTML,
    /// XML (including SVG) and scripts. By default they are rejected.
    pub fn allow_active_content(mut self) -> Self {
        self.conditions.allow_active = true;
        self
    }

    /// Sets the ACL of the object; defaults to [`ObjectAcl::Private`]. To set an ACL, the AccessKey
    /// needs the permission `oss:PutObjectAcl` in addition to `oss:PutObject`.
    pub fn object_acl(mut self, acl: ObjectAcl) -> Self {
        self.conditions.acl = Some(acl);
        self
    }

    /// Lets the upload replace an existing object of the same name. By default OSS rejects it
    /// (`x-oss-forbid-overwrite`, which has no effect in buckets with versioning). The token
    /// formats of the samples have no such protection, because their clients do not send the field.
    pub fn allow_overwrite(mut self) -> Self {
        self.conditions.overwrite = true;
        self
    }

    /// Sets the status of a successful upload: 200 (the default), 201 or 204.
    pub fn success_action_status(mut self, status: u16) -> Self {
        self.conditions.status = status;
        self
    }

    /// Adds a form field with exactly this value, such as `Cache-Control` or `x-oss-meta-user`.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.conditions.fields.push((name.into(), value.into()));
        self
    }

    /// Adds a condition on a field that the client adds itself.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.conditions.push(condition);
        self
    }

    /// Validates the settings.
    ///
    /// # Errors
    ///
    /// Fails if OSS would reject the policy or every upload with it, or would not compare a value
    /// as written. The error names the field.
    pub fn build(self) -> Result<PostPolicy, PolicyError> {
        self.config.check_region()?;
        self.config.check_variables(self.callback.variables())?;
        self.conditions.check(self.config.fields)?;
        self.config.check_key(&self.key)?;
        Ok(PostPolicy(self))
    }

    fn config_mut(&mut self) -> &mut PolicyConfig {
        Arc::make_mut(&mut self.config)
    }
}

/// Settings that all policies of a builder or a service have in common. Clones share the signing
/// key of the day.
#[derive(Clone, Debug)]
pub(super) struct PolicyConfig {
    pub(super) destination: Destination,
    pub(super) region: Option<Region>,
    pub(super) version: SignatureVersion,
    pub(super) fields: FieldSet,
    day_keys: Arc<DayKeys>,
}

impl PolicyConfig {
    pub(super) fn for_bucket(bucket: Bucket, region: Region) -> Self {
        Self::new(Destination::bucket(bucket, &region), Some(region))
    }

    pub(super) fn new(destination: Destination, region: Option<Region>) -> Self {
        Self {
            destination,
            region,
            version: SignatureVersion::V4,
            fields: FieldSet::Full,
            day_keys: Arc::default(),
        }
    }

    /// Returns a signer of requests at this instant. They are signed with version 4.
    pub(super) fn request_signer<'a>(
        &'a self,
        credentials: &'a Credentials,
        at: SystemTime,
    ) -> Result<RequestSigner<'a>, PolicyError> {
        let region = self.require_region()?;
        RequestSigner::new(&self.day_keys, credentials.access_key(), region, at)
            .ok_or(PolicyError::Clock)
    }

    pub(super) fn check_region(&self) -> Result<(), PolicyError> {
        match self.version {
            SignatureVersion::V4 => self.require_region().map(|_| ()),
            SignatureVersion::V1 => Ok(()),
        }
    }

    pub(super) fn require_region(&self) -> Result<&Region, PolicyError> {
        self.region.as_ref().ok_or(PolicyError::Region)
    }

    /// Checks that a form can carry these custom variables. [`CallbackDirective`] has made sure
    /// that no name is used twice.
    pub(super) fn check_variables<'a>(
        &self,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), PolicyError> {
        for (name, value) in variables {
            // These clients know nothing of the field, and the condition on it would always fail.
            if self.fields == FieldSet::Reduced {
                return Err(PolicyError::field(name, FieldProblem::NotInFormat));
            }
            check_value(name, value)?;
        }
        Ok(())
    }

    pub(super) fn check_key(&self, key: &UploadKey) -> Result<(), PolicyError> {
        match (self.fields, key) {
            // The clients append the name of the file to the key.
            (FieldSet::Reduced, UploadKey::Exact(_)) => {
                Err(PolicyError::field("key", FieldProblem::NotPrefix))
            }
            _ => Ok(()),
        }
    }
}

/// Where a form is sent, and for which bucket. A URL does not determine the bucket, so the two are
/// separate.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Bucket {
        bucket: Bucket,
        endpoint: Endpoint,
        /// The URL of the bucket at the endpoint, which every token shares.
        url: Arc<UploadUrl>,
    },
    /// The configuration of the sample servers: they know the URL, and possibly not the bucket.
    Url {
        url: Arc<UploadUrl>,
        bucket: Option<Bucket>,
    },
}

impl Destination {
    pub(super) fn bucket(bucket: Bucket, region: &Region) -> Self {
        Self::at(bucket, Endpoint::public(region))
    }

    fn at(bucket: Bucket, endpoint: Endpoint) -> Self {
        let url = Arc::new(endpoint.upload_url(&bucket));
        Self::Bucket {
            bucket,
            endpoint,
            url,
        }
    }

    pub(super) fn url(url: UploadUrl) -> Self {
        let url = Arc::new(url);
        Self::Url { url, bucket: None }
    }

    pub(super) fn set_bucket(&mut self, name: Bucket) {
        match self {
            Self::Bucket { endpoint, .. } => *self = Self::at(name, endpoint.clone()),
            Self::Url { bucket, .. } => *bucket = Some(name),
        }
    }

    pub(super) fn set_endpoint(&mut self, new: Endpoint) -> Result<(), PolicyError> {
        match self {
            Self::Bucket { bucket, .. } => *self = Self::at(bucket.clone(), new),
            Self::Url { .. } => return Err(PolicyError::Endpoint),
        }
        Ok(())
    }

    pub(super) fn bucket_name(&self) -> Option<&Bucket> {
        match self {
            Self::Bucket { bucket, .. } => Some(bucket),
            Self::Url { bucket, .. } => bucket.as_ref(),
        }
    }

    /// Returns the URL of an object, without a signature.
    pub(super) fn object_url(&self, key: &str) -> String {
        let base = self.upload_url().as_str().trim_end_matches('/');
        format!("{base}/{}", encode_key(key))
    }

    pub(super) fn upload_url(&self) -> &Arc<UploadUrl> {
        match self {
            Self::Bucket { url, .. } | Self::Url { url, .. } => url,
        }
    }
}

/// Everything that becomes one signed policy, validated by the caller.
///
/// A service creates one for every token, so it borrows everything. `size` and `content_types`
/// replace those of `conditions`.
pub(super) struct UnsignedPolicy<'a> {
    pub(super) config: &'a PolicyConfig,
    pub(super) key: &'a UploadKey,
    pub(super) size: SizeRange,
    pub(super) content_types: &'a ContentTypes,
    pub(super) conditions: &'a UploadConditions,
    /// The value of the form field `callback`. Only [`Grant::without_callback`] has none.
    ///
    /// [`Grant::without_callback`]: super::Grant::without_callback
    pub(super) callback: Option<&'a str>,
}

/// What a version 4 signature adds to the form.
struct V4Fields<'a> {
    region: &'a Region,
    signed: SignedAt,
    credential: String,
}

impl<'a> UnsignedPolicy<'a> {
    pub(super) fn sign(
        &self,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
        credentials: &Credentials,
        validity: &Validity,
    ) -> Result<UploadToken, PolicyError> {
        let config = self.config;
        let v4 = match config.version {
            SignatureVersion::V4 => Some(self.v4_fields(credentials, validity)?),
            SignatureVersion::V1 => None,
        };
        let long = [self.callback, credentials.security_token()];
        let long = long.map(|value| value.map_or(0, str::len)).iter().sum();

        // The order of the fields is that of Alibaba's samples; OSS does not depend on it.
        let mut form = Form::new(validity.expires(), long);
        form.require_by("key", &self.key.form_value(), self.key.clause());
        // Without this condition, the token is valid for every bucket of the AccessKey.
        if let Some(bucket) = config.destination.bucket_name() {
            form.condition(Clause::Is("bucket", bucket.as_str()));
        }
        if let Some(v4) = &v4 {
            form.require("x-oss-signature-version", v4::ALGORITHM);
            form.require("x-oss-credential", &v4.credential);
        }
        if let Some(token) = credentials.security_token() {
            // Clients of the first samples send no STS token, so OSS would reject every form.
            if config.fields == FieldSet::Reduced && v4.is_none() {
                let field = "x-oss-security-token";
                return Err(PolicyError::field(field, FieldProblem::NotInFormat));
            }
            form.require("x-oss-security-token", token);
        }
        if let Some(v4) = &v4 {
            form.require("x-oss-date", v4.signed.date_time());
        }
        let size = self.size.of_form().ok_or(PolicyError::Size)?;
        form.condition(Clause::ContentLengthRange(size));
        // Of the clients of the samples, those that send no callback send no status either.
        if config.fields == FieldSet::Full || self.callback.is_some() {
            form.require_eq("success_action_status", self.conditions.status_text());
        }
        if config.fields == FieldSet::Full {
            self.add_object_fields(&mut form);
        }
        if let Some(callback) = self.callback {
            form.require("callback", callback);
        }
        for (name, value) in variables {
            form.require_eq(name, value);
        }

        let secret = credentials.secret();
        let fields = match &v4 {
            Some(v4) => {
                let mut fields = form.into_fields();
                let (day, text) = (v4.signed.day(), fields.last());
                let signature = v4::sign(&config.day_keys, secret, day, v4.region, text);
                fields.push("x-oss-signature", signature.as_str());
                fields
            }
            None => {
                form.add_id(credentials.access_key_id());
                let mut fields = form.into_fields();
                let signature = sign_v1(secret, fields.last());
                fields.push("Signature", &signature);
                fields
            }
        };
        let url = Arc::clone(config.destination.upload_url());
        Ok(UploadToken::new(url, fields, validity.expires()))
    }

    fn v4_fields(
        &self,
        credentials: &Credentials,
        validity: &Validity,
    ) -> Result<V4Fields<'a>, PolicyError> {
        let region = self.config.require_region()?;
        let signed = validity.signed();
        let id = credentials.access_key_id();
        Ok(V4Fields {
            region,
            credential: v4::credential(id, signed.day(), region),
            signed,
        })
    }

    /// Adds what only clients of [`FieldSet::Full`] send.
    fn add_object_fields(&self, form: &mut Form) {
        let conditions = self.conditions;
        // Defaults get a condition too; otherwise the uploader could send other values.
        let acl = conditions.acl.unwrap_or_default();
        form.require_eq("x-oss-object-acl", acl.as_str());
        let forbid = if conditions.overwrite {
            "false"
        } else {
            "true"
        };
        form.require_eq("x-oss-forbid-overwrite", forbid);
        match self.content_types {
            ContentTypes::Binary => form.require_eq(CONTENT_TYPE_FIELD, ContentTypes::BINARY),
            ContentTypes::One(one) => form.require_eq(CONTENT_TYPE_FIELD, one.as_str()),
            // The client adds the field with its choice.
            ContentTypes::Several(several) => {
                form.condition(Clause::In(CONTENT_TYPE_FIELD, several));
            }
            ContentTypes::Any => {}
        }
        for (name, value) in &conditions.fields {
            form.require_eq(name, value);
        }
        for condition in &conditions.conditions {
            form.condition(condition.clause());
        }
    }
}

#[cfg(test)]
mod tests;
