//! Multipart uploads of a folder store that is opened again, and idle ones.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aliyun_oss_emulator::{Emulator, EmulatorBuilder, ObjectStore};
use http::Method;

use super::{
    client::{ask, put, read, today},
    support::Answer,
};

const PART: usize = 100 * 1024;

fn open(folder: &Path) -> Emulator {
    let store = ObjectStore::folder(folder).unwrap();
    today().store(store).build().unwrap()
}

async fn initiate(emulator: &Emulator, target: &str, headers: &[(&str, &str)]) -> String {
    let target = format!("{target}?uploads");
    let answer = ask(emulator, Method::POST, &target, headers, b"").await;
    answer.element("UploadId").unwrap()
}

async fn part(emulator: &Emulator, target: &str, id: &str, number: u16, data: &[u8]) -> String {
    let target = format!("{target}?partNumber={number}&uploadId={id}");
    let answer = put(emulator, &target, &[], data).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").unwrap().to_owned()
}

async fn parts(emulator: &Emulator, target: &str, id: &str) -> Answer {
    ask(
        emulator,
        Method::GET,
        &format!("{target}?uploadId={id}"),
        &[],
        b"",
    )
    .await
}

async fn complete(emulator: &Emulator, target: &str, id: &str) -> Answer {
    let target = format!("{target}?uploadId={id}");
    let all = [("x-oss-complete-all", "yes")];
    ask(emulator, Method::POST, &target, &all, b"").await
}

fn uploads(folder: &Path) -> usize {
    let folder = folder.join(".aliyun-oss-emulator-parts");
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = vec![b'1'; PART];
    let (id, etags) = {
        let emulator = open(folder.path());
        let headers = [("content-type", "text/x"), ("x-oss-meta-a", "1")];
        let id = initiate(&emulator, "/a%20b", &headers).await;
        part(&emulator, "/a%20b", &id, 1, b"replaced").await;
        let one = part(&emulator, "/a%20b", &id, 1, &first).await;
        let three = part(&emulator, "/a%20b", &id, 3, b"three").await;
        (id, [one, three])
    };
    let emulator = open(folder.path());
    let listing = parts(&emulator, "/a%20b", &id).await;
    assert_eq!(listing.status, 200, "{}", listing.text());
    let text = listing.text();
    assert_eq!(text.matches("<Part>").count(), 2);
    for etag in &etags {
        assert!(text.replace("&quot;", "\"").contains(etag), "{text}");
    }
    // The ID is valid only for its object, as before.
    let other = parts(&emulator, "/b", &id).await;
    other.assert_refused(404, "NoSuchUpload", "0042-00000002");
    drop(emulator);

    // Another process adds a part, and the third one completes the upload.
    part(&open(folder.path()), "/a%20b", &id, 2, &first).await;
    let emulator = open(folder.path());
    let answer = complete(&emulator, "/a%20b", &id).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = read(&emulator, "/a%20b").await;
    assert!(found.body == [&first[..], &first, b"three"].concat());
    assert_eq!(found.header("content-type"), Some("text/x"));
    assert_eq!(found.header("x-oss-meta-a"), Some("1"));
    assert_eq!(uploads(folder.path()), 0);
    drop(emulator);
    let emulator = open(folder.path());
    let again = complete(&emulator, "/a%20b", &id).await;
    again.assert_refused(404, "NoSuchUpload", "");
    assert_eq!(read(&emulator, "/a%20b").await.status, 200);
}

