//! What a verification does about tickets.

use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{
    error::{CallbackError, CallbackErrorKind as Kind},
    event::{UploadEvent, find_ticket, read_event},
    rules::Rules,
};
use crate::{
    protocol::{CallbackBodyType, CallbackTarget},
    ticket::{CheckedTicket, TicketError, Tickets, store::TextDigest},
};

/// How far the check of the ticket is.
#[derive(Debug)]
pub(super) enum Bond {
    /// Tickets are not asked for, or this one may be absent.
    None,
    /// The ticket has not been checked.
    Open(Tickets),
    /// The ticket is good for this target and body type.
    Checked(Box<CheckedTicket>),
}

/// The ticket of a callback that keeps within it.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) ticket: CheckedTicket,
    pub(super) digest: TextDigest,
    /// Read for the check already.
    pub(super) event: UploadEvent,
}

impl Bond {
    pub(super) fn new(rules: &Rules) -> Self {
        rules
            .required_tickets()
            .map_or(Self::None, |tickets| Self::Open(tickets.clone()))
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    pub(super) fn check_ticket(
        &mut self,
        body: &[u8],
        body_type: CallbackBodyType,
        target: &CallbackTarget,
        now: SystemTime,
    ) -> Result<(), CallbackError> {
        let Self::Open(tickets) = self else {
            return Ok(());
        };
        let ticket = find_ticket(body_type, body)
            .and_then(|text| tickets.keys().check(&text, target, body_type, now));
        *self = match ticket {
            Ok(ticket) => Self::Checked(Box::new(ticket)),
            Err(TicketError::Absent) if tickets.can_be_absent(now) => Self::None,
            Err(TicketError::Absent) => return Err(Kind::TicketMissing.into()),
            Err(why) => return Err(CallbackError::with_source(Kind::TicketInvalid, why)),
        };
        Ok(())
    }

    /// Whether what the signed body says is within the grant. `write` writes the signed text.
    pub(super) fn settle(
        self,
        body_type: CallbackBodyType,
        body: &[u8],
        write: impl FnOnce(&mut Sha256),
    ) -> Result<Option<Granted>, CallbackError> {
        let ticket = match self {
            Self::None => return Ok(None),
            // Whoever left the check out shall not pass for having made it.
            Self::Open(_) => return Err(Kind::TicketMissing.into()),
            Self::Checked(ticket) => *ticket,
        };
        let event = within_grant(&ticket, body_type, body)
            .map_err(|why| CallbackError::with_source(Kind::OutsideGrant, why))?;
        let mut text = Sha256::new();
        write(&mut text);
        let digest = TextDigest::from_bytes(text.finalize().into());
        Ok(Some(Granted {
            ticket,
            digest,
            event,
        }))
    }
}

fn within_grant(
    ticket: &CheckedTicket,
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<UploadEvent, TicketError> {
    let event = read_event(body_type, body).map_err(|_| TicketError::Unreadable)?;
    let bucket = event.bucket().ok_or(TicketError::Bucket)?;
    let object = event.object().ok_or(TicketError::Object)?;
    let size = event.size().ok_or(TicketError::Size)?;
    // None is of no type, which only a grant of any type contains.
    ticket.permits(bucket, object, size, event.mime_type().unwrap_or_default())?;
    Ok(event)
}
