//! What a client may upload, and the tokens and callbacks issued for it.

use std::{
    borrow::Cow,
    fmt, iter,
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    callback::CallbackDirective,
    conditions::{Condition, ContentTypes, FieldSet, UploadConditions, check_lifetime},
    credentials::Credentials,
    error::PolicyError,
    object_name::{UploadKey, name_object, requested_key},
    post_policy::{PolicyConfig, UnsignedPolicy},
    random::RandomBytes,
    requested::RequestedFile,
    ticket_issuer::{TicketIssuer, TicketRequest},
    upload_token::UploadToken,
    validity::{Validity, system_time},
};
use crate::{
    metrics,
    protocol::{Bucket, ContentType, ObjectAcl, ObjectKey, ObjectPrefix, SizeRange},
    ticket::{internal::Scope, ledger::GrantedUpload, store::Nonce},
};

/// What a client may upload, as an [`Authorize`](super::Authorize) returns it.
///
/// The request of the client narrows the grant, and never widens it: a requested size becomes the
/// only permitted size, and a requested content type becomes the only permitted type if the grant
/// contains it.
///
/// ```
/// use http::request::Parts;
/// use tower_aliyun_oss::{
///     OssUploads,
///     policy::{Authorize, Grant, OssPolicyService, Refusal},
///     protocol::{ContentType, ObjectPrefix, SizeRange},
/// };
///
/// #[derive(Clone, Copy)]
/// struct UserId(u64); // set by your session layer
///
/// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
///     let UserId(user) = *parts.extensions.get().ok_or_else(Refusal::unauthorized)?;
///     let prefix = ObjectPrefix::from_segments(["user", &user.to_string()])?;
///     Ok(Grant::under(prefix, SizeRange::new(1, 10 << 20)?)
///         .content_types(ContentType::IMAGES)
///         .claims(&user))
/// }
///
/// fn tokens(uploads: &OssUploads) -> OssPolicyService<impl Authorize> {
///     uploads.policy_service(authorize)
/// }
/// ```
///
/// Without [`content_types`](Self::content_types), [`content_type`](Self::content_type) or
/// [`any_content_type`](Self::any_content_type), only `application/octet-stream` is granted, and a
/// client that requests the type of a photo gets 403.
///
/// Grants can be compared, and their settings read with methods that start with `get_`, for tests
/// of an authoriser; see [`Authorize`](super::Authorize#tests).
///
/// ```
/// use tower_aliyun_oss::{
///     policy::Grant,
///     protocol::{ContentType, SizeRange},
/// };
///
/// let size = SizeRange::new(1, 5 << 20)?;
/// let grant = Grant::exact("user/7/a.png".parse()?, size)
///     .content_types([ContentType::PNG, ContentType::from_static("image/x-icon")])
///     .field("Cache-Control", "max-age=31536000");
/// assert_eq!(grant.get_size(), size);
/// assert_ne!(grant, grant.clone().allow_overwrite());
/// # Ok::<(), tower_aliyun_oss::protocol::ObjectError>(())
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a grant does nothing until it is returned"]
pub struct Grant {
    key: UploadKey,
    /// Whether each token is for a new unique name under the prefix, instead of one that the
    /// uploader chooses.
    unique_name: bool,
    conditions: UploadConditions,
    /// Whether `conditions.lifetime` was set, and is not the default.
    has_lifetime: bool,
    max_lifetime: Option<Duration>,
    variables: Vec<(Box<str>, Box<str>)>,
    claims: Claims,
    max_uses: NonZeroU16,
    max_files: usize,
    without_callback: bool,
    unrecovered: bool,
    /// `Some` for a grant for reading.
    reads: Option<Reads>,
}

/// What a grant for reading permits beside the object itself.
#[derive(Clone, Default, PartialEq)]
struct Reads {
    processes: Vec<Box<str>>,
}

/// The slowest upload that a lifetime allows for, in bytes per second: 1 Mbit/s.
pub(super) const SLOWEST_UPLOAD: u64 = 125_000;

/// The largest form upload, 5 GiB, takes 11 h 56 min at [`SLOWEST_UPLOAD`].
const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

