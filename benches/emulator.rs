//! Measures the upload throughput of the emulator relative to a bare axum route that reads the same
//! form and computes the same checksums.
//!
//! ```text
//! cargo bench -p benches --bench emulator
//! ```
//!
//! Both servers run in this process. One client uploads generated files of 512 MiB to each of them
//! over loopback, in five pairs of alternating order. First the bare route discards the data, and
//! the emulator stores it in a temporary folder. Then both keep it in memory. If the disk is slower
//! than the checksums, it limits the result: set `TMPDIR` to an in-memory file system to exclude
//! it. Only the ratio is meaningful.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket, ObjectStore};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Multipart},
    http::StatusCode,
    routing::{MethodRouter, post},
    serve::ListenerExt as _,
};
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use md5::{Digest as _, Md5};
use tokio::{net::TcpListener, runtime::Runtime};

const PAIRS: usize = 5;
const SIZE: usize = 512 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The last file that the bare route kept.
static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

async fn discard(form: Multipart) -> Result<String, StatusCode> {
    sum(form, drop).await
}

async fn keep(form: Multipart) -> Result<String, StatusCode> {
    let mut file = Vec::new();
    let sums = sum(form, |data| file.push(data)).await;
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = file;
    sums
}

async fn sum(mut form: Multipart, mut keep: impl FnMut(Bytes)) -> Result<String, StatusCode> {
    let mut md5 = Md5::new();
    let mut crc = CRC.digest();
    while let Ok(Some(mut field)) = form.next_field().await {
        if field.name() != Some("file") {
            continue;
        }
        while let Some(data) = field.chunk().await.map_err(|_| StatusCode::BAD_REQUEST)? {
            md5.update(&data);
            crc.update(&data);
            keep(data);
        }
    }
    Ok(format!("{:02x?} {}", md5.finalize(), crc.finalize()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let store = ObjectStore::folder(folder.path())?;
    compare(&runtime, "folder", post(discard), store)?;
    let store = ObjectStore::memory(4 * SIZE as u64);
    compare(&runtime, "memory", post(keep), store)
}

fn compare(
    runtime: &Runtime,
    name: &str,
    route: MethodRouter,
    store: ObjectStore,
) -> Result<(), Box<dyn std::error::Error>> {
    let route = route.layer(DefaultBodyLimit::disable());
    let bare = Router::new().route("/", route);
    let bare_listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let bare_address = bare_listener.local_addr()?;
    let bare_listener = bare_listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    runtime.spawn(async move { axum::serve(bare_listener, bare).await });

    let bucket = HostedBucket::new("bucket".parse()?).acl(Acl::PublicReadWrite);
    let emulator = Emulator::builder().bucket(bucket).store(store).build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(emulator.serve(listener));

    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let (bare, emulated) = if pair % 2 == 0 {
            let bare = upload(bare_address)?;
            (bare, upload(address)?)
        } else {
            let emulated = upload(address)?;
            (upload(bare_address)?, emulated)
        };
        let ratio = emulated / bare;
        println!(
            "{name}, pair {}: bare {bare:.0} MiB/s, emulator {emulated:.0} MiB/s, ratio {ratio:.3}",
            pair + 1
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{name}: median ratio {:.3}", ratios[PAIRS / 2]);
    Ok(())
}

/// Uploads one file and returns the throughput in MiB per second.
fn upload(address: SocketAddr) -> io::Result<f64> {
    let before = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n\
                  --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let after = "\r\n--b--\r\n";
    let length = before.len() + SIZE + after.len();
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: bucket.localhost\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n{before}"
    )?;
    let piece: Vec<u8> = (0..PIECE).map(|at| (at % 253) as u8).collect();
    for _ in 0..SIZE / PIECE {
        stream.write_all(&piece)?;
    }
    stream.write_all(after.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 20") {
        return Err(io::Error::other(answer));
    }
    let mib = (SIZE / PIECE) as f64;
    Ok(mib / start.elapsed().as_secs_f64())
}
