//! Rejected callbacks, and their cost.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use tower_aliyun_oss::{
    callback::{CallbackVerifier, VerifierConfig},
    ticket::SKEW,
};

use super::*;

/// A layer that counts, because rejections before the key lookup must reach neither keys nor store.
struct Counted {
    layer: OssCallbackLayer,
    keys: CountedKeys,
    store: CountedStore,
    handler: Handler,
}

impl Counted {
    fn new() -> Self {
        Self::with(|tickets| tickets)
    }

    fn with(change: impl FnOnce(Tickets) -> Tickets) -> Self {
        let (keys, store) = (CountedKeys::new(), CountedStore::default());
        let tickets = change(Tickets::new(super::keys(), store.clone()));
        Self {
            layer: OssCallbackLayer::new()
                .key_source(keys.clone())
                .tickets(tickets),
            keys,
            store,
            handler: Handler::default(),
        }
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Outcome {
        now(send(self.layer.layer(self.handler.clone()), request))
    }

    #[track_caller]
    fn assert_free(&self) {
        assert_eq!((self.keys.lookups(), self.store.counts()), (0, [0; 4]));
        assert_eq!(self.handler.runs(), 0);
    }

    /// Asserts a rejection for the ticket, without any key lookup or store access.
    #[track_caller]
    fn refuses(&self, request: Request<Full<Bytes>>, why: TicketError) {
        let outcome = self.send(request);
        if why == TicketError::Absent {
            outcome.assert_refused(403, CallbackErrorKind::TicketMissing);
        } else {
            outcome.assert_refused(403, CallbackErrorKind::TicketInvalid);
            assert_eq!(outcome.why(), Some(why));
        }
        self.assert_free();
    }

    /// Asserts that a genuine callback is rejected as outside of the grant, without store access.
    #[track_caller]
    fn is_outside(&self, request: Request<Full<Bytes>>, why: TicketError) {
        let outcome = self.send(request);
        outcome.assert_refused(403, CallbackErrorKind::OutsideGrant);
        assert_eq!(outcome.why(), Some(why));
        assert_eq!((self.store.counts(), self.handler.runs()), ([0; 4], 0));
    }
}

#[test]
fn rp_01_absent_malformed_unknown_key_or_version() {
    let counted = Counted::new();
    let good = mint(&exact("a.png"));
    let bytes = |change: fn(&mut Vec<u8>)| {
        let mut bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        change(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let version = bytes(|bytes| bytes[0] = 2);
    let key_id = bytes(|bytes| bytes[2] = 9);
    let long = "A".repeat(4000);
    for (ticket, why) in [
        ("", TicketError::Absent),
        ("x", TicketError::Malformed),
        ("%20", TicketError::Malformed),
        ("%FF", TicketError::Malformed),
        (&format!("{good}="), TicketError::Malformed),
        (&format!("{good}+"), TicketError::Malformed),
        (&long, TicketError::Malformed),
        (&version, TicketError::UnknownVersion),
        (&key_id, TicketError::UnknownKey),
        (&bytes(|bytes| bytes[40] ^= 1), TicketError::Mac),
    ] {
        counted.refuses(signed(form("a.png", ticket)), why);
    }
    for body in ["", "&&", "=", "bucket=a", "x:ticke=a", "x:ticket2=a"] {
        counted.refuses(signed(body), TicketError::Absent);
    }
}

#[test]
fn rp_01_a_ticket_stands_once_in_whatever_spelling() {
    let counted = Counted::new();
    let good = mint(&exact("a.png"));
    for again in ["x:ticket", "x%3Aticket", "%78:%74icket", "x:ticket=&x"] {
        let body = format!("{}&{again}={good}", form("a.png", &good));
        counted.refuses(signed(body), TicketError::Repeated);
    }
    let good = mint_json(&exact("a.png"));
    let members = json("a.png", &good);
    let members = members.strip_suffix('}').unwrap();
    for again in ["x:ticket", "\\u0078:ticket", "x:tic\\u006bet"] {
        for value in [&*format!("\"{good}\""), "null", "1", ""] {
            let body = format!("{members},\"{again}\":{value}}}");
            counted.refuses(signed_json(body), TicketError::Repeated);
        }
    }
    // A single ticket is found under an escaped name, but OSS copies the names of the template, so
    // the fields are not the sealed ones.
    let escaped = json("a.png", &good).replace("x:ticket", "\\u0078:ticke\\u0074");
    counted.is_outside(signed_json(escaped), TicketError::Fields);
    counted
        .send(signed_json(json("a.png", &good)))
        .assert_run(1);
}

#[test]
fn rp_01_what_is_no_json_bears_no_ticket() {
    let counted = Counted::new();
    let good = mint_json(&exact("a.png"));
    let whole = json("a.png", &good);
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"x:ticket\"",
        r#"{"x:ticket":null}"#,
        r#"{"x:ticket":}"#,
        r#"{"x:ticket":""}"#,
        r#"{"a":{"x:ticket":"a"}}"#,
        &format!("[{whole}]"),
        &format!("{whole}{whole}"),
        &whole[..whole.len() - 1],
        &format!("x{whole}"),
    ] {
        counted.refuses(signed_json(body.to_owned()), TicketError::Absent);
    }
    counted.refuses(
        signed_json([whole.as_bytes(), b"\xff"].concat()),
        TicketError::Absent,
    );
    for value in ["1", "true", "[]", "{}", "1e999"] {
        let body = format!(r#"{{"x:ticket":{value}}}"#);
        counted.refuses(signed_json(body), TicketError::Malformed);
    }
}

#[test]
fn rp_02_any_character_changed() {
    let counted = Counted::new();
    let good = mint(&exact("a.png"));
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let outcome = counted.send(signed(form("a.png", &changed)));
        outcome.assert_refused(403, CallbackErrorKind::TicketInvalid);
    }
    counted.assert_free();
    counted.send(signed(form("a.png", &good))).assert_run(1);
}

#[test]
fn rp_02_another_user_object_bucket_route_or_body_type() {
    let counted = Counted::new();
    let mallory = mint(&exact("user/mallory/a.png").claims(&"mallory").unwrap());
    // Before the key lookup: errors visible in the request itself.
    let elsewhere = CallbackSigner::new();
    let elsewhere = elsewhere
        .callback("/oss/avatar")
        .form(form("user/mallory/a.png", &mallory));
    counted.refuses(elsewhere.request().unwrap(), TicketError::Target);
    let with_query = CallbackSigner::new();
    let with_query = with_query
        .callback("/oss/callback?x=1")
        .form(form("user/mallory/a.png", &mallory));
    counted.refuses(with_query.request().unwrap(), TicketError::Target);
    counted.refuses(
        signed_json(json("user/mallory/a.png", &mallory)),
        TicketError::BodyType,
    );
    let of_json = mint_json(&exact("user/mallory/a.png"));
    counted.refuses(
        signed(form("user/mallory/a.png", &of_json)),
        TicketError::BodyType,
    );

    // After the key lookup: signed by OSS, but not granted.
    let fine = form("user/mallory/a.png", &mallory);
    for (from, to, why) in [
        ("mallory%2Fa", "alice%2Fa", TicketError::Object),
        ("%2Fa.png", "%2Fb.png", TicketError::Object),
        ("object=", "object=&objekt=", TicketError::Fields),
        ("object=", "objekt=", TicketError::Fields),
        (
            "bucket=examplebucket",
            "bucket=evilbucket",
            TicketError::Bucket,
        ),
        ("bucket=examplebucket&", "", TicketError::Fields),
        ("size=5", "size=0", TicketError::Size),
        ("size=5", "size=1001", TicketError::Size),
        ("size=5", "size=", TicketError::Size),
        ("size=5&", "", TicketError::Fields),
        ("size=5", "size=5&size=5", TicketError::Fields),
        ("size=5", "size=five", TicketError::Unreadable),
        ("image%2Fpng", "text%2Fhtml", TicketError::ContentType),
        ("image%2Fpng", "", TicketError::ContentType),
        ("&mimeType=image%2Fpng", "", TicketError::Fields),
        ("etag=D41D", "etag=%FF", TicketError::Unreadable),
    ] {
        let body = fine.replacen(from, to, 1);
        assert_ne!(body, fine, "{from}");
        counted.is_outside(signed(body), why);
    }
    let prefix = mint(&under("user/mallory/"));
    for object in [
        "user/alice/a.png",
        "user/mallory",
        "user/mallory2/a.png",
        "user/mallory/../alice/a.png",
    ] {
        counted.is_outside(signed(form(object, &prefix)), TicketError::Object);
    }
    // If any content type is granted, the body need not contain one.
    use SystemVariable::{Bucket, Etag, Object, ReqId, Size};
    let any = exact("a.png").content_types([]);
    let body = form("a.png", &mint(&any)).replace("image%2Fpng", "");
    counted.send(signed(body)).assert_run(1);
    let counted = Counted::new();
    let sealed = [ReqId, Bucket, Object, Size, Etag];
    let any = mint_for(&any, fields(&sealed));
    let body = form("a.png", &any).replace("&mimeType=image%2Fpng", "");
    counted.send(signed(body)).assert_run(1);
}

/// The attack that tickets prevent: OSS signs with one key for all customers, so any of them can
/// have any body signed.
#[test]
fn the_attack_sg_41_constants_that_another_customer_had_signed() {
    let signer = CallbackSigner::new();
    use SystemVariable::{Bucket, MimeType, Object, Size};
    let constants = "bucket=examplebucket&object=user%2F7%2Fpaid.png&size=5&mimeType=image%2Fpng";
    let request = || {
        let callback = signer.callback("https://attacker.example/oss/callback");
        callback
            .form(constants)
            .bucket("evilbucket")
            .request()
            .unwrap()
    };
    // The signature is valid.
    let handler = Handler::default();
    now(send(by_signature_alone().layer(handler.clone()), request())).assert_run(1);
    // Without a ticket, the callback is rejected.
    Counted::new().refuses(request(), TicketError::Absent);

    // A ticket for an upload of the attacker does not help.
    let sealed = fields(&[Bucket, Object, Size, MimeType]);
    let own = mint_for(&exact("user/666/a.png"), sealed);
    let body = format!("{constants}&{TICKET_FIELD}={own}");
    let request = || {
        signer
            .callback(TARGET)
            .form(body.clone())
            .bucket("evilbucket")
            .request()
            .unwrap()
    };
    now(send(by_signature_alone().layer(handler), request())).assert_run(2);
    Counted::new().is_outside(request(), TicketError::Object);
}

#[test]
fn the_attack_a_form_that_is_sent_as_json() {
    use SystemVariable::{Bucket, Etag, MimeType, Object, ReqId, Size};
    let seal = |fields: &[(&'static str, SystemVariable)]| {
        let field = |&(name, variable): &(&'static str, _)| {
            BodyField::new(name, FieldValue::System(variable))
        };
        fields.iter().map(field).collect::<Vec<_>>()
    };
    let named = [
        ("bucket", Bucket),
        ("object", Object),
        ("size", Size),
        ("mimeType", MimeType),
    ];
    let ticket = fields(&[]);
    let as_form = [seal(&[("{\"a", Etag)]), seal(&named), ticket.clone()];
    let as_form = [&as_form.concat()[..], &seal(&[("z", ReqId)])].concat();
    let as_json = [seal(&[("a=", Etag)]), seal(&named), ticket].concat();
    let json_terms = exact("a.png").body_type(CallbackBodyType::Json);
    // A body that parses as form and as JSON, with a valid ticket for either type.
    for ticket in [
        mint_for(&exact("a.png"), as_form),
        mint_for(&json_terms, as_json),
    ] {
        let counted = Counted::new();
        let both = format!(
            r#"{{"a=":"&bucket=examplebucket&object=a.png&size=5&mimeType=image/png&x:ticket={ticket}&z=","bucket":"examplebucket","object":"b.png","size":5,"mimeType":"image/png","x:ticket":"{ticket}"}}"#
        );
        let as_form = counted.send(signed(both.clone()));
        let as_json = counted.send(signed_json(both));
        let refused = [&as_form, &as_json].map(|outcome| outcome.why());
        let form_is_granted = as_form.status == 200;
        if form_is_granted {
            assert_eq!(refused, [None, Some(TicketError::BodyType)]);
        } else {
            assert_eq!(
                refused,
                [Some(TicketError::BodyType), Some(TicketError::Object)]
            );
        }
    }
}

#[test]
fn rp_03_the_edges_of_expiry() {
    let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let at = |when: SystemTime| {
        let counted = Counted::with(|tickets| tickets.clock(move || when));
        let grant = Scope::Exact("a.png".parse().unwrap());
        let ticket = keys()
            .issue(
                &terms_at(TARGET, grant, base),
                form_fields(),
                base - HOUR,
                Nonce::random().unwrap(),
            )
            .unwrap();
        let outcome = counted.send(signed(form("a.png", &ticket)));
        if outcome.why().is_some() {
            counted.assert_free();
        }
        outcome
    };
    for accepted in [
        base - HOUR,
        base,
        base + SKEW - Duration::from_secs(1),
        base + SKEW,
    ] {
        at(accepted).assert_run(1);
    }
    for (refused, why) in [
        (base + SKEW + Duration::from_secs(1), TicketError::Expired),
        (base + 10_000 * HOUR, TicketError::Expired),
        (base - 1000 * HOUR, TicketError::TooFar),
        (SystemTime::UNIX_EPOCH, TicketError::TooFar),
        (SystemTime::UNIX_EPOCH - HOUR, TicketError::TooFar),
    ] {
        assert_eq!(at(refused).why(), Some(why));
    }
}

#[test]
fn rp_07_df_20b_requests_without_a_valid_ticket_cost_no_lookup_and_no_store() {
    without_a_valid_ticket(1_000);
}

mod soak {
    #[test]
    #[ignore = "soak: a million requests"]
    fn rp_07_df_20b_a_million_without_a_valid_ticket_cost_no_lookup_and_no_store() {
        super::without_a_valid_ticket(100_000);
    }
}

/// Sends `each` requests of ten kinds without a valid ticket. None causes a key lookup (and thus
/// RSA) or a store access.
fn without_a_valid_ticket(each: usize) {
    let counted = Counted::new();
    let good = mint(&exact("a.png"));
    let forged = TicketKeys::new(1, key(2))
        .issue(
            &exact("a.png"),
            form_fields(),
            SystemTime::now(),
            Nonce::random().unwrap(),
        )
        .unwrap();
    let elsewhere = mint(&terms_at(
        "/other",
        Scope::Exact("a.png".parse().unwrap()),
        SystemTime::now() + HOUR,
    ));
    // Signed, with the headers that OSS sets.
    let requests: Vec<_> = ["", &forged, &good[1..], &elsewhere]
        .into_iter()
        .map(|ticket| (form("a.png", ticket), json("a.png", ticket)))
        .chain([(
            format!("{}&{TICKET_FIELD}={good}", form("a.png", &good)),
            // A ticket for the other body type.
            json("a.png", &good),
        )])
        .flat_map(|(form, json)| [signed(form), signed_json(json)])
        .collect();
    let key_urls: Vec<http::HeaderValue> = (2..1000)
        .map(|n| format!("https://gosspublic.alicdn.com/callback_pub_key_v{n}.pem"))
        .map(|url| STANDARD.encode(url).parse().unwrap())
        .collect();
    std::thread::scope(|scope| {
        for half in requests.chunks(requests.len().div_ceil(2)) {
            let (counted, key_urls) = (&counted, &key_urls);
            scope.spawn(move || {
                let mut service = counted.layer.layer(counted.handler.clone());
                for request in half {
                    for n in 0..each {
                        let mut request = request.clone();
                        // Name keys that are not pinned: `FetchedKeys` would have to fetch them.
                        let key_url = key_urls[n % key_urls.len()].clone();
                        request.headers_mut().insert("x-oss-pub-key-url", key_url);
                        let response = now(service.call(request)).unwrap();
                        assert_eq!(response.status(), 403);
                    }
                }
            });
        }
    });
    assert_eq!(requests.len(), 10);
    counted.assert_free();
    // Control: with a valid ticket, the same layer does the work.
    counted.send(signed(form("a.png", &good))).assert_run(1);
    assert_eq!(
        (counted.keys.lookups(), counted.store.counts()),
        (1, [1, 1, 0, 0])
    );
}

#[test]
fn rp_10_an_old_key_is_accepted_while_it_is_held() {
    let old = mint(&exact("a.png"));
    let rotated = TicketKeys::new(2, key(2));
    let held = rotated.clone().with_previous(1, key(1)).unwrap();
    let newer = rotated
        .issue(
            &exact("b.png"),
            form_fields(),
            SystemTime::now(),
            Nonce::random().unwrap(),
        )
        .unwrap();
    let send = |keys: &TicketKeys, body: String| {
        let layer = layer(&Tickets::in_memory(keys.clone()));
        now(send(layer.layer(Handler::default()), signed(body)))
    };
    send(&held, form("a.png", &old)).assert_run(1);
    send(&held, form("b.png", &newer)).assert_run(1);
    send(&rotated, form("b.png", &newer)).assert_run(1);
    assert_eq!(
        send(&rotated, form("a.png", &old)).why(),
        Some(TicketError::UnknownKey)
    );
    assert_eq!(
        send(&keys(), form("b.png", &newer)).why(),
        Some(TicketError::UnknownKey)
    );
}

/// A request with several errors is rejected for the first one in the documented order.
#[test]
fn the_order_of_the_checks() {
    use CallbackErrorKind as Kind;

    let good = mint(&exact("a.png"));
    let used = form("a.png", &good);
    let counted = Counted::new();
    counted.send(signed(used.clone())).assert_run(1);
    // Start with all errors at once, then repair one after the other.
    let mut request = signed(used.replace("object=a", "object=b"));
    request
        .headers_mut()
        .insert("authorization", "QUJD".parse().unwrap());
    *request.body_mut() = Full::from(
        used.replace("object=a", "object=b")
            .replace(&good, &good[4..]),
    );
    let body = request.body().clone();
    *request.body_mut() = Full::from("x".repeat(70_000));
    request.headers_mut().remove("content-length");
    *request.uri_mut() = "/oss/%2e/callback".parse().unwrap();
    *request.method_mut() = http::Method::PUT;

    let check = |request: &Request<Full<Bytes>>, kind: Kind| {
        let outcome = counted.send(request.clone());
        assert_eq!(outcome.kind(), Some(kind));
    };
    check(&request, Kind::MethodNotAllowed);
    *request.method_mut() = http::Method::POST;
    check(&request, Kind::NonCanonicalTarget);
    *request.uri_mut() = TARGET.parse().unwrap();
    check(&request, Kind::BodyTooLarge);
    *request.body_mut() = body;
    check(&request, Kind::TicketInvalid);
    assert_eq!(
        (counted.keys.lookups(), counted.store.counts()),
        (1, [1, 1, 0, 0])
    );
    let outside = used.replace("object=a", "object=b");
    *request.body_mut() = Full::from(outside.clone());
    let genuine = signed(outside).headers()["authorization"].clone();
    // An unavailable key is reported before the signature.
    let known = request.headers()["x-oss-pub-key-url"].clone();
    let v2 = "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92Mi5wZW0=";
    request
        .headers_mut()
        .insert("x-oss-pub-key-url", v2.parse().unwrap());
    check(&request, Kind::KeyUnavailable);
    request.headers_mut().insert("x-oss-pub-key-url", known);
    check(&request, Kind::SignatureMismatch);
    request.headers_mut().insert("authorization", genuine);
    check(&request, Kind::OutsideGrant);
    assert_eq!(counted.store.counts(), [1, 1, 0, 0]);
    let other_text = used.replace("size=5", "size=6");
    check(&signed(other_text), Kind::TicketUsed);
    assert_eq!(
        (counted.store.counts(), counted.handler.runs()),
        ([2, 1, 0, 0], 1)
    );
}

#[test]
fn rules_that_ask_for_tickets_are_not_met_without_the_check() {
    let rules = VerifierConfig::new()
        .key_table(CallbackSigner::new().key_source().table().clone())
        .tickets(Tickets::in_memory(keys()));
    let body = form("a.png", &mint(&exact("a.png").claims(&7).unwrap()));
    let staged = || {
        let (parts, _) = signed(body.clone()).into_parts();
        let mut preflight = CallbackVerifier::check(&parts, &rules).unwrap();
        preflight.update(Bytes::from(body.clone())).unwrap();
        preflight
    };
    let signer = CallbackSigner::new();
    let key = signer.public_key();
    // Fails closed if the ticket check was skipped.
    assert!(staged().verify(key).is_err());
    let mut preflight = staged();
    preflight.check_ticket(SystemTime::now()).unwrap();
    // A second check has no effect.
    preflight.check_ticket(SystemTime::UNIX_EPOCH).unwrap();
    let callback = preflight.verify(key).unwrap();
    assert_eq!(callback.claims::<u8>(), Ok(7));
    assert!(callback.text_digest().is_some());
    let late = SystemTime::now() + 2 * HOUR;
    let error = staged().check_ticket(late).unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::TicketInvalid);

    // Body data after the check would be signed, but unchecked, so it is rejected.
    let mut preflight = staged();
    preflight.check_ticket(SystemTime::now()).unwrap();
    preflight.update(Bytes::from_static(b"&a=1")).unwrap();
    let error = preflight.verify(key).unwrap_err();
    assert_eq!(error.kind(), CallbackErrorKind::BodyIncomplete);
}

#[test]
fn dangerous_accept_without_ticket_until_takes_only_what_has_none() {
    let base = SystemTime::now();
    let at = |when: SystemTime, body: String| {
        let tickets = Tickets::in_memory(keys())
            .clock(move || when)
            .dangerous_accept_without_ticket_until(base + Duration::from_secs(60));
        let handler = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
            let callback: &VerifiedCallback = request.extensions().get().unwrap();
            let claims = callback.claims::<String>();
            assert_eq!(callback.ticket().is_some(), claims.is_ok());
            let claims = claims.unwrap_or_else(|error| error.to_string());
            ready(Ok::<_, Infallible>(Response::new(Full::from(claims))))
        });
        now(send(layer(&tickets).layer(handler), signed(body)))
    };
    let without = "bucket=examplebucket&object=a.png";
    let taken = at(base, without.to_owned());
    assert_eq!(taken.status, 200);
    assert_eq!(taken.body, TicketError::Absent.to_string());
    let second = Duration::from_secs(1);
    assert_eq!(at(base + 59 * second, without.to_owned()).status, 200);
    let over = at(base + 60 * second, without.to_owned());
    over.assert_refused(403, CallbackErrorKind::TicketMissing);
    // A ticket is checked if there is one.
    let bad = at(base, form("a.png", "x"));
    bad.assert_refused(403, CallbackErrorKind::TicketInvalid);
    let good = mint(&exact("a.png").claims("of a").unwrap());
    assert_eq!(at(base, form("a.png", &good)).body, "of a");
    let outside = at(base, form("b.png", &good));
    outside.assert_refused(403, CallbackErrorKind::OutsideGrant);
}

#[test]
fn claims_come_back_typed() {
    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Claims {
        user: u64,
        album: String,
    }
    let claims = || Claims {
        user: 7,
        album: "émile".to_owned(),
    };
    let tickets = Tickets::in_memory(keys());
    let handler = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let callback: &VerifiedCallback = request.extensions().get().unwrap();
        assert_eq!(callback.claims::<Claims>(), Ok(claims()));
        assert_eq!(callback.claims::<u8>(), Err(TicketError::Claims));
        assert_eq!(
            callback.ticket().unwrap().bucket().as_str(),
            "examplebucket"
        );
        let debug = format!("{callback:?}");
        assert!(
            debug.contains("nonce") && !debug.contains("mile"),
            "{debug}"
        );
        ready(Ok::<_, Infallible>(Response::new(Full::from("{}"))))
    });
    let ticket = mint(&exact("a.png").claims(&claims()).unwrap());
    let outcome = now(send(
        layer(&tickets).layer(handler),
        signed(form("a.png", &ticket)),
    ));
    assert_eq!(outcome.status, 200);
}
