//! Failing handlers, clients and stores.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

use http_body::{Body, Frame};
use tokio::sync::Notify;
use tower_aliyun_oss::ticket::{OnFailure, store::StoreErrorKind};

use super::{once::Gated, *};

const BOTH: [OnFailure; 2] = [OnFailure::Retry, OnFailure::AtMostOnce];

/// How the first run fails. All later runs succeed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Status(u16),
    Error,
    Panic,
    PanicInBody,
    TooLarge,
    Breaks,
    LongContentType,
}

const FAULTS: [Fault; 8] = [
    Fault::Status(500),
    Fault::Status(302),
    Fault::Error,
    Fault::Panic,
    Fault::PanicInBody,
    Fault::TooLarge,
    Fault::Breaks,
    Fault::LongContentType,
];

#[derive(Clone)]
struct Faulty {
    fault: Fault,
    handler: Handler,
}

impl<B> Service<Request<RequestBody<B>>> for Faulty {
    type Response = Response<Pieces>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        let answer = self.handler.run();
        let mut answer = answer.map(|body| Pieces {
            piece: now(body.collect()).unwrap().to_bytes(),
            left: 1,
            then: Fault::Status(200),
        });
        if self.handler.runs() > 1 {
            return ready(Ok(answer));
        }
        answer.body_mut().then = self.fault;
        match self.fault {
            Fault::Status(status) => *answer.status_mut() = StatusCode::from_u16(status).unwrap(),
            Fault::Error => return ready(Err(io::ErrorKind::Other.into())),
            Fault::Panic => panic!("on purpose"),
            Fault::TooLarge => answer.body_mut().left = 200_000,
            Fault::LongContentType => {
                let long = "x".repeat(StoredReply::MAX_CONTENT_TYPE_LEN + 1);
                answer
                    .headers_mut()
                    .insert("content-type", long.parse().unwrap());
            }
            Fault::PanicInBody | Fault::Breaks => {}
        }
        ready(Ok(answer))
    }
}

/// A response body in pieces, which may fail before its end.
struct Pieces {
    piece: Bytes,
    left: usize,
    then: Fault,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match (self.left, self.then) {
            (0, Fault::Breaks) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            (0, Fault::PanicInBody) => panic!("on purpose"),
            (0, _) => Poll::Ready(None),
            _ => {
                self.left -= 1;
                Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
            }
        }
    }
}

/// Returns the response, or `None` if the inner service fails or panics.
async fn attempt<S, R>(service: S, request: &Request<Full<Bytes>>) -> Option<(u16, Bytes)>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: std::fmt::Debug,
{
    let request = request.clone();
    let answer = tokio::spawn(async move { service.oneshot(request).await.ok() });
    let (parts, body) = answer.await.ok()??.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Some((parts.status.as_u16(), body))
}

