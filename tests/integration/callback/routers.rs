//! A replay of a genuine callback under any equivalent spelling of its path reaches the same
//! handler or none, whatever the router does with escapes.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Path},
    routing::post,
};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::callback::{CallbackReply, RequestBody, VerifiedCallback};

use crate::support::{FORM, Signer};

/// Canonical paths, with spellings that routers could take for another path.
const SPELLINGS: &[(&str, &[&str])] = &[
    ("/oss/cb", &["/oss/c%62", "/%6Fss/cb", "/%6fs%73/%63%62"]),
    (
        "/oss/a-b_c",
        &["/oss/a%2Db%5fc", "/oss/%61-b%5Fc", "/%6fss/a-b_c"],
    ),
    (
        "/oss/%E4%B8%AD%20x",
        &[
            "/oss/%e4%b8%ad%20x",
            "/oss/%E4%b8%AD%20%78",
            "/os%73/%E4%B8%AD%20x",
        ],
    ),
    (
        "/oss/a%7Cb%5C",
        &["/oss/a%7cb%5c", "/oss/%61%7Cb%5c", "/%6Fss/a%7cb%5C"],
    ),
];

type Reached = Arc<Mutex<Vec<String>>>;

fn replay(signer: &Signer, signed: &str, sent: &str) -> Request<Body> {
    let mut request = signer.request(signed, FORM, b"a=b").map(Body::new);
    *request.uri_mut() = sent.parse().unwrap();
    request
}

/// Handlers that record which of them ran, with everything they can know of the path.
fn routes(reached: &Reached) -> Router {
    let exact = {
        let reached = Arc::clone(reached);
        move |uri: Uri, OriginalUri(original): OriginalUri, _: VerifiedCallback| async move {
            reached
                .lock()
                .unwrap()
                .push(format!("exact {uri} {original}"));
            CallbackReply::ok()
        }
    };
    let named = {
        let reached = Arc::clone(reached);
        move |uri: Uri, Path(name): Path<String>, _: VerifiedCallback| async move {
            reached.lock().unwrap().push(format!("named {uri} {name}"));
            CallbackReply::ok()
        }
    };
    Router::new()
        .route("/oss/cb", post(exact))
        .route("/oss/{name}", post(named))
}

#[tokio::test]
async fn cn_048_axum_reaches_the_same_handler_or_none() {
    let signer = Signer::with_512_bits();
    let reached = Reached::default();
    let outside = async |request: Request<Body>| {
        let app = signer.layer().layer(routes(&reached));
        let answer: Result<_, Infallible> = app.oneshot(request).await;
        answer.map(|response| response.map(Body::new))
    };
    for (signed, spellings) in SPELLINGS {
        let mut canonical = Vec::new();
        for sent in [signed].into_iter().chain(*spellings) {
            for mount in 0..3 {
                let request = replay(&signer, signed, sent);
                let answer = match mount {
                    0 => outside(request).await,
                    1 => {
                        routes(&reached)
                            .route_layer(signer.layer())
                            .oneshot(request)
                            .await
                    }
                    _ => {
                        let inner = routes(&reached).layer(signer.layer());
                        Router::new().fallback_service(inner).oneshot(request).await
                    }
                };
                let status = answer.unwrap().status();
                let seen: Vec<String> = reached.lock().unwrap().drain(..).collect();
                if sent == signed {
                    assert_eq!((status.as_u16(), seen.len()), (200, 1), "{mount} {sent}");
                    canonical.push(seen);
                } else if status.is_success() {
                    assert_eq!(seen, canonical[mount], "{mount} {sent}");
                } else {
                    assert_eq!(seen, [""; 0], "{mount} {sent}");
                }
                // The layer outside of the router decides what the router sees.
                assert!(mount > 0 || status.is_success(), "{sent}");
            }
        }
    }
}

#[tokio::test]
async fn cn_048_axum_nested_takes_the_exact_spelling_only() {
    let signer = Signer::with_512_bits();
    let reached = Reached::default();
    let app = Router::new().nest("/gw", routes(&reached).route_layer(signer.layer()));
    for (sent, status) in [
        ("/gw/oss/%E4%B8%AD", 200),
        ("/gw/oss/%e4%b8%ad", 400),
        ("/gw/oss/%E4%B8%aD", 400),
        ("/%67w/oss/%E4%B8%AD", 404),
    ] {
        let request = replay(&signer, "/gw/oss/%E4%B8%AD", sent);
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{sent}");
    }
    assert_eq!(reached.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn cn_048_matchit_reaches_the_same_handler_or_none() {
    let signer = Signer::with_512_bits();
    let mut router = matchit::Router::new();
    router.insert("/oss/cb", "exact").unwrap();
    router.insert("/oss/%e4%b8%ad%20x", "lower").unwrap();
    router.insert("/oss/{name}", "named").unwrap();
    let router = Arc::new(router);
    for (signed, spellings) in SPELLINGS {
        let mut canonical = None;
        for sent in [signed].into_iter().chain(*spellings) {
            let reached = Reached::default();
            let inner = service_fn(|request: Request<RequestBody<Body>>| {
                let matched = router.at(request.uri().path()).unwrap();
                let name = matched.params.get("name").unwrap_or_default();
                reached
                    .lock()
                    .unwrap()
                    .push(format!("{} {name}", matched.value));
                let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
                async { Ok::<_, Infallible>(reply) }
            });
            let app = signer.layer().layer(inner);
            let answer = app.oneshot(replay(&signer, signed, sent)).await.unwrap();
            assert_eq!(answer.status(), 200, "{sent}");
            let seen = reached.lock().unwrap().clone();
            assert_eq!(*canonical.get_or_insert(seen.clone()), seen, "{sent}");
        }
    }
}
