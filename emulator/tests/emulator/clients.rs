//! Clients of the guide: the exact bytes of their forms, for each token format.
//!
//! The browser bytes are those of Chromium; antd `Upload`, element-plus, Dropzone, `FilePond` and
//! uppy send a `FormData` of the browser too. Dart bytes are from the source of dio 5, and those of
//! Android apps from the source of `OkHttp` 3 and 4, which writes a `Content-Length` into each
//! part. No capture of `wx.uploadFile` on a device is public; the developer tools send the browser
//! bytes.

use std::{collections::BTreeMap, fmt::Write as _};

use aliyun_oss_emulator::Emulator;
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssPolicyService,
    policy::{
        Authorize, CallbackDirective, CallbackTemplate, Credentials, Grant, Refusal, TokenFormat,
    },
    protocol::{CallbackBodyType, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

use super::support::{Answer, BUCKET, HOST, ID, NOW, OneServer, SECRET, at, builder, send};

/// How a client writes a form.
struct Client {
    name: &'static str,
    /// The boundary in the header; a delimiter has two more hyphens.
    boundary: &'static str,
    field: fn(&str, &str) -> String,
    /// The head of the file part, for a file `a.png` of 5 bytes.
    file: &'static str,
}

const CLIENTS: [Client; 3] = [
    Client {
        name: "browser",
        boundary: "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        field: |name, value| {
            format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        },
        file: "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
               Content-Type: image/png\r\n\r\n",
    },
    Client {
        name: "dio",
        boundary: "--dio-boundary-1234567890",
        field: |name, value| {
            format!("content-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        },
        file: "content-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
               content-type: image/png\r\n\r\n",
    },
    Client {
        name: "OkHttp",
        boundary: "b1a9c7b2-6d7e-4c0a-9a51-1f8d5f0c3e77",
        field: |name, value| {
            format!(
                "Content-Disposition: form-data; name=\"{name}\"\r\nContent-Length: {}\r\n\r\n\
                 {value}\r\n",
                value.len()
            )
        },
        file: "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
               Content-Type: image/png\r\nContent-Length: 5\r\n\r\n",
    },
];

impl Client {
    fn body(&self, fields: &[(String, String)]) -> Bytes {
        let mut body = String::new();
        for (name, value) in fields {
            let part = (self.field)(name, value);
            write!(body, "--{}\r\n{part}", self.boundary).unwrap();
        }
        let (boundary, file) = (self.boundary, self.file);
        write!(body, "--{boundary}\r\n{file}12345\r\n--{boundary}--\r\n").unwrap();
        body.into()
    }

    async fn post(&self, emulator: &Emulator, fields: &[(String, String)]) -> Answer {
        let body = self.body(fields);
        let content_type = format!("multipart/form-data; boundary={}", self.boundary);
        let request = Request::post("/")
            .header("host", HOST)
            .header("content-type", content_type)
            .header("content-length", body.len());
        send(emulator, request.body(body.into()).unwrap()).await
    }
}

/// The bytes that the tests send, written out once.
#[test]
fn the_bytes_of_a_client() {
    let fields = [("key".to_owned(), "a".to_owned())];
    let [browser, dio, ok_http] = CLIENTS.map(|client| client.body(&fields));
    assert_eq!(
        browser,
        "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n\
         Content-Disposition: form-data; name=\"key\"\r\n\r\na\r\n\
         ------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
         Content-Type: image/png\r\n\r\n12345\r\n\
         ------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"
    );
    assert_eq!(
        dio,
        "----dio-boundary-1234567890\r\n\
         content-disposition: form-data; name=\"key\"\r\n\r\na\r\n\
         ----dio-boundary-1234567890\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
         content-type: image/png\r\n\r\n12345\r\n\
         ----dio-boundary-1234567890--\r\n"
    );
    assert_eq!(
        ok_http,
        "--b1a9c7b2-6d7e-4c0a-9a51-1f8d5f0c3e77\r\n\
         Content-Disposition: form-data; name=\"key\"\r\nContent-Length: 1\r\n\r\na\r\n\
         --b1a9c7b2-6d7e-4c0a-9a51-1f8d5f0c3e77\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
         Content-Type: image/png\r\nContent-Length: 5\r\n\r\n12345\r\n\
         --b1a9c7b2-6d7e-4c0a-9a51-1f8d5f0c3e77--\r\n"
    );
}

struct Always(Grant);

impl Authorize for Always {
    type Granted = Grant;

    async fn authorize(&self, _: &Parts) -> Result<Grant, Refusal> {
        Ok(self.0.clone())
    }
}

async fn token(format: TokenFormat, grant: Grant, sts: bool) -> Value {
    let mut credentials = Credentials::new(ID, SECRET).unwrap();
    if sts {
        credentials = Credentials::new("STS.id", SECRET)
            .and_then(|credentials| credentials.with_security_token("token"))
            .unwrap();
    }
    let template = CallbackTemplate::standard(CallbackBodyType::Form);
    let callback = CallbackDirective::new("http://app.example/cb")
        .and_then(|callback| callback.body(template))
        .unwrap();
    let key = TicketKey::from_bytes(b"ticket-key-of-at-least-32-bytes-0").unwrap();
    let service = OssPolicyService::new(
        Always(grant),
        credentials,
        BUCKET.parse().unwrap(),
        "cn-hangzhou".parse().unwrap(),
        callback,
    )
    .and_then(|service| service.format(format))
    .and_then(|service| service.tickets(Tickets::in_memory(TicketKeys::new(1, key))))
    .unwrap()
    .clock(|| at(NOW));
    let request = Request::get("/?size=5&filename=a.png&type=image/png");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// Returns the fields that the guide lists for a format, in its order.
fn fields(format: TokenFormat, token: &Value) -> Vec<(String, String)> {
    let text = |name: &str| token[name].as_str().unwrap_or_default().to_owned();
    let mut fields: Vec<(&str, String)> = match format {
        TokenFormat::V4 => vec![
            ("key", text("dir") + "a.png"),
            ("policy", text("policy")),
            ("x-oss-signature-version", text("x_oss_signature_version")),
            ("x-oss-credential", text("x_oss_credential")),
            ("x-oss-date", text("x_oss_date")),
            ("x-oss-signature", text("signature")),
        ],
        TokenFormat::Legacy => vec![
            ("key", text("dir") + "a.png"),
            ("policy", text("policy")),
            ("OSSAccessKeyId", text("accessid")),
            ("signature", text("signature")),
        ],
        _ => {
            let all: BTreeMap<String, String> =
                serde_json::from_value(token["fields"].clone()).unwrap();
            return all.into_iter().collect();
        }
    };
    if !text("security_token").is_empty() {
        fields.push(("x-oss-security-token", text("security_token")));
    }
    if !text("callback").is_empty() {
        fields.push(("success_action_status", "200".to_owned()));
        fields.push(("callback", text("callback")));
    }
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    fields.into_iter().map(named).collect()
}

fn grant(format: TokenFormat) -> Grant {
    let (prefix, size) = ("user/7/".parse().unwrap(), SizeRange::new(1, 1000).unwrap());
    match format {
        TokenFormat::Fields => Grant::under(prefix, size)
            .content_types(["image/png", "image/jpeg"].map(|name| name.parse().unwrap())),
        _ => Grant::any_name_under(prefix, size),
    }
}

/// Overwriting is allowed in the formats of the samples only, so each upload has its own emulator.
fn emulator(sts: bool) -> Emulator {
    let app = OneServer::http(|_| async {
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(Full::from("{\"Status\":\"OK\"}")).unwrap()
    });
    let mut builder = builder().network(app);
    if sts {
        let hour = std::time::Duration::from_secs(3600);
        let key = aliyun_oss_emulator::AccessKey::new("STS.id", SECRET);
        builder = builder.access_key(key.with_security_token("token", at(NOW) + hour));
    }
    builder.build().unwrap()
}

const FORMATS: [TokenFormat; 3] = [TokenFormat::Fields, TokenFormat::V4, TokenFormat::Legacy];

#[tokio::test]
async fn issue_18_line_02_every_client_uploads_with_the_fields_of_the_guide() {
    for format in FORMATS {
        for sts in [false, true] {
            // The format has no field for a token of STS.
            if sts && format == TokenFormat::Legacy {
                continue;
            }
            let token = token(format, grant(format), sts).await;
            let fields = fields(format, &token);
            for client in CLIENTS {
                let answer = client.post(&emulator(sts), &fields).await;
                let name = client.name;
                assert_eq!(answer.status, 200, "{name}, {format:?}: {}", answer.text());
                assert_eq!(answer.text(), "{\"Status\":\"OK\"}", "{name}, {format:?}");
            }
        }
    }
}

/// Clients in the field send neither `callback` nor `success_action_status`.
#[tokio::test]
async fn issue_18_line_02_every_client_uploads_without_a_callback() {
    for format in FORMATS {
        let grant = grant(format).without_callback();
        let token = token(format, grant, false).await;
        let fields = fields(format, &token);
        assert!(fields.iter().all(|(name, _)| name != "callback"));
        for client in CLIENTS {
            let answer = client.post(&emulator(false), &fields).await;
            let status = if format == TokenFormat::Fields {
                200
            } else {
                204
            };
            assert_eq!(answer.status, status, "{format:?}: {}", answer.text());
            assert_eq!(answer.text(), "", "{}", client.name);
        }
    }
}

/// The lists of the guide contain nothing that a client may omit.
#[tokio::test]
async fn issue_18_line_02_every_field_of_the_guide_is_needed() {
    let [browser, ..] = CLIENTS;
    for format in FORMATS {
        for callback in [true, false] {
            let grant = grant(format);
            let grant = if callback {
                grant
            } else {
                grant.without_callback()
            };
            let token = token(format, grant, false).await;
            let fields = fields(format, &token);
            for omitted in &fields {
                let rest: Vec<_> = fields
                    .iter()
                    .filter(|field| *field != omitted)
                    .cloned()
                    .collect();
                let answer = browser.post(&emulator(false), &rest).await;
                let status = answer.status;
                assert!(
                    status.is_client_error(),
                    "{format:?} without {}: {status}",
                    omitted.0
                );
            }
        }
    }
}

/// A prefix with `${filename}` depends on the name that the client sends, which may be missing.
#[tokio::test]
async fn issue_18_line_18_no_token_depends_on_the_file_name_unless_asked() {
    for grant in [
        grant(TokenFormat::Fields),
        Grant::exact("a/b".parse().unwrap(), SizeRange::new(1, 9).unwrap())
            .content_type("image/png".parse().unwrap()),
    ] {
        let token = token(TokenFormat::Fields, grant, false).await;
        assert!(!token.to_string().contains("${"), "{token}");
    }
    for format in [TokenFormat::V4, TokenFormat::Legacy] {
        let token = token(format, grant(format), false).await;
        assert!(!token.to_string().contains("${"), "{token}");
    }
    // Asked for: the uploader chooses the name, and a client that sends none writes to the prefix.
    let any = grant(TokenFormat::V4).content_type("image/png".parse().unwrap());
    let token = token(TokenFormat::Fields, any, false).await;
    assert_eq!(token["key"], "user/7/${filename}");
}
