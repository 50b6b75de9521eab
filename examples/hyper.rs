//! Handles callbacks with plain hyper, without a framework.
//!
//! ```text
//! cargo run --example hyper -- 127.0.0.1:8080
//! ```
//!
//! `POST` on any path is handled as a callback from OSS.

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, signal};
use tower::{Layer as _, service_fn};
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, RequestBody, VerifiedCallback},
};

type Callback = Request<RequestBody<Incoming>>;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

async fn on_upload(request: Callback) -> Result<Response<Full<Bytes>>, Infallible> {
    // Only the layer inserts this extension; a client cannot. Its absence means that the layer is
    // missing and nothing was verified, so fail closed.
    let Some(callback) = request.extensions().get::<VerifiedCallback>() else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    };
    println!(
        "{}: {}",
        callback.target().path(),
        callback.body().escape_ascii()
    );
    Ok(CallbackReply::ok().into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:8080").parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let service = OssCallbackLayer::new().layer(service_fn(on_upload));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely out of file descriptors: wait until some are closed.
                    eprintln!("failed to accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = signal::ctrl_c() => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            // Some clients close their sending half after the request, and wait for the response.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
    println!("stopped");
    Ok(())
}
