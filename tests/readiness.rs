//! The contract of tower: who is polled ready, and who is called.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use support::{Case, Frames, full};
use tower::{
    Layer as _, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, load_shed::LoadShed,
};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackBody, CallbackReply, ResponseBody},
};
use tower_test::mock;

type Answer = Response<Full<Bytes>>;

/// Panics when it is called without having been polled ready; a clone starts unready.
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

impl<B> Service<Request<CallbackBody<B>>> for Strict {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<CallbackBody<B>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
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
async fn the_ready_instance_is_the_one_called() {
    let mut service = OssCallbackLayer::new().layer(Strict {
        ready: false,
        calls: 0,
    });
    for _ in 0..3 {
        assert_eq!(call(&mut service, genuine()).await, 200);
    }
    // Several at once, from clones.
    let calls = (0..4).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { call(&mut service, genuine()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    // The same with a path of its own, verified and let through.
    let mut service = OssCallbackLayer::new()
        .only_path("/index.php")
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
async fn a_refusal_leaves_the_ready_instance_where_it_is() {
    let mut service = OssCallbackLayer::new().layer(Strict {
        ready: false,
        calls: 0,
    });
    ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
        .await
        .unwrap();
    let refused = service.call(Request::new(full(""))).await.unwrap();
    assert_eq!(refused.status(), 405);
    assert!(service.get_ref().ready, "still ready for the next call");
    assert_eq!(service.get_ref().calls, 0);
    assert_eq!(service.call(genuine()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn readiness_and_its_errors_are_those_of_the_inner_service() {
    type Inner = Request<CallbackBody<Full<Bytes>>>;
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
    // An error of the call is passed through as it is.
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
    // And one of readiness.
    handle.send_error("not ready");
    let error = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("not ready"));
}

#[tokio::test]
async fn limits_and_buffers_inside_work() {
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
        // A refusal gives nothing away that is not given back.
        assert_eq!(call(&mut limited, Request::new(full(""))).await, 405);
        assert_eq!(call(&mut shed, Request::new(full(""))).await, 405);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_permit_back() {
    let mut service = OssCallbackLayer::new().layer(ConcurrencyLimit::new(
        Strict {
            ready: false,
            calls: 0,
        },
        1,
    ));
    let body = Frames::data([]).then_never_end();
    let (parts, _) = genuine().into_parts();
    let slow = Request::from_parts(parts, body);
    let slow = ServiceExt::<Request<Frames>>::ready(&mut service)
        .await
        .unwrap()
        .call(slow);
    // The permit is held while the body arrives.
    let mut next = service.clone();
    let waiting = tokio::time::timeout(Duration::from_secs(1), async {
        ServiceExt::<Request<Frames>>::ready(&mut next)
            .await
            .map(drop)
    });
    let (slow, waiting) = tokio::join!(
        tokio::time::timeout(Duration::from_millis(500), slow),
        waiting
    );
    assert!(slow.is_err(), "dropped while the body arrives");
    assert!(waiting.is_ok(), "its permit came back");
}