#[tokio::test]
async fn ended_uploads_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = open(folder.path());
    let id = initiate(&emulator, "/a", &[]).await;
    part(&emulator, "/a", &id, 1, b"x").await;
    let forbid = [("x-oss-forbid-overwrite", "true")];
    put(&emulator, "/b", &[], b"there").await;
    let kept = initiate(&emulator, "/b", &forbid).await;
    part(&emulator, "/b", &kept, 1, b"y").await;
    assert_eq!(uploads(folder.path()), 2);
    ask(
        &emulator,
        Method::DELETE,
        &format!("/a?uploadId={id}"),
        &[],
        b"",
    )
    .await;
    // A completion that fails keeps the parts.
    let answer = complete(&emulator, "/b", &kept).await;
    answer.assert_refused(409, "FileAlreadyExists", "");
    assert_eq!(uploads(folder.path()), 1);
    drop(emulator);
    let emulator = open(folder.path());
    let answer = parts(&emulator, "/a", &id).await;
    answer.assert_refused(404, "NoSuchUpload", "0042-00000002");
    ask(&emulator, Method::DELETE, "/b", &[], b"").await;
    let answer = complete(&emulator, "/b", &kept).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(uploads(folder.path()), 0);
}

/// What a killed process leaves in the folder of the parts.
#[tokio::test]
async fn remains_of_a_crash_are_deleted_and_other_files_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let id = {
        let emulator = open(folder.path());
        let id = initiate(&emulator, "/a", &[]).await;
        part(&emulator, "/a", &id, 1, b"old").await;
        id
    };
    let root = folder.path().join(".aliyun-oss-emulator-parts");
    let upload = root.join(&id);
    let old = std::fs::read_dir(&upload).unwrap();
    let old = old.map(|entry| entry.unwrap().path());
    let old = old
        .into_iter()
        .find(|path| path.extension().unwrap() == "part");
    let old = old.unwrap();
    // A replaced part that was not yet deleted, a damaged part, and a file of somebody else.
    let newer = upload.join("part-00001-00000000000000ff.part");
    std::fs::copy(&old, &newer).unwrap();
    let damaged = upload.join("part-00002-0000000000000001.part");
    std::fs::write(&damaged, "half").unwrap();
    std::fs::write(upload.join("notes.txt"), "mine").unwrap();
    // An upload that had ended.
    let ended = root.join("0".repeat(32));
    std::fs::create_dir(&ended).unwrap();
    std::fs::copy(&old, ended.join("part-00001-0000000000000000.part")).unwrap();
    std::fs::create_dir(root.join("somebody")).unwrap();

    let emulator = open(folder.path());
    assert!(!old.exists() && newer.exists() && !ended.exists());
    assert!(root.join("somebody").exists() && upload.join("notes.txt").exists());
    let listing = parts(&emulator, "/a", &id).await;
    assert_eq!(listing.text().matches("<Part>").count(), 1);
    // A new part is newer than all that were found.
    part(&emulator, "/a", &id, 1, b"new").await;
    drop(emulator);
    let emulator = open(folder.path());
    assert_eq!(complete(&emulator, "/a", &id).await.status, 200);
    assert_eq!(read(&emulator, "/a").await.text(), "new");
}

/// A builder whose clock is this many seconds ahead.
fn ahead(builder: EmulatorBuilder, seconds: &Arc<AtomicU64>) -> EmulatorBuilder {
    let seconds = seconds.clone();
    builder
        .clock(move || SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed)))
        .drop_idle_uploads(Duration::from_secs(600))
}

#[tokio::test]
async fn idle_uploads_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectStore::folder(folder.path()).unwrap();
    for builder in [today(), today().store(store)] {
        let seconds = Arc::new(AtomicU64::new(0));
        let emulator = ahead(builder, &seconds).build().unwrap();
        let idle = initiate(&emulator, "/idle", &[]).await;
        part(&emulator, "/idle", &idle, 1, b"x").await;
        let active = initiate(&emulator, "/active", &[]).await;
        // Within the validity of the signatures, which use the system clock.
        seconds.store(500, Ordering::Relaxed);
        part(&emulator, "/active", &active, 1, b"x").await;
        seconds.store(700, Ordering::Relaxed);
        let answer = complete(&emulator, "/idle", &idle).await;
        answer.assert_refused(404, "NoSuchUpload", "");
        let answer = complete(&emulator, "/active", &active).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(uploads(folder.path()), 0);
}
