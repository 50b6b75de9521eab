//! Errors of policies and of their callbacks.

use thiserror::Error;

use crate::{
    protocol::{ObjectError, TargetError},
    ticket::{MAX_TICKET_LEN, internal::TermsError, store::StoreErrorKind},
};

/// Number of characters of a field name that an error of a callback repeats at most.
const MAX_SHOWN_FIELD: usize = 64;

/// The error returned when a policy cannot be issued.
///
/// Where OSS has an error code for the mistake, the message contains it (`EC …`), so that you can
/// look it up in the documentation of OSS. No message contains a value, only names of fields.
#[derive(Clone, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The lifetime is shorter than one second or longer than seven days.
    #[error(
        "the lifetime of a policy must be one second to seven days (EC 0006-00000213: policy \
        expired)"
    )]
    Lifetime,
    /// The [maximum lifetime](super::Grant::max_lifetime) is shorter than the lifetime.
    #[error("the maximum lifetime is shorter than the lifetime; raise it, or remove it")]
    MaxLifetime,
    /// The time is before 1970 or after 9999, which a policy cannot express.
    #[error("the time is before 1970 or after 9999; correct the clock")]
    Clock,
    /// The credentials have expired, or expire within the current second.
    #[error(
        "the credentials have expired; get new ones from STS (OSS would answer \
        SecurityTokenExpired)"
    )]
    CredentialsExpired,
    /// A form field, or a condition on it, is not valid.
    #[error("the field {field:?} {problem}")]
    Field {
        /// The name of the field.
        field: Box<str>,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// The object name is not valid; contains the reason.
    #[error("the object name is not valid; shorten the prefix")]
    Key(#[source] ObjectError),
    /// No size of the range fits into one form, which OSS limits to 5 GiB.
    #[error("OSS accepts at most 5 GiB in one form; upload larger files in parts")]
    Size,
    /// A grant is [for reading](super::Grant::read) where an upload is requested, or the other way
    /// round.
    #[error("the grant is for reading, and an upload is requested, or the other way round")]
    Access,
    /// [Signed URLs](super::OssPresignService) need tickets, whose keys seal the handle of an
    /// upload.
    #[error("signed URLs need tickets, whose keys seal the upload handle; set the ticket key")]
    Tickets,
    /// The part size is not 100 KiB to 5 GiB.
    #[error("the size of a part must be 100 KiB to 5 GiB")]
    PartSize,
    /// The handle of an upload would exceed 8 KiB; contains its length in characters.
    #[error(
        "the handle of the upload would have {0} characters, and at most 8192 are accepted; shorten \
        the key, the claims, the variables or the fields"
    )]
    HandleTooLong(usize),
    /// An upload has more than 255 variables, or more than 255 fields; contains how many.
    #[error("an upload has {0} variables or fields, and a handle can contain 255 of each")]
    HandleEntries(usize),
    /// Tickets need the name of the bucket, and it is not set.
    #[error("tickets are issued for one bucket; set its name")]
    Bucket,
    /// The callback cannot be encoded; contains the reason.
    #[error("the callback cannot be encoded")]
    Callback(#[source] CallbackDirectiveError),
    /// The claims have no JSON form, or the service issues no tickets that could carry them.
    #[error("claims must serialise to JSON, and need tickets to carry them; set the ticket key")]
    Claims,
    /// The claims exceed 1 KiB of JSON; contains their length in bytes.
    #[error("the claims are {0} bytes of JSON, and at most 1024 fit; store an id instead")]
    ClaimsTooLong(usize),
    /// The grant has more content types than the 64 that a ticket can contain.
    #[error("a ticket grants at most 64 content types; grant fewer, or any")]
    TooManyContentTypes,
    /// The ticket would be valid for more than eight days, or already have expired.
    #[error(
        "a ticket is valid for at most eight days; shorten the lifetime of the policy or the \
        upload time"
    )]
    TicketLifetime,
    /// The ticket would exceed [`MAX_TICKET_LEN`]; contains its length in characters.
    #[error(
        "the ticket would have {0} characters, and at most {MAX_TICKET_LEN} leave room for the \
        rest of a callback; shorten the key, the content types or the claims"
    )]
    TicketTooLong(usize),
    /// An exact key is granted for another number of files than one.
    #[error("an exact key is for one file; grant a prefix, or one key for each file")]
    MaxFiles,
    /// A grant [without a callback](super::Grant::without_callback) has claims or variables, is
    /// used by a service without tickets, or is passed where a callback is requested. Or a client
    /// of [`OssPresignService`](super::OssPresignService) chooses the parts of the file or sends no
    /// size, so that only a ticket could bound the size of the object.
    #[error(
        "a grant without a callback needs tickets, has neither claims nor variables, and is not for \
        signed URLs of any length, as uppy uploads parts; set the ticket key, or remove \
        without_callback"
    )]
    WithoutCallback,
    /// The host of a [`public_demo`](super::OssPolicyService::public_demo) is part of its URL.
    #[error("the URL of a demo already contains the endpoint; change the URL instead")]
    Endpoint,
    /// Signature version 4 needs the region, and it is not set.
    #[error("signature version 4 needs the region; set it, for example to cn-hangzhou")]
    Region,
    /// The format of the tokens is always signed with another version than the chosen one.
    #[error("the format of the tokens has a fixed signature version; remove the other one")]
    Signature,
    /// There is an upload time, and no ticket that would end after it.
    #[error("the upload time is the validity of tickets; set tickets, or remove it")]
    UploadTime,
    /// With a [ledger](crate::OssUploadsBuilder::ledger), the grant leaves the name of the object
    /// open, so nothing could recover the upload.
    #[error(
        "the ledger cannot record a grant that leaves the name of the object open; grant an exact \
        key, or call unrecovered, which excludes the uploads from recovery"
    )]
    OpenName,
    /// With a [ledger](crate::OssUploadsBuilder::ledger), an upload was not recorded before its
    /// callback was requested.
    #[error(
        "the upload is not recorded in the ledger; call recorded_callback_for, or unrecovered on \
        the grant, which excludes the upload from recovery"
    )]
    NotRecorded,
    /// The [ledger](crate::OssUploadsBuilder::ledger) could not record the upload, for this reason.
    #[error("the ledger could not record the upload; is it reachable, and does it have room?")]
    Ledger(StoreErrorKind),
    /// The operating system returned no random bytes for an object name or a ticket.
    #[error("the operating system returned no random bytes")]
    Random,
}

