//! An HTTP/1.1 client that can do everything that a client should not.

use std::{fmt, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Longer than every deadline of the server. A server that answers later has hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, with the headers as they are sent.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET",
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
        .with("host", "app.example")
    }

    pub(crate) fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        let mut message = Self::get(target).with("content-length", &length);
        message.method = "POST";
        message.body = body;
        message
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Replaces a header.
    pub(crate) fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value).unwrap()
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    /// The message with its body in chunks of this size, and without a length.
    pub(crate) fn chunked(self, size: usize) -> Self {
        let mut body = Vec::new();
        for chunk in self.body.chunks(size) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let mut message = self
            .without("content-length")
            .with("transfer-encoding", "chunked");
        message.body = body;
        message
    }
}

/// What a client does after it has connected.
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    HalfClose,
}

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of a rejection.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// How an exchange ended.
#[derive(Clone)]
pub(crate) enum Outcome {
    Answer(Answer),
    /// The server closed the connection without an answer, or in the middle of it.
    Closed,
    /// The server neither answered nor closed the connection.
    Hung,
    Unreachable(String),
}

impl Outcome {
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.answer().map_or(0, |answer| answer.status)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                write!(f, "{} {body:.200}", answer.status)
            }
            Self::Closed => f.write_str("closed"),
            Self::Hung => f.write_str("no answer"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
        }
    }
}

/// Takes the steps on one connection, and meanwhile reads the answer.
pub(crate) async fn exchange(address: SocketAddr, steps: &[Step]) -> Outcome {
    let mut outcomes = exchange_several(address, steps, 1).await;
    outcomes.remove(0)
}

/// Reads several answers from one connection. Returns as many outcomes.
pub(crate) async fn exchange_several(
    address: SocketAddr,
    steps: &[Step],
    answers: usize,
) -> Vec<Outcome> {
    let mut stream = match connect(address).await {
        Ok(stream) => stream,
        Err(why) => return vec![Outcome::Unreachable(why.to_string()); answers],
    };
    let (mut read, mut write) = stream.split();
    let sending = async {
        for step in steps {
            let sent = match step {
                Step::Send(bytes) => write.write_all(bytes).await,
                Step::Pause(time) => {
                    sleep(*time).await;
                    Ok(())
                }
                Step::HalfClose => write.shutdown().await,
            };
            // The server may answer before it has read everything, and close the connection.
            if sent.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut received = Vec::new();
        let mut outcomes = Vec::new();
        while outcomes.len() < answers {
            let answer = timeout(PATIENCE, read_answer(&mut read, &mut received)).await;
            outcomes.push(match answer {
                Ok(Some(answer)) => Outcome::Answer(answer),
                Ok(None) => Outcome::Closed,
                Err(_) => Outcome::Hung,
            });
        }
        outcomes
    };
    tokio::select! {
        outcomes = reading => outcomes,
        () = sending => unreachable!("it ends with the answer"),
    }
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Each step is a packet of its own.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer. `received` has what was read beyond the previous one.
async fn read_answer(
    read: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<Answer> {
    let end = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if read.read_buf(received).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let mut answer = Answer {
        status: head.get(9..12)?.parse().ok()?,
        head,
        body: Vec::new(),
    };
    let length: usize = answer
        .header("content-length")
        .unwrap_or("0")
        .parse()
        .ok()?;
    while received.len() < end + length {
        if read.read_buf(received).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    answer.body = received[end..end + length].to_vec();
    received.drain(..end + length);
    Some(answer)
}

/// When a client leaves that does not wait for its answer.
pub(crate) enum Leaving {
    After(Duration),
    /// When the answer arrives, without reading it.
    WhenAnswered,
}

/// Sends bytes and leaves: with a reset, or with an orderly close.
pub(crate) async fn send_and_leave(
    address: SocketAddr,
    bytes: &[u8],
    leaving: Leaving,
    reset: bool,
) {
    let Ok(mut stream) = connect(address).await else {
        return;
    };
    let _ = stream.write_all(bytes).await;
    match leaving {
        Leaving::After(time) => sleep(time).await,
        Leaving::WhenAnswered => {
            let _ = timeout(PATIENCE, stream.readable()).await;
        }
    }
    if reset {
        let _ = stream.set_zero_linger();
    }
}
