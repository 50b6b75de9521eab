//! Why no policy can be issued.

use std::{error::Error, fmt};

use super::directive::CallbackDirectiveError;
use crate::{protocol::ObjectNameError, ticket::TermsError};

/// Why no policy can be issued.
///
/// Where OSS has a code of its own for the mistake, the message names it (`EC …`), so that its error pages can be
/// found. No message holds a value, only names of fields.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// A lifetime under one second or over seven days.
    Lifetime,
    /// The clock says a time that no policy can carry (before 1970 or after 9999).
    Clock,
    /// The credentials have ended, or end within the second.
    CredentialsExpired,
    /// A field of the form, or a condition on it, that cannot be.
    Field {
        /// The name of the field.
        field: Box<str>,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// No object can be named like this; holds why.
    Key(ObjectNameError),
    /// A ticket is for one bucket, and none was named.
    Bucket,
    /// The callback cannot be written; holds why.
    Callback(CallbackDirectiveError),
    /// The claims cannot be written as JSON, or there is no ticket that could carry them.
    Claims,
    /// No ticket can be made; holds why.
    Ticket(TermsError),
    /// Signature version 4 without the region it is made for.
    Region,
    /// The operating system gave no random bytes to name an object with.
    Random,
    /// The policy could not be written as JSON.
    Serialize,
    /// The policy could not be signed.
    Sign,
}

impl PolicyError {
    pub(super) fn field(field: &str, problem: FieldProblem) -> Self {
        let field = field.into();
        Self::Field { field, problem }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifetime => f.write_str(
                "a policy lives between one second and seven days (EC 0006-00000213: policy expired)",
            ),
            Self::Clock => {
                f.write_str("the clock says a time before 1970 or after 9999; set it right")
            }
            Self::CredentialsExpired => f.write_str(
                "the credentials have expired; get new ones from sts (oss would answer SecurityTokenExpired)",
            ),
            Self::Key(_) => f.write_str("the object cannot be named like this; shorten the prefix"),
            Self::Bucket => f.write_str("a ticket is for one bucket, name it"),
            Self::Callback(_) => f.write_str("the callback cannot be written"),
            Self::Claims => {
                f.write_str("claims must be json, and need a service with tickets to carry them")
            }
            Self::Ticket(_) => f.write_str("no ticket can be made"),
            Self::Region => {
                f.write_str("signature version 4 is made for a region, name it (such as cn-hangzhou)")
            }
            Self::Random => f.write_str("the operating system gave no random bytes"),
            Self::Field { field, problem } => write!(f, "the field {field:?} {problem}"),
            Self::Serialize => f.write_str("the policy could not be written as json"),
            Self::Sign => f.write_str("the policy could not be signed"),
        }
    }
}

impl Error for PolicyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Key(why) => Some(why),
            Self::Callback(why) => Some(why),
            Self::Ticket(why) => Some(why),
            _ => None,
        }
    }
}

/// What is wrong with a field of the form, or with a condition on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The name is empty, over 128 bytes, or holds something other than letters, digits, `-`, `_` and `.`.
    Name,
    /// The field has a setting of its own; holds what to use instead.
    Reserved(&'static str),
    /// The field is set or conditioned twice; names are compared without regard to case.
    Repeated,
    /// The value holds a control character, such as a line feed.
    Control,
    /// The value holds a `$`, with which OSS starts a variable.
    Dollar,
    /// The value is over 2 MiB.
    TooLong,
    /// A list of allowed values without a value.
    EmptyList,
    /// A content type that browsers run as a page of yours.
    ActiveContent,
    /// A status other than 200, 201 and 204.
    Status,
    /// The clients of this token format name the object themselves.
    NotPrefix,
    /// The clients of this token format do not send the field, so no policy can ask for it.
    NotInFormat,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => {
                "needs a name of 1 to 128 letters, digits, hyphens, underscores and dots (EC 0006-00000110 when too long)"
            }
            Self::Reserved(instead) => return write!(f, "cannot be given like this: {instead}"),
            Self::Repeated => {
                "stands twice; conditions that differ can never both hold (EC 0006-00000227)"
            }
            Self::Control => {
                "holds a control character, which browsers send differently than it was signed (EC 0006-00000227)"
            }
            Self::Dollar => {
                "holds a \"$\", with which oss starts a variable, so it would not compare as written (EC 0006-00000227)"
            }
            Self::TooLong => "is over the 2 mib that oss takes for one value (EC 0006-00000112)",
            Self::EmptyList => "allows no value at all, so every upload would fail (EC 0006-00000227)",
            Self::ActiveContent => {
                "allows a type that browsers run as a page of your domain; leave it out, or call allow_active_content"
            }
            Self::Status => "must be 200, 201 or 204; for anything else oss answers 204",
            Self::NotPrefix => {
                "must be any name under a prefix: the clients of this token format append the name of the file"
            }
            Self::NotInFormat => {
                "is not sent by the clients of this token format, so every upload would fail (EC 0006-00000227)"
            }
        })
    }
}
