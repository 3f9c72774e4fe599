use std::{path::Path, time::Duration};

use proptest::prelude::*;

use super::*;

fn json(text: &str) -> Result<std::sync::Arc<Trace>, TraceError> {
    Trace::read_from(text.as_bytes(), Path::new("t.jsonl"), false)
}

fn csv(text: &str) -> Result<std::sync::Arc<Trace>, TraceError> {
    Trace::read_from(text.as_bytes(), Path::new("t.csv"), true)
}

#[test]
fn lines_are_put_in_order_of_time() {
    let trace = json(
        "{\"at\": 1.5, \"path\": \"/b\"}\n\n{\"at\": 0.25, \"path\": \"/a?x=1\", \"method\": \"POST\", \"body\": \"hello\"}\n",
    )
    .unwrap();
    assert_eq!(trace.len(), 2);
    assert_eq!(trace.at(0), Some(Duration::from_millis(250)));
    assert_eq!(trace.length(), Duration::from_millis(1500));
    assert_eq!((trace.path(0), trace.body(0)), ("/a?x=1", "hello"));
    assert_eq!((trace.path(1), trace.body(1)), ("/b", ""));
    let kind = &trace.kinds()[trace.kind(0).unwrap()];
    assert_eq!(kind.name, "POST_/a");
    assert!(kind.has_body);
}

#[test]
fn timestamps_begin_with_the_earliest() {
    let trace = json(
        "{\"timestamp\": \"2026-03-01T12:00:02.5Z\", \"path\": \"/b\"}\n{\"timestamp\": \"2026-03-01T12:00:00Z\", \"path\": \"/a\"}",
    )
    .unwrap();
    assert_eq!(trace.path(0), "/a");
    assert_eq!(trace.at(1), Some(Duration::from_millis(2500)));
    let trace = csv("timestamp,path\n1700000000.5,/a\n1700000001,/b\n").unwrap();
    assert_eq!(trace.at(1), Some(Duration::from_millis(500)));
}

#[test]
fn csv_has_the_same_fields() {
    let trace = csv(
        "at,method,path,body,status,header:Accept\n0,GET,/a,,404,text/plain\n0.5,PUT,/b,\"{\"\"x\"\": 1}\",,\n",
    )
    .unwrap();
    let kind = &trace.kinds()[trace.kind(0).unwrap()];
    assert_eq!(kind.status, Some(404));
    assert_eq!(
        kind.headers,
        [("Accept".to_owned(), "text/plain".to_owned())]
    );
    assert_eq!(trace.body(1), "{\"x\": 1}");
}

