//! Metrics and spans, with the feature `metrics`. `docs/metrics.md` describes each of them.
//!
//! All names are constants of this module. Label values are constants too, or come from closed
//! enums: nothing that a request contains becomes a label. Without the feature, every type is empty
//! and every function does nothing.

#![cfg_attr(
    not(feature = "metrics"),
    allow(
        unused_variables,
        dead_code,
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut
    )
)]

#[cfg(feature = "metrics")]
use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use http::HeaderMap;

/// Callbacks by `origin` and `outcome`.
pub(crate) const CALLBACKS: &str = "aliyun_oss_callbacks_total";
/// The time of the stages of a callback, by `stage`.
pub(crate) const CALLBACK_STAGE: &str = "aliyun_oss_callback_stage_duration_seconds";
/// Requests for upload tokens by `outcome`.
pub(crate) const TOKENS: &str = "aliyun_oss_tokens_total";
/// Requests for signed URLs by `action` and `outcome`.
pub(crate) const PRESIGNS: &str = "aliyun_oss_presign_requests_total";
/// Tickets issued.
pub(crate) const TICKETS: &str = "aliyun_oss_tickets_issued_total";
/// Passes of a recovery by `outcome`.
pub(crate) const RECOVERY_PASSES: &str = "aliyun_oss_recovery_passes_total";
/// Rows that a recovery has claimed because they were due.
pub(crate) const RECOVERY_DUE: &str = "aliyun_oss_recovery_due_total";
/// The results of these rows, by `outcome`.
pub(crate) const RECOVERY_ROWS: &str = "aliyun_oss_recovery_rows_total";
/// Open rows of the ledger.
pub(crate) const LEDGER_OPEN: &str = "aliyun_oss_ledger_open_rows";
/// Open rows that the ledger has removed because no recovery took them in time.
pub(crate) const LEDGER_EXPIRED: &str = "aliyun_oss_ledger_expired_rows_total";
/// Fetches of public keys by `outcome`.
#[cfg(feature = "fetch")]
pub(crate) const KEY_FETCHES: &str = "aliyun_oss_key_fetches_total";
/// The time of the calls of Redis, by `operation`.
#[cfg(feature = "redis")]
pub(crate) const REDIS_CALL: &str = "aliyun_oss_redis_call_duration_seconds";
/// Failed calls of Redis by `operation` and `error`.
#[cfg(feature = "redis")]
pub(crate) const REDIS_ERRORS: &str = "aliyun_oss_redis_errors_total";

/// Label values of outcomes that are not errors of this crate.
pub(crate) const ACCEPTED: &str = "Accepted";
pub(crate) const REPLAYED: &str = "Replayed";
pub(crate) const FAILED: &str = "HandlerFailed";
pub(crate) const CANCELED: &str = "Canceled";
pub(crate) const ISSUED: &str = "Issued";
#[cfg(feature = "fetch")]
pub(crate) const FETCHED: &str = "Fetched";
pub(crate) const ANSWERED: &str = "Answered";
pub(crate) const COMPLETED: &str = "Completed";

/// The label value of a request for a signed URL that is rejected before its action is known.
pub(crate) const UNKNOWN_ACTION: &str = "unknown";

/// A part of the work on a callback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Body,
    Ticket,
    Key,
    Signature,
    Store,
    Confirm,
    Handler,
}

#[cfg(feature = "metrics")]
impl Stage {
    const ALL: [(Self, &str); 7] = [
        (Self::Body, "body"),
        (Self::Ticket, "ticket"),
        (Self::Key, "key"),
        (Self::Signature, "signature"),
        (Self::Store, "store"),
        (Self::Confirm, "confirm"),
        (Self::Handler, "handler"),
    ];
}

/// The metrics of one layer. Registered with the recorder at the first callback, because a layer is
/// often created before the recorder is installed.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    /// Of the callbacks of OSS, and of those of a recovery.
    #[cfg(feature = "metrics")]
    origins: [Registered; 2],
}

/// The handles of one origin. A callback does not look a metric up by its name and labels.
#[cfg(feature = "metrics")]
#[derive(Clone, Default)]
struct Registered {
    handles: OnceLock<Arc<Handles>>,
    /// Handles of a recorder without size. That is most likely the one which `metrics` has until
    /// the application installs another one, so they are used until there is another one.
    interim: OnceLock<Arc<Handles>>,
}

