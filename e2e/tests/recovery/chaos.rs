//! Uploads by many clients while two replicas of the application are killed and stopped, their
//! handlers fail, and callbacks time out. Then everything is left alone.
//!
//! At the end each object in the bucket has exactly one committed row, and each row an object.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener as Port},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    policy::UploadToken,
    ticket::{RedisStore, ledger::UploadLedger as _},
};

use super::{
    replica::{BUCKET, ID, Replica, SECRET, Settings, random},
    server::{DURABLE, Redis},
};

const CLIENTS: usize = 50;

/// How long the recovery may take after the faults.
const PATIENCE: Duration = Duration::from_secs(600);

struct Chaos {
    redis: Redis,
    replicas: [Option<Replica>; 2],
    settings: Settings,
    emulator: Emulator,
}

impl Chaos {
    async fn start() -> Self {
        let redis = Redis::start(DURABLE);
        let directory = redis.directory().join("database");
        for table in ["", "rows", "letters", "unfinished"] {
            std::fs::create_dir(directory.join(table)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let oss = format!("http://{}/{BUCKET}/", listener.local_addr().unwrap());
        let emulator = Emulator::builder()
            .bucket(HostedBucket::new(BUCKET.parse().unwrap()))
            .access_key(AccessKey::new(ID, SECRET))
            .allow_private_callbacks()
            .build()
            .unwrap();
        tokio::spawn(emulator.clone().serve(listener));
        // Held together, so that they differ.
        let ports = [(); 2].map(|()| Port::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let ports = ports.map(|port| port.local_addr().unwrap().port());
        let settings = Settings {
            ports,
            which: 0,
            redis: redis.url(),
            oss,
            directory,
            ahead: 0,
        };
        let mut chaos = Self {
            redis,
            replicas: [None, None],
            settings,
            emulator,
        };
        for which in [0, 1] {
            chaos.restart(which);
            while TcpStream::connect((Ipv4Addr::LOCALHOST, ports[which]))
                .await
                .is_err()
            {
                sleep(Duration::from_millis(20)).await;
            }
        }
        chaos
    }

    /// Kills a replica, if it runs, and starts it again.
    fn restart(&mut self, which: usize) {
        self.replicas[which] = None;
        let settings = Settings {
            which,
            ..self.settings.clone()
        };
        self.replicas[which] = Some(Replica::start(&settings));
    }

    /// One fault of a random replica, or of Redis.
    async fn fault(&mut self, with_redis: bool, counts: &mut BTreeMap<&'static str, u32>) {
        let which = usize::from(random().is_multiple_of(2));
        let name = match random() % if with_redis { 3 } else { 2 } {
            0 => {
                self.replicas[which] = None;
                sleep(Duration::from_millis(random() % 500)).await;
                self.restart(which);
                "kill -9 of a replica"
            }
            1 => {
                let stopped = self.replicas[which].as_ref().unwrap();
                stopped.signal("-STOP");
                // Rarely for longer than OSS waits.
                let pause = if random().is_multiple_of(4) {
                    5500
                } else {
                    random() % 1500
                };
                sleep(Duration::from_millis(pause)).await;
                self.replicas[which].as_ref().unwrap().signal("-CONT");
                "stop of a replica"
            }
            _ => {
                self.redis.kill();
                sleep(Duration::from_millis(random() % 500)).await;
                self.redis.restart();
                "kill -9 of Redis"
            }
        };
        *counts.entry(name).or_default() += 1;
    }
}

/// Requests a token over a connection of its own.
async fn token(port: u16) -> Option<UploadToken> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let head = "GET /oss/policy?filename=a.png&size=5 HTTP/1.1\r\nhost: x\r\n\
                    connection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let body = text
            .strip_prefix("HTTP/1.1 200 OK\r\n")?
            .split_once("\r\n\r\n")?
            .1;
        serde_json::from_str(body).ok()
    };
    timeout(Duration::from_secs(3), exchange)
        .await
        .ok()
        .flatten()
}

/// Uploads as a browser does. Returns whether the callback succeeded.
async fn upload(emulator: &Emulator, token: &UploadToken) -> bool {
    let mut form = Vec::new();
    for (name, value) in token.fields() {
        let part =
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend(part.as_bytes());
    }
    form.extend(
        b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
          Content-Type: image/png\r\n\r\nphoto\r\n--b--\r\n",
    );
    let request = Request::post(format!("/{BUCKET}/"))
        .header("host", "127.0.0.1")
        .header("content-type", "multipart/form-data; boundary=b")
        .header("content-length", form.len())
        .body(Full::from(form))
        .unwrap();
    let Ok(response) = emulator.clone().oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(matches!(status, 200 | 203), "{status}: {body:?}");
    status == 200
}

fn files(directory: &Path, table: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory.join(table)).unwrap();
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    entries.map(entry).collect()
}

