//! `x-oss-traffic-limit`: the time that transfers take.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{
    client::{ask, put, read, today},
    support::{emulator as emulator_of_forms, good},
};

const LIMIT: (&str, &str) = ("x-oss-traffic-limit", "819200");
const DELAY: &str = "x-oss-qos-delay-time";
/// What a limit of 100 KiB a second lets pass in ten seconds.
const SIZE: usize = 1000 * 1024;
const TEN_SECONDS: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn uploads_and_downloads_keep_the_limit() {
    let emulator = today().build().unwrap();
    let content = vec![b'a'; SIZE];
    let begun = Instant::now();
    let answer = put(&emulator, "/a", &[LIMIT], &content).await;
    assert_eq!(
        (answer.status.as_u16(), begun.elapsed()),
        (200, TEN_SECONDS)
    );
    assert_eq!(answer.header(DELAY), Some("10000"));

    let begun = Instant::now();
    let answer = ask(&emulator, Method::GET, "/a", &[LIMIT], b"").await;
    assert!(answer.body == content);
    let length = SIZE.to_string();
    assert_eq!(answer.header("content-length"), Some(&*length));
    assert_eq!(begun.elapsed(), TEN_SECONDS);

    let begun = Instant::now();
    let range = ("range", "bytes=0-102399");
    let answer = ask(&emulator, Method::GET, "/a", &[LIMIT, range], b"").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (206, 102_400));
    assert_eq!(begun.elapsed(), TEN_SECONDS / 10);

    let begun = Instant::now();
    let target = "/b?append&position=0";
    let answer = ask(&emulator, Method::POST, target, &[LIMIT], &content).await;
    assert_eq!(
        (answer.status.as_u16(), begun.elapsed()),
        (200, TEN_SECONDS)
    );

    let upload = ask(&emulator, Method::POST, "/c?uploads", &[], b"").await;
    let id = upload.element("UploadId").unwrap();
    let begun = Instant::now();
    let target = format!("/c?partNumber=1&uploadId={id}&x-oss-traffic-limit=819200");
    let answer = put(&emulator, &target, &[], &content).await;
    assert_eq!(
        (answer.status.as_u16(), begun.elapsed()),
        (200, TEN_SECONDS)
    );

    let begun = Instant::now();
    let form = good(&[LIMIT, ("success_action_status", "200")]).file(&content);
    let answer = form.post(&emulator_of_forms()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(begun.elapsed(), TEN_SECONDS);
    assert_eq!(answer.header(DELAY), Some("10000"));

    // Without a limit nothing waits.
    let begun = Instant::now();
    assert_eq!(put(&emulator, "/a", &[], &content).await.status, 200);
    assert_eq!(read(&emulator, "/a").await.body.len(), SIZE);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn limits_that_are_refused() {
    let emulator = today().build().unwrap();
    for limit in ["0", "245759", "838860801", "fast"] {
        let header = [("x-oss-traffic-limit", limit)];
        for method in [Method::PUT, Method::GET] {
            let answer = ask(&emulator, method, "/a", &header, b"").await;
            answer.assert_refused(400, "InvalidArgument", "");
            assert_eq!(answer.element("ArgumentValue").as_deref(), Some(limit));
        }
        let answer = good(&header).file(b"x").post(&emulator_of_forms()).await;
        answer.assert_refused(400, "InvalidArgument", "");
    }
    let target = "/a?x-oss-traffic-limit=819200";
    let answer = put(&emulator, target, &[LIMIT], b"x").await;
    answer.assert_refused(400, "InvalidArgument", "");
    let message = answer.element("Message").unwrap();
    assert!(message.ends_with("either in query string or header, not both."));
}
