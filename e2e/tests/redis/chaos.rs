//! Two servers on one Redis, while all three are killed, stopped and stalled.
//!
//! The servers are processes of their own, so that they can be killed: this test binary, started
//! for the test `a_server`. They write each run of a handler to a file before the handler answers.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, extract::State, routing::post, serve::ListenerExt as _};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tower_aliyun_oss::{
    CallbackReply, VerifiedCallback,
    testing::CallbackSigner,
    ticket::{OnFailure, RedisStore, Tickets, internal::Scope},
};

use crate::{
    server::{CHAOS, Redis},
    support::*,
};

const PATHS: [(&str, OnFailure); 2] = [
    ("/retry", OnFailure::Retry),
    ("/once", OnFailure::AtMostOnce),
];

/// OSS waits so long for an answer.
const OSS_WAITS: Duration = Duration::from_secs(5);

fn millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes)
}

#[derive(Clone)]
struct Server {
    instance: u64,
    runs: Arc<File>,
}

async fn handler(State(server): State<Server>, callback: VerifiedCallback) -> CallbackReply {
    let object = callback.event().unwrap().object().unwrap().to_owned();
    let run = random();
    let line = format!("{} {object} {} {run}\n", millis(), server.instance);
    // One write: lines of several processes do not mix.
    (&*server.runs).write_all(line.as_bytes()).unwrap();
    // Now and then long enough to be killed meanwhile, and rarely longer than a renewal.
    let pause = match random() % 100 {
        0..70 => 0,
        70..98 => 300,
        _ => 4000,
    };
    sleep(Duration::from_millis(pause)).await;
    CallbackReply::json(&serde_json::json!({ "run": run })).unwrap()
}

/// A server of the test below, in a process of its own.
#[ignore = "started as a process by the test below"]
#[test]
fn a_server() {
    let Ok(settings) = std::env::var("CHAOS_SERVER") else {
        return;
    };
    let settings: Vec<&str> = settings.split(' ').collect();
    let [port, instance, redis, runs] = settings[..] else {
        panic!("four settings")
    };
    let runs = OpenOptions::new().append(true).open(runs).unwrap();
    let server = Server {
        instance: instance.parse().unwrap(),
        runs: Arc::new(runs),
    };
    let store = RedisStore::new(redis).unwrap();
    let router = PATHS
        .into_iter()
        .fold(Router::new(), |router, (path, how)| {
            let tickets = Tickets::new(keys(), store.clone()).on_failure(how);
            router.route(path, post(handler).route_layer(layer(&tickets)))
        });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let address = (Ipv4Addr::LOCALHOST, port.parse().unwrap());
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        axum::serve(
            listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            }),
            router.with_state(server),
        )
        .await
        .unwrap();
    });
}

struct Process {
    instance: u64,
    child: Child,
}

