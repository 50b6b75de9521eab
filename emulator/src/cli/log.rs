//! The output of the program: the access log on standard output, and warnings on standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{
    history::{Entry, timestamp},
    options::LogFormat,
};

/// How many lines wait while the reader of the output is slow.
const QUEUE: usize = 1024;
/// How much of a target a line shows, in characters.
const MAX_TARGET: usize = 2048;
/// How long the end of the program waits for the output.
const END: Duration = Duration::from_secs(1);

/// Writes lines on a thread of its own.
///
/// A program that starts the emulator may read its output late or never. Requests must not wait for
/// it, so lines are left out while the queue is full.
#[derive(Clone, Debug)]
pub(super) struct Log {
    format: LogFormat,
    lines: SyncSender<Line>,
    left_out: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Line {
    Text(String),
    /// Answered once everything before it is written.
    End(SyncSender<()>),
}

impl Log {
    pub(super) fn start(format: LogFormat) -> io::Result<Self> {
        let (lines, queue) = mpsc::sync_channel(QUEUE);
        let left_out = Arc::new(AtomicU64::new(0));
        let counting = left_out.clone();
        let thread = thread::Builder::new().name("oss-emulator-log".to_owned());
        thread.spawn(move || write_all(&queue, &counting))?;
        Ok(Self {
            format,
            lines,
            left_out,
        })
    }

    /// Writes a message of the program: its text, or with the format JSON the object with `event`.
    pub(super) fn message(&self, text: &str, event: &str, mut details: Value) {
        self.write(match self.format {
            LogFormat::Text => text.to_owned(),
            LogFormat::Json => {
                details["event"] = event.into();
                details["time"] = timestamp(SystemTime::now()).into();
                details.to_string()
            }
        });
    }

    /// Writes the line of a request.
    pub(super) fn request(&self, entry: &Entry) {
        self.write(match self.format {
            LogFormat::Text => text(entry),
            LogFormat::Json => object(entry).to_string(),
        });
    }