crate::causes::debug_is_text!(PolicyError);

impl PolicyError {
    pub(super) fn field(field: &str, problem: FieldProblem) -> Self {
        let field = field.into();
        Self::Field { field, problem }
    }

    /// Returns whether a shorter ticket would avoid this error.
    pub(super) fn is_of_length(&self) -> bool {
        matches!(
            self,
            Self::TicketTooLong(_) | Self::Callback(CallbackDirectiveError::TooLong(_))
        )
    }
}

impl From<TermsError> for PolicyError {
    fn from(error: TermsError) -> Self {
        match error {
            TermsError::ClaimsNotJson => Self::Claims,
            TermsError::ClaimsTooLong(length) => Self::ClaimsTooLong(length),
            TermsError::Expired | TermsError::TooFar => Self::TicketLifetime,
            TermsError::TooManyContentTypes => Self::TooManyContentTypes,
            // A directive has at most as many URLs as a ticket has targets.
            TermsError::TooManyTargets => Self::Callback(CallbackDirectiveError::TooManyUrls),
            TermsError::TooManyFields => Self::Callback(CallbackDirectiveError::TooManyFields),
            TermsError::TooLong(length) => Self::TicketTooLong(length),
        }
    }
}

/// The error returned when OSS could not make a callback, or the callback layer would reject it.
///
/// Where OSS itself would reject the upload, the message contains the EC code of its response.
#[derive(Clone, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CallbackDirectiveError {
    /// There is no URL (EC 0007-00000004).
    #[error("callbackUrl is empty; set one to five URLs (EC 0007-00000004)")]
    NoUrl,
    /// There are more than five URLs (EC 0007-00000005).
    #[error("callbackUrl contains more than five URLs, the limit of OSS (EC 0007-00000005)")]
    TooManyUrls,
    /// The scheme is neither `http` nor `https` (EC 0007-00000004).
    #[error("callbackUrl must start with http:// or https:// (EC 0007-00000004)")]
    Scheme,
    /// There is no host, a user name, an IPv6 address, or a port outside 1 to 65535
    /// (EC 0007-00000004).
    #[error(
        "callbackUrl needs a domain name or an IPv4 address, without user name, and a port from 1 \
        to 65535 if any (EC 0007-00000004)"
    )]
    Host,
    /// The URL contains a semicolon, which separates several URLs.
    #[error(
        "callbackUrl contains a semicolon, which separates several URLs for OSS; pass each URL \
        separately"
    )]
    Several,
    /// The URL contains a character that must be percent-encoded (EC 0007-00000004).
    #[error(
        "callbackUrl is not percent-encoded; write white space, non-ASCII characters and any of \
        \"<>[\\]^`{{|}} as %XX (EC 0007-00000004)"
    )]
    NotEncoded,
    /// The URL ends with a `?`, and the samples disagree on whether OSS signs it.
    #[error(
        "callbackUrl ends with a ? and no query, which verifiers interpret differently; remove it"
    )]
    EmptyQuery,
    /// The callback layer would reject the callback because of its path, or the path is ambiguous
    /// and there are no tickets that could name it, or two URLs can have the same signature.
    #[error("the path of callbackUrl is not usable, so the callback would be rejected")]
    Target(#[source] TargetError),
    /// `callbackHost` is neither a domain name nor an IPv4 address (EC 0007-00000009).
    #[error(
        "callbackHost must be a domain name or an IPv4 address, without port (EC 0007-00000009)"
    )]
    CallbackHost,
    /// The body has no fields (EC 0007-00000011).
    #[error("callbackBody is empty; add at least one field (EC 0007-00000011)")]
    EmptyBody,
    /// The body has more fields than the 255 that a ticket can seal.
    #[error(
        "callbackBody has more than 255 fields; use fewer, because a ticket seals each of them"
    )]
    TooManyFields,
    /// A field of the body, or a custom variable, is not valid.
    #[error("the field \"{field}\" of callbackBody {problem}")]
    Field {
        /// The name of the field, escaped and cut to 64 characters.
        field: Box<str>,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// The custom variables exceed 5 KiB of Base64 (EC 0007-00000101); contains their length in
    /// bytes.
    #[error(
        "the custom variables are {0} bytes of Base64, and OSS accepts at most 5120 \
        (EC 0007-00000101)"
    )]
    VariablesTooLong(usize),
    /// The callback parameters exceed 5 KiB of Base64 (EC 0007-00000001); contains their length in
    /// bytes.
    #[error(
        "the callback parameters are {0} bytes of Base64, and OSS accepts at most 5120 \
        (EC 0007-00000001)"
    )]
    TooLong(usize),
}

