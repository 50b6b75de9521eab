//! What a client may upload, and the tokens and callbacks issued for it.

use std::{
    borrow::Cow,
    fmt,
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::Value;

use super::{
    callback::CallbackDirective,
    conditions::{Condition, ContentTypes, FieldSet, UploadConditions},
    credentials::Credentials,
    document::{Validity, system_time},
    error::PolicyError,
    object_name::{UploadKey, unique_key},
    post_policy::{PolicyConfig, UnsignedPolicy},
    requested::RequestedFile,
    ticket_issuer::{TicketIssuer, TicketRequest},
    upload_token::UploadToken,
};
use crate::{
    protocol::{ContentType, ObjectAcl, ObjectKey, ObjectPrefix, SizeRange},
    ticket::internal::Scope,
};

/// What a client may upload, as an [`Authorize`](super::Authorize) returns it.
///
/// The request of the client narrows the grant, and never widens it: a requested size becomes the
/// only permitted size, and a requested content type becomes the only permitted type if the grant
/// contains it.
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
    key: UploadKey,
    /// Whether each token is for a new unique name under the prefix, instead of one that the
    /// uploader chooses.
    unique_name: bool,
    conditions: UploadConditions,
    variables: Vec<(Box<str>, Box<str>)>,
    claims: Claims,
    max_uses: NonZeroU16,
    max_files: usize,
}

#[derive(Clone)]
enum Claims {
    None,
    Some(Value),
    NotJson,
}

impl Grant {
    /// Grants one object with a [unique name](super::unique_key) under this prefix:
    /// `prefix/UUID.extension`, with the extension of the requested file. It never replaces another
    /// object.
    pub fn under(prefix: ObjectPrefix, size: SizeRange) -> Self {
        Self {
            unique_name: true,
            ..Self::new(prefix.into(), size)
        }
    }

    /// Grants exactly this object.
    pub fn exact(key: ObjectKey, size: SizeRange) -> Self {
        Self::new(key.into(), size)
    }

    /// Grants any number of objects under this prefix. The uploader chooses the names.
    ///
    /// The ticket accepts a callback for every name that OSS stores under the prefix, except for
    /// segments `.` and `..` in any percent-encoding. Treat the name as a
    /// [`ReceivedName`](crate::protocol::ReceivedName). It is not proven: the holder of the ticket
    /// can have OSS sign the name of an object that was never stored.
    ///
    /// The holder of the token can write to every name under the prefix, so use a separate prefix
    /// for each user. In the [formats of the samples](super::TokenFormat) the holder can also
    /// replace objects there, and choose content type and ACL.
    pub fn any_name_under(prefix: ObjectPrefix, size: SizeRange) -> Self {
        Self::new(prefix.into(), size)
    }

    fn new(key: UploadKey, size: SizeRange) -> Self {
        Self {
            key,
            unique_name: false,
            conditions: UploadConditions::new(size),
            variables: Vec::new(),
            claims: Claims::None,
            max_uses: Scope::DEFAULT_MAX_USES,
            max_files: 1,
        }
    }

