//! The classes of clients. Each round of a class gets a token, uses or abuses it, and checks every
//! answer. At its end the genuine callback must have succeeded, and its handler committed once.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tower_aliyun_oss::{protocol::TICKET_FIELD, ticket::SKEW};

use crate::{
    oss::{Format, Token, Upload, sign},
    server::{FAILED, HEADER_TIMEOUT, LIFETIME, MAX_SIZE, PREFIX_USES, Plan, Runs, UPLOAD_TIME},
    wire::{Answer, Leaving, Message, Outcome, Step, exchange, exchange_several, send_and_leave},
};

/// How long the layer waits for a body.
const BODY_DEADLINE: Duration = Duration::from_secs(3);

/// How long after its issue a ticket is accepted.
pub(crate) const ACCEPTED_FOR: Duration = LIFETIME.saturating_add(UPLOAD_TIME).saturating_add(SKEW);

/// Callbacks are not replayed around the moment when their ticket expires: either answer is right.
const MARGIN: Duration = Duration::from_secs(5);

/// How many finished callbacks are kept to be replayed.
const KEPT: usize = 16_384;

/// A source of random numbers (SplitMix64). A client needs no better one.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(getrandom::u64().unwrap())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn milliseconds(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(range.start() + self.below(range.end() - range.start() + 1))
    }
}

/// A class of clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    GenuineForm,
    GenuineJson,
    Replayed,
    Expired,
    Concurrent,
    Prefix,
    ForgedSignature,
    ForgedTicket,
    Malformed,
    SlowBody,
    LateBody,
    SlowHead,
    Failing,
    Panicking,
    Leaving,
    HalfClosing,
    Tokens,
}

impl Class {
    /// The classes, and how often each of them is chosen.
    pub(crate) const ALL: [(Self, u64); 17] = [
        (Self::GenuineForm, 16),
        (Self::GenuineJson, 16),
        (Self::Replayed, 12),
        (Self::Expired, 3),
        (Self::Concurrent, 8),
        (Self::Prefix, 4),
        (Self::ForgedSignature, 8),
        (Self::ForgedTicket, 10),
        (Self::Malformed, 10),
        (Self::SlowBody, 3),
        (Self::LateBody, 2),
        (Self::SlowHead, 1),
        (Self::Failing, 6),
        (Self::Panicking, 5),
        (Self::Leaving, 10),
        (Self::HalfClosing, 6),
        (Self::Tokens, 6),
    ];

    pub(crate) fn choose(random: &mut Random) -> Self {
        let sum = Self::ALL.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(sum);
        for (class, weight) in Self::ALL {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return class,
            }
        }
        unreachable!("`at` is below the sum of the weights")
    }
}

/// What was counted for one class.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) rounds: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Answers with another status or body than expected.
    pub(crate) wrong: AtomicU64,
    /// Genuine callbacks that never succeeded, however often they were sent.
    pub(crate) lost: AtomicU64,
    /// Commits of handlers beyond the first one of their ticket.
    pub(crate) double: AtomicU64,
    /// Descriptions of the first mistakes.
    pub(crate) examples: Mutex<Vec<String>>,
}

impl Tally {
    fn note(&self, counter: &AtomicU64, by: u64, what: String) {
        counter.fetch_add(by, Ordering::Relaxed);
        let mut examples = self.examples.lock().unwrap();
        if examples.len() < 5 {
            examples.push(what);
        }
    }
}

/// Everything that the clients share.
pub(crate) struct Load {
    /// Serves as the example `appserver` does.
    address: SocketAddr,
    /// Serves with the defaults of hyper.
    default_address: SocketAddr,
    tallies: [Tally; Class::ALL.len()],
    /// Oldest first.
    finished: Mutex<VecDeque<Finished>>,
    users: AtomicU64,
    /// Requests that a busy machine did not complete in time.
    pub(crate) late: AtomicU64,
}

