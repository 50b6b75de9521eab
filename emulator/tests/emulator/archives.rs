//! Objects of the archive storage classes: they are read after they were restored.
//!
//! The facts are those that the tests of the SDKs for C#, Go, Java, JavaScript, PHP and Python
//! assert.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aliyun_oss_emulator::Emulator;
use http::Method;

use super::{
    path_style::{ask, ask_with, get, ok, put, stores},
    support::{Answer, NOW, at},
};

const CLASS: &str = "x-oss-storage-class";
const RESTORE: &str = "x-oss-restore";
const ONGOING: &str = "ongoing-request=\"true\"";
const DAY: u64 = 24 * 60 * 60;
const A: &str = "/examplebucket/a";

/// An emulator whose clock the test moves.
struct Archives {
    emulator: Emulator,
    seconds: Arc<AtomicU64>,
    _folder: Option<tempfile::TempDir>,
}

fn archives() -> Vec<Archives> {
    let settings = stores().into_iter();
    let archives = settings.map(|(folder, settings)| {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = seconds.clone();
        let settings = settings.clock(move || at(NOW + clock.load(Ordering::Relaxed)));
        Archives {
            emulator: settings.create_buckets(true).build().unwrap(),
            seconds,
            _folder: folder,
        }
    });
    archives.collect()
}

impl Archives {
    fn at(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    async fn store(&self, target: &str, class: &str) {
        ok(&put(&self.emulator, target, &[(CLASS, class)], b"content").await);
    }

    async fn restore(&self, target: &str, document: &str) -> Answer {
        let resource = format!("{target}?restore");
        let body = document.as_bytes();
        ask_with(&self.emulator, Method::POST, &resource, "", &[], body).await
    }

    async fn clean(&self, target: &str) -> Answer {
        let resource = format!("{target}?cleanRestoredObject");
        ask(&self.emulator, Method::POST, &resource).await
    }

    async fn head(&self, target: &str) -> Answer {
        ask(&self.emulator, Method::HEAD, target).await
    }

    async fn assert_frozen(&self, target: &str) {
        let answer = get(&self.emulator, target, "").await;
        answer.assert_refused(403, "InvalidObjectState", "");
        let name = target.rsplit('/').next();
        assert_eq!(answer.element("ObjectName").as_deref(), name);
    }
}

fn request(inner: &str) -> String {
    format!("<RestoreRequest>{inner}</RestoreRequest>")
}

fn tier(days: &str, tier: &str) -> String {
    request(&format!(
        "<Days>{days}</Days><JobParameters><Tier>{tier}</Tier></JobParameters>"
    ))
}

#[tokio::test]
async fn an_archived_object_is_read_while_it_is_restored() {
    for archives in archives() {
        archives.store(A, "Archive").await;
        archives.assert_frozen(A).await;
        let head = archives.head(A).await;
        ok(&head);
        assert_eq!(head.header(CLASS), Some("Archive"));
        assert_eq!(head.header(RESTORE), None);

        let answer = archives.restore(A, "").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.header("x-oss-object-restore-priority"), None);
        let answer = archives.restore(A, "").await;
        answer.assert_refused(409, "RestoreAlreadyInProgress", "0016-00000701");
        archives.at(59);
        archives.assert_frozen(A).await;
        assert_eq!(archives.head(A).await.header(RESTORE), Some(ONGOING));
        for (resource, more) in [("", ""), ("", "list-type=2"), ("?versions", "")] {
            let resource = format!("/examplebucket/{resource}");
            let answer = get(&archives.emulator, &resource, more).await;
            let info = answer.element("RestoreInfo").unwrap();
            assert_eq!(info.replace("&quot;", "\""), ONGOING);
        }

        archives.at(60);
        let answer = get(&archives.emulator, A, "").await;
        ok(&answer);
        assert_eq!(answer.text(), "content");
        let one_day = "ongoing-request=\"false\", expiry-date=\"Mon, 04 Dec 2023 12:13:12 GMT\"";
        assert_eq!(answer.header(RESTORE), Some(one_day));
        ok(&archives.restore(A, &request("<Days>2</Days>")).await);
        let three_days = one_day.replace("Mon, 04", "Wed, 06");
        assert_eq!(archives.head(A).await.header(RESTORE), Some(&*three_days));

        archives.at(60 + 3 * DAY);
        archives.assert_frozen(A).await;
        assert_eq!(archives.head(A).await.header(RESTORE), None);
        assert_eq!(archives.restore(A, "").await.status, 202);
        // A new object is not restored.
        archives.at(60 + 4 * DAY);
        ok(&get(&archives.emulator, A, "").await);
        archives.store(A, "Archive").await;
        archives.assert_frozen(A).await;
    }
}

