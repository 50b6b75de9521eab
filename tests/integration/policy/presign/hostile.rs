//! A client with one lawful handle, and no good intentions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::support::{Always, NOW, Signed, ask, create, raw_request, send, service, videos};

/// Random numbers that a seed repeats (xorshift).
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        let seed = u64::from_be_bytes(seed) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Texts that could break out of a URL, a query, XML or JSON.
const TEXTS: [&str; 16] = [
    "",
    "U",
    "0004B9894A22E5B1888A1E29F8236E2D",
    "U&partNumber=9999",
    "U?acl",
    "U#",
    "../../admin",
    "U%26uploads",
    "U\r\nx-oss-object-acl: public-read",
    "a b",
    "\u{0}",
    "é",
    "\"}],\"x\":[{\"",
    "x-oss-signature=0",
    "video/8/x.mp4",
    "null",
];

const NUMBERS: [i64; 12] = [
    -1,
    0,
    1,
    2,
    3,
    4,
    100,
    9_999,
    10_000,
    10_001,
    65_537,
    i64::MAX,
];

const ACTIONS: [&str; 12] = [
    "parts", "parts", "list", "complete", "abort", "put", "create", "get", "delete", "Parts", "",
    "acl",
];

const MEMBERS: [&str; 14] = [
    "key", "marker", "parts", "uploadId", "size", "type", "filename", "download", "process",
    "headers", "acl", "expires", "bucket", "method",
];

fn value(random: &mut Random) -> Value {
    match random.below(7) {
        0 => json!(random.pick(&TEXTS)),
        1 => json!(random.pick(&NUMBERS)),
        2 => {
            let len = random.below(4);
            (0..len).map(|_| json!(random.pick(&NUMBERS))).collect()
        }
        3 => Value::Null,
        4 => json!({"a": random.pick(&TEXTS)}),
        5 => json!(vec![1; random.below(120)]),
        _ => json!(random.next()),
    }
}

/// Changes one character of the handle, or puts something else in its place.
fn changed(handle: &str, random: &mut Random) -> String {
    let mut text = handle.to_owned();
    match random.below(5) {
        0 => text.truncate(random.below(handle.len())),
        1 => text.push(*random.pick(&['A', '=', '_'])),
        2 => text = (*random.pick(&TEXTS)).to_owned(),
        3 => text = "A".repeat(random.below(9000)),
        _ => {
            let at = random.below(handle.len());
            let with = random.pick(&["A", "b", "9", "-", "_"]);
            text.replace_range(at..=at, with);
        }
    }
    text
}

/// What may be signed with the handle: for each method, the names of the query.
fn assert_granted(request: &Signed, key: &str, callback: &str) {
    assert_eq!(
        request.authority,
        "examplebucket.oss-cn-hangzhou.aliyuncs.com"
    );
    assert_eq!(request.path, format!("/{key}"), "{request:?}");
    let own: BTreeMap<_, _> = request.own_query().into_iter().collect();
    assert_eq!(
        own.len(),
        request.own_query().len(),
        "repeated: {request:?}"
    );
    let names: Vec<_> = own.keys().map(String::as_str).collect();
    match (&*request.method, &*names) {
        ("PUT", ["partNumber", "uploadId"]) => {
            let number: u64 = own["partNumber"].parse().unwrap();
            assert!((1..=3).contains(&number), "{request:?}");
            assert_eq!(
                request.get("x-oss-additional-headers"),
                Some("content-length")
            );
        }
        ("GET", ["uploadId"] | ["part-number-marker", "uploadId"]) | ("DELETE", ["uploadId"]) => {}
        ("POST", ["callback", "uploadId"]) | ("PUT", ["callback"]) => {
            assert_eq!(own["callback"], callback, "{request:?}");
        }
        other => panic!("{other:?}: {request:?}"),
    }
    let seconds: u64 = request.get("x-oss-expires").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds));
}

