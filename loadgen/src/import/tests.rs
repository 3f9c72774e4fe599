use std::io::Write as _;

use weir_load::scenario::Scenario;

use super::*;

fn file(suffix: &str, text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

const EVERYTHING: Choice = Choice {
    all_methods: true,
    keep_secrets: true,
};

fn recording() -> tempfile::NamedTempFile {
    let entry = |at: &str, method: &str, url: &str, status: u16, rest: &str| {
        format!(
            r#"{{"startedDateTime": "2026-03-01T12:00:{at}+01:00", "time": 100,
                "request": {{"method": "{method}", "url": "{url}", "headers": [
                    {{"name": ":authority", "value": "shop.example"}},
                    {{"name": "Accept", "value": "text/html"}},
                    {{"name": "Cookie", "value": "sid=1"}},
                    {{"name": "Authorization", "value": "Bearer abc"}},
                    {{"name": "sec-fetch-mode", "value": "cors"}}]{rest}}},
                "response": {{"status": {status}}}}}"#
        )
    };
    let login = r#", "postData": {"mimeType": "application/json", "text": "{\"user\": \"a\", \"password\": \"{{p}}\"}"}"#;
    let entries = [
        entry(
            "02.600",
            "GET",
            "https://shop.example/items?page=1&token=t",
            200,
            "",
        ),
        entry("00.000", "GET", "https://shop.example/", 304, ""),
        entry("00.150", "GET", "https://cdn.example/x.js", 200, ""),
        entry("01.000", "POST", "https://shop.example/login", 201, login),
        entry(
            "03.000",
            "GET",
            "https://shop.example/items?page=1&token=t",
            200,
            "",
        ),
        entry("03.100", "GET", "https://shop.example/broken", 500, ""),
        entry("03.200", "GET", "data:text/plain,x", 200, ""),
    ];
    file(
        ".har",
        &format!(
            "{{\"log\": {{\"version\": \"1.2\", \"entries\": [{}]}}}}",
            entries.join(",")
        ),
    )
}

#[test]
fn a_recording_becomes_a_flow_without_hosts_secrets_and_changes() {
    let recording = recording();
    let draft = har(
        recording.path(),
        "shop",
        None,
        Shape::Flow,
        Choice::default(),
    )
    .unwrap();
    let toml = draft.to_toml();
    for gone in [
        "cdn.example",
        "Bearer",
        "sid=1",
        "=t\"",
        "authority",
        "sec-fetch",
        "login\"",
    ] {
        assert!(!toml.contains(gone), "{gone} in\n{toml}");
    }
    for note in [
        "1 requests to other hosts",
        "1 requests that change something",
        "1 requests that had failed",
        "secrets",
    ] {
        assert!(toml.contains(note), "{note} not in\n{toml}");
    }
    let scenario = Scenario::parse(&toml, "t").unwrap();
    let steps = &scenario.flows[0].steps;
    let paths: Vec<_> = steps.iter().map(|s| s.request.path.source()).collect();
    assert_eq!(
        paths,
        [
            "/",
            "/items?page=1&token=REDACTED",
            "/items?page=1&token=REDACTED"
        ]
    );
    let pause = steps[0].think_time.unwrap().mean();
    assert_eq!(
        pause,
        std::time::Duration::from_millis(2500),
        "from end to start"
    );
    assert_eq!(steps[0].request.headers.len(), 1);
}

#[test]
fn a_recording_becomes_weighted_requests_with_everything_if_asked() {
    let recording = recording();
    let draft = har(recording.path(), "shop", None, Shape::Requests, EVERYTHING).unwrap();
    let scenario = Scenario::parse(&draft.to_toml(), "t").unwrap();
    let weights: Vec<_> = scenario
        .requests
        .iter()
        .map(|r| (r.name.as_str(), r.weight))
        .collect();
    assert_eq!(
        weights,
        [("get", 1.0), ("post-login", 1.0), ("get-items", 2.0)]
    );
    let login = &scenario.requests[1];
    let body = login.body.as_ref().unwrap().fixed().unwrap();
    assert_eq!(body, r#"{"user": "a", "password": "{{p}}"}"#);
    assert!(
        login
            .headers
            .iter()
            .any(|(name, _)| name == "authorization")
    );
    assert_eq!(login.expect.status.to_string(), "201");
}

#[test]
fn one_host_of_a_recording_is_taken() {
    let recording = recording();
    let take = |host| {
        har(
            recording.path(),
            "x",
            Some(host),
            Shape::Flow,
            Choice::default(),
        )
    };
    assert_eq!(take("cdn.example").unwrap().requests(), 1);
    let error = take("nope.example").unwrap_err().to_string();
    assert!(
        error.ends_with("nothing to import: no good request to nope.example; the recording has cdn.example, shop.example"),
        "{error}"
    );
    let bad = file(".har", "{\"log\":\n{}}");
    let error = har(bad.path(), "x", None, Shape::Flow, EVERYTHING).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(":2: is not a HAR recording: missing field `entries`"),
        "{error}"
    );
}

