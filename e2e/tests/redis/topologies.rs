//! Redis as clouds sell it: one node, TLS, a user with few permissions, sentinels, a cluster.
//!
//! Each loses a node with SIGKILL in the middle, and no ticket is redeemed twice.

use std::{
    collections::HashMap,
    num::NonZeroU8,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};
use tower_aliyun_oss::{
    protocol::{Bucket, CallbackBodyType, ObjectKey},
    ticket::{
        RedisStore,
        ledger::{CallbackCall, CloseReason, GrantedUpload, SettledObject, UploadLedger as _},
        store::{
            Attempt, Begin, Lease, Nonce, ReplayStore as _, StoreErrorKind, StoredReply, UseLimit,
        },
    },
};

use crate::server::{DURABLE, Redis};

/// How many tickets a test redeems at least.
const TICKETS: u16 = 300;

/// How many attempts precede the kill of a node.
const BEFORE_THE_KILL: usize = 150;

/// How long a topology may take to heal.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a user of the store may do. `docs/deployment.md` names it.
const PERMISSIONS: &str = "+evalsha +eval +wait +time +exists +hget +hset +hsetnx +hdel +hincrby \
                           +hexists +hlen +zadd +zrem +zrange +zrangebyscore +zrangebylex \
                           +zrevrangebylex +zlexcount +zscore +zcard +pttl +pexpire +set +del";

/// The row of a ticket, the same in every call.
fn upload(ticket: u16) -> GrantedUpload {
    static GRANTED: LazyLock<SystemTime> = LazyLock::new(whole_second);

    let bucket: Bucket = "examplebucket".parse().unwrap();
    let key: ObjectKey = format!("user/{ticket}").parse().unwrap();
    let mut random = [0; 16];
    random[8..10].copy_from_slice(&ticket.to_be_bytes());
    let nonce = Nonce::for_object(&bucket, &key, random);
    let template = "bucket=${bucket}&object=${object}&x:ticket=AbC";
    let call = CallbackCall::new("/cb", "app.example", CallbackBodyType::Form, template);
    let expires = *GRANTED + Duration::from_secs(600);
    GrantedUpload::new(nonce, bucket, key, *GRANTED, expires, call)
}

fn whole_second() -> SystemTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.unwrap().as_secs())
}

fn attempt(ticket: u16) -> Attempt {
    let upload = upload(ticket);
    let (until, now) = (upload.until(), SystemTime::now());
    Attempt::new(upload.nonce(), [1; 32], UseLimit::Once, until, now).unwrap()
}

async fn settled(
    store: &RedisStore,
    ticket: u16,
    lease: &Lease,
    text: &str,
) -> Result<(), StoreErrorKind> {
    let upload = upload(ticket);
    let object = SettledObject::new(upload.bucket().clone(), upload.key().as_str());
    let settled = store.settled(lease, &reply(text), &object, upload.until());
    settled.await.map_err(|error| error.kind())
}

fn reply(text: &str) -> StoredReply {
    StoredReply::new(StatusCode::OK, None, text.to_owned()).unwrap()
}