#[derive(Clone, PartialEq)]
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
    /// In [`TokenFormat::Fields`](super::TokenFormat::Fields) the key is `prefix/${filename}`. A
    /// client that sends no name, or one that OSS cannot read (only `filename*=`, or bytes that are
    /// not UTF-8), then stores every file under the prefix itself. No other token contains
    /// `${filename}`.
    ///
    /// The holder of the token can write to every name under the prefix, so use a separate prefix
    /// for each user. In the [formats of the samples](super::TokenFormat) the holder can also
    /// replace objects there, and choose content type and ACL.
    pub fn any_name_under(prefix: ObjectPrefix, size: SizeRange) -> Self {
        Self::new(prefix.into(), size)
    }

    /// Grants downloads of an object, or of every object under a prefix, with URLs that the
    /// [presign service](super::OssPresignService) signs. It grants no upload.
    ///
    /// A URL is valid for the [lifetime](Self::lifetime) of the grant, by default 15 minutes. The
    /// other settings of uploads have no effect.
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_aliyun_oss::{
    ///     policy::{Grant, Refusal, RequestedDownload},
    ///     protocol::{ContentType, ObjectPrefix, SizeRange},
    /// };
    ///
    /// async fn authorize(parts: &Parts) -> Result<Grant, Refusal> {
    ///     let videos = ObjectPrefix::from_segments(["video", "7"])?; // of the user of the session
    ///     if parts.extensions.get::<RequestedDownload>().is_some() {
    ///         return Ok(Grant::read(videos).process("video/snapshot,t_1000,f_jpg,w_320"));
    ///     }
    ///     Ok(Grant::under(videos, SizeRange::new(1, 80 << 30)?).content_type(ContentType::MP4))
    /// }
    /// # fn is_authorize(_: impl tower_aliyun_oss::policy::Authorize) {}
    /// # is_authorize(authorize);
    /// ```
    pub fn read(key: impl Into<UploadKey>) -> Self {
        let mut grant = Self::new(key.into(), SizeRange::ANY);
        grant.reads = Some(Reads::default());
        grant
    }

    /// Permits this value of `x-oss-process` for a [download](Self::read), such as
    /// `image/resize,w_200`; call it once for each value. Without it, a download is the object
    /// itself. Alibaba Cloud bills each processing, so permit the values that your pages use. Has
    /// no effect on uploads.
    pub fn process(mut self, process: &str) -> Self {
        if let Some(reads) = &mut self.reads {
            reads.processes.push(process.into());
        }
        self
    }

    fn new(key: UploadKey, size: SizeRange) -> Self {
        Self {
            key,
            unique_name: false,
            conditions: UploadConditions::new(size),
            has_lifetime: false,
            max_lifetime: None,
            variables: Vec::new(),
            claims: Claims::None,
            max_uses: Scope::DEFAULT_MAX_USES,
            max_files: 1,
            without_callback: false,
            unrecovered: false,
            reads: None,
        }
    }

    /// Sets how long the token is valid, from one second to seven days; defaults to 15 minutes.
    ///
    /// The policy must outlive the upload: OSS compares the expiry when the complete request has
    /// arrived (EC 0006-00000213). 15 minutes suffice for 107 MiB at 1 Mbit/s. If the client
    /// requests a `size`, [`max_lifetime`](Self::max_lifetime) lengthens the lifetime accordingly;
    /// a lifetime that is set here is fixed unless the maximum is set too.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.conditions.lifetime = lifetime;
        self.has_lifetime = true;
        self
    }

    /// Sets how far a requested `size` lengthens the [`lifetime`](Self::lifetime), at most seven
    /// days. The token is then valid for as long as an upload of that size takes at 1 Mbit/s
    /// (125,000 bytes per second), at least the lifetime, and at most this maximum.
    ///
    /// Defaults to 12 hours, in which the largest form upload, 5 GiB, arrives at that rate. If only
    /// `lifetime` is set, the maximum is equal to it. The policy permits exactly the requested
    /// size. No token outlives the credentials that sign it, so STS sessions need a sufficient
    /// duration.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// Sets the content type of the object; defaults to `application/octet-stream`. See
    /// [`PostPolicyBuilder::content_type`](super::PostPolicyBuilder::content_type).
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.conditions.content_types = ContentTypes::One(content_type);
        self
    }

    /// Sets the content types that the client may request, such as [`ContentType::IMAGES`]. Unless
    /// there is only one, it must request one of them, and the token then permits only that type.
    ///
    /// If the client sends no type or an empty one, as browsers do for many files, the extension of
    /// `filename` decides. `image/jpg` is accepted for `image/jpeg`. Otherwise the response is an
    /// error that lists the types of the grant.
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
    /// Each of these tokens permits what this grant permits, with the same claims. For different
    /// ones, return one grant per file; see [`Authorize`](super::Authorize#several-files). An
    /// [exact key](Self::exact) is for one file, so more is an error. A request has at most 100
    /// files.
    pub fn max_files(mut self, max_files: usize) -> Self {
        self.max_files = max_files;
        self
    }

    /// Grants an upload without a callback and without a ticket, for clients that send neither
    /// `callback` nor `success_action_status`, as most mini-programs and apps in the field do.
    ///
    /// **Nobody tells your server about the upload.** The policy has no condition on `callback`, so
    /// neither OSS nor this crate reports that the object exists, and no limit on the number of
    /// uses applies. Have the client tell you, and verify with `HeadObject`; or list the prefix.
    ///
    /// The uploader may attach a callback of their own, because OSS does not check a field that the
    /// policy does not mention. It carries no ticket, so a [layer with
    /// tickets](crate::OssCallbackLayer::tickets) rejects it, always. A layer without tickets could
    /// not tell it from yours. A service without [tickets](super::OssPolicyService::tickets)
    /// therefore fails with 500 for such a grant, as does
    /// [`OssUploads`](crate::OssUploads) with `dangerous_without_tickets`.
    ///
    /// In the [formats of the samples](super::TokenFormat), the policy has no condition on
    /// `success_action_status` either, and the response has no member `callback`. Without the
    /// field, OSS answers 204. A grant with [claims](Self::claims) or
    /// [variables](Self::variable), which only a callback carries, is an error.
    ///
    /// ```
    /// use tower_aliyun_oss::{policy::Grant, protocol::SizeRange};
    ///
    /// let avatar = Grant::under("avatar/7/".parse()?, SizeRange::new(1, 1 << 20)?)
    ///     .content_type("image/png".parse()?)
    ///     .without_callback();
    /// # let _ = avatar;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_callback(mut self) -> Self {
        self.without_callback = true;
        self
    }

    /// Excludes the uploads from the [ledger](crate::OssUploadsBuilder::ledger), and from the
    /// promise that every object stored under a grant reaches the handler: if the callback of OSS
    /// does not arrive, nothing recovers it. Issuing then does not wait for the ledger.
    ///
    /// A grant that leaves the name of the object open needs it where there is a ledger. That is
    /// one for [any name under a prefix](Self::any_name_under) in the [formats of the
    /// samples](super::TokenFormat), or where a callback for it is requested. In
    /// [`TokenFormat::Fields`](super::TokenFormat::Fields), any name under a prefix is otherwise
    /// pinned: to the requested name, or, without a valid one, to a generated name. Has no effect
    /// without a ledger.
    ///
    /// ```
    /// use tower_aliyun_oss::{policy::Grant, protocol::SizeRange};
    ///
    /// let size = SizeRange::new(1, 1 << 20)?;
    /// let album = Grant::any_name_under("album/7/".parse()?, size).unrecovered();
    /// assert!(album.get_unrecovered());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unrecovered(mut self) -> Self {
        self.unrecovered = true;
        self
    }

    /// Replaces the permitted sizes.
    pub(super) fn with_size(mut self, size: SizeRange) -> Self {
        self.conditions.size = size;
        self
    }

    pub(super) fn upload_key(&self) -> &UploadKey {
        &self.key
    }

    pub(super) fn variables(&self) -> &[(Box<str>, Box<str>)] {
        &self.variables
    }

    /// Returns the claims as a ticket carries them.
    pub(super) fn claims_json(&self) -> Result<Option<&Value>, PolicyError> {
        match &self.claims {
            Claims::None => Ok(None),
            Claims::Some(claims) => Ok(Some(claims)),
            Claims::NotJson => Err(PolicyError::Claims),
        }
    }

    /// Returns the lifetime, unless it is the default.
    pub(super) fn chosen_lifetime(&self) -> Option<Duration> {
        self.has_lifetime.then_some(self.conditions.lifetime)
    }

    /// Returns the maximum lifetime, unless it is the default.
    pub(super) fn chosen_max_lifetime(&self) -> Option<Duration> {
        self.max_lifetime
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
        if let Some(max_lifetime) = self.max_lifetime {
            check_lifetime(max_lifetime)?;
            if max_lifetime < self.conditions.lifetime {
                return Err(PolicyError::MaxLifetime);
            }
        }
        if self.without_callback && (self.has_claims() || !self.variables.is_empty()) {
            return Err(PolicyError::WithoutCallback);
        }
        self.conditions.check(fields)
    }

    /// Signs a token for one requested file. The grant must have been [checked](Self::check).
    pub(super) fn sign(
        &self,
        context: &IssueContext<'_>,
        requested: &RequestedFile,
        credentials: &Credentials,
        random: &mut RandomBytes,
    ) -> Result<Issued<UploadToken>, Denied> {
        let IssueContext { config, at, .. } = *context;
        if self.reads.is_some() {
            return Err(Denied::Access);
        }
        let granted = self.conditions.size.of_form().ok_or(PolicyError::Size)?;
        let size = match requested.size() {
            Some(size) if !granted.contains(size) => return Err(Denied::Size(granted)),
            Some(size) => SizeRange::new(size, size).map_err(|_| Denied::Size(granted))?,
            None => granted,
        };
        // Clients of a reduced field set do not send a type, so the policy cannot require one.
        let content_types = match config.fields {
            FieldSet::Full => self.content_types_for(requested)?,
            FieldSet::Reduced => Cow::Borrowed(&self.conditions.content_types),
        };
        let key = match &self.key {
            UploadKey::Under(prefix) if self.unique_name => {
                let key = name_object(prefix, requested.filename(), at, &random.take()?)?;
                Cow::Owned(key.into())
            }
            UploadKey::Under(prefix) if self.is_recorded(context) => {
                // The clients of the other formats append a name themselves.
                if config.fields != FieldSet::Full {
                    return Err(PolicyError::OpenName.into());
                }
                let filename = requested.filename();
                let key = match requested_key(prefix, filename) {
                    Some(key) => key,
                    None => name_object(prefix, filename, at, &random.take()?)?,
                };
                Cow::Owned(key.into())
            }
            key => Cow::Borrowed(key),
        };
        config.check_key(&key)?;
        let lifetime = self.lifetime_for(requested.size());
        let validity = Validity::new(at, lifetime, credentials.expires_at())?;
        if self.without_callback {
            // An uploader may add a callback of their own. Only a layer with tickets rejects it.
            if context.tickets.is_none() {
                return Err(PolicyError::WithoutCallback.into());
            }
            let unsigned = UnsignedPolicy {
                config,
                key: &key,
                size,
                content_types: &content_types,
                conditions: &self.conditions,
                callback: None,
            };
            let token = unsigned.sign(iter::empty(), credentials, &validity)?;
            return Ok(Issued {
                value: token,
                row: None,
            });
        }
        let narrowed = Narrowed {
            key: &key,
            size,
            // Without a condition on the type, OSS accepts any.
            content_types: (config.fields == FieldSet::Full).then_some(&*content_types),
            filename: requested.filename(),
            validity: &validity,
            nonce: self.nonce(context, &key, random.take()?)?,
        };
        let (callback, row) = match self.encoded_callback(context, &narrowed) {
            Err(error) if error.is_of_length() && narrowed.filename.is_some() => {
                let unnamed = Narrowed {
                    filename: None,
                    ..narrowed
                };
                // The client can only send a shorter name if the rest fits.
                self.encoded_callback(context, &unnamed)?;
                return Err(Denied::Filename);
            }
            callback => callback?,
        };
        // The service has checked the variables of its own callback.
        config.check_variables(pairs(&self.variables))?;
        let unsigned = UnsignedPolicy {
            config,
            key: &key,
            size,
            content_types: &content_types,
            conditions: &self.conditions,
            callback: Some(&callback),
        };
        let variables = context.callback.variables_with(&self.variables);
        let token = unsigned.sign(variables, credentials, &validity)?;
        Ok(Issued { value: token, row })
    }

    /// Returns whether the uploads are recorded in a ledger.
    pub(super) fn is_recorded(&self, context: &IssueContext<'_>) -> bool {
        let recorded = context.tickets.is_some_and(|tickets| tickets.recorded);
        recorded && !self.unrecovered && !self.without_callback
    }

    /// Returns the nonce of a ticket, which has the shard of the object if the ledger records it.
    pub(super) fn nonce(
        &self,
        context: &IssueContext<'_>,
        key: &UploadKey,
        random: [u8; 16],
    ) -> Result<Nonce, PolicyError> {
        match key {
            UploadKey::Exact(key) if self.is_recorded(context) => {
                Ok(Nonce::for_object(context.bucket()?, key, random))
            }
            _ => Ok(Nonce::from_bytes(random)),
        }
    }

    /// Returns the row of the ledger for an upload with this ticket.
    fn row(
        &self,
        context: &IssueContext<'_>,
        narrowed: &Narrowed<'_>,
        ticket: Option<&str>,
    ) -> Result<Option<GrantedUpload>, PolicyError> {
        let Some(tickets) = context.tickets.filter(|_| self.is_recorded(context)) else {
            return Ok(None);
        };
        let UploadKey::Exact(key) = narrowed.key else {
            return Err(PolicyError::OpenName);
        };
        Ok(Some(GrantedUpload::new(
            narrowed.nonce,
            context.bucket()?.clone(),
            key.clone(),
            context.at,
            tickets.expires(system_time(narrowed.validity.expires()))?,
            context.callback.call_for(&self.variables, ticket),
        )))
    }

    /// Returns the callback of an upload that needs no policy, with a ticket if the service issues
    /// them, and the row to record before it is used.
    pub(super) fn callback(
        &self,
        context: &IssueContext<'_>,
    ) -> Result<Issued<CallbackDirective>, PolicyError> {
        if self.reads.is_some() {
            return Err(PolicyError::Access);
        }
        let conditions = &self.conditions;
        // No form is involved, so no token format restricts its fields.
        conditions.check(FieldSet::Full)?;
        if self.without_callback {
            return Err(PolicyError::WithoutCallback);
        }
        let (ticket, row) = match &context.tickets {
            Some(tickets) => {
                let random = Nonce::random().map_err(|_| PolicyError::Random)?;
                let narrowed = Narrowed {
                    key: &self.key,
                    size: conditions.size,
                    content_types: Some(&conditions.content_types),
                    filename: None,
                    validity: &Validity::new(context.at, conditions.lifetime, None)?,
                    nonce: self.nonce(context, &self.key, *random.as_bytes())?,
                };
                let ticket = self.ticket(context, tickets, &narrowed)?;
                let row = self.row(context, &narrowed, Some(&ticket))?;
                (Some(ticket), row)
            }
            None => (self.without_ticket()?, None),
        };
        let callback = context
            .callback
            .for_upload(&self.variables, ticket.as_deref())
            .map_err(PolicyError::Callback)?;
        Ok(Issued {
            value: callback,
            row,
        })
    }

    /// Returns the value of the form field `callback` for one requested file, and its row.
    fn encoded_callback<'c>(
        &self,
        context: &IssueContext<'c>,
        narrowed: &Narrowed<'_>,
    ) -> Result<(Cow<'c, str>, Option<GrantedUpload>), PolicyError> {
        let ticket = match &context.tickets {
            Some(tickets) => Some(self.ticket(context, tickets, narrowed)?),
            None => self.without_ticket()?,
        };
        // Without a ticket and variables, this upload adds nothing to the callback of the service.
        if self.variables.is_empty() && ticket.is_none() {
            return Ok((Cow::Borrowed(context.callback.encoded()), None));
        }
        let ticket = ticket.as_deref();
        let encoded = context.callback.encode_for(&self.variables, ticket);
        let encoded = Cow::Owned(encoded.map_err(PolicyError::Callback)?);
        Ok((encoded, self.row(context, narrowed, ticket)?))
    }

    fn ticket(
        &self,
        context: &IssueContext<'_>,
        tickets: &TicketIssuer<'_>,
        narrowed: &Narrowed<'_>,
    ) -> Result<String, PolicyError> {
        let Narrowed {
            key,
            size,
            content_types,
            filename,
            validity,
            nonce,
        } = *narrowed;
        let request = TicketRequest {
            bucket: context.bucket()?,
            key,
            size,
            content_types,
            claims: self.claims_json()?,
            filename,
            // A unique name is for one object, wherever under the prefix it is.
            max_uses: if self.unique_name {
                NonZeroU16::MIN
            } else {
                self.max_uses
            },
            policy_expires: system_time(validity.expires()),
        };
        let (callback, variables) = (context.callback, &self.variables);
        let ticket = tickets.issue(&request, callback, variables, context.at, nonce)?;
        metrics::ticket_issued();
        Ok(ticket)
    }

    /// Returns the lifetime of a token for a file of this size.
    fn lifetime_for(&self, size: Option<u64>) -> Duration {
        let lifetime = self.conditions.lifetime;
        let upload = Duration::from_secs(size.unwrap_or_default().div_ceil(SLOWEST_UPLOAD));
        lifetime.max(upload.min(self.get_max_lifetime()))
    }

    fn has_claims(&self) -> bool {
        !matches!(self.claims, Claims::None)
    }

    /// Returns no ticket, or an error if there are claims that only a ticket could carry.
    fn without_ticket(&self) -> Result<Option<String>, PolicyError> {
        if self.has_claims() {
            Err(PolicyError::Claims)
        } else {
            Ok(None)
        }
    }

    pub(super) fn content_types_for(
        &self,
        requested: &RequestedFile,
    ) -> Result<Cow<'_, ContentTypes>, Denied> {
        let granted = &self.conditions.content_types;
        match requested.content_type() {
            Some(one) => granted
                .narrow_to(one, self.conditions.allow_active)
                .ok_or_else(|| Denied::ContentType(granted.listed())),
            // Browsers leave the type of many files empty: photos of a gallery, `.heic`, `.md`.
            None if granted.is_choice() => requested
                .filename()
                .and_then(|name| granted.narrow_by_name(name))
                .ok_or_else(|| Denied::NoContentType(granted.listed())),
            None => Ok(Cow::Borrowed(granted)),
        }
    }
}

