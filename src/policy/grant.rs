//! What somebody may upload.

mod callback;

use std::{
    fmt,
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::Value;

use super::{
    builder::PostPolicyBuilder,
    condition::Condition,
    content_types::ContentTypes,
    credentials::Credentials,
    denied::Denied,
    error::PolicyError,
    object_name::unique_key,
    post_policy::PostPolicy,
    requested::RequestedFile,
    template::Template,
    terms::{Profile, Terms},
    upload_key::UploadKey,
};
use crate::{
    protocol::{ContentType, ObjectAcl, ObjectKey, ObjectPrefix, SizeRange},
    ticket::Scope,
};

/// What somebody may upload: the answer of an [`Authorize`](super::Authorize).
///
/// What the client has asked for narrows it further, and can never widen it: a size becomes exactly that size, a type
/// becomes that type if it is among the granted ones.
///
/// ```
/// use tower_aliyun_oss::{policy::Grant, protocol::SizeRange};
///
/// let grant = Grant::under("user/7/".parse()?, SizeRange::new(1, 5 * 1024 * 1024)?)
///     .content_types(["image/png".parse()?, "image/jpeg".parse()?])
///     .field("Cache-Control", "max-age=31536000");
/// # let _ = grant;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a grant does nothing until it is returned"]
pub struct Grant {
    name: Name,
    terms: Terms,
    variables: Vec<(Box<str>, Box<str>)>,
    claims: Claims,
    max_uses: NonZeroU16,
}

#[derive(Clone)]
enum Claims {
    None,
    Some(Value),
    NotJson,
}

#[derive(Clone, Debug)]
enum Name {
    Exact(ObjectKey),
    Unique(ObjectPrefix),
    Any(ObjectPrefix),
}

impl fmt::Debug for Grant {
    /// Leaves claims and values of variables out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("Grant")
            .field("name", &self.name)
            .field("terms", &self.terms)
            .field("variables", &variables)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// One object, under a [name of its own](super::unique_key) below this prefix: `prefix/UUID.extension`, with the
    /// extension of the file that was asked for. It takes the place of no other.
    pub fn under(prefix: ObjectPrefix, size: SizeRange) -> Self {
        Self::new(Name::Unique(prefix), size)
    }

    /// Exactly this object.
    pub fn exact(key: ObjectKey, size: SizeRange) -> Self {
        Self::new(Name::Exact(key), size)
    }

    /// Any number of objects under this prefix, named by the uploader.
    ///
    /// Whoever holds the token can write to every name there. Give each user a prefix of their own. In the
    /// [formats of the samples](super::TokenFormat) they can replace objects there as well, and choose type and ACL.
    pub fn any_name_under(prefix: ObjectPrefix, size: SizeRange) -> Self {
        Self::new(Name::Any(prefix), size)
    }

    fn new(name: Name, size: SizeRange) -> Self {
        Self {
            name,
            terms: Terms::new(size),
            variables: Vec::new(),
            claims: Claims::None,
            max_uses: Scope::DEFAULT_MAX_USES,
        }
    }

    /// As [`PostPolicyBuilder::lifetime`](super::PostPolicyBuilder::lifetime): 15 minutes by default.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms.lifetime = lifetime;
        self
    }

    /// The one type the object gets; `application/octet-stream` by default. As [`PostPolicyBuilder::content_type`](super::PostPolicyBuilder::content_type).
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.terms.content_types = ContentTypes::One(content_type);
        self
    }

    /// The types the client may choose from. Unless there is only one, it must ask for one of them, and the token then
    /// carries that.
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.terms.content_types = ContentTypes::of(types);
        self
    }

    /// Leaves the type to the client. As [`PostPolicyBuilder::any_content_type`](super::PostPolicyBuilder::any_content_type), and as dangerous: an uploader can
    /// store pages with scripts on your domain. A client that does ask for such a type is refused even so, unless
    /// [active content](Self::allow_active_content) is allowed.
    pub fn any_content_type(mut self) -> Self {
        self.terms.content_types = ContentTypes::Any;
        self
    }

    /// As [`PostPolicyBuilder::allow_active_content`](super::PostPolicyBuilder::allow_active_content).
    pub fn allow_active_content(mut self) -> Self {
        self.terms.allow_active = true;
        self
    }

    /// As [`PostPolicyBuilder::object_acl`](super::PostPolicyBuilder::object_acl).
    pub fn object_acl(mut self, acl: ObjectAcl) -> Self {
        self.terms.acl = Some(acl);
        self
    }

    /// As [`PostPolicyBuilder::allow_overwrite`](super::PostPolicyBuilder::allow_overwrite).
    pub fn allow_overwrite(mut self) -> Self {
        self.terms.overwrite = true;
        self
    }

    /// As [`PostPolicyBuilder::success_action_status`](super::PostPolicyBuilder::success_action_status).
    pub fn success_action_status(mut self, status: u16) -> Self {
        self.terms.status = status;
        self
    }

    /// As [`PostPolicyBuilder::field`](super::PostPolicyBuilder::field).
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.terms.fields.push((name.into(), value.into()));
        self
    }

    /// As [`PostPolicyBuilder::condition`](super::PostPolicyBuilder::condition).
    pub fn condition(mut self, condition: Condition) -> Self {
        self.terms.conditions.push(condition);
        self
    }

    /// A custom variable (`x:…`), with a field of the same name in the body of the callback; the policy pins its value,
    /// which can hold neither `$` nor control characters. For text of your users, [`claims`](Self::claims) take any.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// What your handler wants to know of the grant, such as whose it is: it comes back, authentic, from
    /// [`VerifiedCallback::claims`](crate::callback::VerifiedCallback::claims). The uploader can read it. At most 1 KiB
    /// of JSON; only with [tickets](super::OssPolicyService::tickets).
    pub fn claims<T: Serialize>(mut self, claims: &T) -> Self {
        self.claims = serde_json::to_value(claims).map_or(Claims::NotJson, Claims::Some);
        self
    }

    /// How many callbacks the ticket for [any name under a prefix](Self::any_name_under) is good for; 100 by default.
    pub fn max_uses(mut self, max_uses: NonZeroU16) -> Self {
        self.max_uses = max_uses;
        self
    }

    pub(super) fn size(mut self, size: SizeRange) -> Self {
        self.terms.size = size;
        self
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self.name, Name::Exact(_))
    }

    /// The policy for one file: what is granted, and of that only what was asked for.
    pub(super) fn policy(
        &self,
        template: &Arc<Template>,
        asked: &RequestedFile,
        credentials: &Credentials,
        at: SystemTime,
    ) -> Result<PostPolicy, Denied> {
        // What is wrong with a grant is wrong whatever is asked for.
        self.terms.check(template.profile)?;
        let mut terms = self.terms.clone();
        if let Some(size) = asked.size() {
            if !terms.size.contains(size) {
                return Err(Denied::Size);
            }
            terms.size = SizeRange::new(size, size).map_err(|_| Denied::Size)?;
        }
        // The clients of the other formats send no type, so none can be asked of them.
        if template.profile == Profile::Full {
            terms.content_types = self.narrowed_type(asked)?;
        }
        let key = match &self.name {
            Name::Exact(key) => UploadKey::Exact(key.clone()),
            Name::Unique(prefix) => unique_key(prefix, asked.filename(), at)?.into(),
            Name::Any(prefix) => UploadKey::Under(prefix.clone()),
        };
        let mut template = Arc::clone(template);
        if !self.variables.is_empty() {
            let callback = template.callback.clone().with_custom(&self.variables);
            Arc::make_mut(&mut template).callback = callback.map_err(PolicyError::Callback)?;
        }
        let ends = credentials.expires_at();
        if let Some(callback) = self.with_ticket(&template, &key, &terms, ends, at)? {
            Arc::make_mut(&mut template).callback = callback;
        }
        Ok(PostPolicyBuilder::of(template, key, terms).build()?)
    }

    fn narrowed_type(&self, asked: &RequestedFile) -> Result<ContentTypes, Denied> {
        let granted = &self.terms.content_types;
        match asked.content_type() {
            Some(one) => granted
                .narrowed(one, self.terms.allow_active)
                .ok_or(Denied::ContentType),
            None if granted.is_choice() => Err(Denied::NoContentType),
            None => Ok(granted.clone()),
        }
    }
}