#[tokio::test(start_paused = true)]
async fn rp_05_a_handler_that_fails_runs_again_or_not_as_chosen() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let on_purpose = info.payload().downcast_ref::<&str>() == Some(&"on purpose");
        if !on_purpose {
            silent(info);
        }
    }));
    for (fault, on_failure) in FAULTS
        .into_iter()
        .flat_map(|fault| BOTH.map(|how| (fault, how)))
    {
        let store = CountedStore::default();
        let tickets = Tickets::new(keys(), store.clone()).on_failure(on_failure);
        let handler = Handler::default();
        let service = layer(&tickets).layer(Faulty {
            fault,
            handler: handler.clone(),
        });
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let first = attempt(service.clone(), &request).await;
        let refused = (
            503,
            Bytes::from_static(
                br#"{"code":"UnusableAnswer","message":"the callback was not answered"}"#,
            ),
        );
        match fault {
            Fault::Status(status) => assert_eq!(first, Some((status, Bytes::from(r#"{"run":1}"#)))),
            Fault::Error | Fault::Panic | Fault::PanicInBody => assert_eq!(first, None),
            Fault::TooLarge | Fault::Breaks | Fault::LongContentType => {
                assert_eq!(first, Some(refused.clone()));
            }
        }
        let again = attempt(service.clone(), &request).await.unwrap();
        if on_failure == OnFailure::Retry {
            assert_eq!(again, (200, Bytes::from(r#"{"run":2}"#)), "{fault:?}");
            assert_eq!((handler.runs(), store.counts()), (2, [2, 1, 1, 0]));
        } else {
            // The stored response of the first run, or a rejection if there is none.
            assert_eq!(again, first.unwrap_or(refused), "{fault:?}");
            assert_eq!((handler.runs(), store.counts()), (1, [2, 1, 0, 0]));
        }
        assert_eq!(attempt(service, &request).await.unwrap(), again);
    }
}

#[tokio::test(start_paused = true)]
async fn rp_05_a_client_that_leaves_frees_the_ticket_or_uses_it_up() {
    for on_failure in BOTH {
        let store = CountedStore::default();
        let tickets = Tickets::new(keys(), store.clone()).on_failure(on_failure);
        let inner = Gated::default();
        let service = layer(&tickets).layer(inner.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let _never = inner.gate();
        let first = tokio::spawn(send(service.clone(), request.clone()));
        tokio::task::yield_now().await;
        assert_eq!((inner.handler.runs(), store.counts()), (1, [1, 0, 0, 0]));
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let again = send(service, request).await;
        if on_failure == OnFailure::Retry {
            again.assert_run(2);
        } else {
            assert_eq!(again.status, 503);
            assert_eq!(inner.handler.runs(), 1);
        }
    }
}

/// The lease is for a process that dies. A handler of this process keeps its text however long it
/// takes.
#[tokio::test(start_paused = true)]
async fn rp_05_a_handler_that_outlives_its_lease_runs_once() {
    for on_failure in BOTH {
        let tickets = Tickets::in_memory(keys())
            .on_failure(on_failure)
            .lease(Duration::from_secs(1));
        let inner = Gated::default();
        let service = layer(&tickets).layer(inner.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let open = inner.gate();
        let slow = tokio::spawn(send(service.clone(), request.clone()));
        tokio::task::yield_now().await;
        for _ in 0..3 {
            let again = send(service.clone(), request.clone()).await;
            again.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
            tokio::time::advance(HOUR / 12).await;
        }
        open.send(()).unwrap();
        slow.await.unwrap().assert_run(1);
        send(service, request).await.assert_run(1);
        assert_eq!(inner.handler.runs(), 1);
    }
}

/// Another instance has taken over, because this one lost the store for longer than its lease.
#[tokio::test(start_paused = true)]
async fn rp_05_who_has_lost_the_lease_is_no_success() {
    let store = CountedStore::default();
    let meddled = Meddled {
        finish: Box::new(|_| Lookup::Ready(Err(StoreErrorKind::LeaseLost.into()))),
        ..Meddled::new(&store)
    };
    let handler = Handler::default();
    let service = layer(&Tickets::new(keys(), meddled)).layer(handler.clone());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let lost = send(service, request).await;
    lost.assert_refused(503, CallbackErrorKind::StoreUnavailable);
    // What another holds is neither freed nor offered again.
    tokio::time::sleep(HOUR).await;
    assert_eq!((handler.runs(), store.counts()), (1, [1, 1, 0, 0]));
}

/// Answers 500, and counts.
#[derive(Clone, Default)]
struct Fails(Handler);

impl<B> Service<Request<RequestBody<B>>> for Fails {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        let mut answer = self.0.run();
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        ready(Ok(answer))
    }
}

#[test]
fn rp_21_a_handler_that_always_fails_runs_so_many_times_per_use() {
    let log = crate::support::Log::default();
    let _listening = log.listen();
    let line = "as often as Tickets::max_attempts allows";
    let default = Tickets::in_memory(keys());
    let twice = Tickets::in_memory(keys()).max_attempts(2);
    let prefix = Scope::Prefix {
        prefix: "user/7/".parse().unwrap(),
        max_uses: 3.try_into().unwrap(),
    };
    let three = terms_at(TARGET, prefix, SystemTime::now() + HOUR);
    for (lines, tickets, terms, expected) in [
        (1, &default, exact("user/7/0.png"), 5),
        (2, &twice, exact("user/7/0.png"), 2),
        (3, &twice, three, 6),
    ] {
        let inner = Fails::default();
        let ticket = mint(&terms);
        let objects = if expected == 6 { 10 } else { 1 };
        for n in 0..2000 {
            let object = format!("user/7/{}.png", n % objects);
            let request = signed(form(&object, &ticket));
            let outcome = now(send(layer(tickets).layer(inner.clone()), request));
            if n < expected {
                assert_eq!((outcome.status.as_u16(), outcome.kind()), (500, None));
            } else {
                outcome.assert_refused(503, CallbackErrorKind::TooManyAttempts);
            }
        }
        assert_eq!(inner.0.runs(), expected);
        assert_eq!(log.count("WARN", line), lines);
        // Another ticket is not affected.
        let handler = Handler::default();
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        now(send(layer(tickets).layer(handler), request)).assert_run(1);
    }
}

/// What is refused before the handler is called counts for nothing, and what was answered is
/// answered for ever.
#[tokio::test(start_paused = true)]
async fn rp_21_only_calls_of_the_handler_count() {
    let store = CountedStore::default();
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let lost = Meddled {
        begin: Box::new(|_| Lookup::Ready(Err(StoreErrorKind::TimedOut.into()))),
        ..Meddled::new(&store)
    };
    let lost = Tickets::new(keys(), lost).max_attempts(1);
    for _ in 0..20 {
        let outcome = send(layer(&lost).layer(Fails::default()), request.clone()).await;
        outcome.assert_refused(503, CallbackErrorKind::StoreUnavailable);
    }
    let tickets = Tickets::new(keys(), store).max_attempts(1);
    let handler = Handler::default();
    for _ in 0..20 {
        let service = layer(&tickets).layer(handler.clone());
        send(service, request.clone()).await.assert_run(1);
    }
}

type Answer<T> = Box<dyn Fn(Lookup<T, StoreError>) -> Lookup<T, StoreError> + Send + Sync>;

/// A store whose responses the test modifies.
struct Meddled {
    store: CountedStore,
    begin: Answer<Begin>,
    start: Answer<()>,
    finish: Answer<()>,
}

impl Meddled {
    fn new(store: &CountedStore) -> Self {
        Self {
            store: store.clone(),
            begin: Box::new(|answer| answer),
            start: Box::new(|answer| answer),
            finish: Box::new(|answer| answer),
        }
    }
}

impl ReplayStore for Meddled {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        (self.begin)(self.store.begin(attempt))
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        (self.start)(self.store.start(lease))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        (self.finish)(self.store.finish(lease, reply))
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.abandon(lease)
    }
}

fn fails<T>() -> Answer<T> {
    Box::new(|_| Lookup::Ready(Err(StoreErrorKind::Unavailable.into())))
}

fn fails_later<T>() -> Answer<T> {
    Box::new(|_| {
        Lookup::Pending(Box::pin(async {
            tokio::task::yield_now().await;
            Err(StoreErrorKind::TimedOut.into())
        }))
    })
}

fn hangs<T: Send + 'static>() -> Answer<T> {
    Box::new(|_| Lookup::Pending(Box::pin(std::future::pending())))
}

/// Delays the response until `told` is notified.
fn waits<T: Send + 'static>(told: &Arc<Notify>) -> Answer<T> {
    let told = Arc::clone(told);
    Box::new(move |answer| {
        let told = Arc::clone(&told);
        Lookup::Pending(Box::pin(async move {
            told.notified().await;
            answer.await
        }))
    })
}

#[tokio::test(start_paused = true)]
async fn rp_06_a_store_that_is_down_is_503() {
    let kind = CallbackErrorKind::StoreUnavailable;
    let too_late = CallbackErrorKind::DeadlineExceeded;
    let request = || signed(form("a.png", &mint(&exact("a.png"))));
    for (begin, expected) in [(fails(), kind), (fails_later(), kind), (hangs(), too_late)] {
        let handler = Handler::default();
        let store = Meddled {
            begin,
            ..Meddled::new(&CountedStore::default())
        };
        let service = layer(&Tickets::new(keys(), store)).layer(handler.clone());
        let outcome = send(service, request()).await;
        outcome.assert_refused(503, expected);
        assert_eq!(handler.runs(), 0);
        if expected == kind {
            let source = std::error::Error::source(outcome.error.as_ref().unwrap()).unwrap();
            assert!(source.is::<StoreError>());
        }
    }
    // If `finish` fails after the handler ran, the result may not be stored, so it is no success.
    for (finish, expected) in [(fails(), kind), (fails_later(), kind), (hangs(), too_late)] {
        let handler = Handler::default();
        let store = Meddled {
            finish,
            ..Meddled::new(&CountedStore::default())
        };
        let service = layer(&Tickets::new(keys(), store)).layer(handler.clone());
        send(service, request()).await.assert_refused(503, expected);
        assert_eq!(handler.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rp_06_dangerous_run_when_store_fails_does() {
    let handler = Handler::default();
    let store = Meddled {
        begin: fails(),
        ..Meddled::new(&CountedStore::default())
    };
    let tickets = Tickets::new(keys(), store).dangerous_run_when_store_fails();
    let service = layer(&tickets).layer(handler.clone());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    for run in 1..=3 {
        send(service.clone(), request.clone()).await.assert_run(run);
    }
    let store = Meddled {
        finish: fails_later(),
        ..Meddled::new(&CountedStore::default())
    };
    let tickets = Tickets::new(keys(), store).dangerous_run_when_store_fails();
    send(layer(&tickets).layer(handler), request)
        .await
        .assert_run(4);
    // A ticket is still required.
    let outcome = send(layer(&tickets).layer(Handler::default()), signed("a=b")).await;
    outcome.assert_refused(403, CallbackErrorKind::TicketMissing);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_answer_is_kept_does_not_undo_it() {
    for on_failure in BOTH {
        let (store, told) = (CountedStore::default(), Arc::new(Notify::new()));
        let meddled = Meddled {
            finish: waits(&told),
            ..Meddled::new(&store)
        };
        let tickets = Tickets::new(keys(), meddled).on_failure(on_failure);
        let handler = Handler::default();
        let service = layer(&tickets).layer(handler.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let first = tokio::spawn(send(service.clone(), request.clone()));
        while handler.runs() == 0 {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        told.notify_one();
        send(service, request).await.assert_run(1);
        assert_eq!((handler.runs(), store.counts()), (1, [2, 1, 0, 0]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_after_the_client_has_left_is_given_back() {
    for on_failure in BOTH {
        let (store, told) = (CountedStore::default(), Arc::new(Notify::new()));
        let meddled = Meddled {
            begin: waits(&told),
            ..Meddled::new(&store)
        };
        let tickets = Tickets::new(keys(), meddled).on_failure(on_failure);
        let handler = Handler::default();
        let service = layer(&tickets).layer(handler.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        // One client disconnects, and another request exceeds the deadline.
        let first = tokio::spawn(send(service.clone(), request.clone()));
        while store.counts() == [0; 4] {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        // Without waiting for the answer, which may never come.
        while store.counts() != [1, 0, 0, 1] {
            tokio::task::yield_now().await;
        }
        let late = send(service.clone(), request.clone()).await;
        late.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
        while store.counts() != [2, 0, 0, 2] {
            tokio::task::yield_now().await;
        }
        assert_eq!(handler.runs(), 0);
        told.notify_one();
        send(service, request).await.assert_run(1);
    }
}

/// A store that stalls: what it is asked arrives, now or later, and nobody learns the answer.
struct Stalled {
    store: CountedStore,
    /// When it is told, a `begin` arrives that was under way.
    arrives: Option<Arc<Notify>>,
    /// Only the first `begin` stalls.
    done: Arc<AtomicBool>,
}

impl ReplayStore for Stalled {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        if self.done.swap(true, Ordering::SeqCst) {
            return self.store.begin(attempt);
        }
        match self.arrives.clone() {
            None => drop(self.store.begin(attempt)),
            Some(arrives) => {
                let (store, attempt) = (self.store.clone(), attempt.clone());
                tokio::spawn(async move {
                    arrives.notified().await;
                    drop(store.begin(&attempt));
                });
            }
        }
        Lookup::pending(std::future::pending())
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.start(lease)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        self.store.finish(lease, reply)
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.abandon(lease)
    }
}

#[tokio::test(start_paused = true)]
async fn rp_22_a_claim_nobody_learnt_of_blocks_nothing() {
    for on_failure in BOTH {
        for late in [false, true] {
            let (store, told) = (CountedStore::default(), Arc::new(Notify::new()));
            let stalled = Stalled {
                store: store.clone(),
                arrives: late.then(|| Arc::clone(&told)),
                done: Arc::default(),
            };
            let tickets = Tickets::new(keys(), stalled).on_failure(on_failure);
            let handler = Handler::default();
            let service = layer(&tickets).layer(handler.clone());
            let request = signed(form("a.png", &mint(&exact("a.png"))));
            let outcome = send(service.clone(), request.clone()).await;
            outcome.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
            if late {
                // The order is turned round: the claim is abandoned before it begins.
                assert_eq!(store.counts(), [0, 0, 0, 1]);
                told.notify_one();
                while store.counts() != [1, 0, 0, 1] {
                    tokio::task::yield_now().await;
                }
            } else {
                assert_eq!(store.counts(), [1, 0, 0, 1]);
            }
            send(service, request).await.assert_run(1);
        }
    }
}

/// At most once costs a second step. What goes wrong before the handler is called uses nothing up.
#[tokio::test(start_paused = true)]
async fn rp_22_at_most_once_starts_immediately_before_the_handler() {
    let too_late = CallbackErrorKind::DeadlineExceeded;
    let kind = CallbackErrorKind::StoreUnavailable;
    for (start, expected) in [(fails(), kind), (fails_later(), kind), (hangs(), too_late)] {
        let store = CountedStore::default();
        let meddled = Meddled {
            start,
            ..Meddled::new(&store)
        };
        let tickets = Tickets::new(keys(), meddled).on_failure(OnFailure::AtMostOnce);
        let handler = Handler::default();
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let outcome = send(layer(&tickets).layer(handler.clone()), request.clone()).await;
        outcome.assert_refused(503, expected);
        // It was done nevertheless, and is undone.
        assert_eq!((handler.runs(), store.counts()), (0, [1, 0, 0, 1]));
        let tickets = Tickets::new(keys(), store.clone()).on_failure(OnFailure::AtMostOnce);
        let inner = Gated::default();
        let _never = inner.gate();
        let service = layer(&tickets).layer(inner.clone());
        let left = tokio::spawn(send(service.clone(), request.clone()));
        tokio::task::yield_now().await;
        assert_eq!(
            (inner.handler.runs(), store.started.load(Ordering::SeqCst)),
            (1, 2)
        );
        left.abort();
        assert!(left.await.unwrap_err().is_cancelled());
        // It was called, so it is used up.
        let again = send(service, request).await;
        assert_eq!((again.status.as_u16(), again.kind()), (503, None));
        assert_eq!(inner.handler.runs(), 1);
    }
    // The other choice has no second step.
    let store = CountedStore::default();
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let service = layer(&Tickets::new(keys(), store.clone())).layer(Handler::default());
    send(service, request).await.assert_run(1);
    assert_eq!(store.started.load(Ordering::SeqCst), 0);
}

/// The handler has run. Its answer is offered until the store takes it, so that nothing runs again.
#[tokio::test(start_paused = true)]
async fn rp_22_an_answer_is_offered_until_the_store_takes_it() {
    for on_failure in BOTH {
        for begins_with in [fails::<()>, fails_later::<()>] {
            let store = CountedStore::default();
            let down = Arc::new(AtomicBool::new(true));
            let refusing = Refusing {
                store: store.clone(),
                down: Arc::clone(&down),
                fails: begins_with(),
            };
            let tickets = Tickets::new(keys(), refusing).on_failure(on_failure);
            let handler = Handler::default();
            let service = layer(&tickets).layer(handler.clone());
            let request = signed(form("a.png", &mint(&exact("a.png"))));
            let outcome = send(service.clone(), request.clone()).await;
            assert_eq!((outcome.status.as_u16(), handler.runs()), (503, 1));
            // Longer than a lease.
            tokio::time::sleep(Duration::from_secs(60)).await;
            down.store(false, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(6)).await;
            send(service, request).await.assert_run(1);
            assert_eq!((handler.runs(), store.counts()), (1, [2, 1, 0, 0]));
        }
    }
}

/// A store that takes no answers while it is down.
struct Refusing {
    store: CountedStore,
    down: Arc<AtomicBool>,
    fails: Answer<()>,
}

impl ReplayStore for Refusing {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        self.store.begin(attempt)
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.start(lease)
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return (self.fails)(Lookup::Ready(Ok(())));
        }
        self.store.finish(lease, reply)
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.fail(lease)
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        self.store.abandon(lease)
    }
}

/// Without a runtime nothing can go on after a future is dropped. What needs no waiting is done.
/// Without a runtime, no task can clean up after a dropped future; only the end of the lease frees
/// the ticket.
#[test]
fn dropped_outside_of_a_runtime() {
    let (store, told) = (CountedStore::default(), Arc::new(Notify::new()));
    let meddled = Meddled {
        begin: waits(&told),
        ..Meddled::new(&store)
    };
    let service = layer(&Tickets::new(keys(), meddled)).layer(Handler::default());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut future = Box::pin(send(service, request));
    runtime.block_on(async {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
    });
    drop(future);
    assert_eq!(store.counts(), [1, 0, 0, 1]);
}

#[test]
fn the_log_says_once_loudly_that_the_store_fails_and_never_what_is_secret() {
    let log = crate::support::Log::default();
    let _listening = log.listen();
    let store = Meddled {
        begin: fails(),
        ..Meddled::new(&CountedStore::default())
    };
    let tickets = Tickets::new(keys(), store);
    let service = layer(&tickets).layer(Handler::default());
    let ticket = mint(&exact("a.png").claims("canary").unwrap());
    for _ in 0..3 {
        let outcome = now(send(service.clone(), signed(form("a.png", &ticket))));
        outcome.assert_refused(503, CallbackErrorKind::StoreUnavailable);
    }
    assert_eq!(log.count("WARN", "the store of used tickets fails"), 1);
    assert_eq!(
        log.count("DEBUG", "the store of used tickets is not available"),
        2
    );
    let forged = ticket.replace(['A', 'b'], "_");
    now(send(service, signed(form("a.png", &forged))));
    assert_eq!(
        log.count("DEBUG", "the ticket is not valid for this callback"),
        1
    );
    for secret in [&*ticket, &forged, "canary", "a.png", "FEFE"] {
        assert_eq!(log.count("", secret), 0, "{secret}");
        assert!(!format!("{tickets:?}").contains(secret));
    }
}

/// OSS rejects a response without a length. With tickets, the stored response has one.
#[test]
fn an_answer_in_pieces_is_given_whole() {
    let log = crate::support::Log::default();
    let _listening = log.listen();
    let inner = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        let pieces = Pieces {
            piece: Bytes::from_static(b"[1]"),
            left: 50,
            then: Fault::Status(200),
        };
        ready(Ok::<_, Infallible>(Response::new(pieces)))
    });
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let response = now(layer(&Tickets::in_memory(keys()))
        .layer(inner)
        .oneshot(request))
    .unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(150));
    // The pieces together are not JSON.
    assert_eq!(log.count("WARN", "neither JSON nor XML"), 1);
    assert_eq!(log.count("WARN", ""), 1);
}