async fn run(with_redis: bool) {
    let uploads = std::env::var("RECOVERY_UPLOADS").map_or(300, |text| text.parse().unwrap());
    let start = Instant::now();
    let mut chaos = Chaos::start().await;
    let (next, late) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, late) = (Arc::clone(&next), Arc::clone(&late));
        let (ports, emulator) = (chaos.settings.ports, chaos.emulator.clone());
        clients.spawn(async move {
            while next.fetch_add(1, Ordering::SeqCst) < uploads {
                let token = loop {
                    let port = ports[usize::from(random().is_multiple_of(2))];
                    match token(port).await {
                        Some(token) => break token,
                        None => sleep(Duration::from_millis(50)).await,
                    }
                };
                if !upload(&emulator, &token).await {
                    late.fetch_add(1, Ordering::SeqCst);
                }
                sleep(Duration::from_millis(random() % 200)).await;
            }
        });
    }
    let done = Arc::clone(&over);
    let watch = tokio::spawn(async move {
        clients.join_all().await;
        done.store(true, Ordering::SeqCst);
    });
    let mut faults = BTreeMap::new();
    while !over.load(Ordering::SeqCst) {
        chaos.fault(with_redis, &mut faults).await;
        sleep(Duration::from_millis(200 + random() % 800)).await;
    }
    watch.await.unwrap();
    let uploaded = start.elapsed();

    // Every ticket has expired. While the recovery runs, replicas are killed as well; the clock of
    // those that follow has passed the claims of the killed ones.
    let store = RedisStore::new(&chaos.redis.url()).unwrap();
    let open_before = store.open_rows().await.unwrap();
    let mut kills = 0;
    let give_up = Instant::now() + PATIENCE;
    let mut open = open_before;
    chaos.settings.ahead = 3 * 60 * 60;
    for which in [0, 1] {
        chaos.restart(which);
    }
    let mut progress = Instant::now();
    while open > 0 {
        assert!(Instant::now() < give_up, "{open} rows are not recovered");
        sleep(Duration::from_millis(500)).await;
        // Later, only to let the pauses of minutes pass that a failing store causes.
        let stalls = progress.elapsed() > Duration::from_secs(3);
        if kills < 4 || stalls {
            kills += 1;
            if with_redis && kills == 2 {
                chaos.redis.kill();
                chaos.redis.restart();
            }
            chaos.settings.ahead += 60 * 60;
            chaos.restart(kills % 2);
            progress = Instant::now();
        }
        let left = store.open_rows().await.unwrap_or(open);
        if left < open {
            progress = Instant::now();
        }
        open = left;
    }

    let rows = files(&chaos.settings.directory, "rows");
    let letters = files(&chaos.settings.directory, "letters");
    let objects = chaos
        .emulator
        .store()
        .list(&BUCKET.parse().unwrap())
        .await
        .unwrap();
    let objects: BTreeSet<_> = objects
        .iter()
        .map(|object| object.key().to_owned())
        .collect();
    let committed: Vec<_> = rows.values().cloned().collect();
    let distinct: BTreeSet<_> = committed.iter().cloned().collect();
    let runs = std::fs::read_to_string(chaos.settings.directory.join("runs")).unwrap();
    let count = |text: &str| runs.lines().filter(|line| line.contains(text)).count();
    println!(
        "{uploads} uploads by {CLIENTS} clients in {:.1} s, faults {faults:?}; {} callbacks failed, \
         {open_before} rows were open; recovered in {:.1} s with {kills} more kills; {} objects, {} \
         rows, {} of them by recovery; {} second runs; {} dead letters",
        uploaded.as_secs_f64(),
        late.load(Ordering::SeqCst),
        start.elapsed().saturating_sub(uploaded).as_secs_f64(),
        objects.len(),
        rows.len(),
        count(" recovered true"),
        count(" false"),
        letters.len(),
    );
    assert_eq!(objects.len(), uploads);
    assert_eq!(committed.len(), distinct.len(), "an object has two rows");
    let lost: Vec<_> = objects.difference(&distinct).collect();
    let invented: Vec<_> = distinct.difference(&objects).collect();
    assert!(
        lost.is_empty() && invented.is_empty(),
        "lost {lost:?}, invented {invented:?}"
    );
    assert!(letters.is_empty(), "{letters:?}");
    assert!(late.load(Ordering::SeqCst) > 0, "no fault was felt");
}

/// `RECOVERY_UPLOADS=10000` for the long run.
#[ignore = "needs redis-server; 300 uploads, or RECOVERY_UPLOADS"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rv_32_every_object_has_one_row_while_replicas_are_killed_and_stopped() {
    run(false).await;
}

/// `RECOVERY_UPLOADS=10000` for the long run.
#[ignore = "needs redis-server; 300 uploads, or RECOVERY_UPLOADS"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rv_33_every_object_has_one_row_while_redis_is_killed_too() {
    run(true).await;
}
