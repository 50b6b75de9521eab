//! Failing handlers, clients and stores.

use std::{io, pin::Pin};

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
            assert_eq!((handler.runs(), store.counts()), (2, [2, 1, 1]));
        } else {
            // The stored response of the first run, or a rejection if there is none.
            assert_eq!(again, first.unwrap_or(refused), "{fault:?}");
            assert_eq!((handler.runs(), store.counts()), (1, [2, 1, 0]));
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
        assert_eq!((inner.handler.runs(), store.counts()), (1, [1, 0, 0]));
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

/// A process that dies does not release its lease. A future that is never dropped simulates it.
#[tokio::test(start_paused = true)]
async fn rp_05_a_crash_frees_the_ticket_when_its_lease_ends_or_never() {
    for on_failure in BOTH {
        let tickets = Tickets::in_memory(keys())
            .on_failure(on_failure)
            .lease(Duration::from_secs(3));
        let inner = Gated::default();
        let service = layer(&tickets).layer(inner.clone());
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let _never = inner.gate();
        let crashed = tokio::spawn(send(service.clone(), request.clone()));
        tokio::task::yield_now().await;
        let again = send(service.clone(), request.clone()).await;
        if on_failure == OnFailure::Retry {
            again.assert_run(2);
            send(service, request).await.assert_run(2);
        } else {
            again.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
            tokio::time::advance(HOUR).await;
            let much_later = send(service, request).await;
            much_later.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
            assert_eq!(inner.handler.runs(), 1);
        }
        crashed.abort();
    }
}

/// The first request outlives its lease, and a second one runs: only one of the two may report
/// success.
#[tokio::test(start_paused = true)]
async fn rp_05_who_has_lost_the_lease_is_no_success() {
    let tickets = Tickets::in_memory(keys()).lease(Duration::from_secs(1));
    let inner = Gated::default();
    let service = layer(&tickets).layer(inner.clone());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let open = inner.gate();
    let slow = tokio::spawn(send(service.clone(), request.clone()));
    tokio::task::yield_now().await;
    send(service.clone(), request.clone()).await.assert_run(2);
    open.send(()).unwrap();
    slow.await
        .unwrap()
        .assert_refused(503, CallbackErrorKind::StoreUnavailable);
    send(service, request).await.assert_run(2);
}

type Answer<T> = Box<dyn Fn(Lookup<T, StoreError>) -> Lookup<T, StoreError> + Send + Sync>;

/// A store whose responses the test modifies.
struct Meddled {
    store: CountedStore,
    begin: Answer<Begin>,
    finish: Answer<()>,
}

impl Meddled {
    fn new(store: &CountedStore) -> Self {
        Self {
            store: store.clone(),
            begin: Box::new(|answer| answer),
            finish: Box::new(|answer| answer),
        }
    }
}

impl ReplayStore for Meddled {
    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        (self.begin)(self.store.begin(attempt))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        (self.finish)(self.store.finish(lease, reply))
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
        assert_eq!((handler.runs(), store.counts()), (1, [2, 1, 0]));
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
        while store.counts() == [0; 3] {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        told.notify_one();
        while store.counts() != [1, 0, 1] {
            tokio::task::yield_now().await;
        }
        let late = send(service.clone(), request.clone()).await;
        late.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
        told.notify_one();
        while store.counts() != [2, 0, 2] {
            tokio::task::yield_now().await;
        }
        assert_eq!(handler.runs(), 0);
        told.notify_one();
        send(service, request).await.assert_run(1);
    }
}

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
    assert_eq!(store.counts(), [1, 0, 0]);
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
    assert_eq!(log.count("WARN", ""), 0);
}