const YAML: &str = r##"
openapi: 3.0.3
info: { title: Shop, version: "1" }
servers: [{ url: "https://api.shop.example/v2/" }]
security: [{ bearer: [] }]
paths:
  /items/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: integer, minimum: 7, maximum: 9 } }
    get:
      summary: One item
      parameters:
        - { name: fields, in: query, required: true, schema: { enum: [all, "a b"] } }
        - { name: page, in: query, schema: { type: integer } }
        - { name: X-Tenant, in: header, required: true, example: t1 }
      responses:
        200: { description: ok }
        404: { description: none }
    put:
      security: []
      requestBody: { $ref: "#/components/requestBodies/Item" }
      responses:
        "204": { description: changed }
components:
  requestBodies:
    Item:
      content:
        application/json:
          schema:
            type: object
            properties:
              name: { type: string, minLength: 12 }
              at: { type: string, format: date-time }
"##;

#[test]
fn a_document_becomes_a_skeleton() {
    let yaml = file(".yaml", YAML);
    let safe = openapi(yaml.path(), "shop", Choice::default()).unwrap();
    assert_eq!(safe.requests(), 1);
    let draft = openapi(yaml.path(), "shop", EVERYTHING).unwrap();
    let toml = draft.to_toml();
    let scenario = Scenario::parse(&toml, "t").unwrap();
    let get = &scenario.requests[0];
    assert_eq!(
        get.path.source(),
        "/v2/items/{{int 7 9}}?fields={{choice all|a%20b}}"
    );
    assert_eq!(get.headers[0].1.fixed(), Some("t1"));
    let put = &scenario.requests[1];
    assert_eq!(put.name, "put-v2-items");
    let body = put.body.as_ref().unwrap().source();
    for field in [r#""at": "{{now}}""#, r#""name": "{{string 12}}""#] {
        assert!(body.contains(field), "{body}");
    }
    assert_eq!(put.expect.status.to_string(), "204");
    assert!(!toml.contains("api.shop.example"), "{toml}");
    assert!(
        toml.contains("1 of the operations need authentication"),
        "{toml}"
    );
}

#[test]
fn swagger_2_in_json_is_understood() {
    let json = file(
        ".json",
        r##"{"swagger": "2.0", "info": {"title": "Old"}, "host": "old.example", "basePath": "/api",
            "definitions": {"Pet": {"properties": {"id": {"type": "integer", "example": 4}}}},
            "paths": {"/pets": {"post": {"parameters": [
                {"in": "body", "name": "pet", "schema": {"$ref": "#/definitions/Pet"}},
                {"in": "query", "name": "kind", "required": true, "type": "string", "enum": ["cat"]}],
                "responses": {"201": {}}}}}}"##,
    );
    let draft = openapi(json.path(), "old", EVERYTHING).unwrap();
    let scenario = Scenario::parse(&draft.to_toml(), "t").unwrap();
    let post = &scenario.requests[0];
    assert_eq!(post.path.source(), "/api/pets?kind={{choice cat}}");
    assert_eq!(post.body.as_ref().unwrap().source(), r#"{"id": 4}"#);
    let error = openapi(json.path(), "old", Choice::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("all 1 operations change something; --all-methods takes them over"),
        "{error}"
    );
}

#[test]
fn what_is_not_openapi_is_refused_with_its_line() {
    let refuse = |text: &str| {
        let file = file(".yaml", text);
        openapi(file.path(), "x", EVERYTHING)
            .unwrap_err()
            .to_string()
    };
    let error = refuse("openapi: 3.0.0\npaths: [\n");
    assert!(error.contains("is not YAML"), "{error}");
    assert!(error.contains(".yaml:"), "{error}");
    assert!(refuse("a: b").ends_with("it has neither `openapi` nor `swagger` at the top"));
    assert!(
        refuse("openapi: 3.0.0").ends_with("has no `paths`: there is nothing that could be sent")
    );
    assert!(refuse("{\n\"openapi\": }").contains(":2: is not JSON"));
}

