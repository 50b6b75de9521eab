//! Texts of the errors, and how much of a response is read.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll},
};

use http_body::{Frame, SizeHint};

use super::*;

#[test]
fn every_kind_says_what_it_is() {
    use FetchErrorKind as Kind;

    let said = [
        (Kind::Resolve, "no address"),
        (Kind::Connect, "could not connect"),
        (Kind::Tls, "identity of the key host"),
        (Kind::NoTls, "install"),
        (Kind::Timeout, "in time"),
        (Kind::Redirect, "redirect"),
        (Kind::Status, "other than 200"),
        (Kind::TooLarge, "larger than a key file"),
        (Kind::Encoding, "compressed"),
        (Kind::Interrupted, "broke"),
        (Kind::Key, "not an accepted public key"),
        (Kind::CacheFull, "full"),
        (Kind::OverBudget, "in the last minute"),
        (Kind::NoRuntime, "runtime"),
        (Kind::Aborted, "without a result"),
        (Kind::RootsPem, "in PEM"),
        (Kind::ProxyUrl, "without a user name"),
    ];
    for (kind, part) in said {
        let text = FetchError::new(kind).to_string();
        assert!(text.contains(part), "{kind:?}: {text}");
        assert!(text.starts_with(|c: char| c.is_ascii_lowercase()), "{text}");
    }
    for (status, text) in [
        (502, "the key host responded with status 502"),
        (
            302,
            "the key host responded with a redirect, which is not followed",
        ),
    ] {
        let error = FetchError::from_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn causes_are_escaped_and_cut() {
    let nested = FetchError::with_source(FetchErrorKind::Connect, "line\nbreak\u{202e}");
    let error = FetchError::with_source(FetchErrorKind::Tls, nested);
    assert_eq!(
        error.cause().unwrap(),
        "could not connect to the key host: line\\nbreak\\u{202e}"
    );
    let long = FetchError::with_source(FetchErrorKind::Tls, "e".repeat(1_000));
    assert_eq!(long.cause().unwrap(), "e".repeat(160));
    assert_eq!(FetchError::new(FetchErrorKind::Tls).cause(), None);
}

/// An endless body of 1 KiB frames that counts how many were read.
struct Endless(Arc<AtomicUsize>, SizeHint);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'A'; 1024])))))
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

#[tokio::test]
async fn kf_06_no_more_is_read_than_the_limit_and_a_frame() {
    let announced = SizeHint::with_exact(16 * 1024 + 1);
    let cases = [
        (200, "identity", SizeHint::default(), Kind::TooLarge, 17),
        (200, "identity", announced, Kind::TooLarge, 0),
        (200, "gzip", SizeHint::default(), Kind::Encoding, 0),
        (404, "identity", SizeHint::default(), Kind::Status, 0),
        (302, "identity", SizeHint::default(), Kind::Redirect, 0),
    ];
    for (status, coding, hint, kind, frames) in cases {
        let body = Endless(Arc::default(), hint);
        let polled = Arc::clone(&body.0);
        let response = Response::builder()
            .status(status)
            .header("content-encoding", coding);
        let fetched = read(response.body(body).unwrap()).await;
        assert_eq!(fetched.unwrap_err().kind(), kind);
        assert_eq!(polled.load(SeqCst), frames, "{status} {coding}");
    }
}