/// Redeems every ticket on every store while `disturb` runs, and then until all are redeemed.
///
/// The only success of a ticket is the one whose reply is stored: a second one would overwrite
/// nothing, but would have been reported to a second uploader.
async fn no_double_success(stores: Vec<RedisStore>, disturb: impl Future<Output = ()>) {
    let rows: Vec<_> = (0..TICKETS).map(upload).collect();
    for rows in rows.chunks(100) {
        let give_up = Instant::now() + PATIENCE;
        // Replicas may not have connected yet.
        while let Err(error) = stores[0].granted(rows).await {
            assert!(Instant::now() < give_up, "{error}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let redeemed = Arc::new(AtomicUsize::new(0));
    let disturbed = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for (instance, store) in stores.iter().cloned().enumerate() {
        let (redeemed, disturbed) = (Arc::clone(&redeemed), Arc::clone(&disturbed));
        tasks.spawn(async move {
            let (mut successes, mut errors) = (Vec::new(), 0_u32);
            let mut tickets = 0..u16::MAX;
            while let Some(ticket) = tickets.next()
                && (ticket < TICKETS || !disturbed.load(Relaxed))
            {
                sleep(Duration::from_millis(1)).await;
                match redeem(&store, ticket, &format!("{instance}-{ticket}")).await {
                    Ok(true) => successes.push(ticket),
                    Ok(false) => {}
                    Err(_) => errors += 1,
                }
                redeemed.fetch_add(1, Relaxed);
            }
            (instance, successes, errors, tickets.start)
        });
    }
    while redeemed.load(Relaxed) < BEFORE_THE_KILL {
        sleep(Duration::from_millis(1)).await;
    }
    disturb.await;
    disturbed.store(true, Relaxed);
    let mut successes: HashMap<u16, Vec<String>> = HashMap::new();
    let (mut errors, mut tickets) = (0, 0);
    for (instance, redeemed, failed, end) in tasks.join_all().await {
        errors += failed;
        tickets = end.max(tickets);
        for ticket in redeemed {
            successes
                .entry(ticket)
                .or_default()
                .push(format!("{instance}-{ticket}"));
        }
    }
    assert!(errors > 0, "the node was killed too late");
    for ticket in 0..tickets {
        let stored = settle(&stores, ticket).await;
        let reported = successes.remove(&ticket).unwrap_or_default();
        assert!(reported.len() <= 1, "ticket {ticket}: {reported:?}");
        if let Some(reported) = reported.first() {
            assert_eq!(
                *reported, stored,
                "the reported reply of ticket {ticket} was lost"
            );
        }
    }
    assert_eq!(
        stores[0].open_rows().await.unwrap(),
        0,
        "rows that are settled stay"
    );
    println!("{tickets} tickets; {errors} steps failed meanwhile");
}

/// Runs the handler of a ticket if it is unused. `true` if its reply is stored.
async fn redeem(store: &RedisStore, ticket: u16, text: &str) -> Result<bool, StoreErrorKind> {
    let begun = store.begin(&attempt(ticket)).await;
    match begun.map_err(|error| error.kind())? {
        Begin::Fresh(lease) => {
            settled(store, ticket, &lease, text).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Redeems a ticket unless it is redeemed already, and returns its reply, the same on every store.
async fn settle(stores: &[RedisStore], ticket: u16) -> String {
    let give_up = Instant::now() + PATIENCE;
    let mut replies = Vec::new();
    for store in stores {
        loop {
            match store.begin(&attempt(ticket)).await {
                Ok(Begin::Stored(reply)) => {
                    replies.push(String::from_utf8(reply.body().to_vec()).unwrap());
                    break;
                }
                Ok(Begin::Fresh(lease)) => {
                    // An error is repeated by the next round.
                    let _settled = settled(store, ticket, &lease, "late").await;
                }
                Ok(Begin::Running(wait)) => wait.await,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert!(Instant::now() < give_up, "{error}");
                    sleep(Duration::from_millis(20)).await;
                }
            }
            assert!(Instant::now() < give_up, "ticket {ticket} is not settled");
        }
    }
    replies.dedup();
    assert_eq!(replies.len(), 1, "ticket {ticket}: {replies:?}");
    replies.remove(0)
}

fn three(store: impl Fn() -> RedisStore) -> Vec<RedisStore> {
    let store = || store().timeout(Duration::from_secs(2));
    vec![store(), store(), store()]
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread")]
async fn rp_06_one_node_killed() {
    let mut redis = Redis::on_a_port(DURABLE, &[]);
    let url = redis.tcp_url();
    let stores = three(|| RedisStore::new(&url).unwrap());
    no_double_success(stores, async {
        redis.kill();
        sleep(Duration::from_millis(200)).await;
        redis.restart();
    })
    .await;
}

#[ignore = "needs redis-server with TLS"]
#[tokio::test(flavor = "multi_thread")]
async fn rp_06_one_node_with_tls_killed() {
    let mut redis = Redis::durable_with_tls();
    let (url, root) = (
        redis.tls_url("localhost"),
        redis.root_certificate().to_owned(),
    );
    let stores = three(|| RedisStore::with_root_certificates(&url, root.as_bytes()).unwrap());
    no_double_success(stores, async {
        redis.kill();
        sleep(Duration::from_millis(200)).await;
        redis.restart();
    })
    .await;
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread")]
async fn rp_06_a_user_with_few_permissions() {
    let user = format!("--user uploads on >secret ~oss-ticket:* ~oss-ledger:* {PERMISSIONS}");
    let user: Vec<_> = user.split_whitespace().map(String::from).collect();
    let mut redis = Redis::on_a_port(DURABLE, &user);
    let url = format!("redis://uploads:secret@127.0.0.1:{}/", redis.port());
    let stores = three(|| RedisStore::new(&url).unwrap());
    no_double_success(stores, async {
        redis.kill();
        sleep(Duration::from_millis(200)).await;
        redis.restart();
    })
    .await;
    for (user, password) in [("uploads", "wrong"), ("nobody", "secret")] {
        let url = format!("redis://{user}:{password}@127.0.0.1:{}/", redis.port());
        let denied = RedisStore::new(&url)
            .unwrap()
            .begin(&attempt(9))
            .await
            .unwrap_err();
        assert_eq!(denied.kind(), StoreErrorKind::Denied);
    }
    // Every permission is needed: WAIT for replicas, ZRANGE in a shard that is full.
    let seldom = ["+wait", "+zrange"];
    let permissions = PERMISSIONS.split_whitespace();
    for missing in permissions.filter(|permission| !seldom.contains(permission)) {
        redis.command(&["ACL", "SETUSER", "uploads", &missing.replace('+', "-")]);
        let store = RedisStore::new(&url).unwrap();
        let denied = steps(&store).await;
        assert!(
            denied.contains(&StoreErrorKind::Denied),
            "{missing}: {denied:?}"
        );
        redis.command(&["ACL", "SETUSER", "uploads", missing]);
    }
    assert_eq!(steps(&RedisStore::new(&url).unwrap()).await, []);
}

/// Makes every step once, and returns the errors.
async fn steps(store: &RedisStore) -> Vec<StoreErrorKind> {
    let mut errors = Vec::new();
    let mut note = |result: Result<(), StoreErrorKind>| errors.extend(result.err());
    let random = || {
        Attempt::new(
            Nonce::random().unwrap(),
            [1; 32],
            UseLimit::Texts(3.try_into().unwrap()),
            SystemTime::now() + Duration::from_secs(60),
            SystemTime::now(),
        )
        .unwrap()
        .lease(Duration::from_millis(60))
    };
    // A ticket for one text, and another text.
    let nonce = Nonce::random().unwrap();
    for text in [1, 2] {
        let until = SystemTime::now() + Duration::from_secs(60);
        let attempt = Attempt::new(nonce, [text; 32], UseLimit::Once, until, SystemTime::now());
        let begun = store.begin(&attempt.unwrap()).await;
        note(begun.map(drop).map_err(|error| error.kind()));
    }
    let used_up = store.is_used_up(nonce).await;
    note(used_up.map(drop).map_err(|error| error.kind()));
    // The first refusal of a ticket that is spent.
    let spent = store.begin(&random().starts(0)).await;
    note(spent.map(drop).map_err(|error| error.kind()));
    for at_most_once in [false, true] {
        for step in ["finish", "fail", "abandon", "refuse", "renew"] {
            let attempt = if at_most_once {
                random().at_most_once()
            } else {
                random()
            };
            let lease = match store.begin(&attempt).await {
                Ok(Begin::Fresh(lease)) => lease,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    note(Err(error.kind()));
                    continue;
                }
            };
            if at_most_once {
                note(store.start(&lease).await.map_err(|error| error.kind()));
            }
            let done = match step {
                "finish" => store.finish(&lease, &reply("{}")).await,
                "fail" => store.fail(&lease).await,
                "abandon" => store.abandon(&lease).await,
                "refuse" => store.refuse(&lease).await,
                _ => {
                    sleep(Duration::from_millis(100)).await;
                    store.finish(&lease, &reply("{}")).await
                }
            };
            note(done.map_err(|error| error.kind()));
            // An attempt that was abandoned before it began.
            let lease = Lease::new(&random());
            note(store.abandon(&lease).await.map_err(|error| error.kind()));
        }
    }
    static NEXT: AtomicU16 = AtomicU16::new(50_000);
    let ticket = NEXT.fetch_add(4, Relaxed);
    let rows = [0, 1, 2, 3].map(|index| upload(ticket + index));
    note(store.granted(&rows).await.map_err(|error| error.kind()));
    let lease = Lease::new(&attempt(ticket));
    note(
        store
            .fail_upload(&lease, rows[0].due_at())
            .await
            .map_err(|error| error.kind()),
    );
    match store.begin(&attempt(ticket)).await {
        Ok(Begin::Fresh(lease)) => note(settled(store, ticket, &lease, "{}").await),
        other => note(other.map(drop).map_err(|error| error.kind())),
    }
    let [_, second, ..] = &rows;
    let known = store
        .object(second.bucket(), second.key(), SystemTime::now())
        .await;
    note(known.map(drop).map_err(|error| error.kind()));
    note(
        store
            .open_rows()
            .await
            .map(drop)
            .map_err(|error| error.kind()),
    );
    let due = store.due(second.due_at() + PATIENCE, 10, PATIENCE).await;
    for (index, row) in due
        .map_err(|error| note(Err(error.kind())))
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let claim = &row.claim;
        let done = match index {
            0 => store.defer(claim, SystemTime::now(), 1).await,
            _ => store.close(claim, CloseReason::Dropped).await,
        };
        note(done.map_err(|error| error.kind()));
    }
    errors
}

/// A master, two replicas and three sentinels.
struct Sentinels {
    master: Redis,
    replicas: [Redis; 2],
    processes: Vec<Child>,
    ports: Vec<u16>,
    _directory: TempDir,
}

impl Sentinels {
    fn start() -> Self {
        let master = Redis::on_a_port(DURABLE, &[]);
        let options = ["--replicaof".into(), format!("127.0.0.1 {}", master.port())];
        let replicas = [(); 2].map(|()| Redis::on_a_port(DURABLE, &options));
        let directory = tempfile::tempdir().unwrap();
        let (mut processes, mut ports) = (Vec::new(), Vec::new());
        for index in 0..3 {
            let port = crate::server::free_port();
            let config: PathBuf = directory.path().join(format!("{index}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor uploads 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds uploads 1000\n\
                 sentinel failover-timeout uploads 4000\nsentinel parallel-syncs uploads 2\n",
                directory.path().display(),
                master.port()
            );
            std::fs::write(&config, text).unwrap();
            let process = Command::new(crate::server::program())
                .arg(&config)
                .arg("--sentinel")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            processes.push(process);
            ports.push(port);
        }
        Self {
            master,
            replicas,
            processes,
            ports,
            _directory: directory,
        }
    }

    fn store(&self) -> RedisStore {
        let urls: Vec<_> = self
            .ports
            .iter()
            .map(|port| format!("redis://127.0.0.1:{port}/"))
            .collect();
        RedisStore::sentinel(urls.iter().map(|url| &**url), "redis://uploads/0")
            .unwrap()
            .wait_for_replicas(NonZeroU8::MIN)
    }

    /// Waits until all sentinels know each other and both replicas.
    async fn settle(&self) {
        let give_up = Instant::now() + PATIENCE;
        for port in &self.ports {
            while !knows_all(*port) {
                assert!(
                    Instant::now() < give_up,
                    "the sentinels do not find each other"
                );
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _killed = process.kill();
            let _waited = process.wait();
        }
    }
}

fn knows_all(sentinel: u16) -> bool {
    let ask = || -> redis::RedisResult<HashMap<String, String>> {
        let mut connection =
            redis::Client::open(format!("redis://127.0.0.1:{sentinel}/"))?.get_connection()?;
        redis::cmd("SENTINEL")
            .arg("MASTER")
            .arg("uploads")
            .query(&mut connection)
    };
    ask().is_ok_and(|master| {
        let number = |name: &str| master.get(name).and_then(|text| text.parse::<u32>().ok());
        number("num-slaves") == Some(2) && number("num-other-sentinels") == Some(2)
    })
}

/// The sentinels promote a replica that has every confirmed record.
#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread")]
async fn rp_06_a_master_killed_and_replaced() {
    let mut group = Sentinels::start();
    group.settle().await;
    let stores = three(|| group.store());
    let old = group.master.port();
    let probe = group.store();
    no_double_success(stores, async {
        group.master.kill();
        let give_up = Instant::now() + PATIENCE;
        while probe.begin(&attempt(u16::MAX)).await.is_err() {
            assert!(Instant::now() < give_up, "no replica was promoted");
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let promoted = group.replicas.iter().filter(|redis| {
        let role: (String,) =
            redis::from_redis_value_ref(&first(redis.command(&["ROLE"]))).unwrap();
        role.0 == "master"
    });
    assert_eq!(promoted.count(), 1, "port {old} is still the master");
}

/// A sentinel whose machine is gone, or that hangs, must not keep a process from the master. It
/// takes connections and never responds, like one behind a firewall that drops everything.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_sentinel_that_hangs() {
    let group = Sentinels::start();
    group.settle().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = listener.local_addr().unwrap().port();
    let mut ports = group.ports.clone();
    ports.insert(0, hanging);
    let urls: Vec<_> = ports
        .iter()
        .map(|port| format!("redis://127.0.0.1:{port}/"))
        .collect();
    let store = RedisStore::sentinel(urls.iter().map(|url| &**url), "redis://uploads/0")
        .unwrap()
        .timeout(Duration::from_millis(400));
    let mut errors = Vec::new();
    for ticket in 1..=4 {
        match redeem(&store, ticket, "{}").await {
            Ok(done) => assert!(done),
            Err(error) => errors.push(error),
        }
    }
    assert!(errors.len() <= 1, "{errors:?}");
}

/// It accepts connections and acknowledges what it receives, so nothing but time tells.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_master_that_hangs_is_replaced() {
    let group = Sentinels::start();
    group.settle().await;
    let (store, give_up) = (group.store(), Instant::now() + PATIENCE);
    let mut tickets = 1..;
    let mut works = async |why| {
        while redeem(&store, tickets.next().unwrap(), "{}").await.is_err() {
            assert!(Instant::now() < give_up, "{why}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    works("the replicas do not follow").await;
    group.master.stop();
    works("the old master is still asked").await;
}

/// The same for a node of a cluster.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_node_that_hangs_when_a_cluster_is_opened() {
    let group = Cluster::start().await;
    group.settle().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("redis://{}/", listener.local_addr().unwrap());
    let known = format!("redis://127.0.0.1:{}/", group.0[0].port());
    let store = RedisStore::cluster([&*hanging, &*known]).unwrap();
    let mut errors = Vec::new();
    for ticket in 1..=4 {
        match redeem(&store, ticket, "{}").await {
            Ok(done) => assert!(done),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(errors, []);
}

fn first(value: redis::Value) -> redis::Value {
    match value {
        redis::Value::Array(mut values) => redis::Value::Array(vec![values.remove(0)]),
        other => other,
    }
}

/// With fewer replicas than demanded, nothing is redeemed.
#[ignore = "needs redis-server"]
#[tokio::test]
async fn rp_06_a_master_that_lost_its_replicas_says_so() {
    let master = Redis::on_a_port(DURABLE, &[]);
    let store = RedisStore::new(&master.tcp_url())
        .unwrap()
        .timeout(Duration::from_secs(3))
        .wait_for_replicas(NonZeroU8::MIN);
    let error = store.begin(&attempt(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotReplicated);
    let options = ["--replicaof".into(), format!("127.0.0.1 {}", master.port())];
    let _replica = Redis::on_a_port(DURABLE, &options);
    let give_up = Instant::now() + PATIENCE;
    // A ticket whose step failed is held until its lease expires.
    for ticket in 2.. {
        match redeem(&store, ticket, "{}").await {
            Ok(done) => {
                assert!(done);
                break;
            }
            Err(kind) => assert_eq!(kind, StoreErrorKind::NotReplicated),
        }
        assert!(Instant::now() < give_up);
    }
}

/// Three masters, with a slot range each.
struct Cluster([Redis; 3]);

impl Cluster {
    async fn start() -> Self {
        let nodes = [(); 3].map(|()| Redis::node());
        for (node, [from, to]) in
            nodes
                .iter()
                .zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]])
        {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        }
        for node in &nodes[1..] {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        let cluster = Self(nodes);
        cluster.settle().await;
        cluster
    }

    /// Waits until all nodes know all slots.
    async fn settle(&self) {
        let give_up = Instant::now() + PATIENCE;
        for node in &self.0 {
            loop {
                let info: String =
                    redis::from_redis_value_ref(&node.command(&["CLUSTER", "INFO"])).unwrap();
                if info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") {
                    break;
                }
                assert!(Instant::now() < give_up, "{info}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn store(&self) -> RedisStore {
        let urls = [0, 1, 2].map(|node: usize| self.0[node].tcp_url());
        RedisStore::cluster(urls.iter().map(|url| &**url)).unwrap()
    }

    fn id(&self, node: usize) -> String {
        redis::from_redis_value_ref(&self.0[node].command(&["CLUSTER", "MYID"])).unwrap()
    }

    /// Moves all keys of some slots from the first node to the second.
    async fn move_slots(&self, slots: std::ops::Range<u16>) {
        let [from, to] = [0, 1].map(|node| self.id(node));
        let port = self.0[1].port().to_string();
        for slot in slots.map(|slot| slot.to_string()) {
            self.0[1].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]);
            self.0[0].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]);
            loop {
                let keys: Vec<String> = redis::from_redis_value_ref(&self.0[0].command(&[
                    "CLUSTER",
                    "GETKEYSINSLOT",
                    &slot,
                    "100",
                ]))
                .unwrap();
                if keys.is_empty() {
                    break;
                }
                let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
                words.extend(keys.iter().map(|key| &**key));
                self.0[0].command(&words);
                tokio::task::yield_now().await;
            }
            for node in [1, 0, 2] {
                self.0[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to]);
            }
        }
    }
}

#[ignore = "needs redis-server"]
#[tokio::test(flavor = "multi_thread")]
async fn rp_06_a_node_of_a_cluster_killed_while_slots_move() {
    let mut cluster = Cluster::start().await;
    let stores = three(|| cluster.store());
    no_double_success(stores, async {
        cluster.move_slots(0..2000).await;
        cluster.0[2].kill();
        sleep(Duration::from_millis(500)).await;
        cluster.0[2].restart();
        cluster.settle().await;
    })
    .await;
}
