//! Object listings and CORS rules.

use aliyun_oss_emulator::{Acl, CorsRule, Emulator, HostedBucket};
use http::Method;

use super::{
    client::{ask, put, to, today},
    support::{Answer, Form, builder, request, send},
};

async fn list(emulator: &Emulator, query: &str) -> Answer {
    let target = format!("/?list-type=2{query}");
    ask(emulator, Method::GET, &target, &[], b"").await
}

/// Returns the texts of all elements with this name.
fn all(answer: &Answer, name: &str) -> Vec<String> {
    let open = format!("<{name}>");
    let rest = answer.text().split(&*open).skip(1);
    rest.map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_listing_goes_on_where_the_last_page_ended() {
    let emulator = today().build().unwrap();
    let names = ["a", "dir/1", "dir/2", "dir/sub/3", "e%20f", "z"];
    for name in names {
        put(&emulator, &format!("/{name}"), &[], name.as_bytes()).await;
    }
    for (query, keys, prefixes) in [
        ("", "a dir/1 dir/2 dir/sub/3 e f z", ""),
        ("&prefix=dir/", "dir/1 dir/2 dir/sub/3", ""),
        ("&prefix=dir/&delimiter=/", "dir/1 dir/2", "dir/sub/"),
        ("&delimiter=/", "a e f z", "dir/"),
        ("&start-after=dir/2", "dir/sub/3 e f z", ""),
        ("&start-after=dir/&delimiter=/", "e f z", ""),
        ("&prefix=none", "", ""),
    ] {
        for size in [1, 2, 1000] {
            let mut found = (Vec::new(), Vec::new());
            let mut more = String::new();
            loop {
                let page = list(&emulator, &format!("{query}&max-keys={size}{more}")).await;
                assert_eq!(page.status, 200, "{}", page.text());
                found.0.extend(all(&page, "Key"));
                let common = page.text().split("<CommonPrefixes>").skip(1);
                found.1.extend(common.map(|rest| {
                    let rest = rest.split("<Prefix>").nth(1).unwrap();
                    rest.split('<').next().unwrap().to_owned()
                }));
                let count: usize = page.element("KeyCount").unwrap().parse().unwrap();
                assert!(count <= size);
                match page.element("NextContinuationToken") {
                    None => {
                        assert_eq!(page.element("IsTruncated").unwrap(), "false");
                        break;
                    }
                    Some(token) => more = format!("&continuation-token={token}"),
                }
            }
            let found = (found.0.join(" "), found.1.join(" "));
            assert_eq!(found, (keys.into(), prefixes.into()), "{query} {size}");
        }
    }
    let page = list(
        &emulator,
        "&prefix=e%20f&encoding-type=url&fetch-owner=true",
    )
    .await;
    assert_eq!(all(&page, "Key"), ["e%20f"]);
    assert_eq!(page.element("Size").unwrap(), "5");
    assert_eq!(page.element("StorageClass").unwrap(), "Standard");
    assert_eq!(page.element("Type").unwrap(), "Normal");
    assert!(page.element("ID").is_some());
    assert!(page.element("LastModified").unwrap().ends_with(".000Z"));
    for odd in [
        "max-keys=0",
        "max-keys=1001",
        "max-keys=x",
        "continuation-token=!",
        "encoding-type=x",
    ] {
        let answer = list(&emulator, &format!("&{odd}")).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
}

const RULES: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><CORSConfiguration>\
    <CORSRule><AllowedOrigin>http://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
    <AllowedMethod>POST</AllowedMethod><AllowedHeader>x-oss-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
    <MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
    <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>\
    <ResponseVary>false</ResponseVary></CORSConfiguration>";

async fn preflight(emulator: &Emulator, origin: &str, method: &str, headers: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    let request = to(Method::OPTIONS, "/a", &headers, b"");
    send(emulator, request.map(Into::into)).await
}

#[tokio::test]
async fn rules_are_put_and_count_at_once() {
    let emulator = today().build().unwrap();
    let cors = async |method: Method, body: &str| {
        ask(&emulator, method, "/?cors", &[], body.as_bytes()).await
    };
    let none = cors(Method::GET, "").await;
    none.assert_refused(404, "NoSuchCORSConfiguration", "");
    let answer = preflight(&emulator, "http://a.example", "PUT", "").await;
    answer.assert_refused(403, "AccessForbidden", "0003-00000601");

    assert_eq!(cors(Method::PUT, RULES).await.status, 200);
    for (origin, method, headers, allowed) in [
        ("http://a.example", "PUT", "x-oss-date, X-OSS-Meta-a", true),
        ("http://a.example", "POST", "", true),
        ("http://a.example", "PUT", "authorization", false),
        ("http://a.example", "DELETE", "", false),
        ("http://b.other", "PUT", "", false),
        ("http://b.other", "GET", "", true),
    ] {
        let answer = preflight(&emulator, origin, method, headers).await;
        let what = format!("{origin} {method} {headers}");
        if allowed {
            assert_eq!((answer.status.as_u16(), answer.text()), (200, ""), "{what}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        } else {
            answer.assert_refused(403, "AccessForbidden", "0003-00000602");
        }
    }
    let answer = preflight(&emulator, "http://a.example", "PUT", "").await;
    assert_eq!(answer.header("access-control-max-age"), Some("60"));
    let headers = [("origin", "http://a.example")];
    let answer = put(&emulator, "/a", &headers, b"x").await;
    assert_eq!(answer.header("access-control-expose-headers"), Some("ETag"));
    assert_eq!(answer.header("vary"), None);

    // A response of GET is a valid request for PUT.
    let read = cors(Method::GET, "").await;
    assert_eq!(all(&read, "AllowedOrigin"), ["http://*.example", "*"]);
    assert_eq!(all(&read, "AllowedMethod"), ["PUT", "POST", "GET"]);
    assert_eq!(cors(Method::PUT, read.text()).await.status, 200);
    assert_eq!(cors(Method::GET, "").await.text(), read.text());

    // The order of elements does not matter.
    let mixed = "<CORSConfiguration><CORSRule><AllowedOrigin>a</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
        <AllowedOrigin>b</AllowedOrigin></CORSRule><ResponseVary>true</ResponseVary><CORSRule>\
        <AllowedMethod>PUT</AllowedMethod><AllowedOrigin>c</AllowedOrigin></CORSRule></CORSConfiguration>";
    assert_eq!(cors(Method::PUT, mixed).await.status, 200);
    let mixed = cors(Method::GET, "").await;
    assert_eq!(all(&mixed, "AllowedOrigin"), ["a", "b", "c"]);
    assert_eq!(mixed.element("ResponseVary").unwrap(), "true");
    // For every response, whether or not the request has an origin.
    for headers in [&[][..], &[("origin", "a")], &[("origin", "d")]] {
        let answer = ask(&emulator, Method::GET, "/a", headers, b"").await;
        assert_eq!(answer.header("vary"), Some("Origin"), "{headers:?}");
    }
    let answer = preflight(&emulator, "a", "GET", "").await;
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert_eq!(cors(Method::PUT, read.text()).await.status, 200);

    for odd in [
        "",
        "<CORSConfiguration/>",
        "<CORSConfiguration><CORSRule/></CORSConfiguration>",
        &RULES.replacen("PUT", "PATCH", 1),
        &RULES.replacen("http://*.example", "*.*", 1),
        &RULES.replacen("60", "x", 1),
    ] {
        cors(Method::PUT, odd)
            .await
            .assert_refused(400, "MalformedXML", "");
    }
    for age in ["-1", "1000000000", "4294967296"] {
        let answer = cors(Method::PUT, &RULES.replacen("60", age, 1)).await;
        answer.assert_refused(400, "InvalidArgument", "");
        let argument = [
            answer.element("ArgumentName"),
            answer.element("ArgumentValue"),
        ];
        let expected = ["MaxAgeSeconds", age].map(|text| Some(text.to_owned()));
        assert_eq!(argument, expected);
    }
    // Names of allowed headers lose their case, and others keep it.
    let case = RULES.replacen("x-oss-*", "X-Oss-Meta-*", 1);
    assert_eq!(cors(Method::PUT, &case).await.status, 200);
    let kept = cors(Method::GET, "").await;
    assert_eq!(all(&kept, "ExposeHeader"), ["ETag"]);
    assert_eq!(all(&kept, "AllowedHeader"), ["x-oss-meta-*"]);
    assert_eq!(cors(Method::PUT, read.text()).await.status, 200);
    let rule =
        "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";
    let eleven = format!("<CORSConfiguration>{}</CORSConfiguration>", rule.repeat(11));
    let answer = cors(Method::PUT, &eleven).await;
    answer.assert_refused(400, "InvalidArgument", "");
    assert_eq!(cors(Method::GET, "").await.text(), read.text());

    assert_eq!(cors(Method::DELETE, "").await.status, 204);
    cors(Method::GET, "")
        .await
        .assert_refused(404, "NoSuchCORSConfiguration", "");
}

/// A page that the developer visits must not post forms to an emulator on the same machine.
#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let rule = CorsRule::new()
        .allow_origin("http://app.example")
        .allow_method(Method::POST);
    let bucket = || HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite);
    let settings = || {
        builder()
            .bucket(bucket().cors(rule.clone()))
            .create_buckets(true)
    };
    let from = async |emulator: &Emulator, method: Method, target: &str, origin: &str| {
        let form = Form::new().field("key", "a").file(b"x").bytes();
        let mut request = request(form);
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        request
            .headers_mut()
            .insert("host", "127.0.0.1:9000".parse().unwrap());
        if !origin.is_empty() {
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
        }
        send(emulator, request).await
    };
    let emulator = settings().refuse_foreign_origins().build().unwrap();
    for (method, target, origin) in [
        (Method::POST, "/open/", "http://evil.example"),
        (Method::POST, "/open/", "null"),
        (Method::PUT, "/open/a", "http://evil.example"),
        (Method::PUT, "/open/a", "http://app.example"),
        (Method::DELETE, "/open/a", "http://evil.example"),
        (Method::PUT, "/made/", "http://app.example"),
    ] {
        let answer = from(&emulator, method.clone(), target, origin).await;
        answer.assert_refused(403, "AccessForbidden", "0003-00000602");
    }
    for origin in ["http://app.example", ""] {
        let answer = from(&emulator, Method::POST, "/open/", origin).await;
        assert_eq!(answer.status, 204, "{origin:?} {}", answer.text());
    }
    // What it reads, the browser withholds from the page.
    let answer = from(&emulator, Method::GET, "/open/a", "http://evil.example").await;
    assert_eq!(answer.status, 200);
    // OSS leaves all of it to the browser.
    let emulator = settings().build().unwrap();
    let answer = from(&emulator, Method::POST, "/open/", "http://evil.example").await;
    assert_eq!(answer.status, 204);
}
