//! Requests that imitate a recovery.

use http::{Extensions, HeaderName, HeaderValue};

use super::*;

/// Recovers an upload, and returns the extensions of its request, as a layer outside of the
/// callback layer sees them, and its body.
async fn captured(world: &World) -> (Extensions, String) {
    let grant = world.stored("a.png").await;
    world.pass_until_due();
    let seen: Arc<Mutex<Extensions>> = Arc::default();
    let kept = Arc::clone(&seen);
    let service = tower::ServiceBuilder::new()
        .map_request(move |request: Request<_>| {
            *kept.lock().unwrap() = request.extensions().clone();
            request
        })
        .service(world.service());
    assert_eq!(
        world.recovery_with(service).tick().await.unwrap().recovered,
        1
    );
    let extensions = seen.lock().unwrap().clone();
    assert_eq!(extensions.len(), 1);
    let body = form("a.png", &grant.ticket).replace("5CF3E7820000000000000001", "");
    (extensions, body)
}

/// A request without a signature, with the headers of a recovery.
fn unsigned(target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(target)
        .header("host", "app.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("user-agent", "aliyun-oss-callback")
        .header("x-oss-bucket", "examplebucket")
        .header("x-oss-tag", "CALLBACK")
        .body(Full::new(body.into()))
        .unwrap()
}

#[tokio::test]
async fn rv_02_no_header_stands_in_for_a_signature() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    let body = form("a.png", &grant.ticket).replace("5CF3E7820000000000000001", "");
    let refused = send(world.service(), unsigned(TARGET, body.clone())).await;
    refused.assert_refused(400, CallbackErrorKind::MissingHeader);
    for (name, value) in [
        ("x-oss-recovered", "true"),
        ("x-oss-origin", "recovered"),
        ("x-oss-tag", "RECOVERY"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-oss-signature-version", "0"),
        ("x-oss-pub-key-url", "cmVjb3Zlcnk="),
        ("authorization", "recovered"),
        ("authorization", ""),
    ] {
        let mut request = unsigned(TARGET, body.clone());
        let value = HeaderValue::from_static(value);
        request
            .headers_mut()
            .append(HeaderName::from_static(name), value);
        let refused = send(world.service(), request).await;
        assert!(refused.status.is_client_error(), "{name}");
        assert!(refused.error.is_some(), "{name}");
    }
    assert_eq!(world.app.runs().len(), 0);
}

/// The signature of OSS does not lift the expiry, and a recovery lifts nothing else.
#[tokio::test]
async fn rv_02_an_expired_ticket_needs_a_recovery() {
    let world = World::new();
    let grant = world.stored("a.png").await;
    world.pass_until_due();
    let late = send(world.service(), grant.callback()).await;
    late.assert_refused(403, CallbackErrorKind::TicketInvalid);
    assert_eq!(
        late.why(),
        Some(tower_aliyun_oss::ticket::TicketError::Expired)
    );
    assert_eq!(world.app.runs().len(), 0);
    world.passes(|summary| summary.recovered = 1).await;
}

#[tokio::test]
async fn rv_02_the_extension_is_for_one_text() {
    let world = World::new();
    let (extensions, body) = captured(&world).await;
    assert_eq!(world.app.runs().len(), 1);
    let other = world.grant("b.png").await;
    let with = |mut request: Request<Full<Bytes>>| {
        *request.extensions_mut() = extensions.clone();
        request
    };
    // Another upload, whose ticket is valid, and bodies and targets that differ a little.
    let valid = form("b.png", &other.ticket).replace("5CF3E7820000000000000001", "");
    for text in [
        valid,
        body.replace("size=5", "size=6"),
        body.replace("D41D", "d41d"),
        body.replace("image%2Fpng", "image%2FPNG"),
    ] {
        assert_ne!(text, body);
        let refused = send(world.service(), with(unsigned(TARGET, text))).await;
        refused.assert_refused(403, CallbackErrorKind::SignatureMismatch);
    }
    let refused = send(
        world.service(),
        with(unsigned("/oss/callback?a", body.clone())),
    )
    .await;
    refused.assert_refused(403, CallbackErrorKind::TicketInvalid);
    let mut put = with(unsigned(TARGET, body.clone()));
    *put.method_mut() = http::Method::PUT;
    send(world.service(), put)
        .await
        .assert_refused(405, CallbackErrorKind::MethodNotAllowed);
    let mut json = with(unsigned(TARGET, body.clone()));
    let value = HeaderValue::from_static("application/json");
    json.headers_mut().insert("content-type", value);
    assert_eq!(send(world.service(), json).await.status, 403);
    let mut coded = with(unsigned(TARGET, body.clone()));
    let value = HeaderValue::from_static("gzip");
    coded.headers_mut().insert("content-encoding", value);
    assert_eq!(send(world.service(), coded).await.status, 415);
    assert_eq!(world.app.runs().len(), 1);

    // The same text again gets the stored response.
    let again = send(world.service(), with(unsigned(TARGET, body))).await;
    again.assert_ok();
    assert_eq!(world.app.runs().len(), 1);
}

/// Even for the same text, it proves nothing to a layer that requires no tickets, or has other
/// keys.
#[tokio::test]
async fn rv_02_the_extension_needs_a_layer_with_the_ticket() {
    let world = World::new();
    let (extensions, body) = captured(&world).await;
    let mut request = unsigned(TARGET, body);
    *request.extensions_mut() = extensions;
    let refused = send(
        by_signature_alone().layer(world.app.clone()),
        request.clone(),
    )
    .await;
    refused.assert_refused(403, CallbackErrorKind::TicketMissing);
    let other = tower_aliyun_oss::ticket::TicketKeys::new(1, key(9));
    let other = layer(&Tickets::in_memory(other)).layer(world.app.clone());
    let refused = send(other, request).await;
    refused.assert_refused(403, CallbackErrorKind::TicketInvalid);
    assert_eq!(world.app.runs().len(), 1);
}

/// While a live system migrates to tickets, a callback may lack one. A recovery may not.
#[tokio::test]
async fn rv_02_the_extension_does_not_stand_in_for_a_ticket() {
    let world = World::new();
    let (extensions, body) = captured(&world).await;
    let until = SystemTime::UNIX_EPOCH + START + 1000 * HOUR;
    let tickets = world
        .tickets
        .clone()
        .dangerous_accept_without_ticket_until(until);
    let without = body.split("&x:ticket=").next().unwrap().to_owned();
    let mut request = unsigned(TARGET, without);
    *request.extensions_mut() = extensions;
    let refused = send(layer(&tickets).layer(world.app.clone()), request).await;
    refused.assert_refused(403, CallbackErrorKind::TicketMissing);
    assert_eq!(world.app.runs().len(), 1);
}

/// A handler that sends its extensions on, as proxies and batch endpoints do.
#[tokio::test]
async fn rv_02_the_handler_does_not_get_the_extension() {
    let world = World::new();
    world.stored("a.png").await;
    world.pass_until_due();
    let seen: Arc<Mutex<Extensions>> = Arc::default();
    let kept = Arc::clone(&seen);
    let inner = tower::ServiceBuilder::new()
        .map_request(move |request: Request<_>| {
            *kept.lock().unwrap() = request.extensions().clone();
            request
        })
        .service(world.app.clone());
    let recovery = world.recovery_with(world.layer().layer(inner));
    assert_eq!(recovery.tick().await.unwrap().recovered, 1);
    let extensions = seen.lock().unwrap().clone();
    assert!(extensions.get::<VerifiedCallback>().is_some());
    let callback = world.app.runs()[0].clone();
    let mut request = unsigned(TARGET, callback.body().clone());
    *request.extensions_mut() = extensions;
    let refused = send(world.service(), request).await;
    refused.assert_refused(400, CallbackErrorKind::MissingHeader);
    assert_eq!(world.app.runs().len(), 1);
}
