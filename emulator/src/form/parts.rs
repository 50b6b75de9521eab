//! The multipart parser (RFC 2046 section 5.1): heads and contents of the parts of a form.
//!
//! Contents are slices of what the server has read, so they are not copied, and no more than one
//! chunk is in memory. The work per byte is constant however the body is divided into chunks.

use bytes::{Buf as _, Bytes};
use http::{HeaderName, HeaderValue};
use memchr::memchr;

use crate::{
    body::Inbound,
    errors::{self, OssError},
};

/// The longest head of a part, in bytes. It has room for the longest field name and file name.
const MAX_HEAD: usize = 16 * 1024;

/// The headers of a part, in their order.
pub(super) type Head = Vec<(HeaderName, HeaderValue)>;

/// The parts of a body, read one after the other.
pub(super) struct Parts {
    inbound: Inbound,
    /// `\r\n--` and the boundary. Its only `\r` is the first byte.
    delimiter: Vec<u8>,
    /// The chunk that is being read.
    chunk: Bytes,
    /// How much of the delimiter the chunks before it ended with.
    held: usize,
    position: Position,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Position {
    /// In the content of a part, or before the first one.
    Content,
    /// Behind a delimiter.
    Delimiter,
    /// Behind the last delimiter.
    End,
}

impl Parts {
    pub(super) fn new(inbound: Inbound, boundary: &str) -> Self {
        Self {
            inbound,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            chunk: Bytes::new(),
            // The first delimiter may begin the body, without a line break before it.
            held: 2,
            position: Position::Content,
        }
    }

    /// Skips the rest of the current part and reads the head of the next one.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, OssError> {
        while self.content().await?.is_some() {}
        if self.position == Position::End {
            return Ok(None);
        }
        let mut line = [self.byte().await?, self.byte().await?];
        if line == *b"--" {
            self.position = Position::End;
            return Ok(None);
        }
        // Blanks may follow a delimiter.
        for _ in 0..MAX_HEAD {
            if !matches!(line[0], b' ' | b'\t') {
                break;
            }
            line = [line[1], self.byte().await?];
        }
        if line != *b"\r\n" {
            return Err(errors::MALFORMED_FORM);
        }
        let head = self.head().await?;
        self.position = Position::Content;
        Ok(Some(head))
    }

    async fn head(&mut self) -> Result<Head, OssError> {
        let mut text = Vec::new();
        while text != b"\r\n" && !text.ends_with(b"\r\n\r\n") {
            if text.len() == MAX_HEAD {
                return Err(errors::FIELD_TOO_LONG);
            }
            text.push(self.byte().await?);
        }
        parse_head(&text).ok_or(errors::MALFORMED_FORM)
    }

    async fn byte(&mut self) -> Result<u8, OssError> {
        self.fill().await?;
        Ok(self.chunk.get_u8())
    }

    /// Reads a chunk unless there is one. The body must not end here.
    async fn fill(&mut self) -> Result<(), OssError> {
        while self.chunk.is_empty() {
            let chunk = self.inbound.chunk().await.map_err(|e| e.refusal())?;
            self.chunk = chunk.ok_or(errors::MALFORMED_FORM)?;
        }
        Ok(())
    }

