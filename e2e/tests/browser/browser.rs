//! Controls Chromium through chromedriver.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{InputSource as _, KeyAction, KeyActions},
    wd::WebDriverCompatibleCommand,
};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// How long a script may wait for its condition before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the page of the example has started and receives events.
const READY: &str = "document.documentElement.dataset.ready && document.querySelector('#live.on')";

pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    /// The browser's profile, deleted with it.
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn open(url: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is required: apt-get install chromium chromium-driver");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .map(|line| line.unwrap())
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver exited without printing its port");
        let profile = tempfile::tempdir().unwrap();
        let capabilities = json!({
            "goog:loggingPrefs": { "browser": "ALL" },
            // Clients such as the page of the sample report success with an alert.
            "unhandledPromptBehavior": "accept",
            "goog:chromeOptions": { "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-crash-reporter", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--window-size=1280,900",
                format!("--user-data-dir={}", profile.path().display()),
            ] },
        });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromedriver failed to start Chromium");
        let browser = Self {
            client,
            driver,
            _profile: profile,
        };
        let timeouts = fantoccini::wd::TimeoutConfiguration::new(Some(PATIENCE), None, None);
        browser.client.update_timeouts(timeouts).await.unwrap();
        browser.client.goto(url).await.unwrap();
        browser
    }

    /// Opens the page of the example and waits until it receives events from its server.
    pub(crate) async fn page(url: &str) -> Self {
        let browser = Self::open(url).await;
        browser.until(READY).await;
        browser
    }

    pub(crate) async fn run(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    /// Evaluates an expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.client.execute(&script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.client.find(Locator::Css(selector)).await.unwrap();
        element.text().await.unwrap()
    }

    /// Waits until an expression is true, evaluating it once per frame.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0]; (function look() {{
               if ({expression}) done(true); else requestAnimationFrame(look);
             }})();"
        );
        if let Err(error) = self.client.execute_async(&script, Vec::new()).await {
            let text = self.value("document.body.innerText").await;
            let console = self.console().await;
            panic!("still false: {expression}: {error}\n{text}\n{console:#?}");
        }
    }

    /// Waits until exactly `count` cards are in this state.
    pub(crate) async fn until_cards(&self, state: &str, count: usize) {
        let cards =
            format!("document.querySelectorAll('.card[data-state={state}]').length === {count}");
        self.until(&cards).await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.client.find(Locator::Css(selector)).await.unwrap();
        element.click().await.unwrap();
    }

    /// Presses the button of an experiment, waits for its result and returns the heading.
    pub(crate) async fn cheat(&self, button: &str) -> String {
        self.click(button).await;
        let heading = format!("{button}-outcome h4");
        let finished = format!(
            "!document.querySelector('{button}').disabled && document.querySelector('{heading}')"
        );
        self.until(&finished).await;
        self.text(&heading).await
    }

    /// Presses a key. The focused element receives it.
    pub(crate) async fn press(&self, key: char) {
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        self.client.perform_actions(keys).await.unwrap();
    }

    pub(crate) async fn choose(&self, files: &[&Path]) {
        self.choose_in("input[type=file]", files).await;
    }

    /// Chooses files in this input.
    pub(crate) async fn choose_in(&self, input: &str, files: &[&Path]) {
        let paths: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
        let input = Locator::Css(input);
        let input = self.client.find(input).await.unwrap();
        input.send_keys(&paths.join("\n")).await.unwrap();
    }

    /// Returns the console entries since the last call.
    pub(crate) async fn console(&self) -> Vec<Value> {
        let log = Driver::log();
        let entries = self.client.issue_cmd(log).await.unwrap();
        entries.as_array().unwrap().clone()
    }

    /// Sends a command of the Chrome DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = Driver::devtools(command, &parameters);
        self.client.issue_cmd(command).await.unwrap()
    }

    /// Imitates a screen, and a touch screen if it is narrow. Reload the page afterwards.
    pub(crate) async fn screen(&self, width: u32, height: u32, scheme: &str) {
        let mobile = width < 500;
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let touch = json!({ "enabled": mobile, "maxTouchPoints": 1 });
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Sets the languages that the user prefers. Reload the page afterwards.
    pub(crate) async fn languages(&self, languages: &str) {
        let agent = self.value("navigator.userAgent").await;
        let languages = json!({ "userAgent": agent, "acceptLanguage": languages });
        self.devtools("Emulation.setUserAgentOverride", languages)
            .await;
    }

    /// Reloads the page of the example and waits as [`page`](Self::page) does.
    pub(crate) async fn reload(&self) {
        self.client.refresh().await.unwrap();
        self.until(READY).await;
    }

    /// Writes a screenshot of the whole page, including what is below the viewport.
    pub(crate) async fn photograph(&self, to: &Path) {
        let whole = json!({ "captureBeyondViewport": true });
        let shot = self.devtools("Page.captureScreenshot", whole).await;
        let data = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(to, data).unwrap();
    }

    pub(crate) async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Kills the process group, so that a failed test leaves no browser behind.
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

/// A command that only chromedriver provides.
#[derive(Debug)]
struct Driver {
    path: &'static str,
    body: String,
}

impl Driver {
    fn log() -> Self {
        Self {
            path: "se/log",
            body: json!({ "type": "browser" }).to_string(),
        }
    }

    fn devtools(command: &str, parameters: &Value) -> Self {
        Self {
            path: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }).to_string(),
        }
    }
}

impl WebDriverCompatibleCommand for Driver {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.clone()))
    }
}
