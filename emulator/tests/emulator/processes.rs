//! The emulator in a separate process: memory use, and objects that survive a kill.

use std::{
    collections::HashSet,
    convert::Infallible,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use aliyun_oss_emulator::{Acl, HostedBucket, ObjectStore};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use md5::{Digest as _, Md5};
use serde_json::json;
use tokio::net::TcpListener;

use super::support::{BOUNDARY, Form, builder, under};

const FOLDER: &str = "EMULATOR_TEST_FOLDER";
const MIB: u64 = 1024 * 1024;
/// Size of the objects that are uploaded during a kill.
const SIZE: usize = 700_000;

/// Child process of the other tests: serves the folder named in the environment.
#[test]
#[ignore = "started by the other tests of this file"]
fn a_process_that_serves_a_folder() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let emulator = builder()
            .bucket(HostedBucket::new("public".parse().unwrap()).acl(Acl::PublicRead))
            .bucket(HostedBucket::new("open".parse().unwrap()).acl(Acl::PublicReadWrite))
            .store(ObjectStore::folder(folder).unwrap())
            .build()
            .unwrap();
        let discarding = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!(
            "\nserving {} {}",
            listener.local_addr().unwrap(),
            discarding.local_addr().unwrap()
        );
        tokio::spawn(discard(discarding));
        emulator.serve(listener).await.unwrap();
    });
}

/// Receives requests and does nothing else, to compare with.
async fn discard(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(async |request: Request<Incoming>| {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { drop(connection.await) });
    }
}

struct Process {
    child: Child,
    address: SocketAddr,
    /// Of the server that discards what it receives.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    discarding: SocketAddr,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = match cfg!(unix) {
            // A connection and a file for each upload are more than many systems permit at first.
            true => {
                let mut shell = Command::new("sh");
                let script = "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\"";
                shell.args(["-c", script]).arg(program);
                shell
            }
            false => Command::new(program),
        };
        let mut child = command
            .args(["--exact", "processes::a_process_that_serves_a_folder"])
            .args(["--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .map(|line| line.unwrap())
            .find_map(|line| line.strip_prefix("serving ").map(str::to_owned))
            .unwrap();
        let (address, discarding) = line.split_once(' ').unwrap();
        Self {
            child,
            address: address.parse().unwrap(),
            discarding: discarding.parse().unwrap(),
        }
    }

    fn connect(&self) -> TcpStream {
        Self::connect_to(self.address)
    }

    fn connect_to(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// Returns the peak memory in bytes.
    #[cfg(target_os = "linux")]
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Returns the time of the processors that the process took.
    #[cfg(target_os = "linux")]
    fn cpu_time(&self) -> Duration {
        cpu_time(&format!("/proc/{}/stat", self.child.id()))
    }
}

/// Returns the time of the processors that a process or a thread took.
#[cfg(target_os = "linux")]
fn cpu_time(stat: &str) -> Duration {
    let stat = std::fs::read_to_string(stat).unwrap();
    // The name of the program may contain blanks. `utime` and `stime` are in hundredths.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL on Unix.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the form data before and after the file content.
fn around(key: &str) -> (Vec<u8>, Vec<u8>) {
    let conditions = json!([["content-length-range", 0, 5_u64 << 30]]);
    let form: Form = under(&conditions, &[("key", key)]).file(b"CONTENT");
    let body = form.bytes();
    let at = body.windows(7).position(|text| text == b"CONTENT").unwrap();
    (body[..at].to_vec(), body[at + 7..].to_vec())
}

fn head(length: u64) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: public.localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[cfg(target_os = "linux")]
fn upload_in_little_memory(size: u64) {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let (before, after) = around("large");
    let mut stream = process.connect();
    stream
        .write_all(head(before.len() as u64 + size + after.len() as u64).as_bytes())
        .unwrap();
    stream.write_all(&before).unwrap();
    // Avoid data that looks like a boundary, and vary its position relative to the parser's buffer.
    let mut piece: Vec<u8> = (0..MIB).map(|at| (at % 253) as u8).collect();
    let mut expected = Md5::new();
    for number in 0..size / MIB {
        piece[..8].copy_from_slice(&number.to_be_bytes());
        expected.update(&piece);
        stream.write_all(&piece).unwrap();
    }
    stream.write_all(&after).unwrap();
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let etag: String = expected
        .finalize()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    assert!(answer.contains(&format!("\"{etag}\"")), "{answer}");

    let mut stream = process.connect();
    let get = "GET /large HTTP/1.1\r\nHost: public.localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(get.as_bytes()).unwrap();
    let read = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(read > size);
    let peak = process.peak_memory();
    println!("{size} bytes in and out with {} KiB at most", peak / 1024);
    assert!(peak < 64 * MIB, "{peak}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_form_takes_less_memory_than_its_file() {
    upload_in_little_memory(96 * MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn parts_take_less_memory_than_their_object() {
    parts_in_little_memory(24 * MIB);
}

/// Nobody has to sign the fields of a form before they are read.
#[cfg(target_os = "linux")]
#[test]
fn a_hundred_refused_forms_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let idle = process.peak_memory();
    let body = large_fields();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut stream = process.connect();
                let head = head(body.len() as u64);
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
                let answer = answer(stream);
                assert!(answer.contains("SignatureDoesNotMatch"), "{answer}");
            });
        }
    });
    let taken = process.peak_memory() - idle;
    println!("100 forms of 8 MiB with {} KiB at most", taken / 1024);
    assert!(taken < 64 * MIB, "{taken}");
}

