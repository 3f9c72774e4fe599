use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;

fn api(capacity: Option<Capacity>) -> Running {
    start(ReplicaConfig {
        name: "test-1".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        kind: Kind::Api {
            capacity,
            secret: DEFAULT_SECRET.into(),
        },
    })
    .unwrap()
}

fn ask(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.addresses()[0]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn send(running: &Running, method: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let authorization = token.map_or(String::new(), |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    ask(
        running,
        &format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{authorization}content-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn log_in(running: &Running) -> String {
    let answer = send(
        running,
        "POST",
        "/api/v1/auth/login",
        None,
        r#"{"username":"u"}"#,
    );
    let json = answer.split("\r\n\r\n").nth(1).unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json["access_token"].as_str().unwrap().to_owned()
}

const READ: &str = "/api/v1/compliance/statistics";

#[test]
fn reads_and_writes_need_the_token_of_a_login() {
    let replica = api(None);
    assert!(send(&replica, "GET", READ, None, "").starts_with("HTTP/1.1 401"));
    let token = log_in(&replica);
    let answer = send(&replica, "GET", READ, Some(&token), "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-replica: test-1"), "{answer}");
    let path = "/api/v1/compliance/cases";
    let answer = send(&replica, "POST", path, Some(&token), r#"{"a":1}"#);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let answer = send(&replica, "POST", path, Some(&token), "{");
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(send(&replica, "PUT", path, Some(&token), "{}").starts_with("HTTP/1.1 405"));
    assert!(send(&replica, "GET", "/nope", Some(&token), "").starts_with("HTTP/1.1 404"));
    assert!(send(&replica, "GET", "/health", None, "").starts_with("HTTP/1.1 200"));
    replica.stop().unwrap();
}

#[test]
fn two_replicas_accept_each_others_tokens() {
    let (first, second) = (api(None), api(None));
    let token = log_in(&first);
    assert!(send(&second, "GET", READ, Some(&token), "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_has_the_size_that_is_asked_for() {
    let replica = api(None);
    let token = log_in(&replica);
    let answer = send(
        &replica,
        "GET",
        &format!("{READ}?size=4096"),
        Some(&token),
        "",
    );
    assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), 4096);
}

#[test]
fn the_declared_service_time_is_kept_and_told() {
    let capacity = Capacity {
        slots: 1,
        service: Distribution::Constant(Duration::from_millis(30)),
        queue: 0,
        work: Work::Wait,
        seed: 1,
    };
    let replica = api(Some(capacity));
    let token = log_in(&replica);
    let before = std::time::Instant::now();
    let answer = send(&replica, "GET", READ, Some(&token), "");
    assert!(before.elapsed() >= Duration::from_millis(30));
    assert!(answer.contains("app;dur=30.000"), "{answer}");
    assert!(answer.contains("x-queue-ms: 0.000"), "{answer}");
}

#[test]
fn a_full_queue_answers_503() {
    let capacity = Capacity {
        slots: 1,
        service: Distribution::Constant(Duration::from_millis(300)),
        queue: 0,
        work: Work::Wait,
        seed: 1,
    };
    let replica = api(Some(capacity));
    let token = log_in(&replica);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| send(&replica, "GET", READ, Some(&token), "")))
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let refused = |answer: &&String| answer.starts_with("HTTP/1.1 503");
    assert!(answers.iter().filter(refused).count() >= 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .any(|answer| answer.starts_with("HTTP/1.1 200"))
    );
}

#[test]
fn cpu_work_is_done_by_the_slots() {
    let capacity = Capacity {
        slots: 2,
        service: Distribution::Constant(Duration::from_millis(5)),
        queue: 10,
        work: Work::Cpu,
        seed: 1,
    };
    let replica = api(Some(capacity));
    let token = log_in(&replica);
    let answer = send(&replica, "GET", READ, Some(&token), "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("server-timing"), "{answer}");
}

#[test]
fn faults_are_shown_on_demand_and_cleared() {
    let replica = api(None);
    let token = log_in(&replica);
    let fault = |query: &str| send(&replica, "GET", &format!("/__fault?{query}"), None, "");
    assert!(fault("error_rate=1&status=502").starts_with("HTTP/1.1 200"));
    assert!(send(&replica, "GET", READ, Some(&token), "").starts_with("HTTP/1.1 502"));
    assert!(fault("close_rate=1").starts_with("HTTP/1.1 200"));
    assert_eq!(send(&replica, "GET", READ, Some(&token), ""), "");
    assert!(fault("error_rate=7").starts_with("HTTP/1.1 400"));
    assert!(fault("clear").starts_with("HTTP/1.1 200"));
    assert!(send(&replica, "GET", READ, Some(&token), "").starts_with("HTTP/1.1 200"));
}

#[test]
fn statistics_count_connections_and_requests() {
    let replica = api(None);
    let token = log_in(&replica);
    send(&replica, "GET", READ, Some(&token), "");
    let answer = send(&replica, "GET", "/__stats", None, "");
    let json: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(json["requests"], 2);
    assert_eq!(json["accepted"], 3);
    assert_eq!(json["name"], "test-1");
}

#[test]
fn the_null_server_answers_anything_with_the_same_bytes() {
    let replica = start(ReplicaConfig {
        name: "null".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap(); 2],
        kind: Kind::Null {
            body: 256,
            delay: std::time::Duration::ZERO,
        },
    })
    .unwrap();
    assert_eq!(replica.addresses().len(), 2);
    let mut stream = TcpStream::connect(replica.addresses()[1]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while answer
        .windows(15)
        .filter(|part| part == b"HTTP/1.1 200 OK")
        .count()
        < 3
        || !answer.ends_with(b"x")
    {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0);
        answer.extend_from_slice(&buffer[..read]);
    }
    replica.stop().unwrap();
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = start(ReplicaConfig {
        name: "n".into(),
        listen: vec![address],
        kind: Kind::Null {
            body: 1,
            delay: std::time::Duration::ZERO,
        },
    })
    .unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
