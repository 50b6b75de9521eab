//! Each ticket is accepted as often as it permits.

use std::{num::NonZeroU16, sync::Mutex};

use tokio::sync::oneshot;
use tower_aliyun_oss::ticket::OnFailure;

use super::*;

/// An inner service that responds when the test permits it.
#[derive(Clone, Default)]
pub(super) struct Gated {
    pub(super) handler: Handler,
    gates: Arc<Mutex<Vec<oneshot::Receiver<()>>>>,
}

impl Gated {
    /// The next run waits until the sender is used or dropped.
    pub(super) fn gate(&self) -> oneshot::Sender<()> {
        let (open, gate) = oneshot::channel();
        self.gates.lock().unwrap().push(gate);
        open
    }
}

impl<B> Service<Request<RequestBody<B>>> for Gated {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        let gate = self.gates.lock().unwrap().pop();
        let answer = self.handler.run();
        Box::pin(async move {
            if let Some(gate) = gate {
                drop(gate.await);
            }
            Ok(answer)
        })
    }
}

#[test]
fn rp_04_sg_42_a_replay_never_runs_the_handler_twice() {
    let tickets = Tickets::in_memory(keys());
    let handler = Handler::default();
    // Clones of `Tickets` share the store.
    for layer in [layer(&tickets), layer(&tickets.clone())] {
        let body = form("a.png", &mint(&exact("a.png")));
        let before = handler.runs();
        for _ in 0..5 {
            now(send(layer.layer(handler.clone()), signed(body.clone()))).assert_run(before + 1);
        }
        assert_eq!(handler.runs(), before + 1);
        // Without tickets, the replay runs again.
        let request = signed(body);
        now(send(by_signature_alone().layer(handler.clone()), request)).assert_run(before + 2);
    }
}

#[test]
fn rp_04_another_text_under_a_used_ticket() {
    let tickets = Tickets::in_memory(keys());
    let handler = Handler::default();
    let ticket = mint(&exact("a.png"));
    let body = form("a.png", &ticket);
    let send = |body: String| now(send(layer(&tickets).layer(handler.clone()), signed(body)));
    send(body.clone()).assert_run(1);
    // A second upload gives another size, request id or ETag.
    for (from, to) in [
        ("size=5", "size=6"),
        ("reqId=5CF3", "reqId=5CF4"),
        ("etag=D", "etag=E"),
    ] {
        send(body.replace(from, to)).assert_refused(403, CallbackErrorKind::TicketUsed);
    }
    send(body).assert_run(1);
    assert_eq!(handler.runs(), 1);
}