/// A form with 8 MiB of fields and a wrong signature.
#[cfg(target_os = "linux")]
fn large_fields() -> Vec<u8> {
    let (before, after) = around("refused");
    let part = |name: &str, value: &str| {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let value = "v".repeat(usize::try_from(MIB).unwrap());
    let mut body: String = (0..8)
        .map(|at| part(&format!("x:{at}"), &value[1024..]))
        .collect();
    body += &part("Signature", "wrong");
    [body.into_bytes(), before, after].concat()
}

/// A form with 8 MiB in the head of a part.
#[cfg(target_os = "linux")]
fn large_head() -> Vec<u8> {
    let mut body = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"").into_bytes();
    body.resize(8 << 20, b'n');
    body
}

/// Sends a form a hundred times at once, in pieces of this size, and returns what the process took:
/// peak memory, and time of the processors.
#[cfg(target_os = "linux")]
fn a_hundred_times(
    process: &Process,
    to: SocketAddr,
    body: &[u8],
    piece: usize,
) -> (u64, Duration) {
    let (idle, before) = (process.peak_memory(), process.cpu_time());
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut stream = Process::connect_to(to);
                stream.set_nodelay(true).unwrap();
                stream
                    .write_all(head(body.len() as u64).as_bytes())
                    .unwrap();
                for piece in body.chunks(piece) {
                    // The emulator closes the connection once it has read enough.
                    if stream.write_all(piece).is_err() {
                        break;
                    }
                }
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    (process.peak_memory() - idle, process.cpu_time() - before)
}

/// A search for the end of a head from its beginning, with each piece, took 23 s for one form.
#[cfg(target_os = "linux")]
#[test]
fn a_hundred_endless_part_heads_take_little() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let (memory, time) = a_hundred_times(&process, process.address, &large_head(), 1024);
    println!(
        "100 part heads of 8 MiB with {} KiB and {time:?}",
        memory / 1024
    );
    assert!(memory < 64 * MIB, "{memory}");
    // Receiving them included, and without optimization.
    assert!(time < Duration::from_secs(10), "{time:?}");
}

#[test]
fn nothing_is_half_there_after_a_kill() {
    killed(8);
}

#[test]
fn appends_and_parts_are_whole_after_a_kill() {
    killed_while_growing(6);
}

