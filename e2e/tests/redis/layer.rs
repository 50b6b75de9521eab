//! Tests the layer with tickets in a real Redis.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer as _, Service, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackErrorKind, CallbackReply, RequestBody, VerifiedCallback},
    ticket::{OnFailure, RedisStore, Tickets},
};

use crate::{
    server::{CHAOS, DURABLE, FORGETFUL, Redis},
    support::*,
};

fn tickets(redis: &Redis) -> Tickets {
    Tickets::new(keys(), redis.store())
}

/// Returns a layer with a long deadline, because a shared core can be slow.
fn patient(tickets: &Tickets) -> OssCallbackLayer {
    layer(tickets).deadline(Duration::from_secs(60))
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_one_instance() {
    let redis = Redis::start(FORGETFUL);
    assert_eq!(a_thousand_at_once(&[patient(&tickets(&redis))]).await, 1);
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_04_a_thousand_at_once_on_three_instances() {
    let redis = Redis::start(FORGETFUL);
    let layers = [(); 3].map(|()| patient(&tickets(&redis)));
    assert_eq!(a_thousand_at_once(&layers).await, 1);
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_04_a_replay_on_another_instance_is_given_the_answer() {
    let redis = Redis::start(FORGETFUL);
    let handler = Handler::default();
    let ticket = mint(&under("user/7/"));
    for _ in 0..2 {
        for (run, object) in (1..).zip(["user/7/a.png", "user/7/b.png", "user/7/c.png"]) {
            // A new connection each time, as after a restart.
            let service = patient(&tickets(&redis)).layer(handler.clone());
            send(service, signed(form(object, &ticket)))
                .await
                .assert_run(run);
        }
    }
    assert_eq!(handler.runs(), 3);
}

#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_05_what_fails_is_free_again_on_another_instance() {
    let redis = Redis::start(FORGETFUL);
    let handler = Handler::default();
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    let fails = {
        let handler = handler.clone();
        service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let mut answer = handler.run();
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            ready(Ok::<_, Infallible>(answer))
        })
    };
    let first = send(patient(&tickets(&redis)).layer(fails), request.clone()).await;
    assert_eq!(first.status, 500);
    let service = patient(&tickets(&redis)).layer(handler.clone());
    send(service, request).await.assert_run(2);
}

/// How often the inner service ran for each object.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<std::collections::HashMap<String, usize>>>);

impl<B> Service<Request<RequestBody<B>>> for Runs {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        let callback: &VerifiedCallback = request.extensions().get().unwrap();
        let object = callback.event().unwrap().object().unwrap().to_owned();
        let mut runs = self.0.lock().unwrap();
        let run = runs.entry(object.clone()).or_default();
        *run += 1;
        let answer = serde_json::json!({ "object": object, "run": run });
        ready(Ok(CallbackReply::json(&answer).unwrap().into()))
    }
}

/// Kills Redis while three instances use it. A success is reported only if it is known to be
/// stored, and every instance continues on its own once Redis is back.
#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_06_redis_killed_in_the_middle() {
    const TICKETS: usize = 150;
    for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
        let mut redis = Redis::start(DURABLE);
        let runs = Runs::default();
        let instances = [(); 3].map(|()| tickets(&redis).on_failure(on_failure).lease(HOUR));
        // Does not wait for texts whose handler will never finish.
        let hasty = |tickets: &Tickets| {
            let layer = layer(tickets).deadline(Duration::from_secs(3));
            layer.layer(runs.clone())
        };
        let requests: Arc<[_]> = (0..TICKETS)
            .map(|n| {
                let object = format!("{n}.png");
                signed(form(&object, &mint(&exact(&object))))
            })
            .collect();

        let answered = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        for instance in &instances {
            let (instance, requests) = (hasty(instance), Arc::clone(&requests));
            let answered = Arc::clone(&answered);
            tasks.spawn(async move {
                let mut outcomes = Vec::new();
                for request in requests.iter() {
                    outcomes.push(send(instance.clone(), request.clone()).await);
                    answered.add_permits(1);
                }
                outcomes
            });
        }
        drop(answered.acquire_many(TICKETS as u32).await.unwrap());
        redis.kill();
        let mut successes = vec![None; TICKETS];
        let mut down = 0;
        for outcomes in tasks.join_all().await {
            for (outcome, success) in outcomes.into_iter().zip(&mut successes) {
                if outcome.status == 200 {
                    // The reply is the same from every instance.
                    assert_eq!(success.get_or_insert(outcome.body.clone()), &outcome.body);
                } else {
                    assert_eq!(outcome.status, 503);
                    assert!(matches!(
                        outcome.kind(),
                        Some(
                            CallbackErrorKind::StoreUnavailable
                                | CallbackErrorKind::DeadlineExceeded
                        )
                    ));
                    down += 1;
                }
            }
        }
        assert!(down > 0, "Redis was killed too late");
        assert!(
            successes.iter().any(Option::is_some),
            "Redis was killed too early"
        );

        redis.restart();
        for instance in &instances {
            for (request, success) in requests.iter().zip(&mut successes) {
                // A reported success is stored, and its reply is returned again.
                if let Some(success) = success {
                    let service = patient(instance).layer(runs.clone());
                    let outcome = send(service, request.clone()).await;
                    assert_eq!((outcome.status.as_u16(), &outcome.body), (200, &*success));
                    continue;
                }
                // A text that was running when Redis died stays locked until its lease expires.
                // Any other text runs now.
                let outcome = send(hasty(instance), request.clone()).await;
                if outcome.status == 200 {
                    *success = Some(outcome.body);
                } else {
                    assert_eq!(outcome.kind(), Some(CallbackErrorKind::DeadlineExceeded));
                }
            }
        }
        let held = successes.iter().filter(|success| success.is_none()).count();
        assert!(held <= instances.len(), "{held} of {TICKETS} are locked");
        assert!(runs.0.lock().unwrap().values().all(|runs| *runs == 1));
    }
}