    fn write(&self, line: String) {
        if self.lines.try_send(Line::Text(line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the lines are written, for at most a second.
    pub(super) fn end(&self) {
        let (done, ended) = mpsc::sync_channel(1);
        if self.lines.try_send(Line::End(done)).is_ok() {
            let _ = ended.recv_timeout(END);
        }
    }
}

fn write_all(queue: &Receiver<Line>, left_out: &AtomicU64) {
    while let Ok(line) = queue.recv() {
        // A closed pipe must not end the emulator, as the macro `println` would.
        let mut output = io::stdout().lock();
        match line {
            Line::Text(line) => {
                let _ = writeln!(output, "{line}");
            }
            Line::End(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
        let lost = left_out.swap(0, Ordering::Relaxed);
        if lost > 0 {
            drop(output);
            tracing::warn!(
                lines = lost,
                "the access log was not read in time; lines are missing"
            );
        }
    }
}

/// Returns the line of a request as text. Nothing of a request can begin a line of its own.
fn text(entry: &Entry) -> String {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let status = entry
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    let mut line = format!(
        "{} {} {status} {} {} \"{} {}\" {}ms {}",
        entry.time,
        dash(&entry.operation),
        dash(&entry.code),
        dash(&entry.ec),
        entry.method,
        shortened(&entry.target).escape_debug(),
        entry.milliseconds,
        entry.request_id,
    );
    for callback in &entry.callbacks {
        let status = callback
            .status
            .map_or_else(|| "-".to_owned(), |status| status.to_string());
        let _ = write!(
            line,
            " callback \"{}\" {status}",
            callback.url.escape_debug()
        );
        if let Some(failure) = &callback.failure {
            let _ = write!(line, " ({})", failure.escape_debug());
        }
    }
    if let Some(message) = &entry.message {
        let _ = write!(line, ": {}", message.escape_debug());
    } else if entry.status.is_none() {
        line.push_str(": the client disconnected");
    }
    line
}

/// Returns the line of a request as an object. Bodies of callbacks and their responses are left
/// out.
fn object(entry: &Entry) -> Value {
    let callbacks = entry.callbacks.iter();
    let callbacks: Vec<_> = callbacks
        .map(|callback| {
            json!({
                "url": callback.url,
                "status": callback.status,
                "failure": callback.failure,
            })
        })
        .collect();
    json!({
        "event": "request",
        "time": entry.time,
        "requestId": entry.request_id,
        "client": entry.client,
        "method": entry.method,
        "host": entry.host,
        "target": shortened(&entry.target),
        "bucket": entry.bucket,
        "key": entry.key,
        "operation": entry.operation,
        "status": entry.status,
        "code": entry.code,
        "ec": entry.ec,
        "message": entry.message,
        "milliseconds": entry.milliseconds,
        "callbacks": callbacks,
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TARGET) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Sends warnings of the library to standard error.
pub(super) fn install_warnings(format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        // Otherwise a closed standard error panics in the middle of a request.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // Fails only if the process has a subscriber already, which then receives the warnings.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.event_format(JsonEvents).try_init(),
    };
}

/// One JSON object per event.
struct JsonEvents;

impl<S, N> FormatEvent<S, N> for JsonEvents
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        let line = json!({
            "event": "log",
            "time": timestamp(SystemTime::now()),
            "level": level,
            "fields": fields.0,
        });
        writeln!(writer, "{line}")
    }
}

struct Fields(Map<String, Value>);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.insert(field.name().to_owned(), text.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::Callback;

    fn entry() -> Entry {
        Entry {
            sequence: 1,
            time: "2026-01-02T03:04:05.678Z".into(),
            request_id: "656C6F3C0000000000000001".into(),
            client: Some("127.0.0.1".into()),
            method: "PUT".into(),
            host: "127.0.0.1".into(),
            target: "/examplebucket/a.txt".into(),
            bucket: Some("examplebucket".into()),
            key: Some("a.txt".into()),
            operation: Some("PutObject".into()),
            status: Some(200),
            code: None,
            ec: None,
            message: None,
            milliseconds: 3,
            upload: None,
            callbacks: Vec::new(),
        }
    }

    #[test]
    fn a_line_has_operation_status_code_ec_and_cause() {
        assert_eq!(
            text(&entry()),
            "2026-01-02T03:04:05.678Z PutObject 200 - - \"PUT /examplebucket/a.txt\" 3ms \
             656C6F3C0000000000000001"
        );
        let failed = Entry {
            status: Some(203),
            code: Some("CallbackFailed".into()),
            ec: Some("0007-00000203".into()),
            message: Some("Error status : 502.".into()),
            callbacks: vec![Callback {
                url: "http://app/".into(),
                body: "a ticket".into(),
                status: Some(502),
                failure: None,
                response: String::new(),
            }],
            ..entry()
        };
        assert_eq!(
            text(&failed),
            "2026-01-02T03:04:05.678Z PutObject 203 CallbackFailed 0007-00000203 \
             \"PUT /examplebucket/a.txt\" 3ms 656C6F3C0000000000000001 callback \"http://app/\" 502: \
             Error status : 502."
        );
        let object = object(&failed);
        for (name, value) in [
            ("operation", json!("PutObject")),
            ("status", json!(203)),
            ("code", json!("CallbackFailed")),
            ("ec", json!("0007-00000203")),
            ("message", json!("Error status : 502.")),
            (
                "callbacks",
                json!([{ "url": "http://app/", "status": 502, "failure": null }]),
            ),
        ] {
            assert_eq!(object[name], value, "{name}");
        }
        assert!(!object.to_string().contains("a ticket"));
        let unreachable = Entry {
            callbacks: vec![Callback {
                url: "https://app/".into(),
                body: String::new(),
                status: None,
                failure: Some("the TLS handshake failed: \n".into()),
                response: String::new(),
            }],
            ..failed
        };
        let text = text(&unreachable);
        let callback = " callback \"https://app/\" - (the TLS handshake failed: \\n): Error status";
        assert!(text.contains(callback), "{text}");
    }

    #[test]
    fn em_06_a_request_cannot_write_lines_of_its_own() {
        let hostile = Entry {
            target: "/a\r\n2026 PutObject 200 \u{1b}[31m\"".into(),
            message: Some("bad\nname \u{202e}".into()),
            status: None,
            ..entry()
        };
        let text = text(&hostile);
        assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{text}");
        assert!(
            !object(&hostile)
                .to_string()
                .contains(['\r', '\n', '\u{1b}'])
        );
        let long = Entry {
            target: "é".repeat(10_000),
            ..entry()
        };
        assert!(super::text(&long).chars().count() < MAX_TARGET + 200);
    }
}