mod soak {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "soak: writes a gibibyte"]
    fn a_gibibyte_takes_little_memory() {
        upload_in_little_memory(1024 * MIB);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "soak: writes four gibibytes"]
    fn four_gibibytes_take_little_memory() {
        upload_in_little_memory(4096 * MIB);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "soak: writes half a gibibyte twice"]
    fn half_a_gibibyte_in_parts_takes_little_memory() {
        parts_in_little_memory(128 * MIB);
    }

    /// As many clients as a busy test run has, each with a small file.
    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "soak: a thousand connections"]
    fn a_thousand_concurrent_uploads_take_little_memory() {
        uploads_in_little_memory(1000, 128 * MIB);
    }

    /// What the forms cost beyond receiving them, which another server in the same process does.
    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "soak: sends four gibibytes"]
    fn a_hundred_refused_forms_take_little_time() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(folder.path());
        let whole = usize::MAX;
        for (name, body, piece) in [
            ("fields", large_fields(), whole),
            ("fields in pieces", large_fields(), 1024),
            ("part head", large_head(), whole),
            ("part head in pieces", large_head(), 1024),
        ] {
            let (_, receiving) = a_hundred_times(&process, process.discarding, &body, piece);
            let (_, refusing) = a_hundred_times(&process, process.address, &body, piece);
            let beyond = refusing.saturating_sub(receiving);
            println!("100 forms with 8 MiB of {name}: {refusing:?}, receiving {receiving:?}");
            // Without optimization, UTF-8 and delimiters take longer.
            let limit = if cfg!(debug_assertions) { 3 } else { 1 };
            assert!(beyond < Duration::from_secs(limit), "{beyond:?}");
        }
    }

    #[test]
    #[ignore = "soak: writes a hundred thousand files"]
    fn a_hundred_thousand_objects_are_there_at_once() {
        starts_with(100_000);
    }

    #[test]
    #[ignore = "soak: starts a hundred processes"]
    fn killed_a_hundred_times() {
        killed(100);
    }

    #[test]
    #[ignore = "soak: starts a hundred processes"]
    fn killed_a_hundred_times_while_growing() {
        killed_while_growing(100);
    }
}

