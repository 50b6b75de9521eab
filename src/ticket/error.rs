//! Why a ticket was not taken.

use std::{error::Error, fmt};

/// Why a callback is not what was granted. Every one of them is answered with 403.
///
/// The texts are constant: nothing that the sender wrote is in them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TicketError {
    /// There is none.
    Absent,
    /// The callback body holds more than one.
    Repeated,
    /// Not a ticket: too long, too short, not its one Base64 spelling, or authentic and still not readable.
    Malformed,
    /// A version that this one does not know.
    UnknownVersion,
    /// Sealed with a key that is not held any more, or not yet.
    UnknownKey,
    /// The seal is broken: something was changed, or it was never one of ours.
    Mac,
    /// Expired, more than [`SKEW`](super::SKEW) ago.
    Expired,
    /// Expires later than any ticket may: the clocks disagree.
    TooFar,
    /// For another callback target.
    Target,
    /// For a callback body of the other type.
    BodyType,
    /// The callback body cannot be read, or gives a name twice, so it does not say what was uploaded.
    Unreadable,
    /// For another bucket, or the callback names none.
    Bucket,
    /// For another object, or the callback names none.
    Object,
    /// The object is smaller or larger than was granted, or the callback does not say how large it is.
    Size,
    /// The object is of a type that was not granted, or the callback names none.
    ContentType,
    /// The claims are not what the type that they are read into asks for.
    Claims,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "the callback has no ticket; was the upload granted by this service?",
            Self::Repeated => "the callback body holds more than one ticket; name the field once",
            Self::Malformed => "the ticket is malformed; does the callback body hold it unchanged?",
            Self::UnknownVersion => {
                "the ticket is of an unknown version; was it made by a newer release?"
            }
            Self::UnknownKey => {
                "the ticket is sealed with an unknown key; give all instances the same keys, and keep old ones until \
                 their tickets have expired"
            }
            Self::Mac => "the ticket is not authentic",
            Self::Expired => "the ticket has expired",
            Self::TooFar => {
                "the ticket expires later than any may; compare the clocks of the instances"
            }
            Self::Target => "the ticket is for another callback target",
            Self::BodyType => "the ticket is for the other type of callback body",
            Self::Unreadable => {
                "the callback body cannot be read, or gives a name twice; compare it with callbackBody"
            }
            Self::Bucket => "the ticket is for another bucket, or the callback body names none",
            Self::Object => "the ticket is for another object, or the callback body names none",
            Self::Size => "the object has a size that the ticket does not grant",
            Self::ContentType => "the object is of a type that the ticket does not grant",
            Self::Claims => "the claims of the ticket do not fit the type they are read into",
        })
    }
}

impl Error for TicketError {}
