//! The response future: one request from the first byte of its body to its response.
//!
//! ```text
//! Reading ─▶ AwaitingKey ─▶ Redeeming ─▶ Confirming ─▶ Starting ─▶ Handling ─▶ Collecting ─▶
//! Finishing ─▶ Done
//! ```
//!
//! A state is skipped if there is nothing to wait for: `AwaitingKey` if the key is in memory,
//! `Redeeming`, `Collecting` and `Finishing` if no ticket is required, `Confirming` if no storage
//! is asked, and `Starting` if the ticket need not be used up before the handler runs. A failed
//! check leads from any state to `Rejected`. `Untouched` takes the place of all of them for
//! requests that are not verified.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request, response,
};
use http_body::Body;
use http_body_util::{Full, LengthLimitError};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    body::{Collected, RequestBody, ResponseBody},
    config::Config,
    confirm::{self, PendingHead},
    diagnose::diagnose,
    error::{CallbackError, CallbackErrorKind as Kind},
    log,
    prefix::warn_of_other_target,
    redemption::{Decision, Redemption},
    verified::{Origin, Proven, VerifiedCallback},
    verifier::{Content, Proof, Signature, Unverified, Verified, signature as read_signature},
};
use crate::{
    Lookup,
    key::{KeyError, KeyUrl, PublicKey},
    metrics::{ACCEPTED, Callback as Meter, FAILED, REPLAYED, Span, Stage},
    storage::{ObjectMetadata, StorageError},
    ticket::store::{Attempt, StoredReply},
};

pin_project! {
    /// Response future of [`OssCallback`](super::OssCallback).
    ///
    /// `F` is the future of the inner service `S`, and `ResBody` the body of its response.
    pub struct ResponseFuture<S, ReqBody, F, ResBody> {
        config: Arc<Config>,
        meter: Meter,
        span: Span,
        #[pin]
        state: State<S, ReqBody, F, ResBody>,
    }

    impl<S, ReqBody, F, ResBody> PinnedDrop for ResponseFuture<S, ReqBody, F, ResBody> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.meter.cancel(&this.config.metrics);
        }
    }
}

type PendingKey = Pin<Box<dyn Future<Output = Result<PublicKey, KeyError>> + Send>>;

