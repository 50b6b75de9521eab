//! Image processing over HTTP. The processing itself is tested in `src/imaging`.

use std::io::Cursor;

use aliyun_oss_emulator::{Emulator, ObjectStore};
use http::Method;
use image::{DynamicImage, ImageFormat};

use super::{
    client::{ask, put, read, today},
    support::{Answer, get},
};

async fn store(emulator: &Emulator) -> Vec<u8> {
    let mut file = Vec::new();
    let image = DynamicImage::new_rgb8(400, 267);
    let mut to = Cursor::new(&mut file);
    image.write_to(&mut to, ImageFormat::Jpeg).unwrap();
    let headers = [
        ("content-type", "image/jpg"),
        ("cache-control", "no-cache"),
        ("x-oss-object-acl", "public-read"),
    ];
    put(emulator, "/a.jpg", &headers, &file).await;
    file
}

async fn process(emulator: &Emulator, method: Method, process: &str) -> Answer {
    let process = process.replace('/', "%2F").replace(',', "%2C");
    let target = format!("/a.jpg?x-oss-process={process}");
    ask(emulator, method, &target, &[], b"").await
}

async fn save(emulator: &Emulator, process: &str) -> Answer {
    let body = format!("x-oss-process={process}");
    ask(
        emulator,
        Method::POST,
        "/a.jpg?x-oss-process",
        &[],
        body.as_bytes(),
    )
    .await
}

/// `ImageProcessTest` of aliyun-oss-java-sdk, `test_image.py` of oss2.
#[tokio::test]
async fn a_read_processes_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let store_in_folder = ObjectStore::folder(folder.path()).unwrap();
    for builder in [today(), today().store(store_in_folder)] {
        let emulator = builder.build().unwrap();
        let file = store(&emulator).await;
        let steps = "image/resize,m_fixed,w_100,h_100";
        let answer = process(&emulator, Method::GET, steps).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        for absent in ["etag", "content-md5", "x-oss-hash-crc64ecma"] {
            assert_eq!(answer.header(absent), None, "{absent}");
        }
        let image = image::load_from_memory(&answer.body).unwrap();
        assert_eq!((image.width(), image.height()), (100, 100));
        let answer = process(&emulator, Method::GET, "image/format,png").await;
        assert_eq!(answer.header("content-type"), Some("image/png"));

        let answer = process(&emulator, Method::GET, "image/info").await;
        let info: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(info["ImageWidth"]["value"], "400");
        assert_eq!(info["ImageHeight"]["value"], "267");
        assert_eq!(info["FileSize"]["value"], file.len().to_string());
        assert_eq!(info["Format"]["value"], "jpg");

        // Anybody may process what is public, and conditions hold as for the object itself.
        let answer = get(&emulator, "/a.jpg?x-oss-process=image%2Finfo").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let etag = read(&emulator, "/a.jpg").await;
        let etag = etag.header("etag").unwrap().to_owned();
        let target = "/a.jpg?x-oss-process=image%2Finfo";
        let headers = [("if-none-match", &*etag)];
        let answer = ask(&emulator, Method::GET, target, &headers, b"").await;
        assert_eq!(answer.status, 304);
        let answer = process(&emulator, Method::GET, "image/sharpen,100").await;
        answer.assert_refused(400, "NotImplemented", "");
        let answer = process(&emulator, Method::GET, "style/small").await;
        answer.assert_refused(400, "NotImplemented", "");
        let answer = process(&emulator, Method::HEAD, "image/info").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (400, 0));
    }
}

/// `ImageProcessTest` of aliyun-oss-java-sdk, `TestProcessObject` of aliyun-oss-go-sdk,
/// `test_process_object` of oss2.
#[tokio::test]
async fn a_processed_image_is_stored() {
    let emulator = today().build().unwrap();
    store(&emulator).await;
    // `b.jpg` and `examplebucket`.
    let steps = "image/resize,w_100|sys/saveas,o_Yi5qcGc";
    let answer = save(&emulator, steps).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().find("\"status\": \"OK\"").unwrap() > 0);
    let saved: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&saved["bucket"], &saved["object"]),
        (&"".into(), &"b.jpg".into())
    );
    let found = read(&emulator, "/b.jpg").await;
    assert_eq!(saved["fileSize"], found.body.len());
    assert_eq!(found.header("content-type"), Some("image/jpeg"));
    assert_eq!(image::load_from_memory(&found.body).unwrap().width(), 100);

    let steps = "image/resize,w_50|sys/saveas,o_Yi5qcGc=,b_ZXhhbXBsZWJ1Y2tldA==";
    let answer = save(&emulator, steps).await;
    let saved: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(saved["bucket"], "examplebucket");
    for (steps, status, code) in [
        ("image/resize,w_100", 400, "NotImplemented"),
        ("image/resize,w_100|saveas,o_Yi5qcGc", 400, "NotImplemented"),
        ("image/resize,w_100|sys/saveas,o_!", 400, "InvalidArgument"),
        (
            "image/resize,w_100|sys/saveas,b_ZXhhbXBsZWJ1Y2tldA",
            400,
            "InvalidArgument",
        ),
        (
            "image/resize,w_1|sys/saveas,o_Yg,b_bm93aGVyZQ",
            404,
            "NoSuchBucket",
        ),
    ] {
        let answer = save(&emulator, steps).await;
        assert_eq!(answer.status, status, "{steps}");
        assert_eq!(answer.element("Code").unwrap(), code, "{steps}");
    }
}
