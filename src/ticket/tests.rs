//! Ticket cases RP-01 to RP-03 and RP-09 to RP-11. Those of the stores are in
//! `store/memory/tests.rs` and `tests/redis.rs`.

use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{
    fields::SealedFields,
    internal::{CheckedTicket, Scope, Terms, TermsError},
    store::{Attempt, Nonce, StoreError, StoreErrorKind, StoredReply, UseLimit},
    token, *,
};
use crate::protocol::{CallbackBodyType, CallbackTarget, ObjectPrefix, SizeRange, SystemVariable};

const FORM: CallbackBodyType = CallbackBodyType::Form;
const JSON: CallbackBodyType = CallbackBodyType::Json;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

const NOW: u64 = 1_800_000_000;
const EXPIRES: u64 = NOW + 4500;

fn key_bytes(seed: u8) -> Vec<u8> {
    (0..32).map(|i| seed.wrapping_add(i)).collect()
}

fn key(seed: u8) -> TicketKey {
    TicketKey::from_bytes(&key_bytes(seed)).unwrap()
}

fn keys() -> TicketKeys {
    TicketKeys::new(7, key(1))
}

fn nonce() -> Nonce {
    Nonce::from_bytes(*b"0123456789abcdef")
}

fn target(text: &str) -> CallbackTarget {
    text.parse().unwrap()
}

fn exact(bucket: &str, object: &str) -> Terms {
    Terms::new(
        bucket.parse().unwrap(),
        Scope::Exact(object.parse().unwrap()),
        SizeRange::new(1, 1000).unwrap(),
        &target("/oss/callback"),
        at(EXPIRES),
    )
}

fn terms() -> Terms {
    exact("examplebucket", "user/1/a.jpg")
        .content_types(["image/png".parse().unwrap(), "image/jpeg".parse().unwrap()])
        .claims(&("user", 1))
        .unwrap()
}

/// A field of every kind.
fn fields() -> [BodyField<'static>; 4] {
    [
        ("object", FieldValue::System(SystemVariable::Object)),
        ("x:uid", FieldValue::Custom("7")),
        ("plan", FieldValue::Constant(b"free")),
        ("x:ticket", FieldValue::Ticket),
    ]
    .map(|(name, value)| BodyField::new(name, value))
}

fn sealed() -> SealedFields {
    SealedFields::of(fields(), &nonce()).unwrap()
}

fn text() -> String {
    keys().issue(&terms(), fields(), at(NOW), nonce()).unwrap()
}

fn check(text: &str) -> Result<CheckedTicket, TicketError> {
    keys().check(text, &target("/oss/callback"), FORM, at(NOW))
}

