//! What captured responses, official clients and reports of users show, beyond the documentation.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use aliyun_oss_emulator::{Emulator, UploadReport, UploadStep};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    client::{ask, put, to, today, ways},
    support::{
        BOUNDARY, BUCKET, Form, HOST, NOW, OneServer, at, builder, callback, emulator, good, send,
        under,
    },
};

fn cases() -> Value {
    serde_json::from_str(include_str!("../cases/forms.json")).unwrap()
}

async fn names(emulator: &Emulator) -> Vec<String> {
    let list = emulator.store().list(&BUCKET.parse().unwrap()).await;
    let list = list.unwrap();
    list.iter().map(|object| object.key().to_owned()).collect()
}

/// An application server that keeps the bodies of its requests.
fn keeper() -> (OneServer, Arc<Mutex<Vec<String>>>) {
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = bodies.clone();
    let server = OneServer::http(move |request: Request<Incoming>| {
        let kept = kept.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            kept.lock().unwrap().push(body);
            Response::new(Full::from(r#"{"Status":"OK"}"#))
        }
    });
    (server, bodies)
}

#[tokio::test]
async fn issue_18_line_03_signature_version_1_can_be_rejected() {
    let form = builder().reject_signature_v1().build().unwrap();
    let answer = good(&[]).file(b"x").post(&form).await;
    answer.assert_refused(403, "AccessDenied", "0002-00000080");
    // A part of a signature is one of version 1 too.
    let part = Form::new().field("key", "a").field("OSSAccessKeyId", "b");
    let answer = part.file(b"x").post(&form).await;
    answer.assert_refused(403, "AccessDenied", "0002-00000080");

    let emulator = today().reject_signature_v1().build().unwrap();
    for way in ways() {
        let request = way.sign(to(Method::PUT, "/a.txt", &[], b"x")).await;
        let answer = send(&emulator, request).await;
        if format!("{:?}", way.version) == "V1" {
            answer.assert_refused(403, "AccessDenied", "0002-00000080");
        } else {
            assert_eq!(answer.status, 200, "{way:?} {}", answer.text());
        }
    }
}

#[tokio::test]
async fn issue_18_line_04_the_policy_outlives_the_upload() {
    // The policy expires 2868 s after `NOW`. The clock is read when the emulator is built, when
    // the request arrives, when it is complete, and for the response.
    for (arrival, end, stored) in [(0, 2868, true), (0, 2869, false), (2868, 2869, false)] {
        let reads = AtomicU64::new(0);
        let reports: Arc<Mutex<Vec<UploadReport>>> = Arc::default();
        let kept = reports.clone();
        let emulator = builder()
            .clock(move || match reads.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => at(NOW + arrival),
                _ => at(NOW + end),
            })
            .observer(move |report| kept.lock().unwrap().push(report))
            .build()
            .unwrap();
        let answer = good(&[]).file(b"x").post(&emulator).await;
        if stored {
            assert_eq!(answer.status, 204, "{}", answer.text());
            continue;
        }
        answer.assert_refused(403, "AccessDenied", "0006-00000213");
        assert!(names(&emulator).await.is_empty());
        let reports = reports.lock().unwrap();
        let steps = reports[0].steps();
        assert!(steps.contains(&UploadStep::Expiry) && !steps.contains(&UploadStep::Size));
    }
}