#[cfg(feature = "metrics")]
struct Handles {
    outcomes: Vec<(&'static str, metrics::Counter)>,
    stages: [metrics::Histogram; Stage::ALL.len()],
    registered: Instant,
    /// When the next callback is timed, in nanoseconds since `registered`.
    next: AtomicU64,
}

/// The time between two callbacks that are timed. Clocks and histograms cost 5 to 10 % of a
/// callback that waits for nothing, so a busy layer times a sample.
#[cfg(feature = "metrics")]
const SAMPLE_EVERY: u64 = 1_000_000;

/// How many callbacks a thread handles without a look at the clock after one that was not timed.
#[cfg(feature = "metrics")]
const UNTIMED: u32 = 15;

#[cfg(feature = "metrics")]
thread_local! {
    /// How many of them are left. Not an atomic of the layer, which all threads would write.
    static UNTIMED_LEFT: Cell<u32> = const { Cell::new(0) };
}

impl Callbacks {
    /// Begins to measure a callback. `errors` are the outcomes that are errors.
    pub(crate) fn begin(&self, errors: &'static [&'static str], recovered: bool) -> Callback {
        #[cfg(feature = "metrics")]
        {
            let handles = self.of(recovered).get_or_register(errors, recovered);
            Callback(Some(Measured {
                recovered,
                since: handles.sample(),
                handler_runs: false,
            }))
        }
        #[cfg(not(feature = "metrics"))]
        Callback()
    }

    #[cfg(feature = "metrics")]
    fn of(&self, recovered: bool) -> &Registered {
        let [of_oss, of_recovery] = &self.origins;
        if recovered { of_recovery } else { of_oss }
    }
}

#[cfg(feature = "metrics")]
impl Registered {
    fn get_or_register(&self, errors: &'static [&'static str], recovered: bool) -> &Handles {
        if let Some(handles) = self.handles.get() {
            return handles;
        }
        let has_size = metrics::with_recorder(|recorder| size_of_val(recorder) > 0);
        let handles = if has_size {
            &self.handles
        } else {
            &self.interim
        };
        handles.get_or_init(|| Arc::new(Handles::register(errors, origin(recovered))))
    }

    fn get(&self) -> Option<&Handles> {
        let handles = self.handles.get().or_else(|| self.interim.get());
        handles.map(|handles| &**handles)
    }
}

#[cfg(feature = "metrics")]
impl Handles {
    fn register(errors: &'static [&'static str], origin: &'static str) -> Self {
        metrics::describe_counter!(CALLBACKS, "Callbacks by origin and outcome");
        metrics::describe_histogram!(
            CALLBACK_STAGE,
            metrics::Unit::Seconds,
            "Time of the stages of a callback"
        );
        let outcomes = [ACCEPTED, REPLAYED, FAILED, CANCELED].iter().chain(errors);
        Self {
            outcomes: outcomes
                .map(|&outcome| {
                    let labels = [("origin", origin), ("outcome", outcome)];
                    (outcome, metrics::counter!(CALLBACKS, &labels))
                })
                .collect(),
            stages: Stage::ALL
                .map(|(_, stage)| metrics::histogram!(CALLBACK_STAGE, "stage" => stage)),
            registered: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Returns the time if the callback that begins now is to be timed.
    fn sample(&self) -> Option<Instant> {
        let left = UNTIMED_LEFT.get();
        if left > 0 {
            UNTIMED_LEFT.set(left - 1);
            return None;
        }
        let now = Instant::now();
        let since = now.saturating_duration_since(self.registered).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        if since < self.next.load(Relaxed) {
            UNTIMED_LEFT.set(UNTIMED);
            return None;
        }
        self.next.store(since.saturating_add(SAMPLE_EVERY), Relaxed);
        Some(now)
    }

    fn count(&self, outcome: &str) {
        let mut outcomes = self.outcomes.iter();
        if let Some((_, counter)) = outcomes.find(|(known, _)| *known == outcome) {
            counter.increment(1);
        }
    }
}

/// The measurement of one callback, which ends with [`end`](Self::end) or [`cancel`](Self::cancel).
#[cfg(feature = "metrics")]
#[derive(Default)]
pub(crate) struct Callback(Option<Measured>);

#[cfg(not(feature = "metrics"))]
#[derive(Default)]
pub(crate) struct Callback();

#[cfg(feature = "metrics")]
struct Measured {
    recovered: bool,
    /// When the current stage began. `None` if this callback is not timed.
    since: Option<Instant>,
    handler_runs: bool,
}

impl Callback {
    /// Notes that the handler is polled, or no longer. If it panics, it stays noted.
    pub(crate) fn handler_runs(&mut self, runs: bool) {
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.0 {
            measured.handler_runs = runs;
        }
    }