/// # Reading a grant
///
/// For tests, and for code between [`Authorize`](super::Authorize) and the service. The names start
/// with `get_`, as those of [`std::process::Command`] do, because the setters have the others.
impl Grant {
    /// Returns the object of an [exact](Self::exact) grant.
    #[must_use]
    pub fn get_key(&self) -> Option<&ObjectKey> {
        match &self.key {
            UploadKey::Exact(key) => Some(key),
            UploadKey::Under(_) => None,
        }
    }

    /// Returns the prefix of a grant for [one object](Self::under) or
    /// [any number of objects](Self::any_name_under) under it.
    #[must_use]
    pub fn get_prefix(&self) -> Option<&ObjectPrefix> {
        match &self.key {
            UploadKey::Exact(_) => None,
            UploadKey::Under(prefix) => Some(prefix),
        }
    }

    /// Returns whether the [uploader chooses the names](Self::any_name_under).
    #[must_use]
    pub fn get_any_name(&self) -> bool {
        self.get_prefix().is_some() && !self.unique_name
    }

    /// Returns the permitted sizes.
    #[must_use]
    pub fn get_size(&self) -> SizeRange {
        self.conditions.size
    }

    /// Returns the lifetime of a token. A requested size lengthens it, up to the
    /// [maximum](Self::get_max_lifetime).
    #[must_use]
    pub fn get_lifetime(&self) -> Duration {
        self.conditions.lifetime
    }

