//! Callbacks that are rejected because of their ticket: one warning for each cause.

use super::*;
use crate::support::Log;

fn refused(layer: &OssCallbackLayer, request: &Request<Full<Bytes>>, kind: CallbackErrorKind) {
    let outcome = now(send(layer.layer(Handler::default()), request.clone()));
    outcome.assert_refused(403, kind);
}

#[test]
fn each_cause_is_one_warning_with_rule_and_remedy() {
    let tickets = Tickets::in_memory(keys());
    let later = tickets.clone().clock(|| SystemTime::now() + 2 * HOUR);
    let others = Tickets::in_memory(TicketKeys::new(1, key(2)));
    let renumbered = Tickets::in_memory(TicketKeys::new(2, key(1)));
    let genuine = || signed(form("a.png", &mint(&exact("a.png"))));
    let elsewhere = terms_at("/other", exact_scope("a.png"), SystemTime::now() + HOUR);
    let json_terms = exact("a.png").body_type(CallbackBodyType::Json);
    let invalid = CallbackErrorKind::TicketInvalid;
    for (tickets, request, kind, rule, remedy) in [
        (
            &tickets,
            signed("bucket=examplebucket&object=a.png"),
            CallbackErrorKind::TicketMissing,
            "has no ticket",
            "issue tokens with the tickets of the layer",
        ),
        (
            &others,
            genuine(),
            invalid,
            "made with a key",
            "the same ticket keys",
        ),
        (
            &renumbered,
            genuine(),
            invalid,
            "made with a key",
            "keep an old key",
        ),
        (
            &tickets,
            signed(form("a.png", "AQABAAA")),
            invalid,
            "is forged, changed",
            "the same ticket keys",
        ),
        (
            &later,
            genuine(),
            invalid,
            "has expired",
            "check the clocks, the lifetime",
        ),
        (
            &tickets,
            signed(form("a.png", &mint(&elsewhere))),
            invalid,
            "is for another callback target",
            "check callback_url and proxy_prefix",
        ),
        (
            &tickets,
            signed(form("a.png", &mint(&json_terms))),
            invalid,
            "is for another body type",
            "something in front changes the content type",
        ),
        (
            &tickets,
            signed(form("b.png", &mint(&exact("a.png")))),
            CallbackErrorKind::OutsideGrant,
            "outside of what its ticket grants",
            "tower_aliyun_oss::rejection to DEBUG",
        ),
    ] {
        let layer = layer(tickets);
        let log = Log::default();
        let _guard = log.listen();
        for _ in 0..3 {
            refused(&layer, &request, kind);
        }
        assert_eq!(
            log.count("WARN tower_aliyun_oss::rejection", rule),
            1,
            "{rule}"
        );
        assert_eq!(log.count(rule, remedy), 1, "{remedy}");
        assert_eq!(log.count("WARN", ""), 1, "{rule}");
        for theirs in ["/oss/callback", "/other", "examplebucket", ".png", "AQAB"] {
            assert_eq!(log.count("WARN", theirs), 0, "{rule}: {theirs}");
        }
    }

    // A second upload with a ticket for one.
    let layer = layer(&tickets);
    let ticket = mint(&exact("a.png"));
    let log = Log::default();
    let _guard = log.listen();
    let outcome = now(send(
        layer.layer(Handler::default()),
        signed(form("a.png", &ticket)),
    ));
    assert_eq!(outcome.status, 200);
    assert_eq!(log.count("WARN", ""), 0);
    let again = signed(form("a.png", &ticket).replace("D41D", "D41E"));
    for _ in 0..3 {
        refused(&layer, &again, CallbackErrorKind::TicketUsed);
    }
    assert_eq!(log.count("WARN", "request a token for each file"), 1);
    assert_eq!(log.count("WARN", ""), 1);
}

fn exact_scope(object: &str) -> Scope {
    Scope::Exact(object.parse().unwrap())
}
