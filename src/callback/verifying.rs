//! From a head that is in order to a verified callback.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use http::{Request, request::Parts};
use http_body::Body;
use http_body_util::LengthLimitError;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    body::CallbackBody,
    bond::Granted,
    config::Config,
    diagnose::diagnose,
    error::{CallbackError, CallbackErrorKind as Kind},
    report::Reporter,
    timer::Timer,
    verifier::Preflight,
};
use crate::{
    Lookup,
    key::{KeyError, PublicKey},
};

/// Frames taken in one go before others get their turn: a body of endless empty frames must meet its deadline.
pub(super) const FRAMES_PER_POLL: usize = 64;

type PendingKey = Pin<Box<dyn Future<Output = Result<PublicKey, KeyError>> + Send>>;

pin_project! {
    /// The wait for the body, then for the key.
    pub(super) struct Verifying<S, B> {
        #[pin]
        body: B,
        lookup: Option<PendingKey>,
        #[pin]
        timer: Timer,
        call: Option<Call<S>>,
    }
}

/// What is needed once the callback is verified.
struct Call<S> {
    inner: S,
    parts: Parts,
    preflight: Preflight,
}

impl<S, B> Verifying<S, B> {
    pub(super) fn new(inner: S, parts: Parts, body: B, preflight: Preflight) -> Self {
        Self {
            body,
            lookup: None,
            timer: Timer::default(),
            call: Some(Call {
                inner,
                parts,
                preflight,
            }),
        }
    }
}

/// What a verification comes to.
pub(super) struct Verified<S, B> {
    pub(super) inner: S,
    pub(super) request: Request<CallbackBody<B>>,
    /// There is one when tickets are asked for.
    pub(super) granted: Option<Arc<Granted>>,
    /// When the deadline began to run.
    pub(super) started: Option<Instant>,
}

impl<S, B> Verifying<S, B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<Verified<S, B>, CallbackError>> {
        let verdict = ready!(self.as_mut().poll_key(cx, config));
        let this = self.project();
        #[expect(clippy::expect_used, reason = "taken once, when the state is left")]
        let Call {
            inner,
            mut parts,
            mut preflight,
        } = this
            .call
            .take()
            .expect("ResponseFuture polled after completion");
        let key_url = preflight.key_url().clone();
        let verified = verdict.and_then(|key| {
            // The verification takes the body along; it is held a second time only for a log that explains mismatches.
            let kept = Reporter::wants_diagnosis().then(|| preflight.body());
            preflight.verify(&key).inspect_err(|error| {
                if error.kind() == Kind::SignatureMismatch {
                    config.key_source.signature_failed(&key_url);
                }
                if let (Some(body), Kind::SignatureMismatch) = (&kept, error.kind()) {
                    Reporter::diagnosis(&diagnose(&parts, body, &key, &config.rules));
                }
            })
        });
        Poll::Ready(match verified {
            Ok(callback) => {
                let body = CallbackBody::verified(callback.body().clone());
                let granted = callback.granted().cloned();
                parts.extensions.insert(callback);
                Ok(Verified {
                    inner,
                    request: Request::from_parts(parts, body),
                    granted,
                    started: this.timer.started(),
                })
            }
            Err(error) => {
                config.reporter.rejection(&error, Some(&key_url));
                Err(error)
            }
        })
    }

    /// Collects the body, checks its ticket, then gets the key.
    fn poll_key(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        config: &Config,
    ) -> Poll<Result<PublicKey, CallbackError>> {
        let mut this = self.project();
        let Some(Call { preflight, .. }) = this.call else {
            return Poll::Pending;
        };
        let lookup = match this.lookup {
            Some(lookup) => lookup,
            None => {
                match poll_body(this.body, preflight, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        let (limit, kind) = if config.body_deadline < config.deadline {
                            (config.body_deadline, Kind::BodyTimeout)
                        } else {
                            (config.deadline, Kind::DeadlineExceeded)
                        };
                        ready!(this.timer.poll_after(limit, cx));
                        return Poll::Ready(Err(kind.into()));
                    }
                }
                if let Some(tickets) = config.rules.required_tickets() {
                    preflight.check_ticket(tickets.now())?;
                }
                match config.key_source.key(preflight.key_url()) {
                    Lookup::Ready(key) => return Poll::Ready(key.map_err(key_unavailable)),
                    Lookup::Pending(lookup) => this.lookup.insert(lookup),
                }
            }
        };
        match lookup.as_mut().poll(cx) {
            Poll::Ready(key) => Poll::Ready(key.map_err(key_unavailable)),
            Poll::Pending => {
                ready!(this.timer.as_mut().poll_after(config.deadline, cx));
                Poll::Ready(Err(Kind::DeadlineExceeded.into()))
            }
        }
    }
}

fn key_unavailable(why: KeyError) -> CallbackError {
    CallbackError::with_source(Kind::KeyUnavailable, why)
}

fn poll_body<B>(
    mut body: Pin<&mut B>,
    preflight: &mut Preflight,
    cx: &mut Context<'_>,
) -> Poll<Result<(), CallbackError>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    for _ in 0..FRAMES_PER_POLL {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                // Trailers are not part of what is signed.
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                // Before a buffer of another type than `Bytes` is copied.
                preflight.make_room(data.remaining())?;
                preflight.update(data.copy_to_bytes(data.remaining()))?;
            }
            Some(Err(error)) => return Poll::Ready(Err(body_error(error.into()))),
            None => return Poll::Ready(preflight.end_of_body()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn body_error(error: Box<dyn Error + Send + Sync>) -> CallbackError {
    // A limit outside may have wrapped its error once more.
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(current) = cause {
        if current.is::<LengthLimitError>() {
            return CallbackError::with_source(Kind::BodyTooLarge, error);
        }
        cause = current.source();
    }
    CallbackError::with_source(Kind::BodyIncomplete, error)
}