const LOG: &str = r#"10.0.0.1 - - [10/Oct/2025:13:55:37 +0200] "GET /b?token=x HTTP/1.1" 404 5 "-" "-"
10.0.0.1 - - [10/Oct/2025:13:55:36 +0200] "GET /a HTTP/1.1" 200 5 "-" "-"
10.0.0.1 - - [10/Oct/2025:13:55:36 +0200] "POST /c HTTP/1.1" 201 5 "-" "-"
10.0.0.1 - - [10/Oct/2025:13:55:36 +0200] "GET http://elsewhere/ HTTP/1.1" 200 5 "-" "-"
10.0.0.1 - - [10/Oct/2025:13:55:38 +0200] "\x16\x03" 400 157 "-" "-"
"#;

#[test]
fn a_log_becomes_a_trace() {
    let log = file(".log", LOG);
    let log = access_log(
        log.path(),
        "monday",
        "monday.trace.jsonl",
        Choice::default(),
    )
    .unwrap();
    let mut written = Vec::new();
    log.write_trace(&mut written).unwrap();
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "{\"at\":0.0,\"method\":\"GET\",\"path\":\"/a\"}\n\
         {\"at\":1.0,\"method\":\"GET\",\"path\":\"/b?token=REDACTED\",\"status\":404}\n"
    );
    let toml = log.draft.to_toml();
    for note in [
        "1 requests that change something",
        "1 lines were not understood and left out, the first is line 5",
        "1 secrets in queries",
        "1 requests whose method or target",
        "trace = \"monday.trace.jsonl\"",
    ] {
        assert!(toml.contains(note), "{note} not in\n{toml}");
    }
}

#[test]
fn a_log_that_is_none_is_refused_with_its_line() {
    let refuse = |text: &str| {
        let file = file(".log", text);
        let error = access_log(file.path(), "x", "t", Choice::default()).unwrap_err();
        error.to_string()
    };
    assert!(
        refuse("\nhello\n")
            .ends_with(":2: is neither a line of nginx's combined log nor of weir's JSON log")
    );
    assert!(refuse("").ends_with("nothing to import: it holds no requests"));
}