    /// Returns how far a requested size lengthens the lifetime.
    #[must_use]
    pub fn get_max_lifetime(&self) -> Duration {
        match self.max_lifetime {
            Some(longest) => longest,
            None if self.has_lifetime => self.conditions.lifetime,
            None => DEFAULT_MAX_LIFETIME,
        }
    }

    /// Returns the permitted content types, or `None` if [any](Self::any_content_type) is.
    #[must_use]
    pub fn get_content_types(&self) -> Option<Vec<ContentType>> {
        let types = &self.conditions.content_types;
        (!matches!(types, ContentTypes::Any)).then(|| types.list().collect())
    }

    /// Returns whether content types that [browsers execute](Self::allow_active_content) are
    /// allowed.
    #[must_use]
    pub fn get_allow_active_content(&self) -> bool {
        self.conditions.allow_active
    }

    /// Returns the ACL of the object.
    #[must_use]
    pub fn get_object_acl(&self) -> ObjectAcl {
        self.conditions.acl.unwrap_or_default()
    }

    /// Returns whether the upload may [replace](Self::allow_overwrite) an existing object.
    #[must_use]
    pub fn get_allow_overwrite(&self) -> bool {
        self.conditions.overwrite
    }

    /// Returns the status of a successful upload.
    #[must_use]
    pub fn get_success_action_status(&self) -> u16 {
        self.conditions.status
    }