pin_project! {
    // Timers live in the states that wait for something, not beside the state, so that they share
    // their memory with the future of the inner service.
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<S, B, F, R> {
        // `only_path` lets the request pass without verification.
        Untouched { #[pin] response: F },
        // A check failed; the response is rendered on the next poll.
        Rejected { error: CallbackError, missing_key: Option<KeyUrl> },
        // The body arrives.
        Reading { #[pin] body: B, #[pin] timer: Timer, call: Call<S> },
        // The key source looks up a key that it does not have in memory.
        AwaitingKey {
            lookup: PendingKey,
            #[pin]
            timer: Timer,
            call: SignedCall<S>,
        },
        // The callback is verified; the store decides whether the handler runs.
        Redeeming {
            attempt: Attempt,
            redemption: Redemption,
            #[pin]
            timer: Timer,
            inner: S,
            request: Request<RequestBody<B>>,
        },
        // The storage is asked about the object.
        Confirming {
            head: PendingHead,
            limit: Duration,
            #[pin]
            timer: Timer,
            held: Held<S, B>,
        },
        // The store uses up the ticket.
        Starting { #[pin] timer: Timer, held: Held<S, B> },
        // The inner service runs. Without tickets there is nothing to redeem.
        Handling { #[pin] response: F, redemption: Option<Redemption> },
        // The response is collected, to be stored for repetitions of the callback.
        Collecting {
            #[pin]
            body: R,
            collected: Collected,
            parts: response::Parts,
            redemption: Redemption,
        },
        // The store saves the response.
        Finishing {
            reply: StoredReply,
            parts: response::Parts,
            redemption: Redemption,
            #[pin]
            timer: Timer,
        },
        // The response was returned.
        Done,
    }
}

/// What is needed to call the inner service once the callback is verified.
struct Call<S> {
    inner: S,
    parts: request::Parts,
    content: Content,
    proof: Proof,
}

/// A call that a signature has to prove.
struct SignedCall<S> {
    inner: S,
    parts: request::Parts,
    content: Content,
    signature: Signature,
    key_url: KeyUrl,
}

/// What is needed to call the inner service once the ticket is held.
struct Held<S, B> {
    inner: S,
    request: Request<RequestBody<B>>,
    redemption: Redemption,
}

/// Ends the current state, and moves these fields out of it. The pinned fields are dropped in
/// place.
macro_rules! take {
    ($state:expr, $variant:ident { $($field:ident),* }) => {
        match $state.as_mut().project_replace(State::Done) {
            StateOwned::$variant { $($field,)* .. } => ($($field),*),
            _ => unreachable!("the state was matched by its projection"),
        }
    };
}

impl<S, B, F, R> ResponseFuture<S, B, F, R> {
    pub(super) fn rejected(
        config: Arc<Config>,
        error: CallbackError,
        measured: (Meter, Span),
    ) -> Self {
        Self::new(config, State::rejected(error), measured)
    }

    fn new(config: Arc<Config>, state: State<S, B, F, R>, (meter, span): (Meter, Span)) -> Self {
        Self {
            config,
            meter,
            span,
            state,
        }
    }

    pub(super) fn untouched(config: Arc<Config>, response: F) -> Self {
        Self::new(config, State::Untouched { response }, Default::default())
    }

    pub(super) fn reading(
        config: Arc<Config>,
        inner: S,
        parts: request::Parts,
        body: B,
        content: Content,
        proof: Proof,
        measured: (Meter, Span),
    ) -> Self {
        let state = State::Reading {
            body,
            timer: Timer::default(),
            call: Call {
                inner,
                parts,
                content,
                proof,
            },
        };
        Self::new(config, state, measured)
    }
}

impl<S, B, ResBody> Future for ResponseFuture<S, B, S::Future, ResBody>
where
    S: Service<Request<RequestBody<B>>, Response = Response<ResBody>>,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let config = &**this.config;
        let (meter, span) = (this.meter, &*this.span);
        let _entered = span.enter();
        let mut state = this.state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Untouched { response } => {
                    let response = ready!(response.poll(cx));
                    state.set(State::Done);
                    return Poll::Ready(response.map(|response| response.map(ResponseBody::inner)));
                }
                StateProj::Rejected { .. } => {
                    let (error, missing_key) = take!(state, Rejected { error, missing_key });
                    meter.end(error.kind().name(), &config.metrics, span);
                    return Poll::Ready(Ok(config.reject(error, missing_key.as_ref())));
                }
                StateProj::Reading {
                    body,
                    mut timer,
                    call,
                } => {
                    let read = match poll_body(body, &mut call.content, cx) {
                        Poll::Ready(read) => read,
                        Poll::Pending => {
                            let (limit, kind) = config.body_deadline();
                            ready!(timer.as_mut().poll_elapsed(limit, cx));
                            Err(kind.into())
                        }
                    };
                    meter.stage(Stage::Body, &config.metrics);
                    // The ticket comes first: a request without a valid one costs no key lookup.
                    let checked = read.and_then(|()| call.content.check_ticket_now());
                    if config.verifier.required_tickets().is_some() {
                        meter.stage(Stage::Ticket, &config.metrics);
                    }
                    let started = timer.started();
                    let mut call = take!(state, Reading { call });
                    match checked {
                        Ok(()) => State::prove(call, started, config, meter),
                        Err(error) => {
                            warn_of_other_target(&error, config, &call.parts, &mut call.content);
                            State::rejected(error)
                        }
                    }
                }
                StateProj::AwaitingKey {
                    lookup, mut timer, ..
                } => {
                    let key = match lookup.as_mut().poll(cx) {
                        Poll::Ready(key) => Some(key),
                        Poll::Pending => {
                            ready!(timer.as_mut().poll_elapsed(config.deadline, cx));
                            None
                        }
                    };
                    meter.stage(Stage::Key, &config.metrics);
                    let started = timer.started();
                    let call = take!(state, AwaitingKey { call });
                    match key {
                        Some(key) => State::verify(call, key, started, config, meter),
                        None => State::rejected(Kind::DeadlineExceeded.into()),
                    }
                }
                StateProj::Redeeming {
                    attempt,
                    redemption,
                    mut timer,
                    ..
                } => {
                    let decision = match redemption.poll_begin(attempt, cx) {
                        Poll::Ready(decision) => decision,
                        Poll::Pending => {
                            ready!(timer.as_mut().poll_elapsed(config.deadline, cx));
                            Err(redemption.overdue())
                        }
                    };
                    meter.stage(Stage::Store, &config.metrics);
                    let started = timer.started();
                    let (inner, request, redemption) = take!(
                        state,
                        Redeeming {
                            inner,
                            request,
                            redemption
                        }
                    );
                    let held = Held {
                        inner,
                        request,
                        redemption,
                    };
                    match decision {
                        Ok(Decision::Run) => State::confirm(held, started, config, meter),
                        Ok(Decision::Replay(reply)) => {
                            meter.end(REPLAYED, &config.metrics, span);
                            return Poll::Ready(Ok(replay(&reply)));
                        }
                        Err(error) => State::rejected(error),
                    }
                }
                StateProj::Confirming {
                    head,
                    limit,
                    mut timer,
                    ..
                } => {
                    let found = match head.as_mut().poll(cx) {
                        Poll::Ready(found) => Some(found),
                        Poll::Pending => {
                            ready!(timer.as_mut().poll_elapsed(*limit, cx));
                            None
                        }
                    };
                    meter.stage(Stage::Confirm, &config.metrics);
                    let started = timer.started();
                    let held = take!(state, Confirming { held });
                    State::confirmed(held, found, started)
                }
                StateProj::Starting { timer, held } => {
                    let started = match held.redemption.poll_start(cx) {
                        Poll::Ready(started) => started,
                        Poll::Pending => {
                            ready!(timer.poll_elapsed(config.deadline, cx));
                            Err(Kind::DeadlineExceeded.into())
                        }
                    };
                    meter.stage(Stage::Store, &config.metrics);
                    let held = take!(state, Starting { held });
                    match started {
                        Ok(()) => State::handle(held.inner, held.request, Some(held.redemption)),
                        Err(error) => State::rejected(error),
                    }
                }
                StateProj::Handling { response, .. } => {
                    meter.handler_runs(true);
                    let polled = response.poll(cx);
                    meter.handler_runs(false);
                    let response = match ready!(polled) {
                        Ok(response) => response,
                        Err(error) => {
                            meter.stage(Stage::Handler, &config.metrics);
                            meter.end(FAILED, &config.metrics, span);
                            state.set(State::Done);
                            return Poll::Ready(Err(error));
                        }
                    };
                    match take!(state, Handling { redemption }) {
                        Some(redemption) if redemption.stores(response.status()) => {
                            let (parts, body) = response.into_parts();
                            State::Collecting {
                                body,
                                collected: Collected::default(),
                                parts,
                                redemption,
                            }
                        }
                        redemption => {
                            drop(redemption);
                            meter.stage(Stage::Handler, &config.metrics);
                            meter.end(outcome(response.status()), &config.metrics, span);
                            config.log.response(&response, None);
                            return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                        }
                    }
                }
                StateProj::Collecting {
                    body,
                    collected,
                    redemption,
                    ..
                } => {
                    redemption.body_is_polled();
                    let Poll::Ready(body) = poll_collect(body, collected, cx) else {
                        redemption.body_is_pending();
                        return Poll::Pending;
                    };
                    meter.stage(Stage::Handler, &config.metrics);
                    let (parts, redemption) = take!(state, Collecting { parts, redemption });
                    let reply = body.and_then(|body| {
                        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
                        StoredReply::new(parts.status, content_type, body).ok()
                    });
                    match reply {
                        Some(reply) => State::Finishing {
                            reply,
                            parts,
                            redemption,
                            // The inner service had its time; the store has a deadline of its own.
                            timer: Timer::default(),
                        },
                        None => State::rejected(Kind::UnusableAnswer.into()),
                    }
                }
                StateProj::Finishing {
                    reply,
                    redemption,
                    timer,
                    ..
                } => {
                    let finished = match redemption.poll_finish(reply, cx) {
                        Poll::Ready(finished) => finished,
                        Poll::Pending => {
                            ready!(timer.poll_elapsed(config.deadline, cx));
                            Err(Kind::DeadlineExceeded.into())
                        }
                    };
                    meter.stage(Stage::Store, &config.metrics);
                    let (reply, parts, redemption) = take!(
                        state,
                        Finishing {
                            reply,
                            parts,
                            redemption
                        }
                    );
                    match finished {
                        // The handler could run again for this callback, so it was not a success.
                        Err(error) if !redemption.responds_despite(&error) => {
                            State::rejected(error)
                        }
                        Ok(()) | Err(_) => {
                            let body = Full::new(reply.body().clone());
                            let response = Response::from_parts(parts, body);
                            meter.end(outcome(response.status()), &config.metrics, span);
                            config.log.response(&response, Some(reply.body()));
                            return Poll::Ready(Ok(response.map(ResponseBody::whole)));
                        }
                    }
                }
                #[expect(
                    clippy::panic,
                    reason = "polling a finished future is a bug in the caller"
                )]
                StateProj::Done => panic!("ResponseFuture polled after completion"),
            };
            state.set(next);
        }
    }
}

