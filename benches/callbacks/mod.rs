//! Signed callbacks with and without tickets, shared by the benches that run the layer.

use std::{
    convert::Infallible,
    future::{Future as _, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use md5::Md5;
use rsa::{PrivateKey, pkcs1::DecodeRsaPrivateKey as _, pkcs8::EncodePublicKey as _};
use tower::Service;
use tower_aliyun_oss::{
    Lookup, OssCallbackLayer,
    key::{KeyError, KeySource, KeyTable, KeyUrl, PublicKey},
    protocol::{CallbackBodyType, SizeRange, SystemVariable, TICKET_FIELD},
    ticket::{
        MemoryStore, TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::Nonce,
    },
};

const TARGET: &str = "/oss/callback";
pub(crate) const BODY_SIZE: usize = 1024;
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Base64 of `https://gosspublic.alicdn.com/callback_pub_key_v1.pem`.
const KEY_URL: &str = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";

pub(crate) type Callback = Request<Full<Bytes>>;
pub(crate) type Error = Box<dyn std::error::Error>;

/// Ticket keys, and a signing key in place of the published one. `others` forges tickets.
pub(crate) struct Bench {
    private: PrivateKey,
    public: PublicKey,
    pub(crate) keys: TicketKeys,
    #[allow(dead_code, reason = "some benches forge no tickets")]
    pub(crate) others: TicketKeys,
}

struct OneKey(KeyTable, PublicKey);

impl KeySource for OneKey {
    fn table(&self) -> &KeyTable {
        &self.0
    }

    fn key(&self, _: &KeyUrl) -> Lookup<PublicKey, KeyError> {
        Lookup::Ready(Ok(self.1.clone()))
    }
}

impl Bench {
    /// With a key of 512 bits, as the published one has.
    pub(crate) fn new() -> Result<Self, Error> {
        Self::with_key(include_str!("../../tests/keys/rsa_512.pem"))
    }

    pub(crate) fn with_key(pem: &str) -> Result<Self, Error> {
        let private = PrivateKey::from_pkcs1_pem(pem)?;
        let der = rsa::PublicKey::from(&private).to_public_key_der()?;
        Ok(Self {
            public: PublicKey::from_der(der.as_bytes())?,
            private,
            keys: TicketKeys::new(1, TicketKey::generate()?),
            others: TicketKeys::new(1, TicketKey::generate()?),
        })
    }

    pub(crate) fn layer(&self) -> OssCallbackLayer {
        OssCallbackLayer::new().key_source(OneKey(KeyTable::official(), self.public.clone()))
    }

    /// Returns the layer with a ticket store that never runs out of capacity.
    pub(crate) fn with_tickets(&self) -> OssCallbackLayer {
        let store = MemoryStore::with_capacity(usize::MAX, usize::MAX);
        self.layer().tickets(Tickets::new(self.keys.clone(), store))
    }

    pub(crate) fn ticket(
        &self,
        keys: &TicketKeys,
        body_type: CallbackBodyType,
        made: SystemTime,
    ) -> Result<String, Error> {
        let grant = Scope::Exact("user/7/photo.jpg".parse()?);
        let bucket = "examplebucket".parse()?;
        let sizes = SizeRange::new(1, 1 << 20)?;
        let terms = Terms::new(bucket, grant, sizes, &TARGET.parse()?, made + HOUR)
            .body_type(body_type)
            .content_types(["image/jpeg".parse()?])
            .claims(&("user", 7))?;
        Ok(keys.issue(&terms, fields(body_type), made, Nonce::random()?)?)
    }

    /// Builds a signed callback. Its size does not depend on the ticket.
    pub(crate) fn callback(
        &self,
        body_type: CallbackBodyType,
        ticket: &str,
    ) -> Result<Callback, Error> {
        let form = body_type == CallbackBodyType::Form;
        let mut body = if form {
            format!(
                "reqId=5CF3E7820000000000000001&bucket=examplebucket\
                 &object=user%2F7%2Fphoto.jpg&size=4711\
                 &etag=D41D8CD98F00B204E9800998ECF8427E&mimeType=image%2Fjpeg\
                 &{TICKET_FIELD}={ticket}&note="
            )
        } else {
            format!(
                "{{\"reqId\":\"5CF3E7820000000000000001\",\"bucket\":\"examplebucket\",\
                 \"object\":\"user/7/photo.jpg\",\"size\":4711,\
                 \"etag\":\"D41D8CD98F00B204E9800998ECF8427E\",\"mimeType\":\"image/jpeg\",\
                 \"imageInfo.height\":,\"{TICKET_FIELD}\":\"{ticket}\",\"note\":\""
            )
        };
        let end = if form { "" } else { "\"}" };
        let rest = BODY_SIZE.saturating_sub(body.len() + end.len());
        body.push_str(&"x".repeat(rest));
        body.push_str(end);
        let text = format!("{TARGET}\n{body}");
        let signature = STANDARD.encode(self.private.pkcs1v15_sign::<Md5>(text.as_bytes())?);
        // A server parses header values as slices of a shared buffer; do the same.
        let value = |text: &str| {
            let buffer = Bytes::from([text, "\r\n"].concat());
            HeaderValue::from_maybe_shared(buffer.slice(..text.len()))
        };
        let content_type = if form {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        Ok(Request::post(TARGET)
            .header("authorization", value(&signature)?)
            .header("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL))
            .header("content-type", HeaderValue::from_static(content_type))
            .header("content-length", body.len())
            .body(Full::from(body))?)
    }
}

/// The fields of [`Bench::callback`]. The last one fills the body up to its size, so its value is
/// not sealed.
fn fields(body_type: CallbackBodyType) -> impl Iterator<Item = BodyField<'static>> {
    let height = (body_type == CallbackBodyType::Json).then_some(SystemVariable::ImageHeight);
    let variables = [
        SystemVariable::ReqId,
        SystemVariable::Bucket,
        SystemVariable::Object,
        SystemVariable::Size,
        SystemVariable::Etag,
        SystemVariable::MimeType,
    ];
    let variables = variables.into_iter().chain(height);
    let field = |(name, value)| BodyField::new(name, value);
    let system = |variable: SystemVariable| (variable.name(), FieldValue::System(variable));
    let others = [
        (TICKET_FIELD, FieldValue::Ticket),
        ("note", FieldValue::System(SystemVariable::Operation)),
    ];
    variables.map(system).chain(others).map(field)
}

/// Installs the recorder of Prometheus.
#[cfg(feature = "metrics")]
#[allow(
    dead_code,
    reason = "some benches measure the layer without a recorder"
)]
pub(crate) fn install_recorder() -> Result<metrics_exporter_prometheus::PrometheusHandle, Error> {
    Ok(metrics_exporter_prometheus::PrometheusBuilder::new()
        // As a server would: without buckets, the exporter keeps every value until it is scraped.
        .set_buckets(&[0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0])?
        .install_recorder()?)
}

pub(crate) fn answer<B>(_: Request<B>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("{}"))))
}

/// Polls the call once: nothing in it waits.
pub(crate) fn call<S, B>(service: &mut S, request: Callback) -> StatusCode
where
    S: Service<Callback, Response = Response<B>, Error = Infallible>,
{
    match pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => black_box(response).status(),
        Poll::Pending => StatusCode::IM_A_TEAPOT,
    }
}
