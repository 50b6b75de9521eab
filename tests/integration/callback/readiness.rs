//! The tower contract: readiness, clones, cancellation and panics.

use std::{
    convert::Infallible,
    future::{Future, Ready, pending, ready},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use crate::support::{Case, Frames, full};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::{
    Layer as _, Service, ServiceBuilder, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit,
    load_shed::LoadShed, service_fn,
};
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    callback::{CallbackReply, RequestBody, ResponseBody},
    key::{KeyError, KeySource, KeyTable, KeyUrl, PinnedKeys, PublicKey},
};
use tower_http::catch_panic::CatchPanicLayer;
use tower_test::mock;

type Answer = Response<Full<Bytes>>;

/// Panics if it is called before `poll_ready` returned ready. A clone starts unready.
struct Strict {
    ready: bool,
    calls: usize,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            calls: 0,
        }
    }
}

impl<B> Service<Request<RequestBody<B>>> for Strict {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before poll_ready");
        self.calls += 1;
        ready(Ok(CallbackReply::ok().into()))
    }
}

fn genuine() -> Request<Full<Bytes>> {
    Case::named("official-doc-index-php").request()
}

async fn call<S>(service: &mut S, request: Request<Full<Bytes>>) -> u16
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResponseBody<Full<Bytes>>>>,
    S::Error: std::fmt::Debug,
{
    service
        .ready()
        .await
        .unwrap()
        .call(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test]
async fn df_21_the_ready_instance_is_the_one_called() {
    let mut service = OssCallbackLayer::new().layer(Strict {
        ready: false,
        calls: 0,
    });
    for _ in 0..3 {
        assert_eq!(call(&mut service, genuine()).await, 200);
    }
    // Concurrent calls of clones.
    let calls = (0..4).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { call(&mut service, genuine()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    // The same with `only_path`, for a verified path and for another one.
    let mut service = OssCallbackLayer::new()
        .only_path("/index.php")
        .unwrap()
        .layer(Strict {
            ready: false,
            calls: 0,
        });
    for _ in 0..3 {
        assert_eq!(call(&mut service, genuine()).await, 200);
        assert_eq!(
            call(&mut service, Request::get("/other").body(full("")).unwrap()).await,
            200
        );
    }
}

#[tokio::test]
async fn df_21_a_refusal_leaves_the_ready_instance_where_it_is() {
    let mut service = OssCallbackLayer::new().layer(Strict {
        ready: false,
        calls: 0,
    });
    ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
        .await
        .unwrap();
    let refused = service.call(Request::new(full(""))).await.unwrap();
    assert_eq!(refused.status(), 405);
    assert!(service.get_ref().ready, "must stay ready for the next call");
    assert_eq!(service.get_ref().calls, 0);
    assert_eq!(service.call(genuine()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn df_21_readiness_and_its_errors_are_those_of_the_inner_service() {
    type Inner = Request<RequestBody<Full<Bytes>>>;
    let (inner, mut handle) = mock::pair::<Inner, Answer>();
    let mut service = OssCallbackLayer::new().layer(inner);
    handle.allow(0);
    let mut task = tokio_test::task::spawn(());
    task.enter(|cx, _| {
        assert!(Service::<Request<Full<Bytes>>>::poll_ready(&mut service, cx).is_pending());
    });
    handle.allow(1);
    assert!(task.is_woken());
    task.enter(|cx, _| {
        assert!(Service::<Request<Full<Bytes>>>::poll_ready(&mut service, cx).is_ready());
    });
    let answer = tokio::spawn(service.call(genuine()));
    let (request, send) = handle.next_request().await.unwrap();
    assert_eq!(request.uri(), "/index.php?id=1&index=2");
    send.send_response(CallbackReply::ok().into());
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    // Errors of the call pass through unchanged.
    handle.allow(1);
    let answer = tokio::spawn(
        ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
            .await
            .unwrap()
            .call(genuine()),
    );
    let (_, send) = handle.next_request().await.unwrap();
    send.send_error("of the inner service");
    assert_eq!(
        answer.await.unwrap().unwrap_err().to_string(),
        "of the inner service"
    );
    // Errors of `poll_ready` too.
    handle.send_error("not ready");
    let error = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("not ready"));
}

#[tokio::test]
async fn df_21_limits_and_buffers_inside_work() {
    let strict = || Strict {
        ready: false,
        calls: 0,
    };
    let mut limited = OssCallbackLayer::new().layer(ConcurrencyLimit::new(strict(), 1));
    let mut buffered = OssCallbackLayer::new().layer(Buffer::new(strict(), 1));
    let mut shed = OssCallbackLayer::new().layer(LoadShed::new(ConcurrencyLimit::new(strict(), 1)));
    for _ in 0..3 {
        assert_eq!(call(&mut limited, genuine()).await, 200);
        assert_eq!(call(&mut buffered, genuine()).await, 200);
        assert_eq!(call(&mut shed, genuine()).await, 200);
        // A rejection releases its permit and its slot.
        assert_eq!(call(&mut limited, Request::new(full(""))).await, 405);
        assert_eq!(call(&mut shed, Request::new(full(""))).await, 405);
    }
}

/// Responds with the future that the closure creates.
#[derive(Clone)]
struct Answers(fn() -> Pin<Box<dyn Future<Output = Answer> + Send>>);

impl<B> Service<Request<RequestBody<B>>> for Answers {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<B>>) -> Self::Future {
        let answer = (self.0)();
        Box::pin(async move { Ok(answer.await) })
    }
}

/// A key source whose lookups never complete.
struct NoKeyYet(PinnedKeys);

impl KeySource for NoKeyYet {
    fn table(&self) -> &KeyTable {
        self.0.table()
    }

    fn key(&self, _: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        Lookup::Pending(Box::pin(pending()))
    }
}

#[tokio::test(start_paused = true)]
async fn df_21_a_call_can_be_dropped_at_every_await() {
    let whole = || Frames::data([Bytes::from_static(b"bucket=yonghu-test")]);
    let waits_for_key = OssCallbackLayer::new().key_source(NoKeyYet(PinnedKeys::official()));
    for (waits_for, layer, body) in [
        (
            "the first frame",
            OssCallbackLayer::new(),
            Frames::data([]).then_never_end(),
        ),
        (
            "the end of the body",
            OssCallbackLayer::new(),
            whole().then_never_end(),
        ),
        ("the key", waits_for_key, whole()),
        ("the answer", OssCallbackLayer::new(), whole()),
    ] {
        let inner = ConcurrencyLimit::new(Answers(|| Box::pin(pending())), 1);
        let mut service = layer.layer(inner);
        let request = genuine().map(|_| body);
        let call = ServiceExt::<Request<Frames>>::ready(&mut service)
            .await
            .unwrap()
            .call(request);
        let mut call = tokio_test::task::spawn(call);
        assert!(call.poll().is_pending(), "{waits_for}");

        let mut other = service.clone();
        let mut ready = tokio_test::task::spawn(ServiceExt::<Request<Frames>>::ready(&mut other));
        assert!(
            ready.poll().is_pending(),
            "{waits_for}: the permit must be taken"
        );
        drop(call);
        assert!(
            ready.is_woken() && ready.poll().is_ready(),
            "{waits_for}: the permit must be released"
        );
    }
}

#[tokio::test]
async fn df_21_an_inner_panic_is_the_callers_and_gives_its_permit_back() {
    let inner = ConcurrencyLimit::new(
        Answers(|| Box::pin(async { panic!("panic in the handler") })),
        1,
    );
    let mut service = OssCallbackLayer::new().layer(inner);
    for _ in 0..3 {
        let mut called = service.clone();
        let call = tokio::spawn(async move { call(&mut called, genuine()).await });
        assert!(call.await.unwrap_err().is_panic());
    }
    // With `CatchPanicLayer` outside, a panic becomes a response, but not a success.
    let caught = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .service(service.clone());
    let caught = caught.oneshot(genuine()).await.unwrap();
    assert_eq!(caught.status(), 500);
    let ready = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service);
    assert!(tokio_test::task::spawn(ready).poll().is_ready());
}

#[tokio::test]
async fn df_21_an_answer_is_passed_on_frame_by_frame() {
    let (frames, answer) = tokio::sync::mpsc::channel::<Bytes>(1);
    let answer = Arc::new(Mutex::new(Some(Channel(answer))));
    let inner = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
        let body = answer.lock().unwrap().take().unwrap();
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let response = OssCallbackLayer::new()
        .layer(inner)
        .oneshot(genuine())
        .await;
    let mut body = tokio_test::task::spawn(response.unwrap().into_body());
    for piece in ["{", "}"] {
        let pending = body.enter(|cx, body| body.poll_frame(cx).is_pending());
        assert!(pending, "frames must pass through one by one");
        frames.send(piece.into()).await.unwrap();
        assert!(body.is_woken());
        let Poll::Ready(Some(Ok(frame))) = body.enter(|cx, body| body.poll_frame(cx)) else {
            panic!("the frame must be ready");
        };
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(frames);
    let end = body.enter(|cx, body| body.poll_frame(cx));
    assert!(matches!(end, Poll::Ready(None)));
}

struct Channel(tokio::sync::mpsc::Receiver<Bytes>);

impl Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
