//! The right to run the inner service for a ticket, and what becomes of it when that goes wrong.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use tokio::runtime::Handle;

use super::{body::ResponseBody, error::CallbackErrorKind};
use crate::{
    Lookup,
    ticket::{
        Tickets,
        store::{Begin, Lease, StoreError, StoredReply},
    },
};

pub(super) type Asked<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The right to run the inner service. When it goes without an answer (an error, a panic, a client that left), the
/// ticket is freed or used up, as the settings say.
pub(super) struct Claim {
    tickets: Tickets,
    lease: Option<Lease>,
}

impl Claim {
    pub(super) fn new(tickets: Tickets, lease: Lease) -> Self {
        Self {
            tickets,
            lease: Some(lease),
        }
    }

    pub(super) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Keeps the answer; from now on nothing frees the ticket.
    pub(super) fn finish(mut self, reply: &StoredReply) -> Lookup<(), StoreError> {
        match self.lease.take() {
            Some(lease) => self.tickets.store().finish(&lease, reply),
            None => Lookup::Ready(Ok(())),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let store = self.tickets.store();
            let settled = if self.tickets.frees_on_failure() {
                store.abandon(&lease)
            } else {
                store.finish(&lease, &no_answer())
            };
            if let Lookup::Pending(settled) = settled {
                leave_running(settled);
            }
        }
    }
}

/// What stands for the answer of an inner service that gave none.
fn no_answer() -> StoredReply {
    let kind = CallbackErrorKind::UnusableAnswer;
    StoredReply::json(kind.status(), kind.body())
}

/// Lets a step of a store go on when nobody waits for it any more. Without a runtime it ends here, and the lease does
/// the rest.
pub(super) fn leave_running(step: impl Future<Output: Send> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(step));
    }
}

/// A `begin` that is under way. Who leaves it gives back what it may still claim.
pub(super) struct Beginning {
    tickets: Tickets,
    pub(super) step: Option<Asked<Begin>>,
}

impl Beginning {
    pub(super) fn new(tickets: Tickets, step: Asked<Begin>) -> Self {
        Self {
            tickets,
            step: Some(step),
        }
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            let tickets = self.tickets.clone();
            leave_running(async move {
                if let Ok(Begin::Fresh(lease)) = step.await {
                    // Nothing has run: the ticket is freed, whatever becomes of those whose handler fails.
                    drop(tickets.store().abandon(&lease).await);
                }
            });
        }
    }
}

/// A `finish` that is under way. It goes on when the client has left: the inner service has done its work.
pub(super) struct Finishing(pub(super) Option<Asked<()>>);

impl Drop for Finishing {
    fn drop(&mut self) {
        if let Some(step) = self.0.take() {
            leave_running(step);
        }
    }
}

/// The answer of the first time.
pub(super) fn given_again<B>(reply: &StoredReply) -> Response<ResponseBody<B>> {
    let body: Bytes = reply.body().clone();
    let mut response = Response::new(());
    *response.status_mut() = reply.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(content_type) = reply.content_type() {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    response.map(|()| ResponseBody::whole(Full::new(body)))
}
