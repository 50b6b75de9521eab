use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::*;
use crate::{
    policy::{callback::CallbackTemplate, credentials::Credentials},
    protocol::{CallbackBodyType, ObjectKey, SizeRange, TICKET_FIELD},
    ticket::{TicketKey, TicketKeys},
};

const URL: &str = "https://app.example/cb";

/// 2024-12-31T23:59:30Z
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_570)
}

fn keys() -> TicketKeys {
    TicketKeys::new(
        1,
        TicketKey::from_bytes(b"ticket-key-of-at-least-32-bytes-0").unwrap(),
    )
}

fn demo() -> OssPolicyService<PublicDemo> {
    OssPolicyService::public_demo(
        Credentials::new("id", "secret").unwrap(),
        "http://bucket-name.oss-cn-hangzhou.aliyuncs.com"
            .parse()
            .unwrap(),
        "a/".parse().unwrap(),
        CallbackDirective::new(URL).unwrap(),
    )
    .unwrap()
    .bucket("examplebucket".parse().unwrap())
    .clock(now)
}

fn grant() -> Grant {
    let key: ObjectKey = "a/b".parse().unwrap();
    Grant::exact(key, SizeRange::new(1, 2).unwrap()).lifetime(Duration::from_secs(60))
}

/// Returns how long the ticket of an upload is valid, in seconds.
fn ticket_lifetime<A: Authorize>(service: &OssPolicyService<A>) -> u64 {
    let callback = service.callback_for(&grant()).unwrap();
    let parameters = STANDARD.decode(callback.encoded()).unwrap();
    let parameters: Value = serde_json::from_slice(&parameters).unwrap();
    let body = parameters["callbackBody"].as_str().unwrap();
    let (_, ticket) = body.split_once(&format!("{TICKET_FIELD}=")).unwrap();
    let ticket = ticket.split('&').next().unwrap();
    let ticket = keys()
        .check(ticket, callback.target(), CallbackBodyType::Form, now())
        .unwrap();
    ticket.expires().duration_since(now()).unwrap().as_secs()
}

#[test]
fn the_upload_time_counts_before_and_after_the_tickets() {
    let tickets = || Tickets::in_memory(keys());
    let time = Duration::from_secs(600);
    let before = demo().upload_time(time).tickets(tickets()).unwrap();
    let after = demo().tickets(tickets()).unwrap().upload_time(time);
    assert_eq!(ticket_lifetime(&before), 660);
    assert_eq!(ticket_lifetime(&after), 660);
    let default = demo().tickets(tickets()).unwrap();
    assert_eq!(ticket_lifetime(&default), 3660);
}

type Setter = fn(OssPolicyService<PublicDemo>) -> OssPolicyService<PublicDemo>;

const SETTERS: [Setter; 7] = [
    |service| service.region("cn-hangzhou".parse().unwrap()),
    |service| service.signature(SignatureVersion::V1).unwrap(),
    |service| service.format(TokenFormat::Fields).unwrap(),
    |service| service.tickets(Tickets::in_memory(keys())).unwrap(),
    |service| service.upload_time(Duration::from_secs(600)),
    |service| {
        let body = CallbackTemplate::json().constant("a", "b").unwrap();
        let callback = CallbackDirective::new(URL).and_then(|callback| callback.body(body));
        service.callback(callback.unwrap()).unwrap()
    },
    |service| service.post_only(),
];

/// Calls `check` with every order of the indices.
fn permute(order: &mut [usize], start: usize, check: &mut impl FnMut(&[usize])) {
    if start == order.len() {
        check(order);
    }
    for at in start..order.len() {
        order.swap(start, at);
        permute(order, start + 1, check);
        order.swap(start, at);
    }
}

#[test]
fn the_order_of_setters_has_no_effect() {
    let mut expected = None;
    let mut order: [usize; SETTERS.len()] = std::array::from_fn(|at| at);
    let mut count = 0;
    permute(&mut order, 0, &mut |order| {
        let at = |setter| order.iter().position(|&at| at == setter).unwrap();
        // Without region and version 1, the format is rejected.
        if at(2) < at(0) && at(2) < at(1) {
            return;
        }
        let service = order
            .iter()
            .fold(demo(), |service, &at| SETTERS[at](service));
        let shown = format!("{service:?}");
        assert_eq!(expected.get_or_insert_with(|| shown.clone()), &shown);
        count += 1;
    });
    assert_eq!(count, 5040 * 2 / 3);
    let shown = expected.unwrap();
    for part in ["format: Fields", "version: V1", "upload_time: 600s"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// In either order, and whatever is issued.
#[test]
fn a_setting_without_an_effect_is_an_error() {
    let fixed = [
        (TokenFormat::Legacy, SignatureVersion::V4),
        (TokenFormat::V4, SignatureVersion::V1),
    ];
    let demo = || demo().region("cn-hangzhou".parse().unwrap());
    for (format, other) in fixed {
        let first = demo().signature(other).unwrap().format(format);
        let last = demo().format(format).unwrap().signature(other);
        for service in [first, last] {
            assert_eq!(service.unwrap_err(), PolicyError::Signature);
        }
    }
    for (format, same) in [
        (TokenFormat::Legacy, SignatureVersion::V1),
        (TokenFormat::V4, SignatureVersion::V4),
        (TokenFormat::Fields, SignatureVersion::V1),
        (TokenFormat::Fields, SignatureVersion::V4),
    ] {
        let service = demo().format(format).unwrap().signature(same).unwrap();
        assert_eq!(service.check_complete(), Ok(()));
    }
    // The default format of a demo depends on its region, so only the first token shows it.
    let unsuitable = demo().signature(SignatureVersion::V1).unwrap();
    assert_eq!(
        unsuitable.callback_for(&grant()).unwrap_err(),
        PolicyError::Signature
    );

    let untold = demo().upload_time(Duration::from_secs(60));
    let error = untold.callback_for(&grant()).unwrap_err();
    assert_eq!(error, PolicyError::UploadTime);
    let tickets = Tickets::in_memory(keys());
    assert!(
        untold
            .tickets(tickets)
            .unwrap()
            .callback_for(&grant())
            .is_ok()
    );
}

/// The URL of a demo contains its host, with or without a bucket, so another one is no silent
/// no-op.
#[test]
fn the_endpoint_of_a_demo_is_an_error() {
    let error = demo().endpoint(Endpoint::accelerate()).unwrap_err();
    assert_eq!(error, PolicyError::Endpoint);
}

#[test]
fn a_chosen_format_outlasts_the_region() {
    let region = || "cn-hangzhou".parse().unwrap();
    let chosen = demo().format(TokenFormat::Legacy).unwrap().region(region());
    let default = demo().region(region());
    assert!(format!("{chosen:?}").contains("format: Legacy"));
    assert!(format!("{default:?}").contains("format: V4"));
}