#[tokio::test]
async fn issue_18_line_07_crc64_is_a_bare_number_and_an_empty_vpc_is_null() {
    let (server, bodies) = keeper();
    let emulator = builder().network(server).build().unwrap();
    for (content, crc64) in [
        // The check value of CRC-64/XZ, beyond 2^63.
        (&b"123456789"[..], "11051210869376104954"),
        (b"", "0"),
    ] {
        let json = callback(&json!({
            "callbackUrl": "app.example",
            "callbackBody": r#"{"crc64":${crc64},"vpcId":${vpcId}}"#,
            "callbackBodyType": "application/json",
        }));
        let form = callback(&json!({
            "callbackUrl": "app.example",
            "callbackBody": "crc64=${crc64}&vpcId=${vpcId}",
        }));
        for parameters in [json, form] {
            let fields = [("callback", &*parameters)];
            let answer = good(&fields).file(content).post(&emulator).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let bodies = std::mem::take(&mut *bodies.lock().unwrap());
        let json = format!(r#"{{"crc64":{crc64},"vpcId":null}}"#);
        assert_eq!(bodies, [json, format!("crc64={crc64}&vpcId=")]);
    }
}

/// The body of the SDKs for iOS and Android.
fn trigger(callback: &str, variables: &str) -> Vec<u8> {
    format!("x-oss-process=trigger/callback,callback_{callback},callback-var_{variables}").into()
}

#[tokio::test]
async fn issue_18_line_12_a_callback_can_be_triggered_for_an_existing_object() {
    let (server, bodies) = keeper();
    let reports: Arc<Mutex<Vec<UploadReport>>> = Arc::default();
    let kept = reports.clone();
    let emulator = today()
        .network(server)
        .observer(move |report| kept.lock().unwrap().push(report))
        .build()
        .unwrap();
    assert_eq!(put(&emulator, "/d/a.txt", &[], b"12345").await.status, 200);
    reports.lock().unwrap().clear();
    let parameters = json!({
        "callbackUrl": "app.example/cb",
        "callbackBody": "${object} ${size} ${key1} ${x:key2} ${key3}>${operation}<",
    })
    .to_string();
    // Names need no `x:`.
    let variables = json!({ "key1": "v>1?", "x:key2": "v2" }).to_string();
    for way in ways() {
        for (parameters, variables) in [
            (STANDARD.encode(&parameters), STANDARD.encode(&variables)),
            (
                URL_SAFE_NO_PAD.encode(&parameters),
                URL_SAFE_NO_PAD.encode(&variables),
            ),
        ] {
            let body = trigger(&parameters, &variables);
            let request = to(Method::POST, "/d/a.txt?x-oss-process", &[], &body);
            let answer = send(&emulator, way.sign(request).await).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text()),
                (200, r#"{"Status":"OK"}"#)
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let bodies = std::mem::take(&mut *bodies.lock().unwrap());
            assert_eq!(bodies, ["d%2Fa.txt 5 v%3E1%3F v2 ><"]);
        }
    }
    let seen = std::mem::take(&mut *reports.lock().unwrap());
    let [first, ..] = &seen[..] else {
        panic!("no report")
    };
    use UploadStep as S;
    assert_eq!(first.operation(), "ProcessObject");
    assert_eq!(
        first.steps(),
        [S::Signature, S::CallbackParameters, S::Callback]
    );
    assert_eq!(first.exchanges().len(), 1);

    let post =
        async |target: &str, body: &[u8]| ask(&emulator, Method::POST, target, &[], body).await;
    let process = "/d/a.txt?x-oss-process";
    let right = STANDARD.encode(&parameters);
    // The variables may be missing, the callback may not.
    assert_eq!(post(process, &trigger(&right, "")).await.status, 200);
    let answer = post(process, &trigger("", "")).await;
    answer.assert_refused(400, "InvalidArgument", "0007-00000003");
    let private = STANDARD.encode(r#"{"callbackUrl":"127.0.0.1","callbackBody":"a"}"#);
    let answer = post(process, &trigger(&private, "")).await;
    answer.assert_refused(400, "InvalidArgument", "0007-00000008");
    let answer = post("/other?x-oss-process", &trigger(&right, "")).await;
    answer.assert_refused(404, "NoSuchKey", "0026-00000001");
    for body in [&b""[..], b"x", b"x-oss-process=trigger/callback,other_x"] {
        let answer = post(process, body).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
    let answer = post(process, &vec![b'x'; 33 * 1024]).await;
    answer.assert_refused(400, "InvalidArgument", "");

    // Other processes have words of their own.
    let answer = post(process, b"x-oss-process=video/convert|sys/saveas,o_YQ").await;
    answer.assert_refused(400, "NotImplemented", "");
    let message = answer.element("Message").unwrap();
    assert!(message.contains("trigger/callback"), "{message}");
    for target in ["/d/a.txt?x-oss-process=image/info", "/?x-oss-process"] {
        let answer = post(target, &trigger(&right, "")).await;
        assert_eq!(answer.status, 400, "{target}");
    }
    let unsigned = to(Method::POST, process, &[], &trigger(&right, ""));
    let answer = send(&emulator, unsigned.map(Full::new)).await;
    answer.assert_refused(403, "AccessDenied", "0003-00000001");
}

#[tokio::test]
async fn issue_18_line_13_reserved_names_of_additional_headers() {
    let (server, bodies) = keeper();
    let emulator = builder().network(server).build().unwrap();
    let with = async |more: Value| {
        let mut parameters = json!({ "callbackUrl": "app.example", "callbackBody": "a" });
        let more = more.as_object().unwrap().clone();
        parameters.as_object_mut().unwrap().extend(more);
        let form = good(&[("callback", &callback(&parameters))]);
        form.file(b"x").post(&emulator).await
    };
    for name in [
        "authorization",
        "content-length",
        "content-md5",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "upgrade",
        "user-agent",
    ] {
        let answer = with(json!({ "additionalHeaders": { name: "a" } })).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
    // The other reason for which a name is refused is its upper-case letters.
    let answer = with(json!({ "additionalHeaders": { "Host": "a" } })).await;
    answer.assert_refused(400, "InvalidArgument", "0007-00000024");
    let answer = with(json!({ "signatureVersion": "2.0" })).await;
    answer.assert_refused(400, "NotImplemented", "");
    assert!(bodies.lock().unwrap().is_empty() && names(&emulator).await.is_empty());
    let headers = json!({ "additionalHeaders": { "my-header": "a" }, "signatureVersion": "1.0" });
    assert_eq!(with(headers).await.status, 200);
}

#[tokio::test]
async fn issue_18_line_15_part_heads_are_read_as_oss_reads_them() {
    for case in cases()["parts"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let head = format!("{}\r\n", case["head"].as_str().unwrap());
        let mut form = good(&[]).part(&head, b"x");
        if head.contains("x:a") {
            form = form.file(b"x");
        }
        let emulator = emulator();
        let answer = form.post(&emulator).await;
        if case["stored"] == true {
            assert_eq!(answer.status, 204, "{name} {}", answer.text());
            continue;
        }
        let [status, code, ec] = &case["refused"].as_array().unwrap()[..] else {
            panic!("{name}")
        };
        let status = u16::try_from(status.as_u64().unwrap()).unwrap();
        answer.assert_refused(status, code.as_str().unwrap(), ec.as_str().unwrap());
        assert!(names(&emulator).await.is_empty());
        // RFC 7578 allows all of them but a part without a name.
        let lenient = builder().lenient_multipart().build().unwrap();
        let answer = form.post(&lenient).await;
        let expected = if name.contains("only within") {
            400
        } else {
            204
        };
        assert_eq!(answer.status, expected, "{name} {}", answer.text());
    }

    let with_type = |content_type: &str| {
        let mut request = good(&[]).file(b"x").request();
        let content_type = content_type.parse().unwrap();
        request.headers_mut().insert("content-type", content_type);
        request
    };
    // Whether OSS accepts a charset before the boundary is not known.
    for accepted in [
        format!("multipart/form-data; charset=utf-8; boundary={BOUNDARY}"),
        format!("multipart/form-data; charset=\"utf-8\"; boundary={BOUNDARY}"),
        format!("Multipart/Form-Data;boundary={BOUNDARY}"),
    ] {
        let answer = send(&emulator(), with_type(&accepted)).await;
        assert_eq!(answer.status, 204, "{accepted} {}", answer.text());
    }
    let quoted = format!("multipart/form-data; boundary=\"{BOUNDARY}\"");
    let answer = send(&emulator(), with_type(&quoted)).await;
    answer.assert_refused(400, "MalformedPOSTRequest", "0006-00000104");
    let lenient = builder().lenient_multipart().build().unwrap();
    assert_eq!(send(&lenient, with_type(&quoted)).await.status, 204);
}

#[tokio::test]
async fn issue_18_line_16_a_post_that_is_no_form_is_not_allowed() {
    for case in cases()["requests"].as_array().unwrap() {
        let mut request = good(&[]).file(b"x").request();
        *request.uri_mut() = case["target"].as_str().unwrap().parse().unwrap();
        let content_type = case["content_type"].as_str().unwrap().parse().unwrap();
        request.headers_mut().insert("content-type", content_type);
        let answer = send(&emulator(), request).await;
        answer.assert_refused(405, "MethodNotAllowed", "");
        assert_eq!(
            answer.element("Message").unwrap(),
            "The specified method is not allowed against this resource."
        );
        assert_eq!(answer.element("Method").unwrap(), "POST");
        assert_eq!(
            answer.element("ResourceType").unwrap(),
            case["method_not_allowed"].as_str().unwrap()
        );
        // After `HostId`, as captured.
        let text = answer.text();
        assert!(text.find("<HostId>") < text.find("<Method>"), "{text}");
        assert_eq!(
            answer.header("allow"),
            Some("GET DELETE HEAD PUT POST OPTIONS")
        );
    }
    let untyped = Request::post("/").header("host", HOST);
    let untyped = untyped.body(Full::from(Bytes::from_static(b"x"))).unwrap();
    let answer = send(&emulator(), untyped).await;
    answer.assert_refused(405, "MethodNotAllowed", "");
}

#[tokio::test]
async fn issue_18_line_17_a_condition_on_the_type_applies_to_the_type_of_the_file() {
    let emulator = emulator();
    let post = async |condition: &Value, fields: &[(&str, &str)], file_type: &str| {
        let form = under(&json!([condition]), fields);
        form.file_of("a", file_type, b"x").post(&emulator).await
    };
    let conditions = [
        json!(["in", "$content-type", ["image/png", "image/gif"]]),
        json!(["eq", "$Content-Type", "image/png"]),
        json!({ "content-type": "image/png" }),
    ];
    for condition in &conditions {
        let answer = post(condition, &[], "image/png").await;
        assert_eq!(answer.status, 204, "{condition} {}", answer.text());
        let refused = [
            (&[][..], "text/html"),
            // A field counts before the type of the file.
            (&[("Content-Type", "text/html")], "image/png"),
            // This one decides the type of the object, so it cannot hide behind the file.
            (&[("x-oss-content-type", "text/html")], "image/png"),
        ];
        for (fields, file_type) in refused {
            let answer = post(condition, fields, file_type).await;
            answer.assert_refused(403, "AccessDenied", "0006-00000227");
        }
        // Neither a field nor a type of the file.
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n";
        let form = under(&json!([condition]), &[]).part(head, b"x");
        let answer = form.post(&emulator).await;
        answer.assert_refused(403, "AccessDenied", "0006-00000227");
    }
    // Only this field: the others remain conditions on what is sent.
    let other = json!(["eq", "$x-oss-content-type", "image/png"]);
    let answer = post(&other, &[], "image/png").await;
    answer.assert_refused(403, "AccessDenied", "0006-00000227");
}

#[tokio::test]
async fn issue_18_line_18_file_names_that_oss_cannot_read_are_empty() {
    let disposition = b"Content-Disposition: form-data; name=\"file\"; ";
    for name in [
        &b"filename*=UTF-8''%E4%B8%AD.png"[..],
        b"filename=\"\xd6\xd0.png\"",
        b"filename=\"\"",
    ] {
        let form = good(&[("key", "user/1/${filename}")]);
        let fields = String::from_utf8(form.bytes().to_vec()).unwrap();
        let fields = fields.replace(BOUNDARY, "b");
        let fields = fields.strip_suffix("--b--\r\n").unwrap();
        let file = [
            b"--b\r\n",
            &disposition[..],
            name,
            b"\r\n\r\nx\r\n--b--\r\n",
        ];
        let body = [fields.as_bytes(), &file.concat()].concat();
        let request = Request::post("/")
            .header("host", HOST)
            .header("content-type", "multipart/form-data; boundary=b")
            .header("content-length", body.len())
            .body(Full::from(body))
            .unwrap();
        let emulator = emulator();
        let answer = send(&emulator, request).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert_eq!(names(&emulator).await, ["user/1/"]);
    }
}

#[tokio::test]
async fn issue_18_line_19_successes_tell_how_long_they_took() {
    let milliseconds = Arc::new(AtomicU64::new(0));
    let clock = milliseconds.clone();
    let (server, _) = keeper();
    let emulator = builder()
        .clock(move || {
            let now = clock.fetch_add(21, Ordering::Relaxed);
            at(NOW) + std::time::Duration::from_millis(now)
        })
        .network(server)
        .build()
        .unwrap();
    // On arrival, when the form is complete, and for the response.
    let answer = good(&[]).file(b"x").post(&emulator).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("x-oss-server-time"), Some("42"));
    let parameters = callback(&json!({ "callbackUrl": "app.example", "callbackBody": "a" }));
    let form = good(&[("callback", &parameters)]).file(b"x");
    let answer = form.post(&emulator).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("x-oss-server-time").is_some());
    let refused = good(&[]).with("Signature", "wrong").file(b"x");
    let answer = refused.post(&emulator).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-oss-server-time")),
        (403, None)
    );

    let emulator = today().build().unwrap();
    assert_eq!(put(&emulator, "/a", &[], b"x").await.status, 200);
    for (method, target) in [
        (Method::GET, "/a"),
        (Method::HEAD, "/a"),
        (Method::GET, "/?list-type=2"),
        (Method::POST, "/b?uploads"),
        (Method::DELETE, "/a"),
    ] {
        let answer = ask(&emulator, method.clone(), target, &[], b"").await;
        assert!(answer.status.is_success(), "{method} {target}");
        assert!(
            answer.header("x-oss-server-time").is_some(),
            "{method} {target}"
        );
    }
}

/// Captures end this message without a full stop.
#[tokio::test]
async fn issue_18_line_19_messages_are_verbatim() {
    let emulator = today().build().unwrap();
    let in_url = ways().into_iter().find(|way| way.in_url).unwrap();
    assert_eq!(format!("{:?}", in_url.version), "V1");
    let mut request = in_url.sign(to(Method::GET, "/a", &[], b"")).await;
    let target = request.uri().to_string().replace("Expires", "Expired");
    *request.uri_mut() = target.parse().unwrap();
    let answer = send(&emulator, request).await;
    answer.assert_refused(403, "AccessDenied", "");
    assert_eq!(
        answer.element("Message").unwrap(),
        "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters"
    );
    let answer = Form::new().file(b"x").post(&emulator).await;
    assert_eq!(
        answer.element("Message").unwrap(),
        "The bucket POST must contain the specified 'key'. If it is specified, please check the \
         order of the fields"
    );
}
