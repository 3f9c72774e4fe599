//! Unix sockets, from clients and to servers.

use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};
use weir_tests::{Origin, Weir, process::free_address, wait::within};

/// The text of an answer over a Unix socket.
async fn ask(path: &std::path::Path, request: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    within("an answer", stream.read_to_string(&mut text))
        .await
        .unwrap();
    text
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn clients_and_servers_on_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let server = dir.path().join("api.sock");
    let listener = UnixListener::bind(&server).unwrap();
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        while requests.len() < 2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..n]).into_owned());
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix")
                .await
                .unwrap();
        }
        requests
    });
    let front = dir.path().join("front.sock");
    let mut weir = Weir::before(&[])
        .servers(&[format!("{{ address = 'unix:{}' }}", server.display())])
        .with(&format!(
            "listener = [{{ address = '127.0.0.1:0' }}, {{ address = 'unix:{}' }}]",
            front.display()
        ))
        .start()
        .await;
    assert_eq!(
        std::fs::metadata(&front).unwrap().permissions().mode() & 0o777,
        0o666
    );
    weir.get("/").await.expect(200);
    assert!(ask(&front, GET).await.ends_with("unix"));
    let requests = serving.await.unwrap();
    assert!(
        requests[1].contains("X-Real-IP: 127.0.0.1\r\n"),
        "{}",
        requests[1]
    );
    let line = weir.logged(2).await.pop().unwrap();
    assert_eq!(
        line["server"],
        format!("unix:{}", server.display()).as_str()
    );
    assert_eq!(line["client"], "127.0.0.1");
    let view = weir.admin.text("/v1/upstreams").await;
    assert!(
        view.contains(&format!("unix:{}", server.display())),
        "{view}"
    );
    // The server is gone.
    std::fs::remove_file(&server).unwrap();
    assert!(ask(&front, GET).await.starts_with("HTTP/1.1 502"));
    weir.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    assert!(!front.exists(), "the file goes with its process");
}

#[tokio::test]
async fn a_socket_in_use_is_not_taken_and_one_that_was_left_is() {
    let api = Origin::named("api").await;
    let dir = tempfile::tempdir().unwrap();
    let front = dir.path().join("front.sock");
    let config = Weir::before(&[&api]).with(&format!(
        "listener = [{{ address = '127.0.0.1:0' }}, {{ address = 'unix:{}' }}]",
        front.display()
    ));
    let mut first = config.clone().start().await;
    let (code, said) = config.clone().start_expecting_failure().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("cannot listen on unix:") && said.contains("front.sock"),
        "{said}"
    );
    assert!(ask(&front, GET).await.ends_with("api"));
    first.process.kill().await;
    assert!(front.exists() && UnixStream::connect(&front).is_err());
    let _second = config.start().await;
    assert!(ask(&front, GET).await.ends_with("api"));
}

#[tokio::test]
async fn an_upgrade_keeps_the_socket() {
    let api = Origin::named("api").await;
    let dir = tempfile::tempdir().unwrap();
    let front = dir.path().join("front.sock");
    let config = Weir::before(&[&api]).with(&format!(
        "listener = [{{ address = '{}' }}, {{ address = 'unix:{}' }}]
         admin.listen = '{}'
         server.upgrade_socket = '{}/upgrade.sock'",
        free_address(),
        front.display(),
        free_address(),
        dir.path().display()
    ));
    let mut old = config.clone().start().await;
    let mut new = config.start_upgrading(&old).await;
    assert_eq!(old.process.exit_code().await, Some(0));
    assert!(ask(&front, GET).await.ends_with("api"));
    // The new process has answered.
    new.logged(1).await;
    new.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(new.process.exit_code().await, Some(0));
    assert!(!front.exists());
}