/// A callback that succeeded.
#[derive(Clone)]
struct Finished {
    message: Message,
    reply: Vec<u8>,
    /// When its token was issued.
    issued: Instant,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, default_address: SocketAddr) -> Self {
        Self {
            address,
            default_address,
            tallies: Default::default(),
            finished: Mutex::default(),
            users: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    pub(crate) fn tally(&self, class: Class) -> &Tally {
        let at = Class::ALL.iter().position(|(known, _)| *known == class);
        &self.tallies[at.unwrap()]
    }

    pub(crate) async fn round(&self, class: Class, random: &mut Random) {
        let round = Round {
            load: self,
            tally: self.tally(class),
        };
        match class {
            Class::GenuineForm => round.genuine(Format::Form, random).await,
            Class::GenuineJson => round.genuine(Format::Json, random).await,
            Class::Replayed => round.replayed(random).await,
            Class::Expired => round.expired(random).await,
            Class::Concurrent => round.concurrent(random).await,
            Class::Prefix => round.prefix(random).await,
            Class::ForgedSignature => round.forged_signature(random).await,
            Class::ForgedTicket => round.forged_ticket(random).await,
            Class::Malformed => round.malformed(random).await,
            Class::SlowBody => round.slow_body(random).await,
            Class::LateBody => round.late_body(random).await,
            Class::SlowHead => round.slow_head(random).await,
            Class::Failing => round.failing(random).await,
            Class::Panicking => round.panicking(random).await,
            Class::Leaving => round.leaving(random).await,
            Class::HalfClosing => round.half_closing(random).await,
            Class::Tokens => round.tokens(random).await,
        }
        round.tally.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads an object that the server returns as JSON.
    pub(crate) async fn read(&self, target: String) -> Value {
        let request = Message::get(target).bytes();
        let outcome = exchange(self.address, &[Step::Send(request)]).await;
        outcome.answer().map(Answer::json).unwrap_or_default()
    }
}

/// A token, and the callback after an upload with it.
struct Genuine {
    token: Token,
    upload: Upload,
    user: String,
    message: Message,
    issued: Instant,
}

impl Genuine {
    /// Returns why this is not the answer to the callback.
    fn mistake(&self, answer: &Answer) -> Option<String> {
        let mut reply = answer.json();
        let commit = reply
            .as_object_mut()
            .and_then(|reply| reply.remove("commit"));
        let expected = json!({
            "object": self.upload.object,
            "uid": self.user,
            "size": self.upload.size,
            "etag": self.upload.etag,
        });
        let is_json = answer.header("content-type") == Some("application/json");
        let good = answer.status == 200 && is_json && commit.is_some() && reply == expected;
        (!good).then(|| format!("{reply} instead of {expected}"))
    }
}

struct Round<'a> {
    load: &'a Load,
    tally: &'a Tally,
}

/// What a request must be answered with: a status, and the code of a rejection if it is not empty.
type Expected = (u16, &'static str);

impl Round<'_> {
    fn wrong(&self, what: String) {
        self.tally.note(&self.tally.wrong, 1, what);
    }

    fn count(&self, requests: u64) {
        self.tally.requests.fetch_add(requests, Ordering::Relaxed);
    }

    async fn exchange(&self, steps: &[Step]) -> Outcome {
        self.count(1);
        exchange(self.load.address, steps).await
    }

    async fn send(&self, message: &Message) -> Outcome {
        self.exchange(&[Step::Send(message.bytes())]).await
    }

    fn expect(&self, what: &str, outcome: &Outcome, expected: Expected) {
        let (status, code) = expected;
        let right = outcome.answer().is_some_and(|answer| {
            answer.status == status && (code.is_empty() || answer.code() == code)
        });
        if !right {
            self.wrong(format!("{what}: {outcome} instead of {status} {code}"));
        }
    }

    fn user(&self) -> String {
        format!("u{}", self.load.users.fetch_add(1, Ordering::Relaxed))
    }

    /// Gets a token from the policy service.
    async fn token(&self, ask: Message, user: &str, plan: Plan) -> Option<Token> {
        let plan = serde_json::to_string(&plan).unwrap();
        let ask = ask.with("x-user", user).with("x-plan", &plan);
        let outcome = self.send(&ask).await;
        let token = outcome.answer().filter(|answer| answer.status == 200);
        let token = token.and_then(|answer| Token::parse(&answer.json()));
        if token.is_none() {
            self.wrong(format!("{} {}: {outcome}", ask.method, ask.target));
        }
        token
    }

    /// Gets a token and uploads a file with it.
    async fn genuine_with(&self, ask: &str, plan: Plan, random: &mut Random) -> Option<Genuine> {
        let size = 1 + random.below(MAX_SIZE);
        let ask = format!("{ask}?filename=a.png&size={size}&type=image/png");
        let (user, issued) = (self.user(), Instant::now());
        let token = self.token(Message::get(ask), &user, plan).await?;
        let upload = Upload::new(&token.key, size, random.next());
        let message = token.callback(&upload);
        Some(Genuine {
            token,
            upload,
            user,
            message,
            issued,
        })
    }

    async fn any_genuine(&self, plan: Plan, random: &mut Random) -> Option<Genuine> {
        let ask = format!("{}/policy", any_format(random).path());
        self.genuine_with(&ask, plan, random).await
    }

    async fn runs(&self, object: &str) -> Runs {
        let runs = self.load.read(format!("/runs?object={object}")).await;
        serde_json::from_value(runs).unwrap_or_else(|_| {
            self.wrong(format!("no runs of {object}"));
            Runs::default()
        })
    }

    /// Checks the answers to a genuine callback. Returns the reply, and how many answers failed.
    fn check(&self, genuine: &Genuine, outcomes: &[Outcome]) -> (Option<Vec<u8>>, Vec<Outcome>) {
        let mut reply: Option<Vec<u8>> = None;
        let mut failed = Vec::new();
        for outcome in outcomes {
            let Some(answer) = outcome.answer().filter(|answer| answer.status == 200) else {
                failed.push(outcome.clone());
                continue;
            };
            if let Some(mistake) = genuine.mistake(answer) {
                self.wrong(mistake);
            }
            // Every success is the reply of the one run.
            if *reply.get_or_insert_with(|| answer.body.clone()) != answer.body {
                self.wrong(format!("another reply: {outcome}"));
            }
        }
        (reply, failed)
    }

    /// Sends the callback until it succeeds, which must be at once, and checks what its handler
    /// did. `reply` is that of an earlier success.
    async fn settle(
        &self,
        genuine: &Genuine,
        reply: Option<Vec<u8>>,
        starts: RangeInclusive<u32>,
        random: &mut Random,
    ) {
        let mut settled = None;
        for _ in 0..3 {
            let outcome = self.send(&genuine.message).await;
            let (again, failed) = self.check(genuine, &[outcome]);
            for failed in failed {
                self.wrong(format!("sent again: {failed}"));
            }
            if again.is_some() {
                settled = again;
                break;
            }
        }
        let runs = self.runs(&genuine.upload.object).await;
        let Some(settled) = settled else {
            self.tally
                .note(&self.tally.lost, 1, format!("lost: {runs:?}"));
            return;
        };
        if reply.is_some_and(|reply| reply != settled) {
            self.wrong("another reply to the callback when it was sent again".into());
        }
        self.check_runs(runs, starts);
        if random.one_in(8) {
            let mut finished = self.load.finished.lock().unwrap();
            if finished.len() >= KEPT {
                finished.pop_front();
            }
            finished.push_back(Finished {
                message: genuine.message.clone(),
                reply: settled,
                issued: genuine.issued,
            });
        }
    }

    fn check_runs(&self, runs: Runs, starts: RangeInclusive<u32>) {
        if let Some(beyond @ 1..) = runs.commits.checked_sub(1) {
            let what = format!("committed twice: {runs:?}");
            self.tally.note(&self.tally.double, beyond.into(), what);
        } else if runs.commits == 0 || runs.tickets != 1 || !starts.contains(&runs.starts) {
            self.wrong(format!("{runs:?} instead of {starts:?} starts"));
        }
    }

    /// Checks that no handler has run for an object.
    async fn check_untouched(&self, object: &str) {
        let runs = self.runs(object).await;
        if runs.starts > 0 {
            self.wrong(format!("a handler ran for a refused callback: {runs:?}"));
        }
    }

    /// After an attack: the handler has not run, and the genuine callback still succeeds.
    async fn settle_untouched(&self, genuine: &Genuine, random: &mut Random) {
        self.check_untouched(&genuine.upload.object).await;
        self.settle(genuine, None, 1..=1, random).await;
    }

    /// Checks an answer to a genuine callback that must succeed, and sends the callback again.
    async fn must_succeed(&self, genuine: &Genuine, outcomes: &[Outcome], random: &mut Random) {
        let (reply, failed) = self.check(genuine, outcomes);
        for failed in failed {
            self.wrong(format!("genuine callback: {failed}"));
        }
        self.settle(genuine, reply, 1..=1, random).await;
    }

    async fn genuine(&self, format: Format, random: &mut Random) {
        let ask = format!("{}/policy", format.path());
        let Some(genuine) = self.genuine_with(&ask, Plan::default(), random).await else {
            return;
        };
        let message = &genuine.message;
        let outcomes = match random.below(4) {
            // In chunks, without a length.
            0 => {
                let chunk = 64 + random.below(300) as usize;
                vec![self.send(&message.clone().chunked(chunk)).await]
            }
            // Head and body in packets of their own.
            1 => {
                let steps = [Step::Send(message.head()), Step::Send(message.body.clone())];
                vec![self.exchange(&steps).await]
            }
            // Twice in one packet, on a connection that a proxy keeps open.
            2 => {
                let open = message.clone().without("connection").bytes();
                let steps = [Step::Send([open, message.bytes()].concat())];
                self.count(2);
                exchange_several(self.load.address, &steps, 2).await
            }
            _ => vec![self.send(message).await],
        };
        self.must_succeed(&genuine, &outcomes, random).await;
    }

    /// Returns one of the finished callbacks whose age is in this range, if there is any.
    fn finished(&self, age: Range<Duration>, random: &mut Random) -> Option<Finished> {
        let finished = self.load.finished.lock().unwrap();
        // A few tries usually find one, except early in a run.
        (0..20).find_map(|_| {
            let at = random.below(finished.len().max(1) as u64) as usize;
            let found = finished.get(at)?;
            age.contains(&found.issued.elapsed()).then(|| found.clone())
        })
    }

    /// Replays a callback that succeeded a while ago.
    async fn replayed(&self, random: &mut Random) {
        let age = Duration::ZERO..ACCEPTED_FOR - MARGIN;
        let Some(finished) = self.finished(age, random) else {
            return;
        };
        let outcome = self.send(&finished.message).await;
        let same = |answer: &Answer| answer.status == 200 && answer.body == finished.reply;
        if !outcome.answer().is_some_and(same) {
            let age = finished.issued.elapsed();
            self.wrong(format!("replayed after {age:?}: {outcome}"));
        }
    }

    /// Replays a callback that succeeded, after its ticket has expired.
    async fn expired(&self, random: &mut Random) {
        let age = ACCEPTED_FOR + MARGIN..Duration::MAX;
        if let Some(finished) = self.finished(age, random) {
            let outcome = self.send(&finished.message).await;
            self.expect("expired", &outcome, (403, "TicketInvalid"));
        }
    }

    /// Several deliveries of one callback at once. Its handler may fail the first time.
    async fn concurrent(&self, random: &mut Random) {
        let plan = Plan {
            failing: random.one_in(4).into(),
            sleep_ms: random.below(40),
            ..Plan::default()
        };
        let Some(genuine) = self.any_genuine(plan, random).await else {
            return;
        };
        let mut deliveries = JoinSet::new();
        for _ in 0..2 + random.below(6) {
            let (address, bytes) = (self.load.address, genuine.message.bytes());
            deliveries.spawn(async move { exchange(address, &[Step::Send(bytes)]).await });
            self.count(1);
        }
        let outcomes = deliveries.join_all().await;
        let (reply, failed) = self.check(&genuine, &outcomes);
        for failed in &failed {
            self.expect_failure(failed);
        }
        if failed.len() != plan.failing as usize || reply.is_none() {
            self.wrong(format!("{} of {} failed", failed.len(), outcomes.len()));
        }
        let starts = plan.failing + 1;
        self.settle(&genuine, reply, starts..=starts, random).await;
    }

    fn expect_failure(&self, outcome: &Outcome) {
        let failed = |answer: &Answer| answer.status == 500 && answer.body == FAILED.as_bytes();
        if !outcome.answer().is_some_and(failed) {
            self.wrong(format!("{outcome} instead of the failure of the handler"));
        }
    }

    /// More names at once than a ticket for a prefix permits.
    async fn prefix(&self, random: &mut Random) {
        let ask = format!("{}/prefix?type=image/png", any_format(random).path());
        let (user, issued) = (self.user(), Instant::now());
        let Some(token) = self.token(Message::get(ask), &user, Plan::default()).await else {
            return;
        };
        let mut deliveries = JoinSet::new();
        let names = u64::from(PREFIX_USES) + random.below(4);
        for n in 0..names {
            let object = token.key.replace("${filename}", &format!("{n}.png"));
            let upload = Upload::new(&object, 1 + random.below(MAX_SIZE), random.next());
            let message = token.callback(&upload);
            let (address, bytes) = (self.load.address, message.bytes());
            deliveries.spawn(async move {
                let outcome = exchange(address, &[Step::Send(bytes)]).await;
                (upload, message, outcome)
            });
            self.count(1);
        }
        let mut succeeded = 0;
        for (upload, message, outcome) in deliveries.join_all().await {
            if outcome.status() != 200 {
                self.expect("beyond the uses", &outcome, (403, "TicketUsed"));
                self.check_untouched(&upload.object).await;
                continue;
            }
            succeeded += 1;
            let genuine = Genuine {
                token: token.clone(),
                upload,
                user: user.clone(),
                message,
                issued,
            };
            self.must_succeed(&genuine, &[outcome], random).await;
        }
        if succeeded != u64::from(PREFIX_USES) {
            self.wrong(format!("{succeeded} of {names} names succeeded"));
        }
    }

    async fn forged_signature(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let other = {
            let mut upload = genuine.upload.clone();
            upload.etag = format!("{:032X}", random.next());
            genuine.token.callback(&upload)
        };
        let message = &genuine.message;
        let own = message.header("authorization");
        let mut bytes = STANDARD.decode(own).unwrap();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        let flipped = STANDARD.encode(&bytes);
        bytes.fill_with(|| random.next() as u8);
        let noise = STANDARD.encode(&bytes);
        let foreign = other.header("authorization").to_owned();
        for (what, authorization) in [
            ("a flipped bit", &*flipped),
            ("noise", &noise),
            ("the signature of another text", &foreign),
            ("a short signature", "AAAA"),
        ] {
            let forged = message.clone().set("authorization", authorization);
            let outcome = self.send(&forged).await;
            self.expect(what, &outcome, (403, "SignatureMismatch"));
        }
        // The signature of this text, with another body.
        let mut forged = message.clone();
        forged.body.clone_from(&other.body);
        let forged = forged.set("content-length", &other.body.len().to_string());
        let outcome = self.send(&forged).await;
        self.expect("another body", &outcome, (403, "SignatureMismatch"));
        self.settle_untouched(&genuine, random).await;
    }

    /// Bodies that OSS signed for an attacker with a bucket.
    async fn forged_ticket(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let Genuine { token, upload, .. } = &genuine;
        let (format, url) = (token.format(), token.url());
        let body = token.body(upload);
        let ticket = token.ticket();
        match random.below(4) {
            0 => {
                let at = random.below(ticket.len() as u64) as usize;
                let other = if ticket[at..].starts_with('A') {
                    "B"
                } else {
                    "A"
                };
                let mut forged = ticket.to_owned();
                forged.replace_range(at..=at, other);
                let outcome = self
                    .send(&sign(url, format, body.replace(ticket, &forged)))
                    .await;
                self.expect("a changed ticket", &outcome, (403, "TicketInvalid"));
            }
            1 => {
                let kind = ["expired", "foreign"][random.below(2) as usize];
                let ask = format!("{}/{kind}", format.path());
                let Some(other) = self.genuine_with(&ask, Plan::default(), random).await else {
                    return;
                };
                let outcome = self.send(&other.message).await;
                self.expect(kind, &outcome, (403, "TicketInvalid"));
                self.check_untouched(&other.upload.object).await;
            }
            2 => {
                let other = format!("{url}?from=oss");
                let outcome = self.send(&sign(&other, format, body)).await;
                self.expect("another target", &outcome, (403, "TicketInvalid"));
            }
            _ => {
                let mut other = upload.clone();
                let what = match random.below(4) {
                    0 => {
                        other.bucket = "otherbucket".into();
                        "another bucket"
                    }
                    1 => {
                        other.object += "x";
                        "another object"
                    }
                    2 => {
                        other.size += 1;
                        "another size"
                    }
                    _ => {
                        other.content_type = "text/html".into();
                        "another type"
                    }
                };
                let outcome = self.send(&token.callback(&other)).await;
                self.expect(what, &outcome, (403, "OutsideGrant"));
            }
        }
        self.settle_untouched(&genuine, random).await;
        // The ticket is used up for every other text.
        let mut other = upload.clone();
        other.etag = format!("{:032X}", random.next());
        let outcome = self.send(&token.callback(&other)).await;
        self.expect("a used ticket", &outcome, (403, "TicketUsed"));
        self.check_untouched(&upload.object).await;
    }

    async fn malformed(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let format = genuine.token.format();
        let url = genuine.token.url();
        let body = genuine.token.body(&genuine.upload);
        let message = genuine.message.clone();
        let own = message.header("authorization").to_owned();
        let (what, message, expected) = match random.below(14) {
            0 => (
                "no authorization",
                message.without("authorization"),
                (400, "MissingHeader"),
            ),
            1 => (
                "two authorizations",
                message.with("authorization", &own),
                (400, "DuplicateHeader"),
            ),
            2 => (
                "an authorization that is not Base64",
                message.set("authorization", "Bearer x"),
                (400, "InvalidHeader"),
            ),
            3 => {
                let url = STANDARD.encode("https://evil.example/callback_pub_key_v1.pem");
                (
                    "a foreign key URL",
                    message.set("x-oss-pub-key-url", &url),
                    (403, "KeyUrlRejected"),
                )
            }
            4 => (
                "another signature version",
                message.set("x-oss-signature-version", "2.0"),
                (400, "UnsupportedSignatureVersion"),
            ),
            5 => (
                "another content type",
                message.set("content-type", "text/plain"),
                (415, "UnsupportedContentType"),
            ),
            6 => {
                let other = match format {
                    Format::Form => "application/json",
                    Format::Json => "application/x-www-form-urlencoded",
                };
                (
                    "the other body type",
                    message.set("content-type", other),
                    (415, "UnsupportedContentType"),
                )
            }
            7 => (
                "a content encoding",
                message.with("content-encoding", "gzip"),
                (415, "UnsupportedContentEncoding"),
            ),
            8 => (
                "a large body",
                sign(url, format, "x".repeat(70_000)),
                (413, "BodyTooLarge"),
            ),
            9 => {
                let mut message = message;
                message.method = ["GET", "PUT", "DELETE"][random.below(3) as usize];
                ("another method", message, (405, ""))
            }
            10 => {
                let length = (message.body.len() + 1).to_string();
                (
                    "two lengths",
                    message.with("content-length", &length),
                    (400, ""),
                )
            }
            11 => (
                "a body without a ticket",
                sign(url, format, body.replace(TICKET_FIELD, "x")),
                (403, "TicketMissing"),
            ),
            12 => {
                let twice = match format {
                    Format::Form => format!("{body}&{TICKET_FIELD}=x"),
                    Format::Json => body.replacen('{', &format!("{{\"{TICKET_FIELD}\":\"x\","), 1),
                };
                (
                    "two tickets",
                    sign(url, format, twice),
                    (403, "TicketInvalid"),
                )
            }
            _ => (
                "a body of commas",
                sign(url, format, ":,".repeat(1 + random.below(1000) as usize)),
                (403, "TicketMissing"),
            ),
        };
        let outcome = self.send(&message).await;
        self.expect(what, &outcome, expected);

        if random.one_in(4) {
            // Not HTTP at all. A server may close the connection without an answer.
            let mut noise = b"\x16\x03\x01 ".to_vec();
            noise.extend((0..random.below(500)).map(|_| random.next() as u8));
            noise.extend(b"\r\n\r\n");
            let outcome = self.exchange(&[Step::Send(noise)]).await;
            match outcome {
                Outcome::Closed => {}
                outcome => self.expect("noise", &outcome, (400, "")),
            }
        }
        self.settle_untouched(&genuine, random).await;
    }

    /// A body that trickles in, well before the deadline: in pieces, or in chunks of a few bytes.
    async fn slow_body(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let message = &genuine.message;
        let mut steps = Vec::new();
        if random.one_in(4) {
            // The server takes each chunk in turn with its other connections.
            let size = 1 + random.below(8) as usize;
            steps.push(Step::Send(message.clone().chunked(size).bytes()));
        } else {
            steps.push(Step::Send(message.head()));
            let pieces = 2 + random.below(10);
            let pause = random.milliseconds(10..=1500 / pieces);
            let size = message.body.len().div_ceil(pieces as usize);
            for piece in message.body.chunks(size) {
                steps.push(Step::Pause(pause));
                steps.push(Step::Send(piece.to_vec()));
            }
        }
        let started = Instant::now();
        let outcome = self.exchange(&steps).await;
        if outcome.status() == 408 && self.is_late(started, BODY_DEADLINE) {
            self.settle_untouched(&genuine, random).await;
        } else {
            self.must_succeed(&genuine, &[outcome], random).await;
        }
    }

    /// Whether a request was not complete at its deadline, although its client did not wait. This
    /// happens on a machine that is too busy.
    fn is_late(&self, started: Instant, deadline: Duration) -> bool {
        let late = started.elapsed() >= deadline;
        if late {
            self.load.late.fetch_add(1, Ordering::Relaxed);
        }
        late
    }

    /// A body that is not complete at the deadline.
    async fn late_body(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let message = &genuine.message;
        let mut steps = vec![Step::Send(message.head())];
        // A byte every now and then, and never the last one.
        let sent = random.below(message.body.len() as u64 / 2) as usize;
        steps.push(Step::Send(message.body[..sent].to_vec()));
        for byte in message.body[sent..].iter().take(100) {
            steps.push(Step::Pause(random.milliseconds(50..=500)));
            steps.push(Step::Send(vec![*byte]));
        }
        let started = Instant::now();
        let outcome = self.exchange(&steps).await;
        self.expect("a late body", &outcome, (408, "BodyTimeout"));
        let elapsed = started.elapsed();
        if elapsed < BODY_DEADLINE {
            self.wrong(format!("a late body was rejected after {elapsed:?}"));
        }
        self.settle_untouched(&genuine, random).await;
    }

    /// A head that trickles in, and is complete well before the time-out, or never.
    async fn slow_head(&self, random: &mut Random) {
        let Some(genuine) = self.any_genuine(Plan::default(), random).await else {
            return;
        };
        let bytes = genuine.message.bytes();
        let mut steps = Vec::new();
        if random.one_in(2) {
            // Complete in time.
            let size = bytes.len().div_ceil(5);
            for piece in bytes.chunks(size) {
                steps.push(Step::Send(piece.to_vec()));
                steps.push(Step::Pause(random.milliseconds(10..=200)));
            }
            let started = Instant::now();
            let outcome = self.exchange(&steps).await;
            if matches!(outcome, Outcome::Closed) && self.is_late(started, HEADER_TIMEOUT) {
                self.settle_untouched(&genuine, random).await;
            } else {
                self.must_succeed(&genuine, &[outcome], random).await;
            }
            return;
        }
        // A byte every now and then, or nothing at all.
        let sent = if random.one_in(4) { 0 } else { 100 };
        for byte in bytes.iter().take(sent) {
            steps.push(Step::Pause(random.milliseconds(100..=600)));
            steps.push(Step::Send(vec![*byte]));
        }
        match self.exchange(&steps).await {
            Outcome::Closed => {}
            outcome => self.expect("a slow head", &outcome, (408, "")),
        }
        self.settle_untouched(&genuine, random).await;
    }

    /// A handler that fails up to three times.
    async fn failing(&self, random: &mut Random) {
        let plan = Plan {
            failing: 1 + random.below(3) as u32,
            sleep_ms: random.below(10),
            ..Plan::default()
        };
        let Some(genuine) = self.any_genuine(plan, random).await else {
            return;
        };
        for _ in 0..plan.failing {
            let outcome = self.send(&genuine.message).await;
            self.expect_failure(&outcome);
        }
        let starts = plan.failing + 1;
        self.settle(&genuine, None, starts..=starts, random).await;
    }

    /// A handler that panics up to three times.
    async fn panicking(&self, random: &mut Random) {
        let plan = Plan {
            panicking: 1 + random.below(3) as u32,
            sleep_ms: random.below(10),
            ..Plan::default()
        };
        let Some(genuine) = self.any_genuine(plan, random).await else {
            return;
        };
        for _ in 0..plan.panicking {
            let outcome = self.send(&genuine.message).await;
            if !matches!(outcome, Outcome::Closed) {
                self.wrong(format!("{outcome} instead of the end of the connection"));
            }
        }
        let starts = plan.panicking + 1;
        self.settle(&genuine, None, starts..=starts, random).await;
    }

    /// A client that leaves before, during or after its handler.
    async fn leaving(&self, random: &mut Random) {
        let plan = Plan {
            sleep_ms: 20 + random.below(130),
            ..Plan::default()
        };
        let Some(genuine) = self.any_genuine(plan, random).await else {
            return;
        };
        // With the defaults of hyper, the handler is dropped, and starts again.
        let (address, starts) = if random.one_in(2) {
            (self.load.address, 1..=1)
        } else {
            (self.load.default_address, 1..=2)
        };
        let reset = random.one_in(2);
        let bytes = genuine.message.bytes();
        self.count(1);
        match random.below(3) {
            0 => {
                let sent = random.below(bytes.len() as u64) as usize;
                let leaving = Leaving::After(random.milliseconds(0..=20));
                send_and_leave(address, &bytes[..sent], leaving, reset).await;
                self.settle_untouched(&genuine, random).await;
            }
            1 => {
                let leaving = Leaving::After(random.milliseconds(0..=plan.sleep_ms));
                send_and_leave(address, &bytes, leaving, reset).await;
                self.settle(&genuine, None, starts, random).await;
            }
            _ => {
                send_and_leave(address, &bytes, Leaving::WhenAnswered, reset).await;
                self.settle(&genuine, None, 1..=1, random).await;
            }
        }
    }

    /// A client that closes its sending half, after the whole request or in the middle of it.
    async fn half_closing(&self, random: &mut Random) {
        let plan = Plan {
            sleep_ms: random.below(30),
            ..Plan::default()
        };
        let Some(genuine) = self.any_genuine(plan, random).await else {
            return;
        };
        let message = &genuine.message;
        if random.one_in(4) {
            let sent = random.below(message.body.len() as u64) as usize;
            let steps = [
                Step::Send(message.head()),
                Step::Send(message.body[..sent].to_vec()),
                Step::HalfClose,
            ];
            let outcome = self.exchange(&steps).await;
            self.expect("half of a body", &outcome, (400, "BodyIncomplete"));
            self.settle_untouched(&genuine, random).await;
            return;
        }
        let mut steps = vec![Step::Send(message.bytes())];
        if random.one_in(2) {
            steps.push(Step::Pause(random.milliseconds(0..=20)));
        }
        steps.push(Step::HalfClose);
        let outcome = self.exchange(&steps).await;
        self.must_succeed(&genuine, &[outcome], random).await;
    }

    async fn tokens(&self, random: &mut Random) {
        let path = format!("{}/policy", any_format(random).path());
        let body = json!({"filename": "a.png", "size": 5, "type": "image/png"}).to_string();
        let batch = json!({"files": [{"type": "image/png"}, {"type": "image/png"}]}).to_string();
        let user = self.user();
        let json = |body: &str| {
            Message::post(&path, body)
                .with("content-type", "application/json")
                .with("x-user", &user)
        };
        let query = |query: &str| Message::get(format!("{path}?{query}")).with("x-user", &user);
        let (what, ask, expected): (_, _, Expected) = match random.below(12) {
            0..=2 => ("GET", query("size=5&type=image/png"), (200, "")),
            3..=5 => ("POST", json(&body), (200, "")),
            6 => (
                "no content type",
                json(&body).without("content-type"),
                (415, ""),
            ),
            7 => (
                "another content type",
                json(&body).set("content-type", "text/plain"),
                (415, ""),
            ),
            8 => ("a batch", json(&batch), (422, "")),
            9 => ("too large", query("size=9999999&type=image/png"), (403, "")),
            10 => ("no user", json(&body).without("x-user"), (401, "")),
            _ => (
                "half of JSON",
                json(&body[..body.len() / 2]).set("content-length", &(body.len() / 2).to_string()),
                (400, ""),
            ),
        };
        let outcome = self.send(&ask).await;
        self.expect(what, &outcome, expected);
        if outcome.status() != 200 {
            return;
        }
        let token = outcome.answer().map(Answer::json).unwrap_or_default();
        let pinned = || {
            let token = Token::parse(&token)?;
            let policy = STANDARD.decode(token.field("policy")).ok()?;
            let policy: Value = serde_json::from_slice(&policy).ok()?;
            let conditions = policy["conditions"].as_array()?;
            let callback = json!({ "callback": token.field("callback") });
            let prefix = format!("load/{user}/");
            Some(token.key.starts_with(&prefix) && conditions.contains(&callback))
        };
        if pinned() != Some(true) {
            self.wrong(format!("not the token that was asked for: {token}"));
        }
    }
}

fn any_format(random: &mut Random) -> Format {
    if random.one_in(2) {
        Format::Form
    } else {
        Format::Json
    }
}