    /// Sets how long the token is valid, from one second to seven days; defaults to 15 minutes. See
    /// [`PostPolicyBuilder::lifetime`](super::PostPolicyBuilder::lifetime).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.conditions.lifetime = lifetime;
        self
    }

    /// Sets the content type of the object; defaults to `application/octet-stream`. See
    /// [`PostPolicyBuilder::content_type`](super::PostPolicyBuilder::content_type).
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.conditions.content_types = ContentTypes::One(content_type);
        self
    }

    /// Sets the content types that the client may request. Unless there is only one, it must
    /// request one of them, and the token then permits only that type.
    pub fn content_types(mut self, types: impl IntoIterator<Item = ContentType>) -> Self {
        self.conditions.content_types = ContentTypes::from_list(types);
        self
    }

    /// Lets the client set any content type. As dangerous as
    /// [`PostPolicyBuilder::any_content_type`](super::PostPolicyBuilder::any_content_type): an
    /// uploader can store pages with scripts on your domain. Without
    /// [`allow_active_content`](Self::allow_active_content) the service still rejects a request
    /// *for* such a type.
    pub fn any_content_type(mut self) -> Self {
        self.conditions.content_types = ContentTypes::Any;
        self
    }

    /// Allows content types that browsers execute. See
    /// [`PostPolicyBuilder::allow_active_content`](super::PostPolicyBuilder::allow_active_content).
    pub fn allow_active_content(mut self) -> Self {
        self.conditions.allow_active = true;
        self
    }

    /// Sets the ACL of the object; defaults to [`ObjectAcl::Private`]. See
    /// [`PostPolicyBuilder::object_acl`](super::PostPolicyBuilder::object_acl).
    pub fn object_acl(mut self, acl: ObjectAcl) -> Self {
        self.conditions.acl = Some(acl);
        self
    }

    /// Lets the upload replace an existing object. See
    /// [`PostPolicyBuilder::allow_overwrite`](super::PostPolicyBuilder::allow_overwrite).
    pub fn allow_overwrite(mut self) -> Self {
        self.conditions.overwrite = true;
        self
    }

    /// Sets the status of a successful upload: 200 (the default), 201 or 204.
    pub fn success_action_status(mut self, status: u16) -> Self {
        self.conditions.status = status;
        self
    }

    /// Adds a form field with exactly this value. See
    /// [`PostPolicyBuilder::field`](super::PostPolicyBuilder::field).
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.conditions.fields.push((name.into(), value.into()));
        self
    }

    /// Adds a condition on a field that the client adds itself. See
    /// [`PostPolicyBuilder::condition`](super::PostPolicyBuilder::condition).
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.conditions.push(condition);
        self
    }

    /// Adds a custom variable (`x:…`), and a field of the same name to the callback body. The
    /// policy requires this value, which can contain neither `${` nor control characters. For text
    /// from users, prefer [`claims`](Self::claims), which accept any text.
    ///
    /// With [tickets](super::OssPolicyService::tickets), the callback handler reads exactly this
    /// value. Without them, anyone can have OSS sign a callback with another value.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Sets data for your callback handler, such as the id of the user. The handler reads it,
    /// authenticated, from [`VerifiedCallback::claims`](crate::callback::VerifiedCallback::claims).
    /// The uploader can read it too. At most 1 KiB of JSON. Requires
    /// [tickets](super::OssPolicyService::tickets).
    pub fn claims<T: Serialize>(mut self, claims: &T) -> Self {
        self.claims = serde_json::to_value(claims).map_or(Claims::NotJson, Claims::Some);
        self
    }

    /// Sets how many callbacks the ticket for [any name under a prefix](Self::any_name_under)
    /// permits; defaults to 100.
    pub fn max_uses(mut self, max_uses: NonZeroU16) -> Self {
        self.max_uses = max_uses;
        self
    }

    /// Sets for how many files of one request the client gets a token; defaults to one. If the
    /// client requests more, the response is 422, and no token is issued.
    ///
    /// Each of these tokens permits what this grant permits. For different grants, return one per
    /// file; see [`Grants`](super::Grants). An [exact key](Self::exact) is for one file, so more is
    /// an error. A request has at most 100 files.
    pub fn max_files(mut self, max_files: usize) -> Self {
        self.max_files = max_files;
        self
    }

    /// Replaces the permitted sizes.
    pub(super) fn size(mut self, size: SizeRange) -> Self {
        self.conditions.size = size;
        self
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self.key, UploadKey::Exact(_))
    }

    /// Returns whether the grant serves this number of files of one request.
    pub(super) fn serves(&self, files: usize) -> bool {
        files <= self.max_files
    }

    /// Checks what does not depend on the requested file, once for all files of a request.
    pub(super) fn check(&self, fields: FieldSet) -> Result<(), PolicyError> {
        if self.is_exact() && self.max_files != 1 {
            return Err(PolicyError::MaxFiles);
        }
        self.conditions.check(fields)
    }

    /// Signs a token for one requested file. The grant must have been [checked](Self::check).
    pub(super) fn sign(
        &self,
        context: &IssueContext<'_>,
        requested: &RequestedFile,
        credentials: &Credentials,
    ) -> Result<UploadToken, Denied> {
        let IssueContext { config, at, .. } = *context;
        let size = match requested.size() {
            Some(size) if !self.conditions.size.contains(size) => return Err(Denied::Size),
            Some(size) => SizeRange::new(size, size).map_err(|_| Denied::Size)?,
            None => self.conditions.size,
        };
        // Clients of a reduced field set do not send a type, so the policy cannot require one.
        let content_types = match config.fields {
            FieldSet::Full => self.content_types_for(requested)?,
            FieldSet::Reduced => Cow::Borrowed(&self.conditions.content_types),
        };
        let key = match &self.key {
            UploadKey::Under(prefix) if self.unique_name => {
                Cow::Owned(unique_key(prefix, requested.filename(), at)?.into())
            }
            key => Cow::Borrowed(key),
        };
        config.check_key(&key)?;
        let validity = Validity::new(at, self.conditions.lifetime, credentials.expires_at())?;
        let ticket = match &context.tickets {
            Some(tickets) => {
                // Without a condition on the type, OSS accepts any.
                let pinned = config.fields == FieldSet::Full;
                let content_types = pinned.then_some(&*content_types);
                Some(self.ticket(context, tickets, &key, size, content_types, &validity)?)
            }
            None => self.without_ticket()?,
        };
        // Without a ticket and variables, this upload adds nothing to the callback of the service.
        let callback = if self.variables.is_empty() && ticket.is_none() {
            Cow::Borrowed(context.callback.encoded())
        } else {
            let ticket = ticket.as_deref();
            let encoded = context.callback.encode_for(&self.variables, ticket);
            Cow::Owned(encoded.map_err(PolicyError::Callback)?)
        };
        // The service has checked the variables of its own callback.
        let added = self
            .variables
            .iter()
            .map(|(name, value)| (&**name, &**value));
        config.check_variables(added)?;
        let unsigned = UnsignedPolicy {
            config,
            key: &key,
            size,
            content_types: &content_types,
            conditions: &self.conditions,
            callback: &callback,
        };
        let variables = context.callback.variables_with(&self.variables);
        Ok(unsigned.sign(variables, credentials, &validity)?)
    }

    /// Returns the callback of an upload that needs no policy, with a ticket if the service issues
    /// them.
    pub(super) fn callback(
        &self,
        context: &IssueContext<'_>,
    ) -> Result<CallbackDirective, PolicyError> {
        let conditions = &self.conditions;
        // No form is involved, so no token format restricts its fields.
        conditions.check(FieldSet::Full)?;
        let ticket = match &context.tickets {
            Some(tickets) => {
                let (size, types) = (conditions.size, Some(&conditions.content_types));
                let validity = Validity::new(context.at, conditions.lifetime, None)?;
                Some(self.ticket(context, tickets, &self.key, size, types, &validity)?)
            }
            None => self.without_ticket()?,
        };
        context
            .callback
            .for_upload(&self.variables, ticket.as_deref())
            .map_err(PolicyError::Callback)
    }

    fn ticket(
        &self,
        context: &IssueContext<'_>,
        tickets: &TicketIssuer<'_>,
        key: &UploadKey,
        size: SizeRange,
        content_types: Option<&ContentTypes>,
        validity: &Validity,
    ) -> Result<String, PolicyError> {
        let request = TicketRequest {
            bucket: context
                .config
                .destination
                .bucket_name()
                .ok_or(PolicyError::Bucket)?,
            key,
            size,
            content_types,
            claims: match &self.claims {
                Claims::None => None,
                Claims::Some(claims) => Some(claims),
                Claims::NotJson => return Err(PolicyError::Claims),
            },
            // A unique name is for one object, wherever under the prefix it is.
            max_uses: if self.unique_name {
                NonZeroU16::MIN
            } else {
                self.max_uses
            },
            policy_expires: system_time(validity.expires()),
        };
        tickets.issue(&request, context.callback, &self.variables, context.at)
    }

    /// Returns no ticket, or an error if there are claims that only a ticket could carry.
    fn without_ticket(&self) -> Result<Option<String>, PolicyError> {
        match self.claims {
            Claims::None => Ok(None),
            Claims::Some(_) | Claims::NotJson => Err(PolicyError::Claims),
        }
    }

    fn content_types_for(
        &self,
        requested: &RequestedFile,
    ) -> Result<Cow<'_, ContentTypes>, Denied> {
        let granted = &self.conditions.content_types;
        match requested.content_type() {
            Some(one) => granted
                .narrow_to(one, self.conditions.allow_active)
                .map(Cow::Owned)
                .ok_or(Denied::ContentType),
            None if granted.is_choice() => Err(Denied::NoContentType),
            None => Ok(Cow::Borrowed(granted)),
        }
    }
}

impl fmt::Debug for Grant {
    /// Omits the claims and the values of variables: they may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        f.debug_struct("Grant")
            .field("key", &self.key)
            .field("unique_name", &self.unique_name)
            .field("conditions", &self.conditions)
            .field("variables", &variables)
            .finish_non_exhaustive()
    }
}

/// The settings of a service, and the time, with which it issues what it grants.
pub(super) struct IssueContext<'a> {
    pub(super) config: &'a PolicyConfig,
    pub(super) callback: &'a CallbackDirective,
    pub(super) tickets: Option<TicketIssuer<'a>>,
    pub(super) at: SystemTime,
}

/// Why a requested file does not get a token.
#[derive(Debug)]
pub(super) enum Denied {
    /// The grant does not permit the size.
    Size,
    /// The grant does not permit the content type.
    ContentType,
    /// The grant permits several content types, and the client requested none.
    NoContentType,
    /// The grant itself is not valid.
    Grant(PolicyError),
}

impl From<PolicyError> for Denied {
    fn from(error: PolicyError) -> Self {
        Self::Grant(error)
    }
}
