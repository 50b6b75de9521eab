//! The settings of a policy, and the checks on them.

use std::{sync::Arc, time::Duration};

use super::{
    condition::Condition,
    content_types::ContentTypes,
    directive::CallbackDirective,
    error::{FieldProblem, PolicyError},
    post_policy::PostPolicy,
    template::Template,
    terms::{Profile, Terms},
    upload_key::UploadKey,
};
use crate::{
    protocol::{ContentType, Endpoint, ObjectAcl, SizeRange},
    sign::SignatureVersion,
};

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
    pub(super) template: Arc<Template>,
    pub(super) key: UploadKey,
    pub(super) terms: Terms,
}

impl PostPolicyBuilder {
    pub(super) fn of(template: Arc<Template>, key: UploadKey, terms: Terms) -> Self {
        Self {
            template,
            key,
            terms,
        }
    }

    /// Another key or prefix than the one the builder began with.
    pub fn key(mut self, key: impl Into<UploadKey>) -> Self {
        self.key = key.into();
        self
    }

    /// Another size than the one the builder began with.
    pub fn size(mut self, size: SizeRange) -> Self {
        self.terms.size = size;
        self
    }

    /// Another callback than the one the builder began with.
    pub fn callback(mut self, callback: CallbackDirective) -> Self {
        Arc::make_mut(&mut self.template).callback = callback;
        self
    }

    /// The host that forms are posted to; by default the public endpoint of the region.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        Arc::make_mut(&mut self.template)
            .destination
            .reach_through(endpoint);
        self
    }

    /// How long the policy can be used, from one second to seven days; 15 minutes by default.
    ///
    /// It must outlive the upload: whether OSS looks at the start or at the end of one is not settled (EC
    /// 0006-00000213).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms.lifetime = lifetime;
        self
    }

    /// Which signature the policy carries; version 4 by default.
    pub fn signature(mut self, version: SignatureVersion) -> Self {
        Arc::make_mut(&mut self.template).signature = version;
        self
    }

    /// The one type the object gets, whatever the client says; `application/octet-stream` by default.
    ///
    /// It is sent as `x-oss-content-type`, which outranks the type of the file part and the field `Content-Type`, and
    /// pinned. It says nothing about what the bytes are.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.terms.content_types = ContentTypes::One(content_type);
        self
    }

    /// The types of which the client chooses one. Unless there is only one, the **client must add the field
    /// `x-oss-content-type`** with its choice.
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.terms.content_types = ContentTypes::of(types);
        self
    }

    /// Leaves the type to the client, who can then store pages with scripts on your domain (stored cross-site
    /// scripting). Only for buckets whose objects are never opened in a browser.
    pub fn any_content_type(mut self) -> Self {
        self.terms.content_types = ContentTypes::Any;
        self
    }

    /// Allows content types that browsers run as a page of the domain they come from: HTML, XML (SVG included) and
    /// scripts. Without this they are refused.
    pub fn allow_active_content(mut self) -> Self {
        self.terms.allow_active = true;
        self
    }

    /// Who may read the object; [`ObjectAcl::Private`] by default. To set it, the signing AccessKey needs
    /// `oss:PutObjectAcl` beside `oss:PutObject`.
    pub fn object_acl(mut self, acl: ObjectAcl) -> Self {
        self.terms.acl = Some(acl);
        self
    }

    /// Lets the upload replace an object of the same name. Without this OSS refuses it (`x-oss-forbid-overwrite`,
    /// which has no effect in buckets with versioning), except in the formats of the samples, whose clients do not send
    /// the field.
    pub fn allow_overwrite(mut self) -> Self {
        self.terms.overwrite = true;
        self
    }

    /// The status of a successful upload: 200 (the default), 201 or 204.
    pub fn success_action_status(mut self, status: u16) -> Self {
        self.terms.status = status;
        self
    }

    /// One more field with this very value, such as `Cache-Control` or `x-oss-meta-user`.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.terms.fields.push((name.into(), value.into()));
        self
    }

    /// A rule for a field that the client adds itself.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.terms.conditions.push(condition);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When OSS would refuse the policy or every upload with it, or would not compare what was meant; the error names
    /// the field.
    pub fn build(self) -> Result<PostPolicy, PolicyError> {
        self.template.check()?;
        self.terms.check(self.template.profile)?;
        let reduced = self.template.profile == Profile::Reduced;
        if reduced && matches!(self.key, UploadKey::Exact(_)) {
            return Err(PolicyError::field("key", FieldProblem::NotPrefix));
        }
        Ok(PostPolicy::new(self))
    }
}
