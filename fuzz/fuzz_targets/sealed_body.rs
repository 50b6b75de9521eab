//! A body that the holder of a ticket has signed: the handler reads the grant, or nothing.
//!
//! The first byte selects form or JSON, and `@` stands for the ticket.
#![no_main]

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::Request;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_aliyun_oss::{
    callback::{CallbackVerifier, VerifierConfig},
    protocol::{CallbackBodyType, SizeRange, SystemVariable, TICKET_FIELD},
    testing::CallbackSigner,
    ticket::{
        TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::Nonce,
    },
};

/// As short as the key of OSS: nearly all the time goes into signing.
const KEY: &str = include_str!("../../tests/keys/rsa_512.pem");

static SIGNER: LazyLock<CallbackSigner> =
    LazyLock::new(|| CallbackSigner::from_pem(KEY).expect("a key"));
static KEYS: LazyLock<TicketKeys> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..32).collect();
    TicketKeys::new(1, TicketKey::from_bytes(&bytes).expect("long enough"))
});
static CONFIG: LazyLock<VerifierConfig> =
    LazyLock::new(|| VerifierConfig::new().tickets(Tickets::in_memory(KEYS.clone())));
/// A ticket for a form, and one for JSON.
static TICKETS: LazyLock<[String; 2]> =
    LazyLock::new(|| [CallbackBodyType::Form, CallbackBodyType::Json].map(issue));

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn issue(body_type: CallbackBodyType) -> String {
    let prefix = Scope::prefix("user/7/".parse().expect("a prefix"));
    let terms = Terms::new(
        "examplebucket".parse().expect("a bucket"),
        prefix,
        SizeRange::new(1, 10).expect("a range"),
        &"/cb".parse().expect("a target"),
        now() + Duration::from_secs(60),
    )
    .content_types(["image/svg+xml".parse().expect("a type")])
    .body_type(body_type);
    let plan: &[u8] = match body_type {
        CallbackBodyType::Form => b"a%20b",
        _ => br#""a b""#,
    };
    let fields = [
        ("bucket", FieldValue::System(SystemVariable::Bucket)),
        ("name", FieldValue::System(SystemVariable::Object)),
        ("object", FieldValue::System(SystemVariable::Object)),
        ("size", FieldValue::System(SystemVariable::Size)),
        ("mimeType", FieldValue::System(SystemVariable::MimeType)),
        ("crc64", FieldValue::System(SystemVariable::Crc64)),
        ("x:uid", FieldValue::Custom("1+1 é")),
        ("plan", FieldValue::Constant(plan)),
        (TICKET_FIELD, FieldValue::Ticket),
    ];
    let fields = fields.map(|(name, value)| BodyField::new(name, value));
    let nonce = Nonce::random().expect("random bytes");
    KEYS.issue(&terms, fields, now(), nonce).expect("a ticket")
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let [form, json] = &*TICKETS;
    let is_form = kind % 2 == 0;
    let ticket = if is_form { form } else { json };
    let body: Vec<u8> = body
        .iter()
        .flat_map(|byte| match byte {
            b'@' => ticket.as_bytes(),
            byte => std::slice::from_ref(byte),
        })
        .copied()
        .collect();
    let body = Bytes::from(body);
    let callback = SIGNER.callback("/cb");
    let callback = if is_form {
        callback.form(body.clone())
    } else {
        callback.json(body.clone())
    };
    let request: Request<Bytes> = callback.request().expect("a callback");
    let (parts, _) = request.into_parts();
    let Ok(mut verifier) = CallbackVerifier::check(&parts, &CONFIG) else {
        return;
    };
    if verifier.update(body).is_err() || verifier.check_ticket(now()).is_err() {
        return;
    }
    let Ok(verified) = verifier.verify(SIGNER.public_key()) else {
        return;
    };
    let event = verified.event().expect("read for the check");
    assert_eq!(event.bucket(), Some("examplebucket"));
    assert_eq!(event.custom("uid"), Some("1+1 é"));
    assert_eq!(event.mime_type(), Some("image/svg+xml"));
    assert!((1..=10).contains(&event.size().expect("a size")));
    let object = event.object().expect("an object");
    assert!(object.starts_with("user/7/"));
    if let Ok(fields) = verified.event_as::<HashMap<String, Value>>() {
        assert_eq!(fields.len(), 9);
        assert_eq!(fields["bucket"], "examplebucket");
        assert_eq!(fields["x:uid"], "1+1 é");
        assert_eq!(fields["plan"], "a b");
        assert_eq!(fields["mimeType"], "image/svg+xml");
        assert_eq!(
            (&fields["object"], &fields["name"]),
            (&object.into(), &object.into())
        );
    }
});
