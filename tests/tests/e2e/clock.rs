//! A clock that is wrong, or is set while the proxy runs.

use std::{path::Path, process::Command};

use weir_tests::{Conn, Origin, Weir};

/// Moves the time of day by as many seconds as the file `CLOCK_OFFSET` says; the monotonic clock stays.
const SHIM: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    char text[40] = {0};
    int file = clock == CLOCK_REALTIME && done == 0 ? open(getenv("CLOCK_OFFSET"), O_RDONLY) : -1;
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
        close(file);
    }
    return done;
}
"#;

/// A library that moves the clock of whoever loads it.
fn shim(dir: &Path) -> String {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    std::fs::write(&source, SHIM).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    library.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_admin_api_answers_whatever_the_clock_says() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let offset = dir.path().join("offset");
    let set = |seconds: i64| {
        // Moved over: it is read at any time.
        let new = dir.path().join("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(&new, &offset).unwrap();
    };
    let stand_at = |second: i64| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        set(second - i64::try_from(now).unwrap());
    };
    set(0);
    let mut weir = Weir::before(&[&api])
        .with_variable("LD_PRELOAD", &shim(dir.path()))
        .with_variable("CLOCK_OFFSET", offset.to_str().unwrap())
        .start()
        .await;
    let admin = weir.admin.address().parse().unwrap();
    let date = async || {
        let answer = Conn::open(admin).await.get("/healthz").await.expect(200);
        answer.header("date").map(str::to_owned)
    };
    let now = date().await;
    for (second, expected, level) in [
        // The date goes back with the clock.
        (784_080_000, Some("Sun, 06 Nov 1994 00:00:"), 1),
        // There is none for these.
        (-1_000_000_000, None, 2),
        (-9_000_000_000, None, 3),
        (951_782_400, Some("Tue, 29 Feb 2000 00:00:"), 4),
    ] {
        stand_at(second);
        let told = date().await;
        match expected {
            Some(start) => assert!(
                told.as_ref().is_some_and(|it| it.starts_with(start)),
                "{told:?}"
            ),
            None => assert_eq!(told, None, "{second}"),
        }
        for path in ["/readyz", "/metrics", "/v1/settings", "/v1/revisions"] {
            assert_eq!(weir.admin.status(path).await, 200, "{path} at {second}");
        }
        let patch = serde_json::json!({ "compression": { "level": level } });
        weir.admin.patch(patch).await;
    }
    set(0);
    let (now, later) = (now.unwrap(), date().await.unwrap());
    assert!(now.len() == later.len() && now.ends_with("GMT"));
    weir.get("/").await.expect(200);
    assert!(weir.process.ended().is_none());
    assert!(!weir.process.stderr().contains("panicked"));
}