    /// Returns names and values of the added [fields](Self::field), in order.
    pub fn get_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.conditions.fields)
    }

    /// Returns the added [conditions](Self::condition), in order.
    #[must_use]
    pub fn get_conditions(&self) -> &[Condition] {
        &self.conditions.conditions
    }

    /// Returns names and values of the added [variables](Self::variable), in order.
    pub fn get_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.variables)
    }

    /// Returns the [claims](Self::claims). `None` for a grant without claims, or if they do not
    /// match `T`.
    #[must_use]
    pub fn get_claims<T: DeserializeOwned>(&self) -> Option<T> {
        match &self.claims {
            Claims::Some(claims) => T::deserialize(claims).ok(),
            Claims::None | Claims::NotJson => None,
        }
    }

    /// Returns whether the grant is for [reading](Self::read).
    #[must_use]
    pub fn get_read(&self) -> bool {
        self.reads.is_some()
    }

    /// Returns the values of `x-oss-process` that a [download](Self::read) may have.
    pub fn get_processes(&self) -> impl Iterator<Item = &str> {
        let reads = self.reads.iter();
        reads.flat_map(|reads| reads.processes.iter().map(|process| &**process))
    }

    /// Returns how many callbacks the ticket permits: one, unless the
    /// [uploader chooses the names](Self::any_name_under).
    #[must_use]
    pub fn get_max_uses(&self) -> NonZeroU16 {
        if self.get_any_name() {
            self.max_uses
        } else {
            NonZeroU16::MIN
        }
    }

    /// Returns for how many files of one request the client gets a token.
    #[must_use]
    pub fn get_max_files(&self) -> usize {
        self.max_files
    }

    /// Returns whether the uploads are [excluded from recovery](Self::unrecovered).
    #[must_use]
    pub fn get_unrecovered(&self) -> bool {
        self.unrecovered
    }

    /// Returns whether the upload is [without a callback](Self::without_callback).
    #[must_use]
    pub fn get_without_callback(&self) -> bool {
        self.without_callback
    }
}

