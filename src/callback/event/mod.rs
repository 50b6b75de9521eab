//! What a verified body says.
//!
//! | file | what it does |
//! |---|---|
//! | `upload` | [`UploadEvent`]: the variables of OSS under their own names |
//! | `value` | one variable, as a form or JSON writes it, empty or not |
//! | `form`, `json` | the two body types, read into any type of serde |
//! | `repair` | the numbers that OSS leaves out of JSON |
//! | `ticket` | the ticket, found before the signature is verified |
//! | `error` | [`EventError`] |

mod error;
mod form;
mod json;
mod repair;
mod ticket;
mod upload;
mod value;

use serde::de::DeserializeOwned;

pub use error::{EventError, EventErrorKind};
pub(super) use ticket::find as find_ticket;
pub use upload::UploadEvent;

use crate::protocol::CallbackBodyType;

/// Reads a body as the type its content type names.
pub(super) fn read<T: DeserializeOwned>(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<T, EventError> {
    match body_type {
        CallbackBodyType::Form => form::read(body),
        CallbackBodyType::Json => json::read(body),
    }
}

/// Reads a body as an event.
pub(super) fn read_event(
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<UploadEvent, EventError> {
    read(body_type, body).map(|upload::Fields(event)| event)
}