crate::causes::debug_is_text!(CallbackDirectiveError);

impl CallbackDirectiveError {
    pub(super) fn field(field: &str, problem: FieldProblem) -> Self {
        // The name may come from a user, and errors are logged.
        let mut shown: String = field
            .chars()
            .take(MAX_SHOWN_FIELD)
            .flat_map(char::escape_debug)
            .collect();
        if field.chars().nth(MAX_SHOWN_FIELD).is_some() {
            shown.push('…');
        }
        let field = shown.into();
        Self::Field { field, problem }
    }
}

/// What is wrong with a form field or a condition on it, with a field of the callback body, or with
/// a custom variable.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The name of a form field is empty, longer than 128 bytes, or contains characters other than
    /// letters, digits, `-`, `_` and `.`.
    #[error(
        "needs a name of 1 to 128 letters, digits, hyphens, underscores and dots \
        (EC 0006-00000110 if it is too long)"
    )]
    Name,
    /// The name of a field of the callback body is empty, longer than 64 bytes, or contains
    /// characters other than ASCII letters, digits, `-`, `_`, `.` and `:`.
    #[error("needs a name of 1 to 64 ASCII letters, digits, -, _, . or :")]
    BodyName,
    /// The name of a custom variable does not start with `x:`; or a name starts with `x:`, but what
    /// follows is empty or contains characters other than lower-case letters, digits, `-`, `_` and
    /// `.`.
    #[error(
        "needs a name of x: and lower-case letters, digits, -, _ or ., at most 64 bytes in all, as \
        custom variables have"
    )]
    CustomName,
    /// The form field has its own setter; contains what to use instead. Or
    /// [`UploadEvent`](crate::callback::UploadEvent) reads something else under the name of the
    /// callback field: OSS uses it for another variable, or it starts with `x:` although the value
    /// is a variable of OSS.
    #[error("cannot be added by name: {0}")]
    Reserved(&'static str),
    /// The field is set or conditioned twice. Names of form fields are compared case-insensitively.
    #[error("is set twice; different values of one field can never both hold (EC 0006-00000227)")]
    Repeated,
    /// The value contains a control character, such as a line feed. A
    /// [constant](super::CallbackTemplate::constant) of the callback body may.
    #[error(
        "contains a control character, which browsers send differently from what was signed \
        (EC 0006-00000227)"
    )]
    Control,
    /// The value contains a `$`, which starts a variable in OSS.
    #[error(
        "contains a \"$\", which starts a variable in OSS, so the value would not match \
        (EC 0006-00000227)"
    )]
    Dollar,
    /// The value in a callback contains `${`, which starts a variable in OSS.
    #[error(
        "contains \"${{\", which starts a variable in OSS (EC 0007-00000105); encode it yourself"
    )]
    Placeholder,
    /// The value exceeds 2 MiB.
    #[error("exceeds the 2 MiB that OSS accepts for one value (EC 0006-00000112)")]
    TooLong,
    /// The list of allowed values is empty.
    #[error("allows no value, so every upload would fail (EC 0006-00000227)")]
    EmptyList,
    /// The content type is one that browsers execute as a page of the bucket's domain.
    #[error(
        "allows a type that browsers execute as a page of your domain; remove it, or call \
        allow_active_content"
    )]
    ActiveContent,
    /// The status is not 200, 201 or 204.
    #[error("must be 200, 201 or 204; OSS answers 204 for any other value")]
    Status,
    /// Clients of this token format choose the object name.
    #[error("must be any name under a prefix: clients of this token format append the file name")]
    NotPrefix,
    /// The client chooses the value in a form, and a signed URL has no form.
    #[error(
        "is a condition on a form, which a signed URL does not have; add the field with a value"
    )]
    NeedsForm,
    /// The field is not a header of an upload, or its value is not visible ASCII.
    #[error("cannot be sent as a header of an upload with a signed URL")]
    NotAHeader,
    /// Clients of this token format do not send the field, so a policy cannot require it.
    #[error(
        "is not sent by clients of this token format, so every upload would fail (EC 0006-00000227)"
    )]
    NotInFormat,
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_is_repeated_of_a_name_is_escaped_and_cut() {
        let field = |name: &str| match CallbackDirectiveError::field(name, FieldProblem::Name) {
            CallbackDirectiveError::Field { field, .. } => field,
            other => panic!("{other}"),
        };
        assert_eq!(&*field("a\"\n\u{202e}"), "a\\\"\\n\\u{202e}");
        assert_eq!(*field(&"é".repeat(65)), format!("{}…", "é".repeat(64)));
        assert_eq!(*field(&"é".repeat(64)), "é".repeat(64));
    }

    #[test]
    fn texts_name_the_field_and_the_code() {
        use CallbackDirectiveError as E;
        for (error, part, code) in [
            (E::NoUrl, "callbackUrl", "0007-00000004"),
            (E::TooManyUrls, "callbackUrl", "0007-00000005"),
            (E::Scheme, "callbackUrl", "0007-00000004"),
            (E::Host, "callbackUrl", "0007-00000004"),
            (E::Several, "callbackUrl", ""),
            (E::NotEncoded, "callbackUrl", "0007-00000004"),
            (E::CallbackHost, "callbackHost", "0007-00000009"),
            (E::EmptyBody, "callbackBody", "0007-00000011"),
            (E::TooManyFields, "callbackBody", ""),
            (E::VariablesTooLong(6000), "6000", "0007-00000101"),
            (E::TooLong(6000), "6000", "0007-00000001"),
        ] {
            let text = error.to_string();
            assert!(text.contains(part) && text.contains(code), "{text}");
            assert!(!text.ends_with('.') && error.source().is_none());
        }
        let error = E::field("note", FieldProblem::Placeholder);
        assert!(
            error
                .to_string()
                .starts_with("the field \"note\" of callbackBody contains \"${\"")
        );
        assert!(error.to_string().contains("EC 0007-00000105"));
        assert!(error.source().is_none());
    }
}