#[test]
fn rp_04_a_prefix_ticket_for_three_files_runs_three_times() {
    let tickets = Tickets::in_memory(keys());
    let handler = Handler::default();
    let max_uses = NonZeroU16::new(3).unwrap();
    let prefix = "user/7/".parse().unwrap();
    let grant = Scope::Prefix { prefix, max_uses };
    let ticket = mint(&terms_at(TARGET, grant, SystemTime::now() + HOUR));
    let send = |object: &str| {
        let body = form(object, &ticket);
        now(send(layer(&tickets).layer(handler.clone()), signed(body)))
    };
    for _ in 0..3 {
        for (run, object) in (1..).zip(["user/7/a.png", "user/7/b.png", "user/7/c/d.png"]) {
            send(object).assert_run(run);
        }
    }
    assert_eq!(handler.runs(), 3);
    send("user/7/e.png").assert_refused(403, CallbackErrorKind::TicketUsed);
    send("user/8/a.png").assert_refused(403, CallbackErrorKind::OutsideGrant);
    assert_eq!(handler.runs(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_one_layer() {
    assert_eq!(
        a_thousand_at_once(&[layer(&Tickets::in_memory(keys()))]).await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_three_layers() {
    let store = Arc::new(MemoryStore::new());
    let layers = [(); 3].map(|()| layer(&Tickets::new(keys(), Arc::clone(&store))));
    assert_eq!(a_thousand_at_once(&layers).await, 1);
}

#[tokio::test(start_paused = true)]
async fn rp_04_who_comes_while_the_first_runs_waits_for_its_answer() {
    for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
        let tickets = Tickets::in_memory(keys()).on_failure(on_failure);
        let inner = Gated::default();
        let request = signed(form("a.png", &mint(&exact("a.png"))));
        let open = inner.gate();
        let service = layer(&tickets).layer(inner.clone());
        let first = tokio::spawn(send(service.clone(), request.clone()));
        let second = tokio::spawn(send(service.clone(), request.clone()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!first.is_finished() && !second.is_finished());
        open.send(()).unwrap();
        first.await.unwrap().assert_run(1);
        second.await.unwrap().assert_run(1);
        assert_eq!(inner.handler.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rp_04_who_waits_does_so_until_the_deadline() {
    let tickets = Tickets::in_memory(keys());
    let inner = Gated::default();
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let open = inner.gate();
    let service = layer(&tickets).layer(inner.clone());
    let first = tokio::spawn(send(service.clone(), request.clone()));
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    let second = send(service.clone(), request.clone()).await;
    second.assert_refused(503, CallbackErrorKind::DeadlineExceeded);
    let waited = start.elapsed();
    assert!((4000..4010).contains(&waited.as_millis()), "{waited:?}");
    // The time for the body counts too.
    let (parts, body) = request.clone().into_parts();
    let body = SlowBody(
        Box::pin(tokio::time::sleep(Duration::from_secs(2))),
        Some(body),
    );
    let start = tokio::time::Instant::now();
    let third = service
        .clone()
        .oneshot(Request::from_parts(parts, body))
        .await
        .unwrap();
    assert_eq!(third.status(), 503);
    let waited = start.elapsed();
    assert!((4000..4010).contains(&waited.as_millis()), "{waited:?}");
    open.send(()).unwrap();
    first.await.unwrap().assert_run(1);
    send(service, request).await.assert_run(1);
    assert_eq!(inner.handler.runs(), 1);
}

/// A body that arrives in one piece, after a delay.
struct SlowBody(std::pin::Pin<Box<tokio::time::Sleep>>, Option<Full<Bytes>>);

impl http_body::Body for SlowBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        if self.1.is_some() {
            std::task::ready!(self.0.as_mut().poll(cx));
        }
        let body = self.1.take();
        Poll::Ready(body.map(|body| {
            let bytes = now(body.collect()).unwrap().to_bytes();
            Ok(http_body::Frame::data(bytes))
        }))
    }
}

#[test]
fn rp_11_clocks_that_jump_do_not_run_a_handler_twice() {
    let base = SystemTime::now();
    let time = Arc::new(Mutex::new(base));
    let clock = Arc::clone(&time);
    let tickets = Tickets::in_memory(keys()).clock(move || *clock.lock().unwrap());
    let handler = Handler::default();
    let grant = Scope::Exact("a.png".parse().unwrap());
    let terms = terms_at(TARGET, grant, base + 2 * HOUR);
    let body = form("a.png", &mint(&terms));
    let send = || {
        now(send(
            layer(&tickets).layer(handler.clone()),
            signed(body.clone()),
        ))
    };
    send().assert_run(1);
    for jumped in [base + HOUR, base - HOUR, base] {
        *time.lock().unwrap() = jumped;
        send().assert_run(1);
    }
    *time.lock().unwrap() = base + 4 * HOUR;
    assert_eq!(send().why(), Some(TicketError::Expired));
    *time.lock().unwrap() = base;
    send().assert_run(1);
    assert_eq!(handler.runs(), 1);
}

#[test]
fn an_answer_is_given_again_as_it_was() {
    let tickets = Tickets::in_memory(keys());
    let inner = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        let response = Response::builder()
            .status(201)
            .header("content-type", "application/xml; charset=utf-8")
            .header("x-first", "1")
            .body(Full::from("<a/>"));
        ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    for first in [true, false] {
        let again = now(send(layer(&tickets).layer(inner), request.clone()));
        assert_eq!(
            (again.status.as_u16(), &again.body[..]),
            (201, &b"<a/>"[..])
        );
        assert_eq!(
            again.headers["content-type"],
            "application/xml; charset=utf-8"
        );
        assert_eq!(again.headers.contains_key("x-first"), first);
        assert_eq!(again.error.map(|error| error.kind()), None);
    }
}

/// Panics when it is called without having been polled ready; a clone starts unready.
struct Strict(bool, Handler);

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self(false, self.1.clone())
    }
}

impl<B> Service<Request<RequestBody<B>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        assert!(std::mem::take(&mut self.0), "called before poll_ready");
        ready(Ok(self.1.run()))
    }
}

#[test]
fn df_21_the_ready_instance_is_the_one_called() {
    let tickets = Tickets::in_memory(keys());
    let mut service = layer(&tickets).layer(Strict(false, Handler::default()));
    let ticket = mint(&under("user/7/"));
    for (run, object) in (1..).zip(["user/7/a.png", "user/7/b.png"]) {
        for _ in 0..2 {
            now(send(&mut service, signed(form(object, &ticket)))).assert_run(run);
        }
    }
}