impl<S, B, F, R> State<S, B, F, R> {
    fn rejected(error: CallbackError) -> Self {
        Self::Rejected {
            error,
            missing_key: None,
        }
    }
}

impl<S, B, R> State<S, B, S::Future, R>
where
    S: Service<Request<RequestBody<B>>>,
{
    /// Checks what proves the callback. `started` is the time from which the deadline runs.
    fn prove(call: Call<S>, started: Option<Instant>, config: &Config, meter: &mut Meter) -> Self {
        let Call {
            inner,
            parts,
            content,
            proof,
        } = call;
        let (signature, key_url) = match proof {
            Proof::Signature { signature, key_url } => (signature, key_url),
            Proof::Recovery(upload) => {
                return match content.verify_recovered(&upload) {
                    Ok(verified) => Self::redeem(inner, parts, verified, started),
                    Err(error) => Self::rejected(error),
                };
            }
        };
        let lookup = config.key_source.key(&key_url);
        let call = SignedCall {
            inner,
            parts,
            content,
            signature,
            key_url,
        };
        match lookup {
            Lookup::Ready(key) => Self::verify(call, key, started, config, meter),
            Lookup::Pending(lookup) => Self::AwaitingKey {
                lookup,
                timer: Timer::resume(started),
                call,
            },
        }
    }

    /// Verifies the signature.
    fn verify(
        call: SignedCall<S>,
        key: Result<PublicKey, KeyError>,
        started: Option<Instant>,
        config: &Config,
        meter: &mut Meter,
    ) -> Self {
        let SignedCall {
            inner,
            parts,
            mut content,
            signature,
            key_url,
        } = call;
        let key = match key {
            Ok(key) => key,
            Err(why) => {
                return Self::Rejected {
                    error: CallbackError::with_source(Kind::KeyUnavailable, why),
                    missing_key: Some(key_url),
                };
            }
        };
        // `verify` consumes the body, so a diagnosis needs a second handle.
        let body = log::diagnosis_enabled().then(|| content.body());
        let verified = content.verify(&signature, key_url, key);
        meter.stage(Stage::Signature, &config.metrics);
        match verified {
            Ok(verified) => Self::redeem(inner, parts, verified, started),
            Err(Unverified {
                error,
                key_url,
                key,
            }) => {
                if error.kind() == Kind::SignatureMismatch {
                    config.key_source.signature_failed(&key_url);
                    // One RSA operation, as cheap as the verification.
                    let made = read_signature(&parts.headers)
                        .ok()
                        .and_then(|signature| key.recover_md5(signature.as_bytes()));
                    if made.is_some() {
                        config.log.mismatch_of_this_key();
                    }
                    if let Some(body) = body {
                        log::diagnosis(&diagnose(&parts, &body, &key, &config.verifier));
                    }
                }
                Self::rejected(error)
            }
        }
    }

    /// Redeems the ticket of a verified callback.
    fn redeem(
        inner: S,
        mut parts: request::Parts,
        verified: Verified,
        started: Option<Instant>,
    ) -> Self {
        let Verified { callback, redeem } = verified;
        let body = RequestBody::verified(callback.body().clone());
        let recovered = callback.origin() == Origin::Recovered;
        parts.extensions.insert(callback);
        let request = Request::from_parts(parts, body);
        match redeem {
            Some((tickets, granted)) => {
                match tickets.attempt(&granted.ticket, granted.digest, tickets.now()) {
                    Ok(attempt) => {
                        let attempt = match recovered {
                            true => attempt.of_recovery(),
                            false => attempt,
                        };
                        Self::Redeeming {
                            redemption: Redemption::new(tickets, &attempt, &granted, recovered),
                            attempt,
                            timer: Timer::resume(started),
                            inner,
                            request,
                        }
                    }
                    Err(why) => {
                        Self::rejected(CallbackError::with_source(Kind::StoreUnavailable, why))
                    }
                }
            }
            None => Self::handle(inner, request, None),
        }
    }

    /// Asks the storage about the object, if there is one to ask.
    fn confirm(
        mut held: Held<S, B>,
        started: Option<Instant>,
        config: &Config,
        meter: &mut Meter,
    ) -> Self {
        let callback = held.request.extensions().get::<VerifiedCallback>();
        // A recovery asked just before it made this request. A second answer would be as old when
        // the handler runs.
        if let Some(found) = callback.and_then(|callback| callback.confirmed.as_deref()) {
            let found = Ok(found.clone());
            return Self::confirmed(held, Some(found), started);
        }
        let granted = callback.and_then(|callback| callback.granted.as_deref());
        let Some((confirmation, granted)) = config.confirmation.as_ref().zip(granted) else {
            return Self::start(held, started);
        };
        held.redemption.confirmation_begins();
        match confirmation.ask(granted) {
            Lookup::Ready(found) => {
                meter.stage(Stage::Confirm, &config.metrics);
                Self::confirmed(held, Some(found), started)
            }
            Lookup::Pending(head) => {
                let spent = started.map_or(Duration::ZERO, |started| started.elapsed());
                let limit = spent.saturating_add(confirmation.deadline);
                Self::Confirming {
                    head,
                    limit: limit.min(config.deadline),
                    timer: Timer::resume(started),
                    held,
                }
            }
        }
    }

    /// Compares what the storage reports with the callback. `None` if it did not respond in time.
    fn confirmed(
        mut held: Held<S, B>,
        found: Option<Result<ObjectMetadata, StorageError>>,
        started: Option<Instant>,
    ) -> Self {
        held.redemption.confirmation_ends();
        let extensions = held.request.extensions_mut();
        let callback = extensions.get_mut::<VerifiedCallback>();
        let checked = match (found, callback) {
            (Some(found), Some(callback)) => match callback.granted.as_deref() {
                Some(granted) => confirm::check(granted, found).map(|found| {
                    held.redemption.confirmed(&found);
                    callback.confirmed = Some(Arc::new(found));
                }),
                None => Err(Kind::TicketMissing.into()),
            },
            (None, _) => Err(confirm::timed_out()),
            (_, None) => Err(Kind::TicketMissing.into()),
        };
        match checked {
            Ok(()) => Self::start(held, started),
            Err(error) => {
                if error.kind() == Kind::NotConfirmed {
                    held.redemption.refuse();
                }
                Self::rejected(error)
            }
        }
    }

    /// Uses up the ticket, if it must be before the handler runs.
    fn start(held: Held<S, B>, started: Option<Instant>) -> Self {
        if !held.redemption.must_start() {
            return Self::handle(held.inner, held.request, Some(held.redemption));
        }
        Self::Starting {
            timer: Timer::resume(started),
            held,
        }
    }

    /// Calls the inner service. The redemption is held meanwhile, so that a panic releases the
    /// ticket.
    fn handle(
        mut inner: S,
        request: Request<RequestBody<B>>,
        mut redemption: Option<Redemption>,
    ) -> Self {
        if let Some(redemption) = &mut redemption {
            redemption.handler_is_called();
        }
        let callback = request.extensions().get::<VerifiedCallback>();
        if let Some(Proven::Recovery(upload)) = callback.map(|callback| &callback.proven) {
            upload.set_called();
        }
        Self::Handling {
            response: inner.call(request),
            redemption,
        }
    }
}

