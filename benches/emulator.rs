//! Measures the upload throughput of the emulator relative to a bare axum route that reads the same
//! form and computes the same checksums.
//!
//! ```text
//! cargo bench -p benches --bench emulator
//! ```
//!
//! Both servers run in this process. One client uploads generated files of 1 GiB to each of them
//! over loopback, in five pairs of alternating order. The bare route discards the data; the
//! emulator stores it in a temporary folder. If the disk is slower than the checksums, it limits
//! the result: set `TMPDIR` to an in-memory file system to exclude it. Only the ratio is
//! meaningful.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use aliyun_oss_emulator::{Acl, Emulator, HostedBucket, ObjectStore};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Multipart},
    http::StatusCode,
    routing::post,
    serve::ListenerExt as _,
};
use crc::{CRC_64_XZ, Crc, Table};
use md5::{Digest as _, Md5};
use tokio::{net::TcpListener, runtime::Runtime};

const PAIRS: usize = 5;
const SIZE: usize = 1024 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

async fn sink(mut form: Multipart) -> Result<String, StatusCode> {
    let mut md5 = Md5::new();
    let mut crc = CRC.digest();
    while let Ok(Some(mut field)) = form.next_field().await {
        if field.name() != Some("file") {
            continue;
        }
        while let Some(data) = field.chunk().await.map_err(|_| StatusCode::BAD_REQUEST)? {
            md5.update(&data);
            crc.update(&data);
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
    let route = post(sink).layer(DefaultBodyLimit::disable());
    let bare = Router::new().route("/", route);
    let bare_listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let bare_address = bare_listener.local_addr()?;
    runtime.spawn(async move {
        axum::serve(
            bare_listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            }),
            bare,
        )
        .await
    });

    let bucket = HostedBucket::new("bucket".parse()?).acl(Acl::PublicReadWrite);
    let emulator = Emulator::builder()
        .bucket(bucket)
        .store(ObjectStore::folder(folder.path())?)
        .build()?;
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
            "pair {}: bare {bare:.0} MiB/s, emulator {emulated:.0} MiB/s, ratio {ratio:.3}",
            pair + 1
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[PAIRS / 2]);
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
