//! What a run shows while it goes on, on a real pseudo-terminal and without one.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use crate::{
    folders::{Desk, json, text, wait_until},
    server::{Server, ok},
};

const LONG: &str = "name = 'watched'\nduration = '10m'\nwarmup = '1s'\n[load]\nmodel = 'closed'\n\
    users = 3\nthink_time = '2ms'\n[[requests]]\nname = 'front-page'\npath = '/'\n";

/// What enters and leaves the other screen of a terminal.
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// A program on a pseudo-terminal of 120 columns and 40 lines.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(desk: &Desk, server: &Server, environment: &str, more: &str) -> Self {
        let line = format!(
            "stty rows 40 cols 120; {environment} exec {} run -s scenario.toml -t http://{} {more}",
            env!("CARGO_BIN_EXE_weir-bench"),
            server.address,
        );
        // From util-linux, which every Linux has: runs a command on a terminal of its own.
        let mut child = Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .current_dir(desk.path())
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut out, keep) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                keep.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, shown }
    }

    fn shown(&self) -> String {
        text(&self.shown.lock().unwrap())
    }

    fn wait_for(&self, what: &str) {
        wait_until(what, || self.shown().contains(what));
    }

    fn press(&mut self, keys: &[u8]) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(keys).unwrap();
        input.flush().unwrap();
    }

    /// Waits for the end; everything that was shown, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let code = self.child.wait().unwrap().code();
        (self.shown(), code)
    }
}

#[test]
fn a_terminal_shows_the_run_live_and_is_put_back() {
    // q, and Ctrl-C as a terminal in raw mode sends it.
    for key in [b"q", b"\x03"] {
        let server = Server::start(|_| ok("hello"));
        let desk = Desk::new(LONG);
        let mut terminal = Terminal::start(&desk, &server, "", "");
        for what in [
            ENTER,
            "watched",
            "front-page",
            "generator",
            "warm-up",
            "run ",
        ] {
            terminal.wait_for(what);
        }
        terminal.press(key);
        let (shown, code) = terminal.end();
        assert_eq!(code, Some(1), "{shown}");
        // First the terminal is put back, then the verdict is printed.
        let left = shown.rfind(LEAVE).expect("the screen is left");
        let after = &shown[left..];
        assert!(after.contains("stopped by the user"), "{after}");
        assert!(after.contains("report.html"), "{after}");
        assert!(after.contains("stopped on request"), "{after}");
        assert_eq!(shown.matches(ENTER).count(), 1);
        assert!(desk.only_run().join("report.html").is_file());
    }
}

#[test]
fn a_forced_end_puts_the_terminal_back_too() {
    let server = Server::start(|seen| match seen.number {
        0..20 => ok("x"),
        _ => crate::server::Reply::Hang,
    });
    let desk = Desk::new(LONG);
    let mut terminal = Terminal::start(&desk, &server, "", "");
    terminal.wait_for("front-page");
    wait_until("requests hang", || server.requests() > 20);
    // The first asks, the second does not wait for answers that never come.
    terminal.press(b"q");
    terminal.wait_for("again: end at once");
    terminal.press(b"q");
    let (shown, code) = terminal.end();
    assert_eq!(code, Some(130), "{shown}");
    assert!(shown.rfind(LEAVE) > shown.rfind(ENTER), "{shown}");
}

#[test]
fn lines_where_a_screen_is_not_wanted_or_not_possible() {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(&LONG.replace("10m", "1s"));
    for (environment, more) in [("TERM=dumb", ""), ("", "--view lines")] {
        let (shown, code) = Terminal::start(&desk, &server, environment, more).end();
        assert!(matches!(code, Some(0 | 5)), "{shown}");
        assert!(!shown.contains(ENTER), "{shown}");
        assert!(shown.contains("requests/s  p50"), "{shown}");
    }
    // Without a terminal there is nothing to draw on, whatever is asked for.
    for (more, expected) in [
        (&[][..], "requests/s  p50"),
        (&["--view", "live"], "no terminal to draw on"),
        (&["--view", "none"], ""),
    ] {
        let output = desk.run(&server, more).output().unwrap();
        let said = text(&output.stderr);
        assert!(!said.contains('\u{1b}'), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!expected.is_empty() || said.is_empty(), "{said}");
    }
    for run in desk.runs() {
        assert!(json(&run.join("run.json"))["stopped"].is_null());
    }
}
