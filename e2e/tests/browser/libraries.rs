//! Tests the snippets of `docs/clients.md` with the upload libraries of npm. Each snippet is taken
//! from the guide, so the guide is what is tested.

use std::path::Path;

use axum::{Router, response::Html, routing::get};
use http::header::CONTENT_TYPE;
use serde_json::json;
use tower_aliyun_oss::policy::TokenFormat;

use crate::{
    browser::Browser,
    npm::{bundle, install},
    upload_app::{Options, UploadApp},
    uploads::{image, text},
};

const PACKAGES: [&str; 11] = [
    "esbuild@0.28.2",
    "react@19.3.1",
    "react-dom@19.3.1",
    "antd@6.6.8",
    "vue@3.5.45",
    "element-plus@2.14.8",
    "dropzone@6.3.5",
    "filepond@4.32.12",
    "@uppy/core@6.3.1",
    "@uppy/aws-s3@6.3.1",
    "@uppy/xhr-upload@6.0.0",
];

pub(crate) const CLIENTS: &str = include_str!("../../../docs/clients.md");
const BROWSER: &str = include_str!("../../../docs/browser.md");

/// A script that uses a library, and where its snippet is: a text, and the start of the block.
struct Library {
    name: &'static str,
    script: &'static str,
    guide: &'static str,
    starts: &'static str,
}

const LIBRARIES: [Library; 8] = [
    Library {
        name: "form-data",
        script: include_str!("libraries/form-data.js"),
        guide: CLIENTS,
        starts: "const form = new FormData();",
    },
    Library {
        name: "upload-function",
        script: include_str!("libraries/upload-function.js"),
        guide: BROWSER,
        starts: "async function upload(",
    },
    Library {
        name: "antd",
        script: include_str!("libraries/antd.js"),
        guide: CLIENTS,
        starts: "const tokens = new WeakMap();",
    },
    Library {
        name: "element-plus",
        script: include_str!("libraries/element-plus.js"),
        guide: CLIENTS,
        starts: "<el-upload",
    },
    Library {
        name: "dropzone",
        script: include_str!("libraries/dropzone.js"),
        guide: CLIENTS,
        starts: "new Dropzone(",
    },
    Library {
        name: "filepond",
        script: include_str!("libraries/filepond.js"),
        guide: CLIENTS,
        starts: "FilePond.setOptions(",
    },
    Library {
        name: "uppy-aws-s3",
        script: include_str!("libraries/uppy-aws-s3.js"),
        guide: CLIENTS,
        starts: "uppy.use(AwsS3, {\n  shouldUseMultipart: false,",
    },
    Library {
        name: "uppy-xhr-upload",
        script: include_str!("libraries/uppy-xhr-upload.js"),
        guide: CLIENTS,
        starts: "uppy.use(XHRUpload,",
    },
];

/// Returns the one code block of a guide that starts with this text.
pub(crate) fn block<'a>(guide: &'a str, starts: &str) -> &'a str {
    let mut blocks = guide.split("\n```").skip(1).step_by(2).filter_map(|block| {
        let (_, code) = block.split_once('\n')?;
        code.starts_with(starts).then_some(code)
    });
    let found = blocks.next().unwrap_or_else(|| panic!("no block {starts}"));
    assert_eq!(blocks.next(), None, "{starts}");
    found
}

impl Library {
    /// Puts the snippet of the guide into the script.
    fn source(&self) -> String {
        let mut snippet = block(self.guide, self.starts).to_owned();
        if self.name == "antd" {
            // The snippet ends with an element, which is what the function around it returns.
            assert_eq!(snippet.matches("\n<Upload").count(), 1);
            snippet = snippet.replace("\n<Upload", "\nreturn <Upload");
        }
        let ask = block(CLIENTS, "const ask = async");
        assert_eq!(self.script.matches("/* snippet */").count(), 1);
        self.script
            .replace("/* ask */", ask)
            .replace("/* snippet */", &snippet)
    }

    /// Bundles the script with its library, as an application does.
    fn bundle(&self, folder: &Path) -> String {
        bundle(folder, self.name, &self.source())
    }
}

fn page(name: &str, upload_url: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><meta charset=utf-8><title>{name}</title>
         <input id=pick type=file><div id=app></div>
         <script>window.uploadUrl = '{upload_url}';</script>
         <script src='/{name}.js'></script>"
    ))
}

#[tokio::test]
#[ignore = "needs npm, chromium and chromedriver"]
async fn issue_18_line_02_every_library_uploads_with_its_snippet() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &PACKAGES);
    let options = Options {
        format: TokenFormat::Fields,
        sts: false,
    };
    let app = UploadApp::start(options, |upload_url| {
        LIBRARIES.iter().fold(Router::new(), |router, library| {
            let (name, page) = (library.name, page(library.name, upload_url));
            let script = library.bundle(folder.path());
            router
                .route(&format!("/{name}"), get(|| async { page }))
                .route(
                    &format!("/{name}.js"),
                    get(|| async { ([(CONTENT_TYPE, "text/javascript")], script) }),
                )
        })
    })
    .await;

    let browser = Browser::open("about:blank").await;
    let mut stored = 0;
    for library in LIBRARIES {
        let name = library.name;
        let url = format!("{}/{name}", app.origin);
        browser.client.goto(&url).await.unwrap();
        for (file, size, kind) in [
            (text(folder.path()), 5, "text/plain"),
            (image(folder.path()), 70, "image/png"),
        ] {
            browser.run("window.outcome = ''").await;
            // The input of the library if there is one, and that of the page otherwise.
            let input = "[...document.querySelectorAll('input[type=file]')].at(-1)";
            browser.until(input).await;
            browser
                .run(&format!("{input}.setAttribute('data-chosen', '')"))
                .await;
            browser
                .choose_in("input[data-chosen]", &[file.as_path()])
                .await;
            browser.until("window.outcome === 'done'").await;
            stored += 1;
            let seen = app.seen();
            assert_eq!(seen.len(), 1, "{name}: {seen:?}");
            let (object, seen_size, seen_kind) = &seen[0];
            assert_eq!((*seen_size, &**seen_kind), (size, kind), "{name}");
            let objects = app.stored().await;
            assert_eq!(objects.len(), stored, "{name}");
            assert!(objects.contains(&(object.clone(), size)), "{name}");
            println!("{name}: {object}, {size} bytes, {kind}");
        }
        let errors = browser.console().await;
        assert_eq!(json!(errors), json!([]), "{name}");
    }
    browser.close().await;
}