/// Returns the ticket with modified bytes and its original MAC.
fn with_bytes(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(text()).unwrap();
    change(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns a text with a valid MAC over arbitrary content.
fn authentic(content: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([content, &mac(content)].concat())
}

fn mac(content: &[u8]) -> [u8; 32] {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key_bytes(1)).unwrap();
    mac.update(b"\x00\x09oss-cb-v1");
    mac.update(content);
    mac.finalize().into_bytes().into()
}

#[test]
fn a_ticket_says_what_was_granted() {
    let ticket = check(&text()).unwrap();
    assert_eq!(ticket.nonce(), nonce());
    assert_eq!(ticket.expires(), at(EXPIRES));
    assert_eq!(ticket.until(), at(EXPIRES + 60));
    assert!(ticket.is_exact());
    assert_eq!(ticket.use_limit(), UseLimit::Once);
    assert_eq!(ticket.bucket().as_str(), "examplebucket");
    assert_eq!(ticket.scope(), &terms().scope);
    assert_eq!(
        ticket.claims::<(String, u32)>().unwrap(),
        ("user".into(), 1)
    );
    assert_eq!(ticket.claims::<u32>(), Err(TicketError::Claims));
    assert_eq!(
        ticket.permits("examplebucket", "user/1/a.jpg", 1000, "image/png"),
        Ok(())
    );
    assert_eq!(
        ticket.permits("examplebucket", "user/1/a.jpg", 1, "Image/JPEG"),
        Ok(())
    );
    assert!(
        text().len() < 300,
        "a usual ticket is short: {}",
        text().len()
    );
}

#[test]
fn rp_01_absent_malformed_unknown_key_or_version() {
    assert_eq!(check("").unwrap_err(), TicketError::Absent);
    for malformed in [
        "a",
        "!!!!",
        "ticket",
        &"A".repeat(MAX_TICKET_LEN + 4),
        &"A".repeat(MAX_TICKET_LEN + 1),
        &text()[..40],
        "\u{0}",
        "票",
    ] {
        assert_eq!(
            check(malformed).unwrap_err(),
            TicketError::Malformed,
            "{malformed}"
        );
    }
    // An older layout and a newer one.
    for other in [2, 4] {
        let version = with_bytes(|bytes| bytes[0] = other);
        assert_eq!(check(&version).unwrap_err(), TicketError::UnknownVersion);
    }
    let key_id = with_bytes(|bytes| bytes[2] = 8);
    assert_eq!(check(&key_id).unwrap_err(), TicketError::UnknownKey);
    let another = TicketKeys::new(7, key(2));
    let forged = another.issue(&terms(), fields(), at(NOW), nonce()).unwrap();
    assert_eq!(check(&forged).unwrap_err(), TicketError::Mac);
    // Authentic, but not a ticket: another layout under the same version.
    assert_eq!(
        check(&authentic(&[3, 0, 7])).unwrap_err(),
        TicketError::Malformed
    );
}

#[test]
fn rp_02_any_bit_flipped_is_refused() {
    let text = text();
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let flipped = with_bytes(|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = check(&flipped).unwrap_err();
        let expected = match bit / 8 {
            0 => TicketError::UnknownVersion,
            1 | 2 => TicketError::UnknownKey,
            _ => TicketError::Mac,
        };
        assert_eq!(error, expected, "bit {bit}");
    }
    // And any bit of the text, even if the result is not Base64.
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone().into_bytes();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(flipped) = String::from_utf8(flipped) {
            assert!(check(&flipped).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn rp_02_a_ticket_has_one_spelling() {
    // One ticket for each length of the last Base64 group.
    for claims in ["a", "ab", "abc"] {
        let terms = terms().claims(claims).unwrap();
        let text = keys().issue(&terms, fields(), at(NOW), nonce()).unwrap();
        assert!(check(&text).is_ok());
        let last = text.chars().last().unwrap();
        for other in ('A'..='Z')
            .chain('a'..='z')
            .chain('0'..='9')
            .chain(['-', '_', '+', '/', '='])
        {
            let spelled = format!("{}{other}", &text[..text.len() - 1]);
            assert_eq!(check(&spelled).is_ok(), other == last, "{other}");
        }
        for other in [
            format!("{text}="),
            format!("{text}=="),
            format!("{text}A"),
            format!(" {text}"),
            format!("{text}\n"),
            text.replace('-', "+").replace('_', "/") + "=",
            format!("{text}{text}"),
        ] {
            assert!(check(&other).is_err(), "{other}");
        }
    }
}

#[test]
fn rp_02_another_bucket_object_target_body_type_size_or_type() {
    let ticket = check(&text()).unwrap();
    let permits = |bucket, object, size, kind| ticket.permits(bucket, object, size, kind);
    for (bucket, object, size, kind, error) in [
        (
            "otherbucket",
            "user/1/a.jpg",
            1,
            "image/png",
            TicketError::Bucket,
        ),
        ("", "user/1/a.jpg", 1, "image/png", TicketError::Bucket),
        (
            "examplebucket",
            "user/2/a.jpg",
            1,
            "image/png",
            TicketError::Object,
        ),
        (
            "examplebucket",
            "user/1/a.jpg/",
            1,
            "image/png",
            TicketError::Object,
        ),
        ("examplebucket", "", 1, "image/png", TicketError::Object),
        (
            "examplebucket",
            "user/1/a.jpg",
            0,
            "image/png",
            TicketError::Size,
        ),
        (
            "examplebucket",
            "user/1/a.jpg",
            1001,
            "image/png",
            TicketError::Size,
        ),
        (
            "examplebucket",
            "user/1/a.jpg",
            1,
            "text/html",
            TicketError::ContentType,
        ),
        (
            "examplebucket",
            "user/1/a.jpg",
            1,
            "image/png;a=b",
            TicketError::ContentType,
        ),
        (
            "examplebucket",
            "user/1/a.jpg",
            1,
            "",
            TicketError::ContentType,
        ),
    ] {
        assert_eq!(
            permits(bucket, object, size, kind),
            Err(error),
            "{object} {size} {kind}"
        );
    }
    for (other, body_type, error) in [
        ("/oss/callback?", FORM, TicketError::Target),
        ("/oss/callback/", FORM, TicketError::Target),
        ("/other", FORM, TicketError::Target),
        ("/oss/callback", JSON, TicketError::BodyType),
    ] {
        let refused = keys().check(&text(), &target(other), body_type, at(NOW));
        assert_eq!(refused.unwrap_err(), error, "{other}");
    }
}

#[test]
fn a_prefix_grants_what_lies_under_it() {
    let prefix: ObjectPrefix = "user/1/".parse().unwrap();
    let max_uses = NonZeroU16::new(3).unwrap();
    for (grant, limit) in [
        (Scope::prefix(prefix.clone()), 100),
        (Scope::Prefix { prefix, max_uses }, 3),
    ] {
        let terms = Terms {
            scope: grant,
            ..exact("examplebucket", "unused")
        };
        let ticket = check(&keys().issue(&terms, fields(), at(NOW), nonce()).unwrap()).unwrap();
        assert!(!ticket.is_exact());
        assert_eq!(
            ticket.use_limit(),
            UseLimit::Texts(NonZeroU16::new(limit).unwrap())
        );
        assert_eq!(
            ticket.claims::<Option<u32>>(),
            Ok(None),
            "no claims were made"
        );
        let object = |object| ticket.permits("examplebucket", object, 5, "any/thing");
        // OSS stores an empty segment, so the callback for it is genuine.
        for under in ["user/1/b/c.jpg", "user/1//a", "user/1/"] {
            assert_eq!(object(under), Ok(()), "{under}");
        }
        for outside in [
            "user/10/a",
            "user/1",
            "user/2/a",
            "user/1/../2/a",
            "user/1/%2e%2E/2/a",
            "/user/1/a",
        ] {
            assert_eq!(object(outside), Err(TicketError::Object), "{outside}");
        }
    }
}

#[test]
fn several_targets_are_each_accepted() {
    let terms = terms()
        .also_target(&target("/b"))
        .also_target(&target("/a?x=1"));
    let text = keys().issue(&terms, fields(), at(NOW), nonce()).unwrap();
    for known in ["/oss/callback", "/b", "/a?x=1"] {
        assert!(keys().check(&text, &target(known), FORM, at(NOW)).is_ok());
    }
    let refused = keys().check(&text, &target("/a"), FORM, at(NOW));
    assert_eq!(refused.unwrap_err(), TicketError::Target);
    let many = (0..5).fold(terms, |terms, i| {
        terms.also_target(&target(&format!("/{i}")))
    });
    assert_eq!(
        keys().issue(&many, fields(), at(NOW), nonce()),
        Err(TermsError::TooManyTargets)
    );
}

#[test]
fn rp_03_the_edges_of_expiry() {
    assert_eq!(MAX_LIFETIME.as_secs(), 691_200);
    let check_at = |now| keys().check(&text(), &target("/oss/callback"), FORM, now);
    let refused = |now| check_at(now).map(drop);
    assert_eq!(refused(at(EXPIRES + 61)), Err(TicketError::Expired));
    assert_eq!(
        refused(at(EXPIRES + 60) + Duration::from_nanos(1)),
        Err(TicketError::Expired)
    );
    assert_eq!(refused(at(EXPIRES + 60)), Ok(()));
    assert_eq!(refused(at(EXPIRES + 59)), Ok(()));
    assert_eq!(refused(at(EXPIRES)), Ok(()));
    assert_eq!(refused(at(NOW)), Ok(()));
    let most = MAX_LIFETIME.as_secs() + 60;
    assert_eq!(refused(at(EXPIRES - most)), Ok(()));
    assert_eq!(refused(at(EXPIRES - most - 1)), Err(TicketError::TooFar));
    // A clock before 1970, and the latest representable time.
    assert_eq!(refused(at(0)), Err(TicketError::TooFar));
    assert_eq!(
        refused(SystemTime::UNIX_EPOCH - Duration::from_secs(5)),
        Err(TicketError::TooFar)
    );
    assert_eq!(
        refused(at(i64::MAX.unsigned_abs())),
        Err(TicketError::Expired)
    );

    let minted = |expires, now| {
        let terms = Terms { expires, ..terms() };
        keys().issue(&terms, fields(), now, nonce()).map(drop)
    };
    assert_eq!(minted(at(NOW), at(NOW)), Err(TermsError::Expired));
    assert_eq!(minted(at(NOW - 1), at(NOW)), Err(TermsError::Expired));
    assert_eq!(
        minted(at(NOW) + Duration::from_millis(999), at(NOW)),
        Err(TermsError::Expired)
    );
    assert_eq!(minted(at(NOW + 1), at(NOW)), Ok(()));
    assert_eq!(minted(at(0), at(NOW)), Err(TermsError::Expired));
    assert_eq!(minted(at(NOW) + MAX_LIFETIME, at(NOW)), Ok(()));
    assert_eq!(
        minted(at(NOW + 1) + MAX_LIFETIME, at(NOW)),
        Err(TermsError::TooFar)
    );
    assert_eq!(
        minted(at(i64::MAX.unsigned_abs()), at(NOW)),
        Err(TermsError::TooFar)
    );

    // Authentic, with an expiry that `mint` never issues.
    for (expires, error) in [
        (0, TicketError::Expired),
        (u64::MAX, TicketError::TooFar),
        (i64::MAX.unsigned_abs(), TicketError::TooFar),
    ] {
        let content = token::write(7, expires, &nonce(), &terms(), &sealed()).unwrap();
        assert_eq!(check(&authentic(&content)).unwrap_err(), error, "{expires}");
    }
}

#[test]
fn rp_10_an_old_key_is_accepted_until_its_last_ticket_has_expired() {
    let old = TicketKeys::new(1, key(1));
    let text = old.issue(&terms(), fields(), at(NOW), nonce()).unwrap();
    let rotated = TicketKeys::new(2, key(2)).with_previous(1, key(1)).unwrap();
    let check =
        |keys: &TicketKeys, text: &str, now| keys.check(text, &target("/oss/callback"), FORM, now);

    assert!(check(&rotated, &text, at(EXPIRES + 60)).is_ok());
    assert_eq!(
        check(&rotated, &text, at(EXPIRES + 61)).unwrap_err(),
        TicketError::Expired
    );
    let new = rotated.issue(&terms(), fields(), at(NOW), nonce()).unwrap();
    assert!(check(&rotated, &new, at(NOW)).is_ok());
    assert_eq!(
        check(&old, &new, at(NOW)).unwrap_err(),
        TicketError::UnknownKey
    );
    // The old key is removed.
    let later = TicketKeys::new(2, key(2));
    assert_eq!(
        check(&later, &text, at(NOW)).unwrap_err(),
        TicketError::UnknownKey
    );
    // A reused id does not accept tickets of the first key.
    let reused = TicketKeys::new(1, key(3));
    assert_eq!(
        check(&reused, &text, at(NOW)).unwrap_err(),
        TicketError::Mac
    );

    let taken = rotated.clone().with_previous(2, key(4)).unwrap_err();
    assert_eq!(taken, TicketKeyError::DuplicateId(2));
    let full = (3..17).try_fold(rotated, |keys, id| keys.with_previous(id, key(4)));
    let full = full.unwrap();
    assert_eq!(
        full.with_previous(99, key(4)).unwrap_err(),
        TicketKeyError::TooMany
    );
}

#[test]
fn rp_11_a_clock_that_jumps_an_hour_is_survived() {
    let check_at = |now| keys().check(&text(), &target("/oss/callback"), FORM, at(now));
    assert!(check_at(NOW - 3600).is_ok());
    assert!(check_at(NOW + 3600).is_ok());
    assert_eq!(check_at(EXPIRES + 3600).unwrap_err(), TicketError::Expired);
}

#[test]
fn the_longest_ticket_leaves_room_in_a_callback() {
    let key = "k".repeat(1023);
    let bucket = "b".repeat(63);
    let longest = exact(&bucket, &key)
        .claims(&"c".repeat(1022))
        .unwrap()
        .also_target(&target("/1"));
    let longest = longest.content_types(["image/png".parse().unwrap()]);
    let text = keys().issue(&longest, fields(), at(NOW), nonce()).unwrap();
    assert!(text.len() <= MAX_TICKET_LEN, "{}", text.len());
    assert!(check(&text).is_ok());

    let types = (0..64).map(|i| format!("application/x-{i:050}").parse().unwrap());
    let longer = longest.clone().content_types(types);
    assert!(matches!(
        keys().issue(&longer, fields(), at(NOW), nonce()),
        Err(TermsError::TooLong(n)) if n > MAX_TICKET_LEN
    ));
    let types = (0..65).map(|i| format!("a/{i}").parse().unwrap());
    assert_eq!(
        keys().issue(
            &longest.clone().content_types(types),
            fields(),
            at(NOW),
            nonce()
        ),
        Err(TermsError::TooManyContentTypes)
    );
    assert_eq!(
        longest.claims(&"c".repeat(1023)).unwrap_err(),
        TermsError::ClaimsTooLong(1025)
    );
}

#[test]
fn the_requested_file_name_is_read_back() {
    let mint = |terms: &Terms| keys().issue(terms, fields(), at(NOW), nonce()).unwrap();
    let longest = "中".repeat(341);
    for name in [
        "a.png",
        "../../etc/passwd",
        "a\u{202e}gnp.exe\0\r\n",
        "${object}\"&x:ticket=",
        &longest,
    ] {
        let text = mint(&terms().filename(name));
        assert_eq!(check(&text).unwrap().filename(), Some(name));
    }
    // Without a name, and with an empty one, the ticket is the same.
    assert_eq!(check(&text()).unwrap().filename(), None);
    assert_eq!(mint(&terms().filename("")), text());
    assert_eq!(mint(&terms().filename("a").filename("")), text());
}

#[test]
fn a_file_name_that_does_not_fit_is_an_error() {
    let mint = |name: usize| {
        let terms = exact(&"b".repeat(63), &"k".repeat(1023)).filename(&"n".repeat(name));
        let terms = terms.claims(&"c".repeat(200)).unwrap();
        keys().issue(&terms, fields(), at(NOW), nonce())
    };
    let room = token::MAX_BYTES - URL_SAFE_NO_PAD.decode(mint(0).unwrap()).unwrap().len();
    let longest = mint(room).unwrap();
    assert_eq!(longest.len(), MAX_TICKET_LEN);
    assert_eq!(
        check(&longest).unwrap().filename().map(str::len),
        Some(room)
    );
    let longer = mint(room + 1).unwrap_err();
    assert_eq!(longer, TermsError::TooLong(MAX_TICKET_LEN + 2));
    // A length that the prefix of two bytes cannot hold.
    let unwritable = mint(0x1_0000).unwrap_err();
    assert_eq!(unwritable, TermsError::TooLong(0x1_0000));
}

#[test]
fn the_longest_ticket_is_taken() {
    let mint = |claims: usize| {
        let types = (0..8).map(|i| format!("application/x-{i:020}").parse().unwrap());
        let terms = exact(&"b".repeat(63), &"k".repeat(1023))
            .content_types(types)
            .claims(&"c".repeat(claims));
        keys().issue(&terms.unwrap(), fields(), at(NOW), nonce())
    };
    let without = URL_SAFE_NO_PAD.decode(mint(0).unwrap()).unwrap().len();
    let room = token::MAX_BYTES - without;
    let longest = mint(room).unwrap();
    assert_eq!(longest.len(), MAX_TICKET_LEN);
    check(&longest).unwrap();
    let longer = mint(room + 1).unwrap_err();
    assert_eq!(longer, TermsError::TooLong(MAX_TICKET_LEN + 2));
}

#[test]
fn a_ticket_is_for_as_many_targets_as_a_callback_has() {
    let mut terms = exact("examplebucket", "a");
    for n in 1..Terms::MAX_TARGETS {
        terms = terms.also_target(&target(&format!("/{n}")));
    }
    assert!(keys().issue(&terms, fields(), at(NOW), nonce()).is_ok());
    let more = terms.also_target(&target("/more"));
    let refused = keys().issue(&more, fields(), at(NOW), nonce()).unwrap_err();
    assert_eq!(refused, TermsError::TooManyTargets);
}

#[test]
fn without_random_numbers_there_is_no_ticket() {
    assert!(
        TicketKeyError::Random
            .to_string()
            .contains("no random numbers")
    );
}

#[test]
fn settings_of_tickets() {
    let tickets = Tickets::in_memory(keys());
    let ticket = check(&text()).unwrap();
    let attempt = |tickets: &Tickets| tickets.attempt(&ticket, [1; 32], at(NOW)).unwrap();
    let lease = |tickets: &Tickets| attempt(tickets).lease_time();

    assert!(tickets.frees_on_failure());
    assert!(!tickets.runs_without_store());
    assert!(!tickets.can_be_absent(at(0)));
    let short = tickets.clone().lease(Duration::from_secs(9));
    assert_eq!(lease(&short), Duration::from_secs(9));

    let once = short.on_failure(OnFailure::AtMostOnce);
    assert!(!once.frees_on_failure());
    // Killed before the handler is called, the ticket is free when the lease ends.
    assert_eq!(lease(&once), Duration::from_secs(9));
    assert!(attempt(&once).is_at_most_once() && !attempt(&tickets).is_at_most_once());

    let starts = |tickets: &Tickets| attempt(tickets).max_starts();
    let per_use = u32::from(ticket.use_limit().get());
    assert_eq!(starts(&tickets), per_use * 5);
    assert_eq!(starts(&tickets.clone().max_attempts(2)), per_use * 2);
    assert_eq!(starts(&tickets.clone().max_attempts(0)), per_use);

    let lenient = tickets.dangerous_accept_without_ticket_until(at(NOW));
    assert!(lenient.can_be_absent(at(NOW - 1)));
    assert!(!lenient.can_be_absent(at(NOW)));
    assert!(
        lenient
            .dangerous_run_when_store_fails()
            .runs_without_store()
    );
}

#[test]
fn attempts_are_counted() {
    let attempt = Attempt::new(nonce(), [1; 32], UseLimit::Once, at(EXPIRES), at(NOW)).unwrap();
    let second = attempt.clone().again(at(NOW));
    let third = second.clone().again(at(NOW));
    assert_eq!([&attempt, &second, &third].map(Attempt::round), [0, 1, 2]);
    assert_eq!(attempt.fence(), third.fence());
}

#[test]
fn keys_are_long_random_and_not_shown() {
    for length in [0, 31, 1025] {
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let refused = TicketKey::from_bytes(&bytes).unwrap_err();
        assert_eq!(refused, TicketKeyError::Length(length));
    }
    assert_eq!(
        TicketKey::from_bytes(&[0; 32]).unwrap_err(),
        TicketKeyError::Uniform
    );
    let base64 = "R9ELuV7H0+1D0zn6CAbYXrpPEMqXxGXnDhLg4Lf0bLA=";
    assert!(TicketKey::from_base64(base64).is_ok());
    for stray in [
        format!("{base64}\n"),
        format!(" {base64}"),
        base64.replace('=', ""),
        base64.replace('+', "-"),
    ] {
        assert_eq!(
            TicketKey::from_base64(&stray).unwrap_err(),
            TicketKeyError::NotBase64
        );
    }
    assert_eq!(
        TicketKey::from_base64("").unwrap_err(),
        TicketKeyError::Empty
    );
    let (one, two) = (
        TicketKey::generate().unwrap(),
        TicketKey::generate().unwrap(),
    );
    let mac_of = |key: &TicketKey| hmac::Mac::finalize(key.mac());
    assert!(mac_of(&one) != mac_of(&two));
    let canary = TicketKey::from_bytes(b"canary-canary-canary-canary-canary").unwrap();
    let shown = format!("{:?} {canary:?}", TicketKeys::new(1, canary.clone()));
    assert!(
        !shown.contains("canary") && !shown.contains("99"),
        "{shown}"
    );
}

#[test]
fn claims_and_answers_are_not_shown() {
    let terms = terms().claims("canary").unwrap().filename("canary.png");
    let ticket = check(&keys().issue(&terms, fields(), at(NOW), nonce()).unwrap()).unwrap();
    assert!(!format!("{terms:?} {ticket:?}").contains("canary"));
    assert!(format!("{terms:?}").starts_with("Terms { bucket: Bucket"));
    assert!(format!("{ticket:?}").starts_with("CheckedTicket { nonce: Nonce"));
    let reply = StoredReply::new(http::StatusCode::OK, None, "canary").unwrap();
    assert!(!format!("{reply:?}").contains("canary"));
}

#[test]
fn refusing_a_ticket_allocates_nothing() {
    let (keys, target) = (keys(), target("/oss/callback"));
    let texts = [
        String::new(),
        "A".repeat(MAX_TICKET_LEN),
        with_bytes(|bytes| bytes[20] ^= 1),
    ];
    for text in texts {
        let allocated = allocation_counter::measure(|| {
            assert!(keys.check(&text, &target, FORM, at(NOW)).is_err());
        });
        assert_eq!(allocated.count_total, 0);
    }
}

#[test]
fn answers_are_bounded_and_read_back() {
    use http::{HeaderValue, StatusCode};
    let json = HeaderValue::from_static("application/json");
    let reply = StoredReply::new(StatusCode::ACCEPTED, Some(json.clone()), "{}").unwrap();
    assert_eq!(reply.content_type(), Some(&json));
    assert_eq!(reply.to_bytes(), b"\x00\xca\x10application/json{}");
    assert_eq!(StoredReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
    let long = vec![b'x'; StoredReply::MAX_BODY_LEN + 1];
    let kind = |result: Result<StoredReply, StoreError>| result.unwrap_err().kind();
    assert_eq!(
        kind(StoredReply::new(StatusCode::OK, None, long)),
        StoreErrorKind::ReplyTooLong
    );
    let long = HeaderValue::from_str(&"x".repeat(256)).unwrap();
    assert_eq!(
        kind(StoredReply::new(StatusCode::OK, Some(long), "")),
        StoreErrorKind::ReplyTooLong
    );
    for unreadable in [
        &b""[..],
        b"\0",
        b"\0\xc8",
        b"\0\xc8\x05abcd",
        b"\0\0\0",
        b"\0\xc8\x01\n",
    ] {
        assert_eq!(
            kind(StoredReply::from_bytes(unreadable)),
            StoreErrorKind::Unreadable
        );
    }
}

prop_compose! {
    fn any_terms()(
        bucket in "[a-z0-9]{3,10}",
        name in "[a-z|,:=\u{e4}]{1,8}",
        prefix in any::<Option<NonZeroU16>>(),
        (min, max) in (0_u64..50, 50_u64..100),
        targets in prop::collection::vec("/[a-z]{0,3}(\\?[a-z=&]{0,3})?", 1..5),
        expires in NOW + 1..NOW + 1000,
        json in any::<bool>(),
        types in prop::collection::vec("[a-z]{1,3}/[a-z]{1,3}", 0..4),
        claims in prop::option::of("[ -~\u{e4}\0\n]{0,8}"),
        filename in "[a-z./\u{e4}\u{202e}\0\n]{0,8}",
    ) -> Terms {
        let grant = match prefix {
            None => Scope::Exact(name.parse().unwrap()),
            Some(max_uses) => {
                let prefix = format!("{name}/").parse().unwrap();
                Scope::Prefix { prefix, max_uses }
            }
        };
        let first = target(&targets[0]);
        let sizes = SizeRange::new(min, max).unwrap();
        let terms = Terms::new(bucket.parse().unwrap(), grant, sizes, &first, at(expires))
            .body_type(if json { JSON } else { FORM })
            .content_types(types.iter().map(|kind| kind.parse().unwrap()))
            .filename(&filename);
        let terms = targets.iter().fold(terms, |terms, text| terms.also_target(&target(text)));
        match claims {
            None => terms,
            Some(claims) => terms.claims(&claims).unwrap(),
        }
    }
}

prop_compose! {
    fn any_sealed()(
        kinds in prop::collection::vec(prop_oneof![0_u8..14, 0x80..0x83_u8], 0..6),
        digest in any::<[u8; 16]>(),
    ) -> SealedFields {
        SealedFields::from_parts(kinds, digest).unwrap()
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,400}", tail in "[A-Za-z0-9_-]{0,400}") {
        prop_assert!(check(&text).is_err());
        prop_assert!(check(&tail).is_err());
    }

    /// Not even the holder of the key can make the parser panic.
    #[test]
    fn any_authentic_content_is_answered(
        mut content in prop::collection::vec(any::<u8>(), 3..300),
    ) {
        content[..3].copy_from_slice(&[3, 0, 7]);
        let _ = check(&authentic(&content));
    }

    /// Nor can a valid ticket that was truncated, extended, or changed in one byte. Whatever
    /// still parses serializes to the same bytes.
    #[test]
    fn what_is_read_has_one_spelling(
        terms in any_terms(),
        sealed in any_sealed(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut content = token::write(7, NOW + 5, &nonce(), &terms, &sealed).unwrap();
        let at = place.index(content.len());
        prop_assert!(token::read(&content[..at]).is_none());
        prop_assert!(token::read(&[&content[..], &[byte]].concat()).is_none());
        content[at] = byte;
        if let Some(read) = token::read(&content) {
            let head = token::Head::read(&content).unwrap();
            let (nonce, terms, sealed) = (&read.nonce, &read.terms, &read.sealed);
            let expires = seconds(terms.expires);
            let again = token::write(head.key_id, expires, nonce, terms, sealed).unwrap();
            prop_assert_eq!(again, content);
        }
    }

    #[test]
    fn what_is_minted_is_read_back(terms in any_terms(), nonce in any::<[u8; 16]>()) {
        let nonce = Nonce::from_bytes(nonce);
        let text = keys().issue(&terms, fields(), at(NOW), nonce).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let read = token::read(&bytes[..bytes.len() - 32]).unwrap();
        prop_assert!(read.terms == terms);
        prop_assert_eq!(Some(read.sealed), SealedFields::of(fields(), &nonce));
        prop_assert_eq!(read.nonce, nonce);
    }

    /// RP-09: distinct terms have distinct bytes, whatever delimiters the fields contain.
    #[test]
    fn rp_09_other_terms_make_another_ticket(one in any_terms(), two in any_terms()) {
        let written = |terms| token::write(7, NOW, &nonce(), terms, &sealed()).unwrap();
        // Both get the same expiry, so that it does not distinguish them.
        let two = Terms { expires: one.expires, ..two };
        prop_assert_eq!(one == two, written(&one) == written(&two));
    }

    /// RP-09: moving a character from one field into the next changes the bytes.
    #[test]
    fn rp_09_fields_do_not_run_into_each_other(
        text in "[a-z]{8,20}",
        cut in 3_usize..7,
        other in 3_usize..7,
    ) {
        let split = |at: usize| exact(&text[..at], &text[at..]);
        let minted = |at| keys().issue(&split(at), fields(), at_now(), nonce()).unwrap();
        prop_assert_eq!(cut == other, minted(cut) == minted(other));
    }

    #[test]
    fn answers_are_read_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(reply) = StoredReply::from_bytes(&bytes) {
            prop_assert_eq!(reply.to_bytes(), bytes);
        }
    }
}

/// A check that decodes the whole ticket before it looks at any field, and that keys each MAC.
fn check_after_decoding(
    text: &str,
    path: &CallbackTarget,
    body_type: CallbackBodyType,
    now: u64,
) -> Result<(), TicketError> {
    if text.is_empty() {
        return Err(TicketError::Absent);
    }
    let bytes = match URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) if text.len() <= MAX_TICKET_LEN && bytes.len() >= 35 => bytes,
        _ => return Err(TicketError::Malformed),
    };
    let (content, tag) = bytes.split_at(bytes.len() - 32);
    if content[0] != 3 {
        return Err(TicketError::UnknownVersion);
    }
    if content[1..3] != [0, 7] {
        return Err(TicketError::UnknownKey);
    }
    if mac(content) != tag {
        return Err(TicketError::Mac);
    }
    let content = token::read(content).ok_or(TicketError::Malformed)?;
    let expires = seconds(content.terms.expires);
    if now > expires.saturating_add(60) {
        return Err(TicketError::Expired);
    }
    if expires > now + 8 * 86_400 + 60 {
        return Err(TicketError::TooFar);
    }
    let digest = <sha2::Sha256 as sha2::Digest>::digest(path.as_str());
    if !content
        .terms
        .targets
        .iter()
        .any(|known| known.0 == digest[..16])
    {
        return Err(TicketError::Target);
    }
    if content.terms.body_type != body_type {
        return Err(TicketError::BodyType);
    }
    Ok(())
}

proptest! {
    /// The expiry is read before the rest is decoded, from a place that the format fixes. Nothing
    /// but an unreadable ticket can tell the difference: it may be called expired instead.
    #[test]
    fn a_check_is_the_same_as_one_that_decodes_first(
        terms in any_terms(),
        sealed in any_sealed(),
        path in "/[a-z]{0,3}",
        is_json in any::<bool>(),
        expires in prop_oneof![
            NOW - 70..NOW + 70,
            NOW + 8 * 86_400 - 70..NOW + 8 * 86_400 + 70,
            any::<u64>(),
        ],
        change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        is_resealed in any::<bool>(),
        cut in 0_usize..3,
    ) {
        let mut content = token::write(7, expires, &nonce(), &terms, &sealed).unwrap();
        let mut tag = mac(&content);
        if let Some((place, byte)) = change {
            let at = place.index(content.len());
            content[at] = byte;
        }
        content.truncate(content.len() - cut);
        if is_resealed {
            tag = mac(&content);
        }
        let text = URL_SAFE_NO_PAD.encode([&content[..], &tag].concat());
        let (path, body_type) = (target(&path), if is_json { JSON } else { FORM });
        let checked = keys().check(&text, &path, body_type, at(NOW)).map(drop);
        let expected = check_after_decoding(&text, &path, body_type, NOW);
        if expected == Err(TicketError::Malformed) {
            let unreadable = [TicketError::Malformed, TicketError::Expired, TicketError::TooFar];
            prop_assert!(checked.is_err_and(|error| unreadable.contains(&error)));
        } else {
            prop_assert_eq!(checked, expected);
        }
    }
}

fn at_now() -> SystemTime {
    at(NOW)
}
