//! The settings of a policy, and the checks on them.

use std::{sync::Arc, time::Duration};

use super::{
    condition::Condition,
    content_types::ContentTypes,
    directive::CallbackDirective,
    error::{FieldProblem, PolicyError},
    field::{check_distinct, check_name, check_value},
    post_policy::PostPolicy,
    signature::{DayKeys, SignatureVersion},
    upload_key::UploadKey,
};
use crate::protocol::{Bucket, ContentType, Endpoint, ObjectAcl, Region, SizeRange};

pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(1);
/// After seven days OSS no longer takes the date of a signature of version 4.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Which conditions a policy has: as many as the clients of a token format send fields for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Profile {
    /// All of them.
    Full,
    /// Bucket, key, size, status and callback, and the fields of the signature.
    Reduced,
}

/// The settings of a [`PostPolicy`].
///
/// Kept and cloned, one builder makes many policies: its clones share the signing key of the day, so that it is
/// derived once.
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
/// // What the uploader could get around, or OSS would refuse, is refused here.
/// let error = template.field("Content-Type", "image/png").build().unwrap_err();
/// assert!(matches!(error, PolicyError::Field { problem: FieldProblem::Reserved(_), .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct PostPolicyBuilder {
    pub(super) bucket: Bucket,
    pub(super) region: Region,
    pub(super) endpoint: Endpoint,
    pub(super) key: UploadKey,
    pub(super) size: SizeRange,
    pub(super) callback: CallbackDirective,
    pub(super) lifetime: Duration,
    pub(super) signature: SignatureVersion,
    pub(super) content_types: ContentTypes,
    allow_active: bool,
    pub(super) acl: Option<ObjectAcl>,
    pub(super) overwrite: bool,
    status: u16,
    pub(super) fields: Vec<(Box<str>, Box<str>)>,
    pub(super) conditions: Vec<Condition>,
    pub(super) profile: Profile,
    pub(super) day_keys: Arc<DayKeys>,
}

impl PostPolicyBuilder {
    pub(super) fn new(
        bucket: Bucket,
        region: Region,
        key: UploadKey,
        size: SizeRange,
        callback: CallbackDirective,
    ) -> Self {
        Self {
            bucket,
            endpoint: Endpoint::public(&region),
            region,
            key,
            size,
            callback,
            lifetime: DEFAULT_LIFETIME,
            signature: SignatureVersion::default(),
            content_types: ContentTypes::Binary,
            allow_active: false,
            acl: None,
            overwrite: false,
            status: 200,
            fields: Vec::new(),
            conditions: Vec::new(),
            profile: Profile::Full,
            day_keys: Arc::default(),
        }
    }

    /// Another key or prefix than the one the builder began with.
    pub fn key(mut self, key: impl Into<UploadKey>) -> Self {
        self.key = key.into();
        self
    }

    /// Another size than the one the builder began with.
    pub fn size(mut self, size: SizeRange) -> Self {
        self.size = size;
        self
    }

    /// Another callback than the one the builder began with.
    pub fn callback(mut self, callback: CallbackDirective) -> Self {
        self.callback = callback;
        self
    }

    /// The host that forms are posted to; by default the public endpoint of the region.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// How long the policy can be used, from one second to seven days; 15 minutes by default.
    ///
    /// It must outlive the upload: whether OSS looks at the start or at the end of one is not settled (EC
    /// 0006-00000213).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Which signature the policy carries; version 4 by default.
    pub fn signature(mut self, version: SignatureVersion) -> Self {
        self.signature = version;
        self
    }

    /// The one type the object gets, whatever the client says; `application/octet-stream` by default.
    ///
    /// It is sent as `x-oss-content-type`, which outranks the type of the file part and the field `Content-Type`, and
    /// pinned. It says nothing about what the bytes are.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.content_types = ContentTypes::One(content_type);
        self
    }

    /// The types of which the client chooses one. Unless there is only one, the **client must add the field
    /// `x-oss-content-type`** with its choice.
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.content_types = ContentTypes::of(types);
        self
    }

    /// Leaves the type to the client, who can then store pages with scripts on your domain (stored cross-site
    /// scripting). Only for buckets whose objects are never opened in a browser.
    pub fn any_content_type(mut self) -> Self {
        self.content_types = ContentTypes::Any;
        self
    }

    /// Allows content types that browsers run as a page of the domain they come from: HTML, XML (SVG included) and
    /// scripts. Without this they are refused.
    pub fn allow_active_content(mut self) -> Self {
        self.allow_active = true;
        self
    }

    /// Who may read the object; [`ObjectAcl::Private`] by default. To set it, the signing AccessKey needs
    /// `oss:PutObjectAcl` beside `oss:PutObject`.
    pub fn object_acl(mut self, acl: ObjectAcl) -> Self {
        self.acl = Some(acl);
        self
    }

    /// Lets the upload replace an object of the same name. Without this OSS refuses it (`x-oss-forbid-overwrite`,
    /// which has no effect in buckets with versioning).
    pub fn allow_overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// The status of a successful upload: 200 (the default), 201 or 204.
    pub fn success_action_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more field with this very value, such as `Cache-Control` or `x-oss-meta-user`.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// A rule for a field that the client adds itself.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    #[allow(
        dead_code,
        reason = "chosen by the token formats whose clients send few fields"
    )]
    pub(super) fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When OSS would refuse the policy or every upload with it, or would not compare what was meant; the error names
    /// the field.
    pub fn build(self) -> Result<PostPolicy, PolicyError> {
        if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&self.lifetime) {
            return Err(PolicyError::Lifetime);
        }
        if !matches!(self.status, 200 | 201 | 204) {
            let field = "success_action_status";
            return Err(PolicyError::field(field, FieldProblem::Status));
        }
        self.content_types.check(self.allow_active)?;
        for (name, value) in self.callback.variables() {
            check_value(name, value)?;
        }
        for (name, value) in &self.fields {
            check_name(name)?;
            check_value(name, value)?;
        }
        for condition in &self.conditions {
            condition.check()?;
        }
        let fields = self.fields.iter().map(|(name, _)| &**name);
        check_distinct(fields.chain(self.conditions.iter().map(Condition::field)))?;
        check_distinct(self.callback.variables().map(|(name, _)| name))?;
        if self.profile == Profile::Reduced
            && let Some(field) = self.unsent()
        {
            return Err(PolicyError::field(field, FieldProblem::NotInFormat));
        }
        Ok(PostPolicy::new(self))
    }

    /// The first setting that needs a field which a client with few fields does not send.
    fn unsent(&self) -> Option<&str> {
        if !matches!(self.content_types, ContentTypes::Binary | ContentTypes::Any) {
            return Some("x-oss-content-type");
        }
        if self.acl.is_some() {
            return Some("x-oss-object-acl");
        }
        if self.status != 200 {
            return Some("success_action_status");
        }
        let variables = self.callback.variables().map(|(name, _)| name);
        let fields = self.fields.iter().map(|(name, _)| &**name);
        let conditions = self.conditions.iter().map(Condition::field);
        variables.chain(fields).chain(conditions).next()
    }

    pub(super) fn status_text(&self) -> &'static str {
        match self.status {
            201 => "201",
            204 => "204",
            _ => "200",
        }
    }
}