impl Process {
    fn start(port: u16, instance: u64, redis: &str, runs: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "chaos::a_server"])
            .env(
                "CHAOS_SERVER",
                format!("{port} {instance} {redis} {}", runs.display()),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { instance, child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn callback(path: &str, object: &str) -> Request<Full<Bytes>> {
    let grant = Scope::Exact(object.parse().unwrap());
    let ticket = mint(&terms_at(path, grant, SystemTime::now() + HOUR));
    let body = form(object, &ticket);
    let signer = CallbackSigner::new();
    signer.callback(path).form(body).request().unwrap()
}

/// As OSS does it: the answer counts if it is 200 and comes in time.
async fn post_to(port: u16, request: &Request<Full<Bytes>>) -> Option<Bytes> {
    let exchange = async {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n",
            request.uri()
        );
        for (name, value) in request.headers() {
            if name != "host" && name != "connection" {
                head += &format!("{name}: {}\r\n", value.to_str().unwrap());
            }
        }
        let body = request.body().clone().collect().await.unwrap().to_bytes();
        if !request.headers().contains_key("content-length") {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(b"\r\n").await.ok()?;
        stream.write_all(&body).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let body = text.split_once("\r\n\r\n")?.1;
        text.starts_with("HTTP/1.1 200 ")
            .then(|| Bytes::from(body.to_owned()))
    };
    timeout(OSS_WAITS, exchange).await.ok().flatten()
}

/// What became of one callback.
struct Sent {
    request: Request<Full<Bytes>>,
    /// When it was answered with 200, and how.
    answers: Vec<(u64, Bytes)>,
    failed: u64,
}

mod soak {
    use super::*;

    /// `CHAOS_SECONDS=240` for the long run.
    #[ignore = "needs redis-server; soak: 20 seconds, or CHAOS_SECONDS"]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rp_22_two_servers_on_one_redis_under_faults() {
        let seconds = std::env::var("CHAOS_SECONDS").map_or(20, |text| text.parse().unwrap());
        let every = Duration::from_secs(if seconds < 60 { 2 } else { 6 });
        let mut redis = Redis::start(CHAOS);
        let runs = redis.directory().join("runs");
        File::create(&runs).unwrap();
        let ports = [free_port(), free_port()];
        let url = redis.url();
        let mut next = 0;
        let mut server = |port| {
            next += 1;
            Process::start(port, next, &url, &runs)
        };
        let mut servers = ports.map(&mut server);
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
            {
                sleep(Duration::from_millis(20)).await;
            }
        }

        let sent: Arc<Mutex<BTreeMap<String, Sent>>> = Arc::default();
        let (over, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (sent, over, count) = (Arc::clone(&sent), Arc::clone(&over), Arc::clone(&count));
            senders.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let n = count.fetch_add(1, Ordering::SeqCst);
                    let object = format!("{n}.png");
                    let path = PATHS[usize::try_from(n % 2).unwrap()].0;
                    let request = callback(path, &object);
                    let entry = Sent {
                        request: request.clone(),
                        answers: Vec::new(),
                        failed: 0,
                    };
                    sent.lock().unwrap().insert(object.clone(), entry);
                    // Both at once, and again later: OSS does not, an attacker does.
                    let port = usize::try_from(random() % 2).unwrap();
                    let (first, second) = tokio::join!(post_to(ports[port], &request), async {
                        if random().is_multiple_of(4) {
                            return Some(post_to(ports[1 - port], &request).await);
                        }
                        None
                    });
                    let third = if random().is_multiple_of(4) {
                        Some(post_to(ports[port], &request).await)
                    } else {
                        None
                    };
                    {
                        let mut sent = sent.lock().unwrap();
                        let entry = sent.get_mut(&object).unwrap();
                        for answer in [Some(first), second, third].into_iter().flatten() {
                            match answer {
                                Some(answer) => entry.answers.push((millis(), answer)),
                                None => entry.failed += 1,
                            }
                        }
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            });
        }

        // The faults. The last quarter of the time includes one that forgets.
        let (mut kills, mut flushes) = (HashMap::new(), Vec::new());
        let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
        let begun = Instant::now();
        let whole = Duration::from_secs(seconds);
        let mut turn = 0;
        while begun.elapsed() < whole {
            sleep(every / 2).await;
            let forgets = begun.elapsed() > whole * 3 / 4;
            turn += 1;
            let name = match turn % 4 {
                _ if forgets && (flushes.is_empty() || turn % 5 == 0) => {
                    redis.command(&["FLUSHALL"]);
                    flushes.push(millis());
                    "flush of Redis"
                }
                0 => {
                    redis.kill();
                    sleep(Duration::from_millis(random() % 1500)).await;
                    redis.restart();
                    "kill -9 of Redis"
                }
                1 => {
                    let which = usize::try_from(random() % 2).unwrap();
                    servers[which].kill();
                    kills.insert(servers[which].instance, millis());
                    servers[which] = server(ports[which]);
                    "kill -9 of a server"
                }
                2 => {
                    redis.stop();
                    sleep(Duration::from_millis(1000 + random() % 2000)).await;
                    redis.go_on();
                    "SIGSTOP of Redis"
                }
                _ => {
                    redis.debug_sleep("1.6");
                    "stall of Redis"
                }
            };
            *faults.entry(name).or_default() += 1;
            sleep(every / 2).await;
        }
        over.store(true, Ordering::SeqCst);
        senders.join_all().await;

        // Whatever failed is sent again, for longer than a lease.
        let sent = Arc::into_inner(sent).unwrap().into_inner().unwrap();
        let ran = |object: &str| read(&runs).get(object).cloned().unwrap_or_default();
        let mut sent: Vec<(String, Sent)> = sent.into_iter().collect();
        let (mut failed_first, mut again) = (0, 0);
        for (object, entry) in &mut sent {
            let give_up = Instant::now() + Duration::from_secs(40);
            if entry.failed > 0 {
                failed_first += 1;
            }
            while entry.answers.is_empty() {
                again += 1;
                match post_to(ports[again % 2], &entry.request).await {
                    Some(answer) => entry.answers.push((millis(), answer)),
                    None if entry.request.uri() == "/once" => {
                        // Used up, if its process was killed in the handler.
                        let used_up = ran(object);
                        if let [(_, instance, _)] = used_up[..]
                            && kills.contains_key(&instance)
                        {
                            break;
                        }
                    }
                    None => {}
                }
                assert!(
                    !entry.answers.is_empty() || Instant::now() < give_up,
                    "{object} {} does not succeed: {:?}",
                    entry.request.uri(),
                    ran(object)
                );
            }
            // And once more, as a replay. What was forgotten would run again.
            let forgotten = |(at, _): &(u64, Bytes)| flushes.iter().any(|flush| flush >= at);
            if !entry.answers.is_empty() && !entry.answers.iter().any(forgotten) {
                let answer = post_to(ports[0], &entry.request).await;
                entry
                    .answers
                    .push((millis(), answer.expect("it was answered before")));
            }
        }

        let runs = read(&runs);
        let flushed = |from, to| flushes.iter().any(|at| (from..=to).contains(at));
        let (mut by_kill, mut by_flush, mut unexplained) = (0, 0, Vec::new());
        let (mut two_answers, mut used_up) = (0, 0);
        for (object, entry) in &sent {
            let none = Vec::new();
            let ran = runs.get(object).unwrap_or(&none);
            for pair in ran.windows(2) {
                let [(first, instance, _), (second, ..)] = pair else {
                    unreachable!()
                };
                let killed = kills
                    .get(instance)
                    .is_some_and(|at| first <= at && at <= second);
                if flushed(*first, *second) {
                    by_flush += 1;
                } else if killed && entry.request.uri() == "/retry" {
                    by_kill += 1;
                } else {
                    unexplained.push((object, entry.request.uri().to_string(), ran.clone()));
                }
            }
            for pair in entry.answers.windows(2) {
                if pair[0].1 != pair[1].1 && !flushed(ran[0].0, pair[1].0) {
                    two_answers += 1;
                }
            }
            used_up += u32::from(entry.answers.is_empty());
        }
        println!(
            "{seconds} s, faults {faults:?}: {} callbacks, {} of them failed at least once, sent again {again} times; \
             second runs after the kill of a server {by_kill}, after a flush {by_flush}; \
             used up by a killed at-most-once handler {used_up}; two answers {two_answers}, unexplained runs {}",
            sent.len(),
            failed_first,
            unexplained.len()
        );
        assert!(
            unexplained.is_empty(),
            "{unexplained:?}, flushes {flushes:?}"
        );
        assert_eq!(two_answers, 0);
        assert!(failed_first > 0, "no fault was felt");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The runs of each object: when, by which process, and which.
fn read(runs: &PathBuf) -> HashMap<String, Vec<(u64, u64, u64)>> {
    let mut all: HashMap<String, Vec<_>> = HashMap::new();
    for line in std::fs::read_to_string(runs).unwrap().lines() {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap();
        let (at, object) = (next().parse().unwrap(), next().to_owned());
        let (instance, run) = (next().parse().unwrap(), next().parse().unwrap());
        all.entry(object).or_default().push((at, instance, run));
    }
    all
}
