//! Objects to start with.

use std::fs;

use super::support::{Program, run};

#[test]
fn files_become_objects() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("open/photos/中")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("empty/.gitkeep"), "").unwrap();
    fs::write(root.join("open/photos/中/a b.png"), b"\x89PNG").unwrap();
    let large = vec![7; (2 << 20) + 1];
    fs::write(root.join("open/large.bin"), &large).unwrap();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let seed = root.to_str().unwrap();
    let all = ["--seed", seed, "--bucket", "open:public-read-write"];
    let mut arguments = all.to_vec();
    arguments.extend(["--data", data.to_str().unwrap()]);

    let program = Program::start(&arguments);
    let response = program.get("/open/photos/%E4%B8%AD/a%20b.png");
    assert_eq!((response.status, &*response.body), (200, &b"\x89PNG"[..]));
    assert_eq!(response.header("content-type"), Some("image/png"));
    assert!(program.get("/open/large.bin").body == large);
    let buckets = &program.console("buckets")["buckets"];
    assert_eq!(
        (&buckets[0]["name"], &buckets[0]["objects"]),
        (&"empty".into(), &0.into())
    );
    assert_eq!(
        (&buckets[1]["name"], &buckets[1]["objects"]),
        (&"open".into(), &2.into())
    );

    // What exists is kept.
    assert_eq!(program.put("/open/large.bin", b"changed").status, 200);
    drop(program);
    let program = Program::start(&arguments);
    assert_eq!(program.get("/open/large.bin").body, b"changed");
    // A reset restores the files.
    assert_eq!(program.put("/open/more", b"more").status, 200);
    let reset = program.send("POST", "/_emulator/reset", "", b"");
    assert_eq!(
        reset.json(),
        serde_json::json!({ "status": "ok", "objects": 2 })
    );
    assert!(program.get("/open/large.bin").body == large);
    assert_eq!(program.get("/open/more").status, 404);
}

#[test]
fn what_cannot_be_an_object_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let long: std::path::PathBuf = (0..6).map(|_| "n".repeat(200)).collect();
    fs::create_dir_all(root.join("open").join(&long)).unwrap();
    fs::write(root.join("open").join(&long).join("a"), "").unwrap();
    let start = || {
        let output = run(
            &["--listen", "127.0.0.1:0", "--seed", root.to_str().unwrap()],
            &[],
        );
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(start().contains("Length of Object name must be less than 1024"));
    fs::remove_dir_all(root.join("open")).unwrap();
    fs::create_dir(root.join("No_Bucket")).unwrap();
    assert!(start().contains("a bucket name may contain only lower-case letters"));
    fs::remove_dir(root.join("No_Bucket")).unwrap();
    #[cfg(unix)]
    {
        fs::create_dir(root.join("open")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("open/passwd")).unwrap();
        assert!(start().contains("links are not followed"));
    }
}