    /// Reads the next chunk of the content of a part, which is not empty. Returns `None` at its
    /// end.
    pub(super) async fn content(&mut self) -> Result<Option<Bytes>, OssError> {
        while self.position == Position::Content {
            self.fill().await?;
            if self.held > 0 {
                let rest = &self.delimiter[self.held..];
                let length = rest.len().min(self.chunk.len());
                if self.chunk[..length] == rest[..length] {
                    self.chunk.advance(length);
                    self.held += length;
                    if length == rest.len() {
                        self.held = 0;
                        self.position = Position::Delimiter;
                    }
                    continue;
                }
                // No delimiter after all, so it was content. None begins within it.
                let held = std::mem::take(&mut self.held);
                return Ok(Some(Bytes::copy_from_slice(&self.delimiter[..held])));
            }
            let (at, length) = self.find_delimiter();
            let content = self.chunk.split_to(at);
            self.chunk.advance(length);
            if length == self.delimiter.len() {
                self.position = Position::Delimiter;
            } else {
                self.held = length;
            }
            if !content.is_empty() {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    /// Finds the delimiter in the chunk, or the beginning of one at its end. Returns where it
    /// begins and how long it is there.
    fn find_delimiter(&self) -> (usize, usize) {
        let chunk = &*self.chunk;
        let mut at = 0;
        loop {
            at += memchr(b'\r', &chunk[at..]).unwrap_or(chunk.len() - at);
            let length = self.delimiter.len().min(chunk.len() - at);
            if chunk[at..at + length] == self.delimiter[..length] {
                return (at, length);
            }
            at += 1;
        }
    }
}

fn parse_head(text: &[u8]) -> Option<Head> {
    let text = text.strip_suffix(b"\r\n")?;
    let mut head = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        head.push((name, value));
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Poll,
    };

    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    /// A body in these chunks.
    struct Chunks(VecDeque<Bytes>);

    impl futures_core::Stream for Chunks {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    /// The same for the parser that this one replaced.
    struct Bodies(VecDeque<Bytes>);

    impl futures_core::Stream for Bodies {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn divide(body: &[u8], sizes: &[usize]) -> VecDeque<Bytes> {
        let mut chunks = VecDeque::new();
        let mut rest = body;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            chunks.push_back(Bytes::copy_from_slice(chunk));
            rest = after;
        }
        chunks
    }

    type Found = Vec<(Vec<(String, Vec<u8>)>, Vec<u8>)>;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    fn parse(chunks: VecDeque<Bytes>) -> Result<Found, OssError> {
        block_on(async {
            let inbound = Inbound::new(StreamBody::new(Chunks(chunks)), false);
            inbound.allow(u64::MAX);
            let mut parts = Parts::new(inbound, "b--x");
            let mut found = Vec::new();
            while let Some(head) = parts.next().await? {
                let mut content = Vec::new();
                while let Some(chunk) = parts.content().await? {
                    assert!(!chunk.is_empty());
                    content.extend_from_slice(&chunk);
                }
                let head = head.into_iter();
                let head = head.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                found.push((head.collect(), content));
            }
            Ok(found)
        })
    }

    fn parse_with_multer(chunks: VecDeque<Bytes>) -> Option<Found> {
        block_on(async {
            let mut parts = multer::Multipart::new(Bodies(chunks), "b--x");
            let mut found = Vec::new();
            while let Some(field) = parts.next_field().await.ok()? {
                let head = field.headers().iter();
                let head = head.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
                let head = head.collect();
                found.push((head, field.bytes().await.ok()?.to_vec()));
            }
            Some(found)
        })
    }

    /// Content that looks like delimiters.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(&b"\r"[..]),
            Just(&b"\n"[..]),
            Just(&b"-"[..]),
            Just(&b"\r\n--"[..]),
            Just(&b"\r\n--b-"[..]),
            Just(&b"\r\n--b--"[..]),
            Just(&b"--b--x"[..]),
            Just(&b"\x00\xff"[..]),
        ];
        let content = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
        content.prop_filter("contains a delimiter", |content| {
            !content.windows(8).any(|window| window == b"\r\n--b--x")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn parts_are_found_however_the_body_is_divided(
            contents in prop::collection::vec(content(), 0..4),
            padding in prop_oneof![Just(""), Just(" \t ")],
            sizes in prop::collection::vec(1..20_usize, 1..6),
        ) {
            let mut body = b"ignored\r\n".to_vec();
            for content in &contents {
                body.extend(format!("--b--x{padding}\r\nA: 1\r\nb:\t2 \r\n\r\n").bytes());
                body.extend(content);
                body.extend(b"\r\n");
            }
            body.extend(b"--b--x--\r\nignored");
            let head = vec![("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())];
            let expected: Found = contents.into_iter().map(|content| (head.clone(), content)).collect();
            prop_assert_eq!(&parse(divide(&body, &sizes)).unwrap(), &expected);
            prop_assert_eq!(parse_with_multer(divide(&body, &sizes)).unwrap(), expected);
        }

        /// Whatever this parser accepts, the earlier one read in the same way.
        #[test]
        fn damaged_bodies_are_read_as_before(
            at in 0..1000_usize,
            cut in 0..20_usize,
            paste in content(),
            sizes in prop::collection::vec(1..20_usize, 1..6),
        ) {
            let mut body = b"--b--x\r\nA: 1\r\n\r\nx\r\n--b--x\r\nb: 2\r\n\r\n\r\n--b--x--\r\n".to_vec();
            // Behind the first delimiter: the earlier one found that anywhere, this one only at the
            // beginning of a line.
            let from = 8 + at * (body.len() - 8) / 1000;
            body.splice(from..(from + cut).min(body.len()), paste);
            if let Ok(found) = parse(divide(&body, &sizes))
                // The earlier one did not find the end of an empty head, or names without it.
                && found.iter().all(|(head, _)| !head.is_empty())
                && let Some(before) = parse_with_multer(divide(&body, &sizes))
            {
                prop_assert_eq!(found, before);
            }
        }
    }

    #[test]
    fn bodies_that_are_not_forms() {
        for body in [
            "",
            "--b--x",
            "--b--x\r\n",
            "--b--xy\r\n\r\n\r\n--b--x--",
            "--b--x\r\na\r\n\r\n\r\n--b--x--",
            "--b--x\r\na b: c\r\n\r\n\r\n--b--x--",
            "--b--x\r\na: b\nc: d\r\n\r\n\r\n--b--x--",
            "--b--x\r\na: b\r\n\r\ncontent",
            "--b--x\r\na: b\r\n\r\ncontent\r\n--b--",
        ] {
            let error = parse(divide(body.as_bytes(), &[3])).unwrap_err();
            assert_eq!(error.ec(), errors::MALFORMED_FORM.ec(), "{body:?}");
        }
        let none = parse(divide(b"--b--x--", &[3])).unwrap();
        assert!(none.is_empty());
        let nameless = parse(divide(b"--b--x\r\n\r\ncontent\r\n--b--x--", &[3])).unwrap();
        assert_eq!(nameless, [(Vec::new(), b"content".to_vec())]);
    }

    /// In pieces of one byte, a parser that looks for the end of the head from its beginning each
    /// time takes seconds.
    #[test]
    fn heads_are_bounded() {
        let head = |length: usize| {
            let value = "v".repeat(length - "a: \r\n\r\n".len());
            let body = format!("--b--x\r\na: {value}\r\n\r\nx\r\n--b--x--");
            parse(divide(body.as_bytes(), &[1]))
        };
        assert_eq!(head(MAX_HEAD).unwrap()[0].1, b"x");
        let error = head(MAX_HEAD + 1).unwrap_err();
        assert_eq!(error.ec(), errors::FIELD_TOO_LONG.ec());
        let blanks = format!("--b--x{}\r\n\r\n", " ".repeat(MAX_HEAD + 1));
        let error = parse(divide(blanks.as_bytes(), &[1])).unwrap_err();
        assert_eq!(error.ec(), errors::MALFORMED_FORM.ec());
    }

    #[test]
    fn nothing_is_received_behind_a_head_that_is_too_long() {
        let mut body = b"--b--x\r\na: ".to_vec();
        body.resize(8 << 20, b'v');
        for piece in [1, 100, 64 * 1024] {
            let chunks = divide(&body, &[piece]);
            let left = Arc::new(AtomicUsize::new(chunks.len()));
            let stream = Counted(Chunks(chunks), left.clone());
            let error = block_on(async {
                let inbound = Inbound::new(StreamBody::new(stream), false);
                inbound.allow(u64::MAX);
                Parts::new(inbound, "b--x").next().await.unwrap_err()
            });
            assert_eq!(error.ec(), errors::FIELD_TOO_LONG.ec());
            let received = body.len() - left.load(Ordering::Relaxed) * piece;
            let delimiter = b"--b--x\r\n".len();
            assert!(received <= delimiter + MAX_HEAD + piece, "{received}");
        }
    }

    /// Counts what is left.
    struct Counted(Chunks, Arc<AtomicUsize>);

    impl futures_core::Stream for Counted {
        type Item = Result<Frame<Bytes>, Infallible>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            let next = Pin::new(&mut self.0).poll_next(cx);
            self.1.store(self.0.0.len(), Ordering::Relaxed);
            next
        }
    }

    /// The content is not copied.
    #[test]
    fn content_is_a_slice_of_the_chunk() {
        let body = [
            b"--b--x\r\na: b\r\n\r\n",
            &[b'c'; 1000][..],
            b"\r\n--b--x--",
        ]
        .concat();
        let body = Bytes::from(body);
        let chunks = VecDeque::from([body.clone()]);
        block_on(async {
            let inbound = Inbound::new(StreamBody::new(Chunks(chunks)), false);
            inbound.allow(u64::MAX);
            let mut parts = Parts::new(inbound, "b--x");
            parts.next().await.unwrap().unwrap();
            let content = parts.content().await.unwrap().unwrap();
            assert_eq!(content.as_ptr(), body[16..].as_ptr());
            assert_eq!(content.len(), 1000);
        });
    }
}