/// Whatever the fault: a callback whose handler did not run can run afterwards, and none runs
/// twice.
#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rp_22_after_a_fault_what_did_not_run_can_run() {
    const TICKETS: usize = 40;
    for fault in ["stalled", "partitioned", "killed"] {
        for on_failure in [OnFailure::Retry, OnFailure::AtMostOnce] {
            let mut redis = Redis::start(CHAOS);
            let runs = Runs::default();
            // The defaults: a store that waits 1 s, a layer that waits 4 s.
            let store = RedisStore::new(&redis.url()).unwrap();
            let tickets = Tickets::new(keys(), store).on_failure(on_failure);
            let service = layer(&tickets).layer(runs.clone());
            let requests: Vec<_> = (0..TICKETS)
                .map(|n| {
                    let object = format!("{n}.png");
                    signed(form(&object, &mint(&exact(&object))))
                })
                .collect();
            send(service.clone(), requests[0].clone()).await;
            match fault {
                "stalled" => redis.debug_sleep("1.6"),
                "partitioned" => redis.stop(),
                _ => {}
            }
            let mut tasks = JoinSet::new();
            for request in &requests {
                tasks.spawn(send(service.clone(), request.clone()));
            }
            if fault == "killed" {
                tokio::time::sleep(Duration::from_millis(20)).await;
                redis.kill();
            }
            tasks.join_all().await;
            match fault {
                "partitioned" => redis.go_on(),
                "killed" => redis.restart(),
                _ => {}
            }
            for request in &requests {
                let mut tries = 0;
                loop {
                    let outcome = send(service.clone(), request.clone()).await;
                    if outcome.status == 200 {
                        break;
                    }
                    tries += 1;
                    assert!(tries < 5, "{fault} {on_failure:?}: {:?}", outcome.error);
                }
            }
            let runs = runs.0.lock().unwrap();
            assert_eq!(runs.len(), TICKETS);
            assert!(runs.values().all(|runs| *runs == 1), "{fault} {runs:?}");
        }
    }
}

/// A documented limit: if Redis loses its data, a replayed callback runs again.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn known_limit_what_redis_has_forgotten_runs_again() {
    let mut redis = Redis::start(FORGETFUL);
    let handler = Handler::default();
    let service = patient(&tickets(&redis)).layer(handler.clone());
    let request = signed(form("a.png", &mint(&exact("a.png"))));
    for _ in 0..2 {
        send(service.clone(), request.clone()).await.assert_run(1);
    }
    redis.kill();
    redis.restart();
    for _ in 0..2 {
        send(service.clone(), request.clone()).await.assert_run(2);
    }
    // Callbacks that were not granted are still rejected.
    let other = form("b.png", &mint(&exact("a.png")));
    let outcome = send(service, signed(other)).await;
    outcome.assert_refused(403, CallbackErrorKind::OutsideGrant);
}