#[test]
fn mistakes_are_told_with_line_and_field() {
    let cases = [
        (
            "{\"at\": 0, \"path\": \"/\"}\n{\"path\": \"/\"}",
            "t.jsonl:2:1: `at`: is missing",
        ),
        (
            "{\"at\": 0, \"path\": \"x\"}",
            "t.jsonl:1:11: `path`: `x` must begin",
        ),
        (
            "{\"at\": -1, \"path\": \"/\"}",
            "t.jsonl:1:2: `at`: -1 is not",
        ),
        (
            "{\"at\": 0, \"path\": \"/\", \"metod\": \"GET\"}",
            "unknown field `metod`",
        ),
        (
            "{\"at\": 0, \"path\": \"/\", \"method\": \"FETCH\"}",
            "`method`: `FETCH` is not one of",
        ),
        (
            "{\"at\": 0, \"path\": \"/\", \"status\": 9}",
            "`status`: 9 is not",
        ),
        (
            "{\"at\": 0, \"path\": \"/\"}\n{\"timestamp\": 5, \"path\": \"/\"}",
            "t.jsonl:2:2: `timestamp`: earlier lines",
        ),
        (
            "{\"timestamp\": \"yesterday\", \"path\": \"/\"}",
            "`yesterday` is neither",
        ),
        ("{\"at\": 0, \"path\": \"/a b\"}", "percent-encode"),
        ("not json", "t.jsonl:1:"),
        ("", "holds no request"),
    ];
    for (text, expected) in cases {
        let error = json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let cases = [
        ("at,path,speed\n0,/,1", "t.csv:1:3: column `speed`"),
        ("at,path\n0,/\nx,/", "t.csv:3:1: `at`: `x` is not"),
        ("at,path\n0,/,1\n", "t.csv:2:1: has 3 cells"),
    ];
    for (text, expected) in cases {
        let error = csv(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn headers_that_the_client_writes_are_left_out() {
    let trace = json(
        "{\"at\": 0, \"path\": \"/\", \"headers\": {\"Host\": \"a\", \"X-A\": \"1\", \"content-length\": \"5\"}}",
    )
    .unwrap();
    assert_eq!(
        trace.kinds()[0].headers,
        [("X-A".to_owned(), "1".to_owned())]
    );
}

#[test]
fn rare_paths_are_reported_together_and_names_are_unique() {
    let mut text = String::new();
    for n in 0..200 {
        let word: String = (0..8)
            .map(|bit| if n >> bit & 1 == 1 { 'a' } else { 'b' })
            .collect();
        text += &format!("{{\"at\": {n}, \"path\": \"/{word}\"}}\n");
    }
    text += "{\"at\": 1, \"path\": \"/often\"}\n{\"at\": 2, \"path\": \"/often\"}\n";
    text += "{\"at\": 1, \"path\": \"/often\", \"status\": 404}\n";
    let trace = json(&text).unwrap();
    let names: std::collections::HashSet<_> = trace
        .kinds()
        .iter()
        .map(|kind| kind.name.as_str())
        .collect();
    assert_eq!(names.len(), trace.kinds().len());
    assert!(trace.kinds().len() <= 42, "{names:?}");
    assert_eq!(trace.kinds()[0].name, "GET_/often");
    assert!(names.contains("GET_other"));
    assert_eq!(trace.counts().iter().sum::<u64>(), 203);
    // Each request still has its own path.
    let paths: std::collections::HashSet<_> = (0..trace.len()).map(|at| trace.path(at)).collect();
    assert_eq!(paths.len(), 201);

    let varying: String = (0..150)
        .map(|n| format!("{{\"at\": 0, \"path\": \"/\", \"headers\": {{\"x-id\": \"{n}\"}}}}\n"))
        .collect();
    let error = json(&varying).unwrap_err().to_string();
    assert!(error.contains("leave out headers"), "{error}");
}

#[test]
fn the_busiest_second_is_found() {
    let trace = csv("at,path\n0.1,/\n1.0,/\n1.2,/\n1.9,/\n2.0,/\n").unwrap();
    assert_eq!(trace.busiest_second(), 3);
}

#[test]
fn a_million_lines_stay_compact() {
    // A hundred thousand lines, ten thousand paths: what it keeps grows with the paths alone,
    // beside 24 bytes a line.
    let text: String = (0..100_000)
        .map(|n| {
            format!(
                "{{\"at\":{},\"path\":\"/items/{}\"}}\n",
                f64::from(n) / 1e3,
                n % 10_000
            )
        })
        .collect();
    let trace = json(&text).unwrap();
    assert_eq!(trace.len(), 100_000);
    assert_eq!(trace.kinds().len(), 1);
    assert!(
        trace.footprint() < 100_000 * 24 + 10_000 * 40,
        "{}",
        trace.footprint()
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        lines in prop::collection::vec((0_u32..100_000, "/[a-z0-9/]{0,20}", prop::option::of("[ -~]{0,20}")), 1..40)
    ) {
        let text: String = lines
            .iter()
            .map(|(millis, path, body)| {
                let line = TraceLine {
                    at: Some(f64::from(*millis) / 1e3),
                    method: "POST".into(),
                    path: path.clone(),
                    body: body.clone(),
                    ..TraceLine::default()
                };
                serde_json::to_string(&line).unwrap() + "\n"
            })
            .collect();
        let trace = json(&text).unwrap();
        let mut expected = lines.clone();
        expected.sort_by_key(|(millis, ..)| *millis);
        for (index, (millis, path, body)) in expected.iter().enumerate() {
            prop_assert_eq!(trace.at(index).unwrap(), Duration::from_millis((*millis).into()));
            prop_assert_eq!(trace.path(index), path);
            prop_assert_eq!(trace.body(index), body.clone().unwrap_or_default());
        }
    }
}