    /// Ends a stage: the time since the previous call belongs to it.
    pub(crate) fn stage(&mut self, stage: Stage, callbacks: &Callbacks) {
        #[cfg(feature = "metrics")]
        if let Some(measured) = &mut self.0
            && let Some(since) = &mut measured.since
        {
            let now = Instant::now();
            let handles = callbacks.of(measured.recovered).get();
            if let Some(histogram) = handles.and_then(|of| of.stages.get(stage as usize)) {
                histogram.record(now.saturating_duration_since(*since));
            }
            *since = now;
        }
    }

    /// Counts the outcome.
    pub(crate) fn end(&mut self, outcome: &'static str, callbacks: &Callbacks, span: &Span) {
        #[cfg(feature = "metrics")]
        if self.count(outcome, callbacks) {
            span.outcome(outcome, outcome == ACCEPTED || outcome == REPLAYED);
        }
    }

    /// Counts a client that left, or a handler that panicked, unless the measurement has ended.
    pub(crate) fn cancel(&mut self, callbacks: &Callbacks) {
        #[cfg(feature = "metrics")]
        {
            let panicked = self
                .0
                .as_ref()
                .is_some_and(|measured| measured.handler_runs);
            self.count(if panicked { FAILED } else { CANCELED }, callbacks);
        }
    }

    /// Returns whether this was the end.
    #[cfg(feature = "metrics")]
    fn count(&mut self, outcome: &str, callbacks: &Callbacks) -> bool {
        let ends = self.0.take();
        if let Some(measured) = &ends
            && let Some(handles) = callbacks.of(measured.recovered).get()
        {
            handles.count(outcome);
        }
        ends.is_some()
    }
}

/// The label value of an [`Origin`](crate::callback::Origin).
const fn origin(recovered: bool) -> &'static str {
    if recovered { "Recovered" } else { "Oss" }
}

/// The span of a callback, a token or a signed URL.
#[cfg(feature = "metrics")]
#[derive(Default)]
pub(crate) struct Span(Option<tracing::Span>);

#[cfg(not(feature = "metrics"))]
#[derive(Default)]
pub(crate) struct Span();

/// The guard of a span that does not exist.
#[cfg(not(feature = "metrics"))]
pub(crate) struct Entered;

impl Span {
    /// Creates the span of a callback. The ID of the upload request is not authenticated, so it is
    /// a field only if it looks like one.
    pub(crate) fn of_callback(headers: &HeaderMap, recovered: bool) -> Self {
        #[cfg(feature = "metrics")]
        {
            let span = tracing::info_span!(
                target: "tower_aliyun_oss::callback",
                "oss.callback",
                "oss.request_id" = request_id(headers),
                origin = origin(recovered),
                outcome = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
            );
            Self(Some(span))
        }
        #[cfg(not(feature = "metrics"))]
        Self()
    }

    /// Creates the span of a request for a token.
    pub(crate) fn of_token() -> Self {
        #[cfg(feature = "metrics")]
        {
            let span = tracing::info_span!(
                target: "tower_aliyun_oss::token",
                "oss.token",
                outcome = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
            );
            Self(Some(span))
        }
        #[cfg(not(feature = "metrics"))]
        Self()
    }

    /// Creates the span of a request for a signed URL.
    pub(crate) fn of_presign() -> Self {
        #[cfg(feature = "metrics")]
        {
            let span = tracing::info_span!(
                target: "tower_aliyun_oss::presign",
                "oss.presign",
                action = tracing::field::Empty,
                outcome = tracing::field::Empty,
                otel.status_code = tracing::field::Empty,
            );
            Self(Some(span))
        }
        #[cfg(not(feature = "metrics"))]
        Self()
    }

