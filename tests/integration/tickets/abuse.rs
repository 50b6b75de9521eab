//! Attacks on the end of a ticket, on answers under way, and on a store that fails.

use std::{
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::ready,
};

use http_body::{Body, Frame};
use tokio::{
    runtime,
    time::{Instant, Sleep, advance, sleep},
};
use tower_aliyun_oss::{
    key::{KeyError, KeyTable, KeyUrl, PublicKey},
    ticket::{OnFailure, store::StoreErrorKind},
};

use super::{once::Gated, *};

/// Makes the clock of the tickets follow the paused clock of tokio. Returns the time of its start.
fn clocked(tickets: Tickets) -> (Tickets, SystemTime) {
    let (base, start) = (SystemTime::now(), Instant::now());
    (tickets.clock(move || base + start.elapsed()), base)
}

/// Returns a callback whose ticket is accepted for 100 s: 40 s, and 60 s for clocks that differ.
fn short_lived(base: SystemTime) -> Request<Full<Bytes>> {
    let grant = Scope::Exact("a.png".parse().unwrap());
    let terms = terms_at(TARGET, grant, base + Duration::from_secs(40));
    signed(form("a.png", &mint(&terms)))
}

fn assert_expired(outcome: &Outcome) {
    outcome.assert_refused(403, CallbackErrorKind::TicketInvalid);
    assert_eq!(outcome.why(), Some(TicketError::Expired));
}

#[tokio::test(start_paused = true)]
async fn rp_25_a_ticket_that_expires_while_its_handler_runs_runs_once() {
    let (tickets, base) = clocked(Tickets::in_memory(keys()));
    let inner = Gated::default();
    let service = layer(&tickets).layer(inner.clone());
    let request = short_lived(base);
    // Callbacks with other tickets sweep the shards of the store.
    let grant = Scope::Exact("a.png".parse().unwrap());
    let others = || async {
        for _ in 0..100 {
            let ticket = mint(&terms_at(TARGET, grant.clone(), base + HOUR));
            send(service.clone(), signed(form("a.png", &ticket))).await;
        }
    };
    advance(Duration::from_secs(71)).await;
    others().await;
    advance(Duration::from_millis(27_500)).await;
    let open = inner.gate();
    let first = tokio::spawn(send(service.clone(), request.clone()));
    tokio::task::yield_now().await;
    let waiters = [(); 3].map(|()| tokio::spawn(send(service.clone(), request.clone())));
    tokio::task::yield_now().await;
    advance(Duration::from_secs(3)).await;
    others().await;
    assert_eq!(inner.handler.runs(), 201);
    // The handler fails: its waiters may try again, but the ticket has expired.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    for waiter in waiters {
        assert_expired(&waiter.await.unwrap());
    }
    drop(open);
    assert_eq!(inner.handler.runs(), 201);
}

#[tokio::test(start_paused = true)]
async fn rp_25_a_late_answer_reaches_who_waits_only_before_the_ticket_expires() {
    for (after, stored) in [(99, true), (101, false)] {
        let (tickets, base) = clocked(Tickets::in_memory(keys()));
        let inner = Gated::default();
        let service = layer(&tickets).layer(inner.clone());
        let request = short_lived(base);
        advance(Duration::from_secs(98)).await;
        let open = inner.gate();
        let first = tokio::spawn(send(service.clone(), request.clone()));
        tokio::task::yield_now().await;
        let waiter = tokio::spawn(send(service, request));
        tokio::task::yield_now().await;
        advance(Duration::from_secs(after - 98)).await;
        open.send(()).unwrap();
        first.await.unwrap().assert_run(1);
        let waiter = waiter.await.unwrap();
        if stored {
            waiter.assert_run(1);
        } else {
            assert_expired(&waiter);
        }
        assert_eq!(inner.handler.runs(), 1);
    }
}

/// A key source that takes a while.
#[derive(Clone)]
struct LateKeys(CountedKeys, Arc<Mutex<Duration>>);

impl KeySource for LateKeys {
    fn table(&self) -> &KeyTable {
        self.0.table()
    }

