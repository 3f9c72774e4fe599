//! Live metrics, scraped while a run goes on.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Child,
    time::Instant,
};

use crate::{
    PATIENCE,
    folders::{Desk, json},
    server::{Server, answer, ok},
};

const SCENARIO: &str = "name = 'scraped'\nduration = '3s'\nwarmup = '1s'\n[load]\n\
    model = 'closed'\nusers = 4\nthink_time = '5ms'\n\
    [[requests]]\nname = 'good'\npath = '/good'\nweight = 3\n\
    [[requests]]\nname = 'bad'\npath = '/bad'\nweight = 1\n";

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Values by name and labels as they are written.
fn values(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| line.starts_with("weir_bench"))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The address that the program names on standard error.
fn address_of(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    // Somebody has to read the rest, or the program waits for it.
    std::thread::spawn(move || lines.for_each(drop));
    let rest = line.strip_prefix("metrics: http://").unwrap();
    rest.strip_suffix("/metrics").unwrap().to_owned()
}

#[test]
fn a_scrape_shows_what_the_summary_will_say() {
    let server = Server::start(|seen| match seen.head.starts_with("GET /bad") {
        true => answer("503 No", "no"),
        false => ok("hello"),
    });
    let desk = Desk::new(SCENARIO);
    let mut child = desk
        .run(&server, &["--metrics", "127.0.0.1:0", "--output", "out"])
        .spawn()
        .unwrap();
    let address = address_of(&mut child);
    let missing = get(&address, "/").unwrap();
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    // The last scrape that succeeded before the run was over.
    let mut last = BTreeMap::new();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE);
        if let Some(text) = get(&address, "/metrics").filter(|text| text.ends_with('\n')) {
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("version=0.0.4"));
            last = values(&text);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(get(&address, "/metrics").is_none(), "it ends with the run");

    let total = |outcome: &str| -> f64 {
        let wanted = format!("outcome=\"{outcome}\",phase=\"measured\"");
        let counts = last.iter().filter(|(name, _)| {
            name.starts_with("weir_bench_requests_total") && name.contains(&wanted)
        });
        counts.map(|(_, value)| *value).sum()
    };
    let (good, bad) = (total("ok"), total("error"));
    assert!(good > 0.0 && bad > 0.0, "{last:?}");
    // A scrape falls between two seconds: it shows the sum of the rows up to one of them.
    let rows = std::fs::read_to_string(desk.path().join("out/timeseries.csv")).unwrap();
    let (mut ok_sum, mut error_sum) = (0.0, 0.0);
    let seen = rows.lines().skip(1).any(|row| {
        let cells: Vec<_> = row.split(',').collect();
        ok_sum += cells[4].parse::<f64>().unwrap();
        error_sum += cells[6].parse::<f64>().unwrap();
        (ok_sum, error_sum) == (good, bad)
    });
    assert!(
        seen,
        "{good} ok and {bad} errors are at no second of\n{rows}"
    );

    let summary = json(&desk.path().join("out/summary.json"));
    assert!(good <= summary["ok"].as_f64().unwrap());
    assert!(bad <= summary["errors"].as_f64().unwrap());
    let value = |name: &str| *last.get(name).unwrap_or_else(|| panic!("{name}: {last:?}"));
    assert_eq!(
        value("weir_bench_failures_total{kind=\"status_503\",phase=\"measured\"}"),
        bad
    );
    let labels = "endpoint=\"good\",phase=\"measured\"";
    assert_eq!(
        value(&format!("weir_bench_response_seconds_count{{{labels}}}")),
        good
    );
    assert_eq!(
        value(&format!(
            "weir_bench_response_seconds_bucket{{{labels},le=\"+Inf\"}}"
        )),
        good
    );
    assert_eq!(value("weir_bench_users"), 4.0);
    assert!(value("weir_bench_process_resident_bytes{process=\"generator\"}") > 1e6);
}

#[test]
fn an_address_that_is_taken_is_said_before_any_load() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(SCENARIO);
    let output = desk
        .run(&server, &["--metrics", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = crate::folders::text(&output.stderr);
    assert!(
        said.contains(&address) && said.contains("free port"),
        "{said}"
    );
    assert_eq!(server.requests(), 0);
}
