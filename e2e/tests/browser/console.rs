//! Tests the page of the program `oss-emulator`, and pages that attack it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{browser::Browser, npm::install};

const READY: &str = "document.documentElement.dataset.ready && document.querySelector('#live.on')";
const AXE: &str = "axe-core@4.14.1";
/// The findings of axe, and what it could not judge.
const AUDIT: &str = "axe.run(document).then(({ violations, incomplete }) => [
    violations.map(({ id, nodes }) => [id, nodes[0].html, nodes[0].failureSummary]),
    incomplete.map(({ id }) => id).filter((id) => id !== 'color-contrast'),
])";

/// The program, with a bucket in which everyone may write.
struct Program {
    child: Child,
    address: String,
    /// Kept, because a closed pipe would be an error of its log.
    _lines: BufReader<ChildStdout>,
}

impl Program {
    fn start() -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(Path::parent).unwrap();
        let mut child = Command::new(built.join("oss-emulator"))
            .args(["--listen", "127.0.0.1:0", "--allow-private-callbacks"])
            .args([
                "--bucket",
                "open:public-read-write",
                "--bucket",
                "private-one",
            ])
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is required: cargo build -p aliyun-oss-emulator");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.split("http://").nth(1).unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        Self {
            child,
            address,
            _lines: lines,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/_emulator/", self.address)
    }

    /// Sends a request without a signature, and returns the status and the body.
    fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             {headers}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let response = String::from_utf8_lossy(&response).into_owned();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn put(&self, key: &str, headers: &str, body: &[u8]) {
        let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let (status, answer) = self.send("PUT", &format!("/open/{key}"), headers, body);
        assert!(matches!(status, 200 | 203), "{answer}");
    }

    /// Returns the names of the objects.
    fn keys(&self) -> Vec<String> {
        let (_, list) = self.send("GET", "/_emulator/objects?bucket=open", "", b"");
        let list: Value = serde_json::from_str(&list).unwrap();
        let objects = list["objects"].as_array().unwrap();
        let keys = objects.iter().map(|object| object["key"].as_str().unwrap());
        keys.map(Into::into).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves one page, and every other path as an empty answer to a callback. Returns its address.
fn site(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while lines.read_line(&mut head).unwrap_or_default() > 2 {}
            let (kind, body) = match head.starts_with("GET / ") {
                true => ("text/html", &*page),
                false => (
                    "application/json",
                    "{\"hint\":\"<img src=x onerror=attacked()>\"}",
                ),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

fn callback(address: &str) -> String {
    let parameters = json!({
        "callbackUrl": format!("http://{address}/oss/callback"),
        "callbackBody": "object=${object}&x=<script>attacked()</script>",
    });
    format!(
        "x-oss-callback: {}\r\n",
        STANDARD.encode(parameters.to_string())
    )
}

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFUlEQVR4nGNkYPjPwMDAxAADMAYAEx8BA5OoZpsAAAAASUVORK5CYII=";

/// Fills the emulator with what a page must show.
fn fill(program: &Program) {
    let app = site(String::new());
    program.put(
        "photos/picture.png",
        "Content-Type: image/png\r\n",
        &STANDARD.decode(PNG).unwrap(),
    );
    program.put(
        "notes.txt",
        "Content-Type: text/plain\r\nx-oss-meta-author: me\r\n",
        b"Some notes.\n",
    );
    program.put("binary.bin", "", &[0, 159, 146, 150]);
    program.put("called/back.txt", &callback(&app), b"hello");
    program.put("called/down.txt", &callback("127.0.0.1:9"), b"hello");
    program.put(&"a-long-name-without-any-space-".repeat(10), "", b"x");
    let (_, started) = program.send("POST", "/open/movie.mp4?uploads", "", b"");
    let id = started
        .split("<UploadId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
        .to_owned();
    let part = format!("/open/movie.mp4?partNumber=1&uploadId={id}");
    assert_eq!(program.send("PUT", &part, "", &[7; 200_000]).0, 200);
    assert_eq!(
        program.send("GET", "/private-one/secret.txt", "", b"").0,
        403
    );
}

async fn open(program: &Program) -> Browser {
    let browser = Browser::open(&program.url()).await;
    browser.until(READY).await;
    browser
}

async fn choose(browser: &Browser, key: &str) {
    let find = format!(
        "[...document.querySelectorAll('.object')].find((one) => one.dataset.key === {})",
        json!(key)
    );
    browser.until(&find).await;
    browser.run(&format!("{find}.click()")).await;
    let shown = format!(
        "document.querySelector('#object td')?.textContent === {}",
        json!(key)
    );
    browser.until(&shown).await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn the_console_shows_objects_uploads_requests_and_callbacks() {
    let program = Program::start();
    fill(&program);
    let browser = open(&program).await;
    let buckets = browser.text("#buckets").await;
    assert!(buckets.contains("open public-read-write · 6"), "{buckets}");
    assert!(buckets.contains("private-one private · 0"), "{buckets}");

    choose(&browser, "notes.txt").await;
    let object = browser.text("#object").await;
    for text in ["Some notes.", "12 B", "text/plain", "x-oss-meta-author"] {
        assert!(object.contains(text), "{text}: {object}");
    }
    choose(&browser, "photos/picture.png").await;
    browser
        .until("document.querySelector('.preview').naturalWidth === 2")
        .await;
    choose(&browser, "binary.bin").await;
    assert!(browser.text("#object").await.contains("No preview"));

    let uploads = browser.text("#uploads").await;
    assert!(
        uploads.contains("open/movie.mp4") && uploads.contains("1 part"),
        "{uploads}"
    );
    let requests = browser.text("#requests").await;
    assert!(
        requests.contains("AccessDenied · 0003-00000001"),
        "{requests}"
    );
    assert!(
        requests.contains("CallbackFailed · 0007-00000203"),
        "{requests}"
    );
    browser
        .run(
            "document.querySelectorAll('#requests details').forEach((one) => { one.open = true; })",
        )
        .await;
    browser
        .until("document.querySelectorAll('#requests .detail').length >= 9")
        .await;
    let requests = browser.text("#requests").await;
    for text in [
        "callbackUrl",
        "object=called%2Fback.txt",
        "\"hint\"",
        "no response",
        "signature, callbackParameters, size, stored",
    ] {
        assert!(requests.contains(text), "{text}: {requests}");
    }
    // Only the refused ones.
    browser.click("#refused").await;
    let shown = browser
        .value(
            "[...document.querySelectorAll('#requests > li')].filter((one) => !one.hidden).length",
        )
        .await;
    assert_eq!(shown, 2);
    browser.click("#refused").await;

    // What happens while the page is open appears by itself.
    program.put("later.txt", "", b"later");
    browser
        .until("document.querySelector('.object[data-key=\"later.txt\"]')")
        .await;
    browser
        .until("document.querySelector('#requests').innerText.includes('later.txt')")
        .await;
    // A prefix.
    browser.run("const prefix = document.getElementById('prefix'); prefix.value = 'called/'; prefix.dispatchEvent(new Event('input'))").await;
    browser
        .until("document.querySelectorAll('.object').length === 2")
        .await;

    browser.click("#reset").await;
    browser.click("#confirm button[value=cancel]").await;
    assert_eq!(program.keys().len(), 7);
    browser.click("#reset").await;
    browser.click("#confirm .danger").await;
    browser.until("!document.getElementById('no-objects').hidden && !document.getElementById('no-uploads').hidden && !document.getElementById('no-requests').hidden").await;
    assert!(program.keys().is_empty());
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn em_05_hostile_names_and_contents_are_text() {
    let program = Program::start();
    let script = "<img src=x onerror=attacked()><script>attacked()</script>";
    let names = [
        script,
        "\"'><svg onload=attacked()>",
        "javascript:attacked()",
        "\u{202e}gpj.exe",
        "{{constructor.constructor('attacked()')()}}",
        "__proto__",
    ];
    let app = site(String::new());
    for name in names {
        let headers = format!(
            "Content-Type: text/html\r\nx-oss-meta-x: {script}\r\n{}",
            callback(&app)
        );
        program.put(name, &headers, script.as_bytes());
    }
    program.put(
        "a.svg",
        "Content-Type: image/svg+xml\r\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='attacked()'/>",
    );
    program.put("fake.png", "Content-Type: image/png\r\n", script.as_bytes());
    let target = format!(
        "/open/{}?uploads",
        utf8_percent_encode(script, NON_ALPHANUMERIC)
    );
    assert_eq!(program.send("POST", &target, "", b"").0, 200);
    // A refusal whose response repeats what was sent.
    let target = target.replace("?uploads", "?partNumber=1&uploadId=%3Cb%3E");
    assert_eq!(program.send("PUT", &target, "", b"x").0, 404);

    let browser = open(&program).await;
    browser
        .run("window.attacked = () => { window.hit = true; }")
        .await;
    for name in names.into_iter().chain(["a.svg", "fake.png"]) {
        choose(&browser, name).await;
        browser.until("document.querySelector('#object pre')").await;
        assert_eq!(
            browser
                .value("document.querySelectorAll('#object img').length")
                .await,
            0
        );
    }
    browser
        .run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        .await;
    browser
        .until("document.querySelectorAll('#requests .detail').length >= 10")
        .await;
    for element in ["img[src=x]", "main svg", "main script", "b", "main a"] {
        let found = browser
            .value(&format!(
                "document.querySelectorAll({}).length",
                json!(element)
            ))
            .await;
        assert_eq!(found, 0, "{element}");
    }
    assert!(
        browser
            .text("#requests")
            .await
            .contains("onerror=attacked()")
    );
    assert_eq!(browser.value("window.hit ?? null").await, Value::Null);
    // What gets in somehow would not run.
    browser.run("try { document.body.innerHTML += '<i>'; window.hit = 'parsed'; } catch (error) { window.hit = error.name; }").await;
    assert_eq!(browser.value("window.hit").await, "TypeError");
    let inline = "const own = document.createElement('script'); try { own.text = 'window.ran = true'; document.head.append(own); } catch {} ";
    browser.run(inline).await;
    assert_eq!(browser.value("window.ran ?? null").await, Value::Null);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn em_04_an_object_that_is_a_page_cannot_use_the_console() {
    let program = Program::start();
    let page = "<!doctype html><title>started</title><script>
        const outcome = async (name, options) => {
            try { return (await fetch(name, options)).status; } catch { return 'blocked'; }
        };
        (async () => {
            const found = [
                origin,
                await outcome('/_emulator/requests'),
                await outcome('/_emulator/reset', { method: 'POST' }),
                await outcome('/_emulator/reset', { method: 'POST', mode: 'no-cors' }),
                await outcome('/open/a.txt', { method: 'DELETE', mode: 'no-cors' }),
            ];
            try { localStorage.setItem('a', 'b'); found.push('stored'); } catch { found.push('no storage'); }
            const frame = document.createElement('iframe');
            frame.src = '/_emulator/';
            frame.onload = () => {
                try { found.push(frame.contentDocument.title); } catch { found.push('opaque'); }
                document.title = 'done';
                window.found = found;
            };
            document.body.append(frame);
        })();
    </script><body>";
    program.put("page.html", "Content-Type: text/html\r\n", page.as_bytes());
    program.put("a.txt", "", b"hello");
    let browser = Browser::open(&format!("http://{}/open/page.html", program.address)).await;
    browser.until("document.title === 'done'").await;
    let found = browser.value("window.found").await;
    assert_eq!(found[0], "null");
    assert_eq!(found[1], "blocked");
    assert_eq!(found[2], "blocked");
    assert_eq!(found[5], "no storage");
    assert_ne!(found[6], "OSS emulator");
    assert_eq!(program.keys(), ["a.txt", "page.html"]);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn em_01_a_page_of_another_origin_changes_and_reads_nothing() {
    let program = Program::start();
    program.put("a.txt", "", b"hello");
    let address = &program.address;
    let page = format!(
        "<!doctype html><title>started</title>
         <script>window.read = [];</script>
         <script src='http://{address}/_emulator/requests' onload='read.push(1)'></script>
         <img src='http://{address}/_emulator/icon.svg' onload='read.push(2)'>
         <iframe name='frame' src='http://{address}/_emulator/'></iframe>
         <form id='form' method='post' action='http://{address}/_emulator/reset'></form>
         <script>
           (async () => {{
             for (const options of [{{}}, {{ mode: 'no-cors' }}, {{ method: 'POST' }}, {{ method: 'POST', mode: 'no-cors' }}]) {{
               for (const name of ['requests', 'reset', 'objects?bucket=open']) {{
                 try {{ read.push((await (await fetch('http://{address}/_emulator/' + name, options)).text()) || 'opaque'); }} catch {{}}
               }}
             }}
             document.title = 'done';
           }})();
         </script>"
    );
    // The page is at another port, so at another origin of the same site, and at another site.
    for host in ["127.0.0.1", "localhost"] {
        let other = site(page.clone());
        let url = format!("http://{host}:{}/", other.rsplit_once(':').unwrap().1);
        let browser = Browser::open(&url).await;
        browser.until("document.title === 'done'").await;
        let read = browser
            .value("window.read.filter((text) => text !== 'opaque')")
            .await;
        assert_eq!(read, json!([]), "{host}");
        // A form needs no CORS, and its answer becomes the page.
        browser
            .run("document.getElementById('form').submit()")
            .await;
        browser
            .until("document.body.innerText.includes('pages of other origins may not use')")
            .await;
        browser.close().await;
    }
    assert_eq!(program.keys(), ["a.txt"]);
    let (_, requests) = program.send("GET", "/_emulator/requests?operation=PutObject", "", b"");
    assert!(requests.contains("a.txt"), "{requests}");
}

#[ignore = "needs npm, chromium and chromedriver"]
#[tokio::test]
async fn the_console_fits_every_screen_and_reader() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &[AXE]);
    let axe = folder.path().join("node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).unwrap();
    let photographs = std::env::var_os("BROWSER_SCREENSHOTS").map(PathBuf::from);
    let program = Program::start();
    fill(&program);
    let browser = open(&program).await;
    for (width, height) in [(1280, 900), (390, 844), (320, 640)] {
        for scheme in ["light", "dark"] {
            let case = format!("console-{width}-{scheme}");
            browser.screen(width, height, scheme).await;
            browser.client.refresh().await.unwrap();
            browser.until(READY).await;
            choose(&browser, "photos/picture.png").await;
            choose(&browser, "notes.txt").await;
            browser
                .until("document.querySelectorAll('#requests li').length >= 9")
                .await;
            if let Some(to) = &photographs {
                browser.run("scrollTo(0, 0)").await;
                browser.photograph(&to.join(format!("{case}.png"))).await;
            }
            browser
                .run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                .await;
            browser
                .until("document.querySelectorAll('#requests .detail').length >= 9")
                .await;
            let over =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(over).await, 0, "{case}");
            let text = browser.value("document.body.innerText").await;
            for hole in ["undefined", "[object", "NaN"] {
                assert!(
                    !text.as_str().unwrap().contains(hole),
                    "{hole} is in {text}"
                );
            }
            if let Some(to) = &photographs {
                browser
                    .photograph(&to.join(format!("{case}-open.png")))
                    .await;
            }
            browser.run(&axe).await;
            let found = browser.value(AUDIT).await;
            assert_eq!(found, json!([[], []]), "{case}");
        }
    }
    browser.close().await;
}