    fn key(&self, url: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        let key = self.0.key(url);
        let late = *self.1.lock().unwrap();
        if late.is_zero() {
            return key;
        }
        Lookup::pending(async move {
            sleep(late).await;
            key.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn rp_25_a_ticket_that_expires_while_the_key_is_awaited_does_not_begin() {
    for ran_before in [false, true] {
        let store = CountedStore::default();
        let (tickets, base) = clocked(Tickets::new(keys(), store.clone()));
        let late = Arc::new(Mutex::new(Duration::ZERO));
        let source = LateKeys(CountedKeys::new(), Arc::clone(&late));
        let handler = Handler::default();
        let layer = OssCallbackLayer::new().key_source(source).tickets(tickets);
        let service = layer.layer(handler.clone());
        let request = short_lived(base);
        if ran_before {
            send(service.clone(), request.clone()).await.assert_run(1);
        }
        let before = store.counts();
        advance(Duration::from_millis(98_500)).await;
        *late.lock().unwrap() = Duration::from_secs(3);
        assert_expired(&send(service, request).await);
        assert_eq!(handler.runs(), usize::from(ran_before));
        assert_eq!(store.counts(), before, "the store was asked");
    }
}

/// Responds with 200 at once. The body takes 20 ms, and panics at its end if so chosen.
#[derive(Clone, Default)]
struct Streams(Handler, bool);

struct Late(Pin<Box<Sleep>>, bool, bool);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.1 {
            return Poll::Ready(None);
        }
        ready!(self.0.as_mut().poll(cx));
        assert!(!self.2, "on purpose");
        self.1 = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{}")))))
    }
}

impl<B> Service<Request<RequestBody<B>>> for Streams {
    type Response = Response<Late>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        self.0.run();
        let body = Late(Box::pin(sleep(Duration::from_millis(20))), false, self.1);
        ready(Ok(Response::new(body)))
    }
}

#[tokio::test(start_paused = true)]
async fn rp_26_a_client_that_leaves_while_a_success_is_collected_does_not_undo_it() {
    for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
        let store = CountedStore::default();
        let tickets = Tickets::new(keys(), store.clone()).on_failure(on_failure);
        let handler = Streams::default();
        let service = layer(&tickets).layer(handler.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let first = tokio::spawn(send(service.clone(), request.clone()));
        sleep(Duration::from_millis(10)).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(store.counts(), [1, 1, 0, 0]);
        for _ in 0..3 {
            let again = send(service.clone(), request.clone()).await;
            assert_eq!((again.status.as_u16(), again.kind()), (503, None));
            assert!(again.body.starts_with(br#"{"code":"UnusableAnswer""#));
        }
        assert_eq!(handler.0.runs(), 1);
        // A client that stays gets the response.
        let request = signed(form("b.png", &mint(&exact("b.png"))));
        for _ in 0..2 {
            assert_eq!(send(service.clone(), request.clone()).await.body, "{}");
        }
        assert_eq!(handler.0.runs(), 2);
    }
}

/// A body that fails is a failure of the handler, also after it was pending.
#[tokio::test(start_paused = true)]
async fn rp_26_a_body_that_panics_late_frees_the_ticket() {
    let store = CountedStore::default();
    let handler = Streams(Handler::default(), true);
    let service = layer(&Tickets::new(keys(), store.clone())).layer(handler);
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let first = tokio::spawn(send(service, request)).await;
    assert!(first.unwrap_err().is_panic());
    assert_eq!(store.counts(), [1, 0, 1, 0]);
}

/// A store that is down: `begin` times out or succeeds, and all else takes a second and fails.
#[derive(Clone, Default)]
struct Down {
    begins: Arc<AtomicBool>,
    hangs: bool,
    abandoned: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
}

impl Down {
    fn fails(&self) -> Lookup<(), StoreError> {
        let hangs = self.hangs;
        Lookup::pending(async move {
            sleep(Duration::from_secs(1)).await;
            if hangs {
                std::future::pending::<()>().await;
            }
            Err(StoreErrorKind::TimedOut.into())
        })
    }
}

impl ReplayStore for Down {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::Ready(if self.begins.load(Ordering::SeqCst) {
            Ok(Begin::Fresh(Lease::new(attempt)))
        } else {
            Err(StoreErrorKind::TimedOut.into())
        })
    }

    fn start(&self, _: &Lease) -> Lookup<(), StoreError> {
        self.fails()
    }

    fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        self.fails()
    }

    fn fail(&self, _: &Lease) -> Lookup<(), StoreError> {
        self.fails()
    }

    fn abandon(&self, _: &Lease) -> Lookup<(), StoreError> {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
        self.fails()
    }
}

fn tasks() -> usize {
    runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn rp_27_replays_to_a_store_that_is_down_start_few_tasks_and_calls() {
    for hangs in [false, true] {
        let store = Down {
            hangs,
            ..Down::default()
        };
        let tickets = Tickets::new(keys(), store.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let before = tasks();
        // Clones of the configuration share the limit, whatever is changed in them.
        for tickets in [tickets.clone(), tickets.max_attempts(2)] {
            let service = layer(&tickets).layer(Handler::default());
            for _ in 0..2000 {
                let outcome = send(service.clone(), request.clone()).await;
                outcome.assert_refused(503, CallbackErrorKind::StoreUnavailable);
            }
        }
        assert_eq!(tasks() - before, 1024);
        assert_eq!(store.abandoned.load(Ordering::SeqCst), 1024);
        // Each is tried at most once more. After the lease, nothing is left.
        sleep(Attempt::DEFAULT_LEASE + Duration::from_secs(1)).await;
        assert_eq!(tasks(), before);
        let tries = if hangs { 1024 } else { 2048 };
        assert_eq!(store.abandoned.load(Ordering::SeqCst), tries);
        // The limit is free again.
        let tickets = Tickets::new(keys(), store.clone());
        send(layer(&tickets).layer(Handler::default()), request).await;
        assert_eq!(store.abandoned.load(Ordering::SeqCst), tries + 1);
        sleep(HOUR).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rp_27_replays_do_not_displace_the_answers_of_handlers() {
    let store = Down::default();
    let tickets = Tickets::new(keys(), store.clone());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    for _ in 0..1100 {
        let service = layer(&tickets).layer(Handler::default());
        send(service, request.clone()).await;
    }
    assert_eq!(tasks(), 1024);
    // For two responses the store comes back for `begin` alone, and takes neither.
    store.begins.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let service = layer(&tickets).layer(Handler::default());
        let outcome = send(service, request.clone()).await;
        outcome.assert_refused(503, CallbackErrorKind::StoreUnavailable);
    }
    assert!(store.finished.load(Ordering::SeqCst) >= 2);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(tasks(), 2);
    assert!(store.finished.load(Ordering::SeqCst) > 10);
    // Given up after ten minutes.
    sleep(Duration::from_secs(10 * 60)).await;
    assert_eq!(tasks(), 0);
}

#[test]
fn rp_28_a_store_that_works_and_refuses_does_not_run_the_handler() {
    // No room for replies: the store knows that the handler has run.
    let store = MemoryStore::with_capacity(10, 0);
    let tickets = Tickets::new(keys(), store).dangerous_run_when_store_fails();
    let handler = Handler::default();
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let send = || {
        now(send(
            layer(&tickets).layer(handler.clone()),
            request.clone(),
        ))
    };
    send().assert_run(1);
    for _ in 0..5 {
        send().assert_refused(503, CallbackErrorKind::StoreUnavailable);
    }
    assert_eq!(handler.runs(), 1);
}

/// Fails each `begin`, or each `finish`, with one kind of error.
struct FailsWith(StoreErrorKind, bool, MemoryStore);

impl ReplayStore for FailsWith {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        if self.1 {
            return self.2.begin(attempt);
        }
        Lookup::Ready(Err(self.0.into()))
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.2.start(lease)
    }

    fn finish(&self, _: &Lease, _: &StoredReply) -> Lookup<(), StoreError> {
        Lookup::Ready(Err(self.0.into()))
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.2.fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.2.abandon(lease)
    }
}

#[test]
fn rp_28_only_a_store_out_of_reach_runs_the_handler() {
    use StoreErrorKind as E;
    let out_of_reach = [
        E::Unavailable,
        E::TimedOut,
        E::Tls,
        E::Denied,
        E::Loading,
        E::ReadOnly,
        E::Moved,
    ];
    let others = [
        E::Full,
        E::LeaseLost,
        E::ReplyNotKept,
        E::ReplyTooLong,
        E::Unreadable,
        E::Url,
        E::Refused,
    ];
    for (kinds, runs) in [(out_of_reach, true), (others, false)] {
        for (kind, at_finish) in kinds
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)])
        {
            let store = FailsWith(kind, at_finish, MemoryStore::new());
            let tickets = Tickets::new(keys(), store).dangerous_run_when_store_fails();
            let handler = Handler::default();
            let request = signed(form("a.png", &mint(&exact("a.png"))));
            let outcome = now(send(layer(&tickets).layer(handler.clone()), request));
            if runs {
                outcome.assert_run(1);
            } else {
                outcome.assert_refused(503, CallbackErrorKind::StoreUnavailable);
            }
            assert_eq!(handler.runs() == 1, runs || at_finish, "{kind:?}");
        }
    }
}