/// Uploads this many objects of a mebibyte at the same time: all connections are open, and every
/// upload has begun, before one ends. Asserts what they take beyond the idle process.
#[cfg(target_os = "linux")]
fn uploads_in_little_memory(count: usize, limit: u64) {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let idle = process.peak_memory();
    let content: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    let md5 = Md5::digest(&content);
    let etag: String = md5.iter().map(|b| format!("{b:02X}")).collect();
    let (begin, rest) = content.split_at(content.len() / 2);
    let begun: Vec<_> = (0..count)
        .map(|at| {
            let mut stream = process.connect();
            let head = format!(
                "PUT /{at} HTTP/1.1\r\nHost: open.localhost\r\nConnection: close\r\n\
                 Content-Length: {MIB}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(begin).unwrap();
            stream
        })
        .collect();
    std::thread::scope(|scope| {
        for mut stream in begun {
            let etag = &etag;
            let client = move || {
                stream.write_all(rest).unwrap();
                let answer = answer(stream);
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                assert!(answer.contains(etag), "{answer}");
            };
            std::thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn_scoped(scope, client)
                .unwrap();
        }
    });
    let taken = process.peak_memory() - idle;
    println!(
        "{count} uploads of 1 MiB with {} KiB beyond {} KiB",
        taken / 1024,
        idle / 1024
    );
    assert!(taken < limit, "{taken}");
}

/// Opens a folder with this many objects, and asserts that the process serves one of them within a
/// second of its start.
fn starts_with(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().join("buckets/public");
    {
        let process = Process::start(folder.path());
        let (before, after) = around("0000000");
        let body = [&before[..], b"content", &after].concat();
        let mut stream = process.connect();
        stream
            .write_all(head(body.len() as u64).as_bytes())
            .unwrap();
        stream.write_all(&body).unwrap();
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    // The others differ in their names only, which have the same length. Uploads would take longer
    // than what is measured.
    let name = |key: &str| {
        let hash = sha2::Sha256::digest(key);
        let hash = hash.iter().map(|b| format!("{b:02x}"));
        bucket.join(hash.collect::<String>())
    };
    let first = std::fs::read(name("0000000")).unwrap();
    let at = first
        .windows(7)
        .position(|text| text == b"0000000")
        .unwrap();
    for number in 1..count {
        let key = format!("{number:07}");
        let mut file = first.clone();
        file[at..at + 7].copy_from_slice(key.as_bytes());
        std::fs::write(name(&key), file).unwrap();
    }
    let get = |process: &Process, target: &str| {
        let mut stream = process.connect();
        let get =
            format!("GET {target} HTTP/1.1\r\nHost: public.localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(get.as_bytes()).unwrap();
        answer(stream)
    };
    let started = std::time::Instant::now();
    let process = Process::start(folder.path());
    let last = get(&process, &format!("/{:07}", count - 1));
    let ready = started.elapsed();
    assert!(last.ends_with("content"), "{last}");
    let listing = get(
        &process,
        &format!("/?list-type=2&start-after={:07}", count - 3),
    );
    let listed = started.elapsed();
    assert_eq!(listing.matches("<Key>").count(), 2, "{listing}");
    println!("{count} objects: served after {ready:?}, listed after {listed:?}");
    assert!(ready < Duration::from_secs(1), "{ready:?}");
    #[cfg(target_os = "linux")]
    {
        let index = process.cpu_time();
        let before = cpu_time("/proc/thread-self/stat");
        for file in std::fs::read_dir(&bucket).unwrap() {
            std::fs::read(file.unwrap().path()).unwrap();
        }
        let read = cpu_time("/proc/thread-self/stat") - before;
        println!("the process took {index:?}, and a thread that reads the files {read:?}");
        // The parser is slow without optimization.
        let limit = if cfg!(debug_assertions) { 12 } else { 4 };
        assert!(index < limit * read, "{index:?} {read:?}");
    }
}

/// Uploads and joins four parts of `part` bytes, and asserts that memory stays below 64 MiB.
#[cfg(target_os = "linux")]
fn parts_in_little_memory(part: u64) {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let request = |method: &str, target: &str, body: &[u8], times: u64| {
        let length = body.len() as u64 * times;
        let mut stream = process.connect();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: open.localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..times {
            stream.write_all(body).unwrap();
        }
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    };
    let between = |text: &str, before: &str, after: &str| {
        let (_, rest) = text.split_once(before).unwrap();
        rest.split_once(after).unwrap().0.to_owned()
    };
    let id = between(
        &request("POST", "/large?uploads", b"", 1),
        "<UploadId>",
        "</UploadId>",
    );
    let piece = vec![7; usize::try_from(MIB).unwrap()];
    let mut list = String::from("<CompleteMultipartUpload>");
    for number in 1..=4 {
        let target = format!("/large?partNumber={number}&uploadId={id}");
        let etag = between(
            &request("PUT", &target, &piece, part / MIB),
            "etag: \"",
            "\"",
        );
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    list += "</CompleteMultipartUpload>";
    request("POST", &format!("/large?uploadId={id}"), list.as_bytes(), 1);
    let peak = process.peak_memory();
    // Another store must not use the folder.
    ObjectStore::folder(folder.path()).unwrap_err();
    drop(process);
    let store = ObjectStore::folder(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let objects = runtime
        .block_on(store.list(&"open".parse().unwrap()))
        .unwrap();
    assert_eq!(objects[0].size(), 4 * part);
    println!(
        "{} bytes in parts with {} KiB at most",
        4 * part,
        peak / 1024
    );
    assert!(peak < 64 * MIB, "{peak}");
}

/// Kills the process `rounds` times: in the middle of a file, just before its end, before the
/// response arrives, and during several uploads. No object is ever partial, and every acknowledged
/// one is complete.
fn killed(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let bucket = "public".parse().unwrap();
    let mut acknowledged = Vec::new();
    let mut checked = HashSet::new();
    let content = |key: &str| key.as_bytes().repeat(SIZE.div_ceil(key.len()))[..SIZE].to_vec();
    for round in 0..rounds {
        let process = Process::start(folder.path());
        let send = |key: &str, part: usize| {
            let (before, after) = around(key);
            let body = [before, content(key), after].concat();
            let mut stream = process.connect();
            stream
                .write_all(head(body.len() as u64).as_bytes())
                .unwrap();
            let to = if part == 100 {
                body.len()
            } else {
                body.len() * part / 100
            };
            stream.write_all(&body[..to]).unwrap();
            stream
        };
        let whole = format!("whole-{round}");
        let answer = answer(send(&whole, 100));
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        acknowledged.push(whole);
        let open = match round % 4 {
            0 => vec![send(&format!("part-{round}"), round)],
            1 => vec![send(&format!("part-{round}"), 99)],
            // Everything is sent, but the response is not awaited, so either outcome is correct.
            2 => vec![send(&format!("race-{round}"), 100)],
            _ => (0..4)
                .map(|at| {
                    let kind = if at == 0 { "race" } else { "part" };
                    send(&format!("{kind}-{round}-{at}"), 100 - at)
                })
                .collect(),
        };
        drop(process);
        drop(open);

        let store = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let list = store.block_on(async {
            ObjectStore::folder(folder.path())
                .unwrap()
                .list(&bucket)
                .await
        });
        let list = list.unwrap();
        // Each object is checked once, as it is not written again.
        for object in list
            .iter()
            .filter(|object| checked.insert(object.key().to_owned()))
        {
            let md5 = Md5::digest(content(object.key()));
            let md5: String = md5.iter().map(|b| format!("{b:02X}")).collect();
            let found = (object.size(), object.etag());
            assert_eq!(found, (SIZE as u64, &*md5), "{}", object.key());
            assert!(!object.key().starts_with("part"), "{}", object.key());
        }
        for key in &acknowledged {
            assert!(list.iter().any(|object| object.key() == key), "{key}");
        }
    }
    // After a restart, the acknowledged objects are still served.
    let process = Process::start(folder.path());
    for key in acknowledged.iter().step_by(7) {
        let mut stream = process.connect();
        let get =
            format!("GET /{key} HTTP/1.1\r\nHost: public.localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(get.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&content(key)), "{key}");
    }
}

/// Kills the process `rounds` times during an append and an upload of a part. What was acknowledged
/// is there, and what was not is there as a whole or not at all.
fn killed_while_growing(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let begin = |process: &Process, method: &str, target: &str, body: &[u8], sent: usize| {
        let mut stream = process.connect();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: open.localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..sent]).unwrap();
        stream
    };
    let run = |process: &Process, method: &str, target: &str, body: &[u8]| {
        let mut answer = Vec::new();
        let mut stream = begin(process, method, target, body, body.len());
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    let ok = |process: &Process, method: &str, target: &str, body: &[u8]| {
        let answer = run(process, method, target, body);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{target}");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let piece = |round: usize| vec![u8::try_from(round % 251).unwrap(); 150_000];

    let process = Process::start(folder.path());
    let initiated = ok(&process, "POST", "/parts?uploads", b"");
    let (_, id) = initiated.split_once("<UploadId>").unwrap();
    let id = id.split_once('<').unwrap().0.to_owned();
    drop(process);
    let mut whole: Vec<u8> = Vec::new();
    let mut parts = Vec::new();
    for round in 0..rounds {
        let process = Process::start(folder.path());
        let data = piece(round);
        let append = format!("/log?append&position={}", whole.len());
        ok(&process, "POST", &append, &data);
        whole.extend(&data);
        let number = round + 1;
        let target = format!("/parts?partNumber={number}&uploadId={id}");
        ok(&process, "PUT", &target, &data);
        parts.push(number);

        // A part of it, all but the end, or all of it without the response.
        let sent = [data.len() / 2, data.len() - 1, data.len()][round % 3];
        let append = format!("/log?append&position={}", whole.len());
        let one = begin(&process, "POST", &append, &data, sent);
        let target = format!("/parts?partNumber={}&uploadId={id}", 5000 + number);
        let two = begin(&process, "PUT", &target, &data, sent);
        drop(process);
        drop((one, two));

        let process = Process::start(folder.path());
        let answer = run(&process, "GET", "/log", b"");
        let at = answer
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .unwrap();
        let found = &answer[at + 4..];
        let racing = [&whole[..], &data].concat();
        if sent == data.len() && found == racing {
            whole = racing;
        }
        assert!(found == whole, "{} {}", found.len(), whole.len());
        let listing = ok(&process, "GET", &format!("/parts?uploadId={id}"), b"");
        for number in &parts {
            let number = format!("<PartNumber>{number}</PartNumber>");
            assert!(listing.contains(&number), "{number}");
        }
        let racing = format!("<PartNumber>{}</PartNumber>", 5000 + number);
        if listing.contains(&racing) {
            assert_eq!(sent, data.len(), "a part that was not complete");
            parts.push(5000 + number);
        }
        let sizes = listing.matches("<Size>150000</Size>").count();
        assert_eq!(sizes, parts.len(), "{listing}");
    }
    let process = Process::start(folder.path());
    let mut stream = process.connect();
    let complete = format!(
        "POST /parts?uploadId={id} HTTP/1.1\r\nHost: open.localhost\r\nConnection: close\r\n\
         x-oss-complete-all: yes\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(complete.as_bytes()).unwrap();
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = ok(&process, "HEAD", "/parts", b"");
    let length = format!("content-length: {}\r\n", 150_000 * parts.len());
    assert!(head.contains(&length), "{head}");
}
