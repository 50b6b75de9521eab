//! Errors of policies.

use thiserror::Error;

use super::callback::CallbackDirectiveError;
use crate::{protocol::ObjectError, ticket::TermsError};

/// The error returned when a policy cannot be issued.
///
/// Where OSS has an error code for the mistake, the message contains it (`EC …`), so that you can
/// look it up in the documentation of OSS. No message contains a value, only names of fields.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The lifetime is shorter than one second or longer than seven days.
    #[error(
        "the lifetime of a policy must be one second to seven days (EC 0006-00000213: policy \
        expired)"
    )]
    Lifetime,
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
    /// Tickets need the name of the bucket, and it is not set.
    #[error("tickets are issued for one bucket; set its name")]
    Bucket,
    /// The callback cannot be encoded; contains the reason.
    #[error("the callback cannot be encoded")]
    Callback(#[source] CallbackDirectiveError),
    /// The claims have no JSON form, or the service issues no tickets that could carry them.
    #[error("claims must serialise to JSON, and the service must issue tickets to carry them")]
    Claims,
    /// The ticket cannot be issued; contains the reason.
    #[error("the ticket cannot be issued")]
    Ticket(#[source] TermsError),
    /// Signature version 4 needs the region, and it is not set.
    #[error("signature version 4 needs the region; set it, for example to cn-hangzhou")]
    Region,
    /// The operating system returned no random bytes for an object name or a ticket.
    #[error("the operating system returned no random bytes")]
    Random,
}

impl PolicyError {
    pub(super) fn field(field: &str, problem: FieldProblem) -> Self {
        let field = field.into();
        Self::Field { field, problem }
    }
}

/// What is wrong with a form field, or with a condition on it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The name is empty, longer than 128 bytes, or contains characters other than letters, digits,
    /// `-`, `_` and `.`.
    #[error(
        "needs a name of 1 to 128 letters, digits, hyphens, underscores and dots \
        (EC 0006-00000110 if it is too long)"
    )]
    Name,
    /// The field has its own setter; contains what to use instead.
    #[error("cannot be added by name: {0}")]
    Reserved(&'static str),
    /// The field is set or conditioned twice. Names are compared case-insensitively.
    #[error(
        "is set twice; different conditions on one field can never both hold (EC 0006-00000227)"
    )]
    Repeated,
    /// The value contains a control character, such as a line feed.
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
    /// Clients of this token format do not send the field, so a policy cannot require it.
    #[error(
        "is not sent by clients of this token format, so every upload would fail (EC 0006-00000227)"
    )]
    NotInFormat,
}