#[tokio::test]
async fn what_is_not_archived_is_not_restored() {
    for archives in archives() {
        for class in ["Standard", "IA"] {
            archives.store(A, class).await;
            let answer = archives.restore(A, "").await;
            answer.assert_refused(400, "OperationNotSupported", "0016-00000702");
            ok(&get(&archives.emulator, A, "").await);
        }
        let answer = archives.restore("/examplebucket/b", "").await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");
        let answer = archives.clean("/examplebucket/b").await;
        answer.assert_refused(404, "NoSuchKey", "0026-00000001");
        archives.store(A, "Archive").await;
        for (document, code, ec) in [
            (tier("1", "Standard"), "MalformedXML", ""),
            (
                request("<Days>0</Days>"),
                "InvalidArgument",
                "0016-00000708",
            ),
            (
                request("<Days>8</Days>"),
                "InvalidArgument",
                "0016-00000708",
            ),
            (
                request("<Days>a</Days>"),
                "InvalidArgument",
                "0016-00000708",
            ),
            ("<RestoreRequest>".to_owned(), "MalformedXML", ""),
        ] {
            let answer = archives.restore(A, &document).await;
            answer.assert_refused(400, code, ec);
        }
        let answer = archives.clean(A).await;
        answer.assert_refused(400, "OperationNotSupported", "0016-00000702");
        assert_eq!(archives.head(A).await.header(RESTORE), None);
    }
}

#[tokio::test]
async fn restorations_of_cold_objects_have_a_priority() {
    const PRIORITY: &str = "x-oss-object-restore-priority";
    for archives in archives() {
        for class in ["ColdArchive", "DeepColdArchive"] {
            for (document, priority) in [
                (String::new(), "Standard"),
                (request("<Days>365</Days>"), "Standard"),
                (request("<Days>1</Days><JobParameters/>"), "Standard"),
                (tier("5", "Bulk"), "Bulk"),
                (tier("5", "Expedited"), "Expedited"),
            ] {
                archives.store(A, class).await;
                let answer = archives.restore(A, &document).await;
                assert_eq!(answer.status, 202, "{}", answer.text());
                assert_eq!(answer.header(PRIORITY), Some(priority));
            }
        }
        archives.store(A, "ColdArchive").await;
        for (document, ec) in [
            (tier("1", "Fast"), "0016-00000703"),
            (tier("0", "Bulk"), "0016-00000704"),
            (tier("366", "Bulk"), "0016-00000704"),
            (tier("-1", "Bulk"), "0016-00000704"),
        ] {
            let answer = archives.restore(A, &document).await;
            answer.assert_refused(400, "InvalidArgument", ec);
        }
        let answer = archives.clean(A).await;
        answer.assert_refused(409, "ArchiveRestoreFileStale", "");
        assert_eq!(
            archives.restore(A, &tier("1", "Standard")).await.status,
            202
        );
        let answer = archives.restore(A, &tier("1", "Standard")).await;
        answer.assert_refused(409, "RestoreAlreadyInProgress", "0016-00000701");
        let answer = archives.restore(A, &tier("1", "Bulk")).await;
        answer.assert_refused(409, "RestoreAlreadyInProgress", "0016-00000715");
        assert_eq!(
            archives.restore(A, &tier("1", "Expedited")).await.status,
            202
        );
        let answer = archives.clean(A).await;
        answer.assert_refused(409, "ArchiveRestoreNotFinished", "0016-00000719");
        archives.at(60);
        ok(&get(&archives.emulator, A, "").await);
        ok(&archives.clean(A).await);
        archives.assert_frozen(A).await;
        archives.at(0);
    }
}

#[tokio::test]
async fn an_archived_object_is_no_source() {
    for archives in archives() {
        let emulator = &archives.emulator;
        archives.store(A, "Archive").await;
        let source = [("x-oss-copy-source", A)];
        let part = ask(emulator, Method::POST, "/examplebucket/parts?uploads").await;
        let id = part.element("UploadId").unwrap();
        let part = format!("/examplebucket/parts?partNumber=1&uploadId={id}");
        let link = [("x-oss-symlink-target", "a")];
        ok(&put(emulator, "/examplebucket/link?symlink", &link, b"").await);
        for status in [403, 200] {
            for target in ["/examplebucket/copy", A, &*part] {
                let answer = put(emulator, target, &source, b"").await;
                assert_eq!(answer.status, status, "{target}");
                if status == 403 {
                    answer.assert_refused(403, "InvalidObjectState", "");
                }
            }
            let answer = get(emulator, "/examplebucket/link", "").await;
            assert_eq!(answer.status, status);
            // The copy onto itself has left it in the storage class of the bucket.
            if status == 403 {
                assert_eq!(archives.restore(A, "").await.status, 202);
                archives.at(60);
            }
        }
        ok(&get(emulator, "/examplebucket/copy", "").await);
    }
}

#[tokio::test]
async fn objects_have_the_class_of_an_archive_bucket() {
    for archives in archives() {
        let document = "<CreateBucketConfiguration><StorageClass>Archive</StorageClass>\
                        </CreateBucketConfiguration>";
        let emulator = &archives.emulator;
        ok(&put(emulator, "/made/", &[], document.as_bytes()).await);
        ok(&put(emulator, "/made/a", &[], b"x").await);
        archives.assert_frozen("/made/a").await;
        archives.store("/made/b", "IA").await;
        ok(&get(emulator, "/made/b", "").await);
    }
}
