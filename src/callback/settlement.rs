//! What the layer tells the ledger of granted uploads, if there is one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::verified::Granted;
use crate::{
    Lookup,
    storage::ObjectMetadata,
    ticket::{
        Tickets,
        ledger::SettledObject,
        store::{Lease, StoreError, StoredReply},
    },
};

/// How long after a failure of the handler its upload is due for recovery.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long the record of a ticket outlives its settlement at least: a recovery that has claimed
/// the row before may still be on its way.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The object of a callback, for the ledger.
#[derive(Clone)]
pub(super) struct Settlement {
    object: Arc<SettledObject>,
    /// When the ticket stops being accepted.
    until: SystemTime,
    /// Whether a recovery made the request. It has claimed the row, and defers it itself.
    recovered: bool,
}

impl Settlement {
    /// Returns `None` without a ledger.
    pub(super) fn new(tickets: &Tickets, granted: &Granted, recovered: bool) -> Option<Self> {
        tickets.ledger()?;
        let event = &granted.upload.event;
        let key = event.object().unwrap_or_default();
        let object = SettledObject::new(granted.ticket.bucket().clone(), key);
        let etag = event.etag().unwrap_or_default().trim_matches('"');
        Some(Self {
            object: Arc::new(object.with_etag(etag)),
            until: granted.ticket.until(),
            recovered,
        })
    }

    /// Replaces what OSS signed by what it reports.
    pub(super) fn confirmed(&mut self, found: &ObjectMetadata) {
        let mut object = (*self.object).clone();
        if let Some(etag) = found.etag() {
            object = object.with_etag(etag);
        }
        if let Some(version) = found.version_id() {
            object = object.with_version_id(version);
        }
        self.object = Arc::new(object);
    }
}

/// Stores the reply of the handler. With a ledger, removes the row of the upload in the same step.
pub(super) fn finish(
    tickets: &Tickets,
    lease: &Lease,
    settlement: Option<&Settlement>,
    reply: &StoredReply,
) -> Lookup<(), StoreError> {
    match tickets.ledger().zip(settlement) {
        Some((ledger, Settlement { object, until, .. })) => {
            let now = tickets.now();
            let until = now
                .checked_add(KEPT)
                .map_or(*until, |kept| kept.max(*until));
            ledger.settled(lease, reply, object, until)
        }
        None => tickets.store().finish(lease, reply),
    }
}

/// Releases the ticket of a handler that failed. With a ledger, the upload of a callback is due in
/// a minute.
///
/// The call of a recovered upload must not change when its row is due: it can take effect after the
/// recovery has deferred the row, and would undo the pause.
pub(super) fn fail(
    tickets: &Tickets,
    lease: &Lease,
    settlement: Option<&Settlement>,
) -> Lookup<(), StoreError> {
    match tickets.ledger().zip(settlement) {
        Some((ledger, settlement)) if !settlement.recovered => {
            let now = tickets.now();
            ledger.fail_upload(lease, now.checked_add(RETRY_AFTER).unwrap_or(now))
        }
        _ => tickets.store().fail(lease),
    }
}
