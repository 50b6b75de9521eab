//! `Display` of errors, and `Debug` of values.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use tower_aliyun_oss::{
    Lookup,
    key::{KeyError, KeySource as _, KeyTable, KeyUrl, KeyUrlError, PinnedKeys, PublicKeyError},
    protocol::{
        Bucket, CallbackBodyType, CallbackTarget, EndpointError, ObjectAcl, ObjectError,
        SystemVariable, TargetError,
    },
    storage::{StorageError, StorageErrorKind},
    ticket::{
        MemoryStore, TicketError, TicketKey, TicketKeyError, TicketKeys, Tickets,
        internal::TermsError,
        store::{
            Attempt, Begin, Nonce, ReplayStore as _, StoreError, StoreErrorKind, StoredReply,
            UseLimit,
        },
    },
};

/// Asserts that each error has a distinct text: lower-case start, one clause, no full stop.
#[track_caller]
fn say<E: Error>(errors: impl IntoIterator<Item = (E, &'static str)>) {
    let mut texts = BTreeSet::new();
    for (error, part) in errors {
        let text = error.to_string();
        assert!(text.contains(part), "{error:?}: {text}");
        assert!(text.len() <= 200, "{text}");
        assert!(text.starts_with(|c: char| c.is_ascii_lowercase()), "{text}");
        assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
        assert!(
            texts.insert(text),
            "{error:?} has the same text as another error"
        );
    }
}

#[test]
fn errors_of_keys() {
    use KeyUrlError as Url;
    use PublicKeyError as Key;
    say([
        (Key::NotPem, "PEM"),
        (Key::Malformed, "DER"),
        (Key::NotRsa, "not an RSA key"),
        (Key::Parameters, "NULL"),
        (Key::Exponent, "65537"),
        (Key::Size, "512 to 4096 bits"),
        (Key::Modulus, "odd"),
    ]);
    say([
        (Url::TooLong, "512 bytes"),
        (Url::NotBase64, "Base64"),
        (Url::NotAllowed, "table"),
        (Url::Host, "host:port"),
        (Url::Path, "slash"),
        (Url::DuplicatePath, "twice"),
        (Url::PathCount, "1000"),
        (Url::ShortKey(512), "this one has 512"),
    ]);
    let unavailable = KeyError::Unavailable(Arc::new(Url::TooLong));
    let source = unavailable.source().unwrap();
    assert_eq!(source.to_string(), Url::TooLong.to_string());
    assert!(KeyError::Unknown.source().is_none());
    say([
        (unavailable, "failed to obtain"),
        (KeyError::Unknown, "pin it"),
    ]);
}

#[test]
fn errors_of_a_storage() {
    use StorageErrorKind as Kind;
    let kinds = [
        (Kind::NotFound, "does not exist"),
        (Kind::Credentials, "check their provider"),
        (Kind::Denied, "RAM policy"),
        (Kind::Rejected, "check the bucket"),
        (Kind::Throttled, "too many"),
        (Kind::Unavailable, "no connection"),
        (Kind::TimedOut, "in time"),
        (Kind::Tls, "root certificates"),
        (Kind::Unreadable, "not one of OSS"),
    ];
    say(kinds.map(|(kind, part)| (StorageError::from(kind), part)));
    for (kind, _) in kinds {
        let error = StorageError::with_source(kind, KeyUrlError::TooLong);
        assert_eq!((error.kind(), error.status()), (kind, None));
        assert!(error.source().unwrap().is::<KeyUrlError>());
    }
}

#[test]
fn errors_of_the_protocol() {
    use EndpointError as Endpoint;
    use ObjectError as Object;
    use TargetError as Target;
    say([
        (Endpoint::BucketLength(2), "3 to 63 characters, not 2"),
        (Endpoint::BucketCharacters, "lower-case letters"),
        (Endpoint::RegionPrefix, "oss-"),
        (Endpoint::RegionCharacters, "1 to 63"),
        (Endpoint::NotAUrl, "https://bucket.endpoint"),
        (Endpoint::Scheme, "http://"),
        (Endpoint::Host, "user name"),
        (Endpoint::QueryOrFragment, "query"),
    ]);
    say([
        (Object::Empty, "empty"),
        (Object::TooLong(1024), "not 1024"),
        (Object::LeadingSlash, "start with a slash"),
        (Object::EmptySegment, "empty segment"),
        (Object::DotSegment, "\"..\""),
        (Object::Character('\u{202e}'), "\\u{202e}"),
        (Object::Dollar, "\"$\""),
        (Object::NoTrailingSlash, "end in a slash"),
        (Object::SizeReversed, "above the largest"),
        (Object::SizeTooLarge, "48.8 TiB"),
        (Object::ContentTypeForm, "type/subtype"),
        (Object::ContentTypeWildcard, "wildcard"),
    ]);
    say([
        (Target::NotOriginForm, "start with a slash"),
        (Target::Plus, "plus"),
        (Target::Encoded, "escape"),
        (Target::Escape, "escape"),
        (Target::Control, "control byte"),
        (Target::Spelling, "rewrite"),
        (Target::Coincides("/a\n".into()), "\"/a\\n\""),
        (Target::NotUtf8, "UTF-8"),
        (Target::Character, "unencoded"),
        (Target::DotSegment, "\"..\""),
        (Target::EmptySegment, "empty segment"),
        (Target::NotConfigured, "configured"),
        (Target::InvalidPath("/a\n".into()), "\"/a\\n\""),
    ]);
}

#[test]
fn errors_of_tickets() {
    use StoreErrorKind as Store;
    use TermsError as Terms;
    use TicketError as Ticket;
    use TicketKeyError as Key;
    say([
        (Ticket::Absent, "no ticket"),
        (Ticket::Repeated, "more than one"),
        (Ticket::Malformed, "malformed"),
        (Ticket::UnknownVersion, "unknown version"),
        (Ticket::UnknownKey, "unknown key"),
        (Ticket::Mac, "not authentic"),
        (Ticket::Expired, "has expired"),
        (Ticket::TooFar, "clocks"),
        (Ticket::Target, "another callback target"),
        (Ticket::BodyType, "other type of callback body"),
        (Ticket::Unreadable, "callbackBody"),
        (Ticket::Fields, "fields"),
        (Ticket::Unsubstituted, "percent-encoded as a whole"),
        (Ticket::Bucket, "another bucket"),
        (Ticket::Object, "another object"),
        (Ticket::Size, "size"),
        (Ticket::ContentType, "type"),
        (Ticket::Claims, "claims"),
    ]);
    say([
        (Key::Unset, "not set"),
        (Key::Empty, "empty"),
        (Key::NotBase64, "Base64"),
        (Key::Length(31), "not 31"),
        (Key::Uniform, "one byte repeated"),
        (Key::DuplicateId(7), "id 7"),
        (Key::TooMany, "at most 16"),
        (Key::Random, "no random numbers"),
        (
            Key::Variable("a".into(), Key::Unset.into()),
            "a: the ticket key is not set",
        ),
    ]);
    say([
        (Terms::ClaimsNotJson, "JSON"),
        (Terms::ClaimsTooLong(2000), "2000 bytes"),
        (Terms::Expired, "expire later"),
        (Terms::TooFar, "eight days"),
        (Terms::TooManyTargets, "5 targets"),
        (Terms::TooManyContentTypes, "64 content types"),
        (Terms::TooManyFields, "255 fields"),
        (Terms::TooLong(4000), "4000 characters, and at most 3072"),
    ]);
    let kinds = [
        (Store::Unavailable, "cannot be reached"),
        (Store::TimedOut, "in time"),
        (Store::Full, "full"),
        (Store::LeaseLost, "lease"),
        (Store::ReplyNotKept, "room for replies"),
        (Store::Unreadable, "unreadable"),
        (Store::Url, "URL"),
        (Store::ReplyTooLong, "255 bytes"),
        (Store::Tls, "certificate"),
        (Store::Denied, "password"),
        (Store::Loading, "starting"),
        (Store::ReadOnly, "primary"),
        (Store::Moved, "RedisStore::cluster"),
        (Store::Refused, "refused a command"),
    ];
    say(kinds.map(|(kind, part)| (StoreError::from(kind), part)));
    let caused = StoreError::with_source(Store::Unavailable, Ticket::Mac);
    let source = caused.source().unwrap();
    assert_eq!(source.to_string(), Ticket::Mac.to_string());
    assert!(StoreError::from(Store::Full).source().is_none());
}

#[test]
fn values_of_the_protocol_are_written_as_oss_does() {
    for (acl, text) in [
        (ObjectAcl::Private, "private"),
        (ObjectAcl::PublicRead, "public-read"),
        (ObjectAcl::Bucket, "default"),
    ] {
        assert_eq!((acl.as_str(), acl.to_string().as_str()), (text, text));
    }
    let form = CallbackBodyType::Form.to_string();
    assert_eq!(form, "application/x-www-form-urlencoded");
    let width = SystemVariable::ImageWidth.to_string();
    assert_eq!(width, "imageInfo.width");
    let bucket: Bucket = "examplebucket".parse().unwrap();
    assert_eq!(bucket.to_string(), "examplebucket");
    let target: CallbackTarget = "/cb?a=b".parse().unwrap();
    assert_eq!(
        (target.to_string().as_str(), target.query()),
        ("/cb?a=b", Some("a=b"))
    );
    let bare: CallbackTarget = "/cb".parse().unwrap();
    assert_eq!(bare.query(), None);
}

#[test]
fn keys_show_where_they_stand() {
    // "https://gosspublic.alicdn.com/callback_pub_key_v1.pem"
    let header = b"aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0=";
    let url = KeyUrl::from_header(header, &KeyTable::official()).unwrap();
    assert_eq!(url.host(), "gosspublic.alicdn.com");
    assert_eq!(url.path(), "/callback_pub_key_v1.pem");
    assert_eq!(url.official_version(), Some(1));
    let shown = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";
    assert_eq!(url.to_string(), shown);
    assert_eq!(format!("{url:?}"), format!("KeyUrl({shown})"));
    let found = PinnedKeys::official().key(&url);
    let shown = format!("{found:?}");
    assert!(shown.starts_with("Ready(Ok(PublicKey"), "{shown}");
    assert!(shown.contains("512"), "{shown}");
    let pending = Lookup::<(), _>::Pending(Box::pin(async { Err(KeyError::Unknown) }));
    assert_eq!(format!("{pending:?}"), "Pending(..)");
    // "https://store.internal/a.pem"
    let own = KeyTable::own("store.internal", ["/a.pem"]).unwrap();
    let url = KeyUrl::from_header(b"aHR0cHM6Ly9zdG9yZS5pbnRlcm5hbC9hLnBlbQ==", &own).unwrap();
    assert_eq!(url.official_version(), None);
}

#[tokio::test(start_paused = true)]
async fn what_stores_and_tickets_show() {
    let store = MemoryStore::new();
    assert!(store.is_empty());
    let now = SystemTime::now();
    let until = now + Duration::from_secs(60);
    let nonce = Nonce::from_bytes([0xab; 16]);
    assert_eq!(format!("{nonce:?}"), format!("Nonce({})", "ab".repeat(16)));
    let attempt = || Attempt::new(nonce, [7; 32], UseLimit::Once, until, now).unwrap();
    let begin = store.begin(&attempt());
    assert!(format!("{begin:?}").starts_with("Ready(Ok(Fresh(Lease"));
    assert!(!store.is_empty());
    assert_eq!(format!("{store:?}"), "MemoryStore { len: 1, .. }");
    let begin = store.begin(&attempt());
    assert_eq!(format!("{begin:?}"), "Ready(Ok(Running(..)))");
    let pending = Lookup::<(), StoreError>::pending(async { Ok(()) });
    assert_eq!(format!("{pending:?}"), "Pending(..)");
    let reply = StoredReply::new(StatusCode::OK, None, "canary").unwrap();
    let shown = "StoredReply { status: 200, body_len: 6, .. }";
    assert_eq!(format!("{reply:?}"), shown);
    assert_eq!(
        format!("{:?}", Begin::Stored(reply)),
        format!("Stored({shown})")
    );
    assert_eq!(format!("{:?}", Begin::OtherText), "OtherText");
    assert_eq!(format!("{:?}", Begin::Exhausted), "Exhausted");
    let spent = Begin::Spent { first: true };
    assert_eq!(format!("{spent:?}"), "Spent { first: true }");

    let key = TicketKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), "TicketKey(..)");
    let tickets = Tickets::in_memory(TicketKeys::new(1, key));
    let shown = format!("{tickets:?}");
    assert!(shown.starts_with("Tickets { keys: TicketKeys"), "{shown}");
    assert!(
        shown.contains("lease: ") && shown.contains("on_failure: "),
        "{shown}"
    );
}