    /// Enters the span until the guard is dropped.
    #[cfg(feature = "metrics")]
    pub(crate) fn enter(&self) -> Option<tracing::span::Entered<'_>> {
        self.0.as_ref().map(tracing::Span::enter)
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) fn enter(&self) -> Entered {
        Entered
    }

    fn outcome(&self, outcome: &'static str, is_success: bool) {
        #[cfg(feature = "metrics")]
        if let Some(span) = &self.0 {
            span.record("outcome", outcome);
            span.record("otel.status_code", if is_success { "OK" } else { "ERROR" });
        }
    }
}

/// The ID of the upload request, if it is visible ASCII of at most 64 bytes.
#[cfg(feature = "metrics")]
fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(crate::protocol::header::X_OSS_REQUEST_ID)?;
    let id = id.to_str().ok()?;
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && (1..=64).contains(&id.len())).then_some(id)
}

/// Counts a request for a token.
pub(crate) fn token(outcome: &'static str, span: &Span) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!(TOKENS, "outcome" => outcome).increment(1);
        span.outcome(outcome, outcome == ISSUED);
    }
}

/// Counts a request for a signed URL.
pub(crate) fn presign(action: &'static str, outcome: &'static str, span: &Span) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!(PRESIGNS, "action" => action, "outcome" => outcome).increment(1);
        if let Some(span) = &span.0 {
            span.record("action", action);
        }
        span.outcome(outcome, outcome == ANSWERED);
    }
}

/// Registers what a recovery counts. An alert for an increase needs the 0 before the first one.
pub(crate) fn recovery_begins(outcomes: &[&'static str]) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!(RECOVERY_PASSES, "outcome" => COMPLETED).increment(0);
        metrics::counter!(RECOVERY_DUE).increment(0);
        metrics::counter!(LEDGER_EXPIRED).increment(0);
        for &outcome in outcomes {
            metrics::counter!(RECOVERY_ROWS, "outcome" => outcome).increment(0);
        }
    }
}

/// Counts a pass of a recovery.
pub(crate) fn recovery_pass(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(RECOVERY_PASSES, "outcome" => outcome).increment(1);
}

/// Counts rows that were due.
pub(crate) fn rows_due(rows: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!(RECOVERY_DUE).increment(rows);
}

/// Counts the result of a row that was due.
pub(crate) fn row_done(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(RECOVERY_ROWS, "outcome" => outcome).increment(1);
}

/// Counts open rows that the ledger has removed because no recovery took them in time.
pub(crate) fn rows_expired(rows: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!(LEDGER_EXPIRED).increment(rows);
}

/// Records the number of open rows.
#[cfg(feature = "metrics")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
pub(crate) fn rows_open(rows: u64) {
    metrics::gauge!(LEDGER_OPEN).set(rows as f64);
}

/// Counts an issued ticket.
pub(crate) fn ticket_issued() {
    #[cfg(feature = "metrics")]
    metrics::counter!(TICKETS).increment(1);
}

/// Counts a fetch of a public key.
#[cfg(feature = "fetch")]
pub(crate) fn key_fetched(outcome: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!(KEY_FETCHES, "outcome" => outcome).increment(1);
}

/// A call of Redis that is under way.
#[cfg(feature = "redis")]
pub(crate) struct RedisCall {
    operation: &'static str,
    #[cfg(feature = "metrics")]
    since: Instant,
}

#[cfg(feature = "redis")]
impl RedisCall {
    pub(crate) fn begin(operation: &'static str) -> Self {
        Self {
            operation,
            #[cfg(feature = "metrics")]
            since: Instant::now(),
        }
    }

    /// Records the time of the call, and its error if it failed.
    pub(crate) fn end(self, error: Option<&'static str>) {
        #[cfg(feature = "metrics")]
        {
            let operation = self.operation;
            let time = self.since.elapsed();
            metrics::histogram!(REDIS_CALL, "operation" => operation).record(time);
            if let Some(error) = error {
                metrics::counter!(REDIS_ERRORS, "operation" => operation, "error" => error)
                    .increment(1);
            }
        }
    }
}