/// The client has one handle, and `authorize` grants nothing else.
#[tokio::test]
async fn ps_04_ten_thousand_hostile_requests_get_nothing_outside_of_the_grant() {
    // One key for both services: the second refuses everything new, as a session without rights.
    let uploads = super::support::uploads(super::support::credentials());
    let clock = super::support::Clock::default();
    let granting = super::support::service_at(&uploads, Always(videos()), &clock);
    let created = create(&granting, "a.mp4", 20 << 20, "video/mp4").await;
    let (key, handle) = (
        created["key"].as_str().unwrap(),
        created["handle"].as_str().unwrap(),
    );
    let put = super::answer(&granting, &json!({"action": "put", "handle": handle})).await;
    let callback = Signed::of(&put["request"]);
    let callback = callback.get("callback").unwrap();
    let nobody = async |_: &http::request::Parts| {
        Err::<tower_aliyun_oss::Grant, _>(tower_aliyun_oss::Refusal::forbidden())
    };
    let service = super::support::service_at(&uploads, nobody, &clock);

    let mut random = Random::seeded();
    let mut signed = BTreeMap::new();
    let (mut requests, mut refused) = (0, 0);
    for _ in 0..10_000 {
        let mut body = Map::new();
        body.insert("action".into(), json!(random.pick(&ACTIONS)));
        let lawful = random.below(10) > 0;
        let given = match lawful {
            true => handle.to_owned(),
            false => changed(handle, &mut random),
        };
        let untouched = given == handle;
        body.insert("handle".into(), given.into());
        if random.below(10) > 0 {
            body.insert("uploadId".into(), json!(random.pick(&TEXTS)));
        }
        if random.below(4) > 0 {
            let len = random.below(5);
            let parts = (0..len).map(|_| json!(random.pick(&NUMBERS)));
            body.insert("parts".into(), parts.collect());
        }
        for _ in 0..random.below(3) {
            let value = value(&mut random);
            body.insert((*random.pick(&MEMBERS)).to_owned(), value);
        }
        let mut text = Value::Object(body).to_string().into_bytes();
        if random.below(10) == 0 {
            let at = random.below(text.len());
            text[at] = random.next() as u8;
        }
        let (status, answer) = send(&service, raw_request(text.clone())).await;
        let shown = || format!("{} -> {answer}", String::from_utf8_lossy(&text));
        if status != 200 {
            refused += 1;
            assert!(matches!(status, 400 | 403), "{}", shown());
            // Nothing of the request is repeated.
            let members: Vec<_> = answer.as_object().unwrap().keys().collect();
            assert_eq!(members, ["code", "message"], "{}", shown());
            continue;
        }
        let single = std::slice::from_ref(&answer);
        let parts = answer["parts"].as_array().map_or(single, |parts| parts);
        assert!((1..=100).contains(&parts.len()));
        // A random byte can have changed the handle to itself.
        assert!(
            untouched || text.windows(handle.len()).any(|w| w == handle.as_bytes()),
            "{}",
            shown()
        );
        for part in parts {
            let request = Signed::of(&part["request"]);
            assert_granted(&request, key, callback);
            let end = part["request"]["expires"].as_u64().unwrap();
            assert!(end <= created["expires"].as_u64().unwrap() && end > NOW);
            requests += 1;
            *signed.entry(request.method).or_insert(0) += 1;
        }
    }
    println!("{requests} requests signed: {signed:?}, {refused} refused");
    // All steps occurred, so the assertions were reached.
    assert!(
        signed.len() == 4 && requests > 100 && refused > 1000,
        "{signed:?}"
    );
}

/// A new handle costs a new decision.
#[tokio::test]
async fn ps_04_a_handle_is_no_grant() {
    let service = service(async |_: &http::request::Parts| {
        Err::<tower_aliyun_oss::Grant, _>(tower_aliyun_oss::Refusal::forbidden())
    });
    for body in [
        json!({"action": "create", "size": 1}),
        json!({"action": "get", "key": "video/7/a.mp4"}),
    ] {
        let (status, answer) = ask(&service, &body).await;
        assert_eq!((status, &answer["code"]), (403, &json!("Forbidden")));
    }
}