fn pairs(pairs: &[(Box<str>, Box<str>)]) -> impl Iterator<Item = (&str, &str)> {
    pairs.iter().map(|(name, value)| (&**name, &**value))
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
            .field("without_callback", &self.without_callback)
            .field("unrecovered", &self.unrecovered)
            .field("read", &self.reads.is_some())
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

impl IssueContext<'_> {
    fn bucket(&self) -> Result<&Bucket, PolicyError> {
        let bucket = self.config.destination.bucket_name();
        bucket.ok_or(PolicyError::Bucket)
    }
}

/// What is issued for one upload, and the row of the ledger to record before it is sent.
pub(super) struct Issued<T> {
    pub(super) value: T,
    /// `None` without a ledger, and for an upload that it does not record.
    pub(super) row: Option<GrantedUpload>,
}

/// A grant, narrowed to one requested file.
#[derive(Clone, Copy)]
struct Narrowed<'a> {
    key: &'a UploadKey,
    size: SizeRange,
    /// `None` if the policy has no condition on the type.
    content_types: Option<&'a ContentTypes>,
    filename: Option<&'a str>,
    validity: &'a Validity,
    /// Of the ticket. Unused without tickets.
    nonce: Nonce,
}

/// Why a requested file does not get a token.
#[derive(Debug)]
pub(super) enum Denied {
    /// The grant does not permit the size. Contains those that it permits.
    Size(SizeRange),
    /// The grant does not permit the content type. Contains those that it permits.
    ContentType(Option<String>),
    /// The grant permits several content types, the client requested none, and the name of the file
    /// has none of them. Contains those that it permits.
    NoContentType(Option<String>),
    /// The callback would be too long with the name of the file, and is not without it.
    Filename,
    /// The uploader chooses the name of the object, and sent none, or one that no object can have.
    ObjectName,
    /// The grant is for reading, and an upload is requested, or the other way round.
    Access,
    /// The grant does not cover the object or the processing.
    Download,
    /// The grant itself is not valid.
    Grant(PolicyError),
}

impl From<PolicyError> for Denied {
    fn from(error: PolicyError) -> Self {
        Self::Grant(error)
    }
}
