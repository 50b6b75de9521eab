//! An upload whose callback this process receives.

use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode, Uri};
use tokio::net::{TcpListener, lookup_host};
use tower_aliyun_oss::{
    policy::{CallbackDirective, CallbackTemplate},
    protocol::CallbackBodyType,
};

use super::{application::not_called, objects};
use crate::{
    callback_server::{CallbackServer, Received},
    finding::Finding,
    oss::{Answer, Oss},
    settings::host,
};

pub(super) const CHECK: &str = "callback to this machine";

/// Uploads one object, and waits for its callback.
///
/// # Errors
///
/// Fails if nothing listens, because this machine has no address that OSS reaches.
pub(super) async fn check(oss: &Oss<'_>) -> Result<(Finding, CallbackServer), Finding> {
    let mut server = server(oss).await?;
    let finding = upload(oss, &mut server).await;
    Ok((finding, server))
}

async fn server(oss: &Oss<'_>) -> Result<CallbackServer, Finding> {
    let options = &oss.settings.options;
    let skipped = |got: String| {
        Finding::skipped(
            CHECK,
            got,
            "pass --listen 0.0.0.0:PORT and --public-url with the URL under which the internet \
             reaches that port, such as the one of a tunnel",
        )
    };
    let (address, url) = match (&options.listen, &options.public_url) {
        (Some(listen), url) => (listen.clone(), url.clone()),
        (None, None) => {
            // The application may not be running: then its address is free.
            let url = &oss.settings.callback_url;
            let address = own_address(url)
                .await
                .ok_or_else(|| skipped("OSS_CALLBACK_URL names another machine".into()))?;
            (address.to_string(), Some(url.clone()))
        }
        (None, Some(_)) => return Err(skipped("--public-url needs --listen".into())),
    };
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| skipped(format!("{address} cannot be listened on: {error}")))?;
    CallbackServer::start(listener, url, oss.settings.keys.clone())
        .map_err(|error| skipped(error.to_string()))
}

/// Returns the address of a URL if it is one of this machine: something can be bound to it.
async fn own_address(url: &str) -> Option<SocketAddr> {
    let uri: Uri = url.parse().ok()?;
    let port = uri.port_u16().unwrap_or(80);
    let host = host(url)?;
    let address: IpAddr = match host.parse() {
        Ok(address) => address,
        Err(_) => lookup_host((&*host, port)).await.ok()?.next()?.ip(),
    };
    TcpListener::bind((address, 0)).await.ok()?;
    Some(SocketAddr::new(address, port))
}

async fn upload(oss: &Oss<'_>, server: &mut CallbackServer) -> Finding {
    let did = format!(
        "listened on {}, and stored an object with a callback to it",
        server.address()
    );
    let body = CallbackTemplate::standard(CallbackBodyType::Form);
    let callback = CallbackDirective::new(server.url()).and_then(|callback| callback.body(body));
    let callback = match callback {
        Ok(callback) => callback,
        Err(error) => return Finding::failed(CHECK, did, error.to_string(), "correct the URL"),
    };
    let key = match objects::object_key(oss) {
        Ok(key) => key,
        Err(error) => return Finding::failed(CHECK, did, error.to_string(), "run the check again"),
    };
    let request = oss
        .request(Method::PUT, key.as_str())
        .headers(callback.headers())
        .body(objects::CONTENT);
    let answer = request.send().await;
    objects::remove(oss, &key).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Finding::failed(CHECK, did, error.to_string(), "run the check again"),
    };
    verdict(oss, server, did, &answer)
}

/// Returns the callback among the requests that arrived. A public port also receives others.
fn callback_of(arrived: &[Received]) -> Option<&Received> {
    let verified = arrived.iter().find(|request| request.rejected.is_none());
    verified.or_else(|| arrived.iter().find(|request| request.is_signed()))
}

fn verdict(oss: &Oss<'_>, server: &mut CallbackServer, did: String, answer: &Answer) -> Finding {
    let got = answer.describe();
    let arrived = server.take();
    match (answer.status, callback_of(&arrived)) {
        (status, _) if !status.is_success() => {
            Finding::failed(CHECK, did, got, not_called(answer, oss))
        }
        (_, None) => Finding::failed(
            CHECK,
            did,
            format!("{got}; no callback arrived"),
            "let OSS reach this address from the internet, or correct --public-url",
        ),
        (_, Some(callback)) => match &callback.rejected {
            Some(why) => Finding::failed(
                CHECK,
                did,
                format!("{got}; a callback arrived, and was rejected: {why}"),
                "unset OSS_CALLBACK_PUBLIC_KEY for OSS itself, or set it to the key of the emulator; \
                 remove what changes the path, the query or the body on the way",
            ),
            None if answer.status == StatusCode::OK => Finding::passed(
                CHECK,
                did,
                format!("{got}; its callback arrived, and its signature is right"),
            ),
            None => Finding::failed(
                CHECK,
                did,
                got,
                "answer within 5 s: OSS did not take the answer of this process",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
    use tower_aliyun_oss::protocol::header::X_OSS_PUB_KEY_URL;

    use super::*;

    #[test]
    fn requests_of_strangers_are_no_callbacks() {
        let request = |is_signed: bool, is_verified: bool| {
            let mut headers = HeaderMap::new();
            if is_signed {
                headers.insert(AUTHORIZATION, HeaderValue::from_static("c2ln"));
                headers.insert(X_OSS_PUB_KEY_URL, HeaderValue::from_static("dXJs"));
            }
            Received {
                target: "/".into(),
                headers,
                body: Bytes::new(),
                rejected: (!is_verified).then(|| "why".into()),
            }
        };
        let stranger = request(false, false);
        let rejected = request(true, false);
        let verified = request(true, true);
        assert!(callback_of(&[]).is_none());
        assert!(callback_of(std::slice::from_ref(&stranger)).is_none());
        let two = [stranger.clone(), rejected.clone()];
        assert!(callback_of(&two).is_some_and(Received::is_signed));
        let all = [stranger, rejected, verified];
        assert_eq!(callback_of(&all).map(|one| &one.rejected), Some(&None));
    }
}
