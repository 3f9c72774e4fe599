//! A headless Chromium, driven over its DevTools protocol.

use std::{collections::VecDeque, path::Path, time::Duration};

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{
    process::Process,
    wait::{eventually_some, within},
};

/// Names under which distributions install it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A page in a browser of its own.
#[derive(Debug)]
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last: u64,
    /// Errors that the page has logged or thrown.
    pub errors: VecDeque<String>,
    _process: Process,
    _dir: TempDir,
}

/// Where Chromium is, if it is installed.
pub fn installed() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|dir| NAMES.map(|name| dir.join(name)))
        .find(|file| file.is_file())
}

impl Page {
    /// Starts a browser with an empty page of this size, in light colours or dark ones.
    pub async fn open(program: &Path, (width, height): (u32, u32), dark: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            "--remote-allow-origins=*",
        ]);
        command.arg(format!(
            "--user-data-dir={}",
            dir.path().join("profile").display()
        ));
        command.arg("about:blank");
        let process = Process::start("chromium", command, dir.path());
        let address = eventually_some("the browser to listen", async || {
            let said = process.stderr();
            let (_, rest) = said.split_once("DevTools listening on ")?;
            let (address, _) = rest.split_once('\n')?;
            Some(address.trim().to_owned())
        })
        .await;
        let (socket, _) = within("the browser", connect_async(&address))
            .await
            .unwrap();
        let mut page = Self {
            socket,
            session: String::new(),
            last: 0,
            errors: VecDeque::new(),
            _process: process,
            _dir: dir,
        };
        let target = page
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page.resize(width, height).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        page.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
        page
    }

    /// Another size of the page.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn visit(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    /// The value of an expression; promises are waited for.
    pub async fn value(&mut self, expression: &str) -> Value {
        let wanted = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", wanted).await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        for _ in 0..600 {
            if self
                .value(&format!("(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"))
                .await
                == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let text = self.value("document.body.innerText").await;
        panic!(
            "never true: {expression}\n{}\n{:?}",
            text.as_str().unwrap_or_default(),
            self.errors
        );
    }

    /// The text of the first element that a selector finds.
    pub async fn text(&mut self, selector: &str) -> String {
        let text = self
            .value(&format!(
                "document.querySelector({selector:?})?.innerText ?? ''"
            ))
            .await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key, as a person would: `Tab`, `Enter`, `Escape`.
    pub async fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 27,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Types text into what has the focus.
    pub async fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// A picture of the page, PNG.
    pub async fn picture(&mut self, file: &Path) {
        let taken = self
            .call(
                "Page.captureScreenshot",
                json!({"captureBeyondViewport": true}),
            )
            .await;
        let data = taken["data"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        std::fs::write(file, png).unwrap();
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let sent = Message::text(message.to_string());
        within("the browser to listen", self.socket.send(sent))
            .await
            .unwrap();
        loop {
            let message = within(method, self.socket.next()).await.unwrap().unwrap();
            let Ok(text) = message.to_text() else {
                continue;
            };
            let message: Value = serde_json::from_str(text).unwrap_or_default();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let about = &message["params"];
        let error = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => about["exceptionDetails"].to_string(),
            Some("Runtime.consoleAPICalled") if about["type"] == "error" => {
                about["args"].to_string()
            }
            Some("Log.entryAdded") if about["entry"]["level"] == "error" => {
                about["entry"].to_string()
            }
            _ => return,
        };
        self.errors.push_back(error);
    }
}