#[test]
fn recorded_bodies_that_are_text_are_sent_and_others_are_named() {
    let entry = |data: &str| {
        format!(
            r#"{{"startedDateTime": "2026-03-01T12:00:00Z", "request": {{"method": "POST",
                "url": "https://shop.example/a", "headers": [], "postData": {data}}},
                "response": {{"status": 200}}}}"#
        )
    };
    let form = r#""mimeType": "application/x-www-form-urlencoded""#;
    let entries = [
        // {"größe": 1}, wrapped as some recorders do; then bytes that are no text.
        r#"{"mimeType": "application/json", "encoding": "base64", "text": "eyJncsO2w59l\r\nIjogMX0="}"#,
        r#"{"mimeType": "image/png", "encoding": "base64", "text": "iVBORw0KGgo="}"#,
        &format!(r#"{{{form}, "params": [{{"name": "a b", "value": "1&2"}}, {{"name": "c", "value": ""}}]}}"#),
        &format!(r#"{{{form}, "params": [{{"name": "f", "fileName": "x.png"}}]}}"#),
        r#"{"mimeType": "multipart/form-data; boundary=x", "params": [{"name": "a", "value": "1"}]}"#,
        r#"{"mimeType": "text/plain", "text": "as it is"}"#,
    ]
    .map(entry);
    let recording = file(
        ".har",
        &format!("{{\"log\": {{\"entries\": [{}]}}}}", entries.join(",")),
    );
    let draft = har(recording.path(), "shop", None, Shape::Requests, EVERYTHING).unwrap();
    let toml = draft.to_toml();
    assert!(
        toml.contains("# 3 requests were left out whose body a scenario cannot hold"),
        "{toml}"
    );
    let scenario = Scenario::parse(&toml, "t").unwrap();
    let bodies: Vec<_> = scenario
        .requests
        .iter()
        .map(|request| request.body.as_ref().unwrap().fixed().unwrap())
        .collect();
    assert_eq!(bodies, ["{\"größe\": 1}", "a+b=1%262&c=", "as it is"]);
}

#[test]
fn forms_are_built_and_bodies_that_are_not_are_named() {
    let document = file(
        ".yaml",
        r"
openapi: 3.0.0
paths:
  /login:
    post:
      requestBody:
        content:
          application/xml: { schema: { type: string } }
          application/x-www-form-urlencoded:
            schema:
              allOf:
                - properties: { name: { example: 'a b' }, id: { readOnly: true } }
                - properties: { 'n=': { type: integer, minimum: 7, maximum: 7 } }
  /example:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            example: { q: 'x&y', count: 3 }
  /upload:
    post:
      summary: Sends a file
      requestBody:
        content:
          multipart/form-data: { schema: { properties: { file: { type: string, format: binary } } } }
  /text:
    post:
      requestBody:
        content:
          text/plain: { schema: { type: string, example: 'hello' } }
",
    );
    let toml = openapi(document.path(), "forms", EVERYTHING)
        .unwrap()
        .to_toml();
    assert!(
        toml.contains("# 1 of the operations take a body that is not made here"),
        "{toml}"
    );
    assert!(
        toml.contains("# Sends a file · WITHOUT ITS BODY, multipart/form-data"),
        "{toml}"
    );
    let scenario = Scenario::parse(&toml, "t").unwrap();
    let request = |path: &str| {
        let mut requests = scenario.requests.iter();
        requests.find(|r| r.path.source() == path).unwrap()
    };
    let rendered = |path: &str| {
        let body = request(path).body.as_ref().unwrap();
        let state = weir_load::scenario::UserState::new(1, 0, &[]);
        body.render(weir_load::scenario::Place::Body, &state, &mut rand::rng())
            .to_string()
    };
    assert_eq!(rendered("/login"), "name=a%20b&n%3D=7");
    let fields = rendered("/example");
    assert!(
        ["q=x%26y&count=3", "count=3&q=x%26y"].contains(&fields.as_str()),
        "{fields}"
    );
    assert_eq!(rendered("/text"), "hello");
    assert!(request("/upload").body.is_none());
    assert_eq!(
        request("/login").headers[0].1.fixed(),
        Some("application/x-www-form-urlencoded")
    );
}

#[test]
fn forms_of_swagger_2_are_parameters() {
    let document = file(
        ".json",
        r#"{"swagger": "2.0", "paths": {
            "/f": {"post": {"parameters": [
                {"in": "formData", "name": "a", "type": "integer", "minimum": 3, "maximum": 3},
                {"in": "formData", "name": "b", "type": "string", "default": "x y"}]}},
            "/u": {"post": {"parameters": [{"in": "formData", "name": "f", "type": "file"}]}}}}"#,
    );
    let toml = openapi(document.path(), "forms", EVERYTHING)
        .unwrap()
        .to_toml();
    assert!(toml.contains(r#"body = "a={{int 3 3}}&b=x%20y""#), "{toml}");
    assert!(
        toml.contains("WITHOUT ITS BODY, multipart/form-data"),
        "{toml}"
    );
    Scenario::parse(&toml, "t").unwrap();
}

#[test]
fn a_compressed_access_log_is_read_like_any_other() {
    let line = |second: u32| {
        format!(
            "1.2.3.4 - - [10/Oct/2025:13:55:{second:02} +0200] \"GET /{second} HTTP/1.1\" 200 5 \"-\" \"-\"\n"
        )
    };
    let plain: String = (0..30).map(line).collect();
    let log = file(".log", &plain);
    // Two members, as when compressed logs are put together.
    let mut packed = Vec::new();
    for half in [
        &plain.as_bytes()[..plain.len() / 2],
        &plain.as_bytes()[plain.len() / 2..],
    ] {
        let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
        encoder.write_all(half).unwrap();
        encoder.finish().unwrap();
    }
    let mut gz = tempfile::Builder::new()
        .suffix(".log.gz")
        .tempfile()
        .unwrap();
    gz.write_all(&packed).unwrap();
    let read = |path| access_log(path, "log", "t.jsonl", Choice::default()).unwrap();
    let (a, b) = (read(log.path()), read(gz.path()));
    assert_eq!(b.trace.len(), 30);
    assert_eq!(format!("{:?}", a.trace), format!("{:?}", b.trace));
    let broken = file(".gz", "not gzip at all");
    assert!(access_log(broken.path(), "log", "t.jsonl", Choice::default()).is_err());
}