impl<S, B, F, R> fmt::Debug for ResponseFuture<S, B, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Untouched { .. } => "ResponseFuture(untouched)",
            State::Rejected { .. } => "ResponseFuture(rejected)",
            State::Reading { .. } => "ResponseFuture(reading)",
            State::AwaitingKey { .. } => "ResponseFuture(awaiting key)",
            State::Redeeming { .. } => "ResponseFuture(redeeming)",
            State::Confirming { .. } => "ResponseFuture(confirming)",
            State::Starting { .. } => "ResponseFuture(starting)",
            State::Handling { .. } => "ResponseFuture(handling)",
            State::Collecting { .. } => "ResponseFuture(collecting)",
            State::Finishing { .. } => "ResponseFuture(finishing)",
            State::Done => "ResponseFuture(done)",
        })
    }
}

/// The most frames of a body that one poll reads. A body of endless empty frames must not keep the
/// deadline from being checked, nor other tasks from running.
const FRAMES_PER_POLL: usize = 64;

/// Passes the request body to the verifier.
fn poll_body<B>(
    mut body: Pin<&mut B>,
    content: &mut Content,
    cx: &mut Context<'_>,
) -> Poll<Result<(), CallbackError>>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    for _ in 0..FRAMES_PER_POLL {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                // OSS does not sign trailers, so they are dropped.
                let Ok(mut data) = frame.into_data() else {
                    continue;
                };
                // The limit is checked before a buffer other than `Bytes` is copied.
                content.make_room(data.remaining())?;
                content.update(data.copy_to_bytes(data.remaining()))?;
            }
            Some(Err(error)) => return Poll::Ready(Err(body_error(error.into()))),
            None => return Poll::Ready(content.end_of_body()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn body_error(error: Box<dyn Error + Send + Sync>) -> CallbackError {
    // An outer layer with a body limit may have wrapped the error.
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(current) = cause {
        if current.is::<LengthLimitError>() {
            return CallbackError::with_source(Kind::BodyTooLarge, error);
        }
        cause = current.source();
    }
    CallbackError::with_source(Kind::BodyIncomplete, error)
}

/// Collects the response body. Returns `None` if it fails or exceeds the size that OSS accepts.
fn poll_collect<R: Body<Data = Bytes>>(
    mut body: Pin<&mut R>,
    collected: &mut Collected,
    cx: &mut Context<'_>,
) -> Poll<Option<Bytes>> {
    for _ in 0..FRAMES_PER_POLL {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                // OSS ignores trailers.
                if let Ok(data) = frame.into_data() {
                    if collected.len() + data.len() > StoredReply::MAX_BODY_LEN {
                        return Poll::Ready(None);
                    }
                    collected.push(data);
                }
            }
            Some(Err(_)) => return Poll::Ready(None),
            None => return Poll::Ready(Some(collected.take())),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// What the metrics call a response of the handler. OSS takes only 200 for success.
fn outcome(status: StatusCode) -> &'static str {
    if status == StatusCode::OK {
        ACCEPTED
    } else {
        FAILED
    }
}

/// The stored response to the first delivery of the same callback.
fn replay<B>(reply: &StoredReply) -> Response<ResponseBody<B>> {
    let body = reply.body().clone();
    let mut response = Response::new(());
    *response.status_mut() = reply.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(content_type) = reply.content_type() {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    response.map(|()| ResponseBody::whole(Full::new(body)))
}

pin_project! {
    /// A deadline that costs nothing until something has to be awaited.
    #[derive(Default)]
    struct Timer {
        started: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Timer {
    /// Continues a deadline that may run since `started`. A `Sleep` cannot be moved, so it is
    /// created anew if the next state has to wait, too.
    fn resume(started: Option<Instant>) -> Self {
        Self {
            started,
            sleep: None,
        }
    }

    /// When something had to be awaited for the first time.
    fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Ready once `limit` has passed since the deadline started. The first poll starts it.
    fn poll_elapsed(self: Pin<&mut Self>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let started = *this.started.get_or_insert_with(Instant::now);
        // On overflow, no deadline applies; whatever is awaited wakes the task.
        let Some(deadline) = started.checked_add(limit) else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(deadline)));
        }
        #[expect(clippy::expect_used, reason = "set above")]
        let sleep = this.sleep.as_pin_mut().expect("the timer is set");
        sleep.poll(cx)
    }
}
