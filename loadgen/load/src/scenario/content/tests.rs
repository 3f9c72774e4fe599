use std::io::Write as _;

use super::*;
use crate::scenario::{Scenario, ScenarioError};

const TOP: &str = "name = \"t\"\nduration = \"1s\"\nload = { model = \"closed\", users = 1 }\n";

fn parse(rest: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse(&format!("{TOP}{rest}"), "t.toml")
}

/// Line within `rest`, field and message of what is wrong with it.
fn refuse(rest: &str) -> (usize, String, String) {
    match parse(rest).unwrap_err() {
        ScenarioError::Invalid {
            line,
            field,
            message,
            ..
        } => (line - 3, field, message),
        other => panic!("{other}"),
    }
}

const FLOW: &str = r#"
[variables]
tenant = "{{choice a|b}}"

[[flows]]
name = "life"
weight = 2
think_time = "1s"

[[flows.steps]]
name = "create"
method = "POST"
path = "/cases"
body = '{"tenant": "{{var.tenant}}"}'
extract = [{ name = "id", json_path = "$.id" }]
expect = { status = [200, "3xx"], json = [{ path = "$.id", matches = "^c" }] }

[[flows.steps]]
name = "read"
path = "/cases/{{var.id | url}}"
headers = { X-Tenant = "{{var.tenant}}" }
think_time = "none"
"#;

#[test]
fn a_flow_is_read_step_by_step() {
    let scenario = parse(FLOW).unwrap();
    let flow = &scenario.flows[0];
    assert_eq!((flow.weight, flow.on_failure), (2.0, OnFailure::Stop));
    assert_eq!(flow.steps[1].think_time, Some(ThinkTime::None));
    assert_eq!(flow.steps[0].request.expect.status.to_string(), "200, 3xx");
    let names: Vec<_> = scenario.variables.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["tenant", "id"]);
    assert_eq!(scenario.weight_total(), 2.0);
    assert_eq!(scenario.sent().count(), 2);
    let json = serde_json::to_value(&scenario).unwrap();
    assert_eq!(json["flows"][0]["steps"][0]["expect"]["status"], "200, 3xx");
    assert_eq!(
        json["flows"][0]["steps"][0]["extract"][0]["from"]["json_path"],
        "$.id"
    );
}

#[test]
fn mistakes_are_found_where_they_stand() {
    let request = |line: &str| format!("[[requests]]\nname = \"a\"\npath = \"/\"\n{line}\n");
    let cases = [
        (
            request("expect = { status = \"2x\" }"),
            4,
            "requests[0].expect.status",
            "2x is not an HTTP status: 100 to 599, or a class such as \"2xx\"",
        ),
        (
            request("expect = { json = [{ path = \"id\" }] }"),
            4,
            "requests[0].expect.json[0].path",
            "`id` is not a JSONPath such as \"$.items[0].id\"",
        ),
        (
            request("expect = { json = [{ path = \"$.id\", count = 1, exists = true }] }"),
            4,
            "requests[0].expect.json[0]",
            "has more than one of",
        ),
        (
            request("expect = { headers = { etag = { equals = \"a\", exists = true } } }"),
            4,
            "requests[0].expect.headers.etag",
            "needs exactly one of `contains`, `equals`, `matches` and `exists`",
        ),
        (
            request("expect = { size = { min = 5, max = 4 } }"),
            4,
            "requests[0].expect.size",
            "`min` is above `max`",
        ),
        (
            request("expect = { body_matches = \"a(\" }"),
            4,
            "requests[0].expect.body_matches",
            "`a(` is not a regular expression: unclosed group",
        ),
        (
            request("extract = [{ name = \"x\" }]"),
            4,
            "requests[0].extract[0]",
            "needs to say from where",
        ),
        (
            request("extract = [{ name = \"x y\", header = \"Location\" }]"),
            4,
            "requests[0].extract[0].name",
            "`x y` is not a name for a variable",
        ),
        (
            request("body = \"{{var.nope}}\""),
            4,
            "requests[0].body",
            "no variable `nope`; there is none",
        ),
        (
            request("headers = { X = \"{{users.id}}\" }"),
            4,
            "requests[0].headers.X",
            "no feed `users`",
        ),
        (
            request("think_time = \"1s\""),
            4,
            "requests[0].think_time",
            "belongs to the steps of a flow",
        ),
        (
            "[[flows]]\nname = \"f\"".to_owned(),
            1,
            "flows[0].steps",
            "needs at least one step",
        ),
        (
            FLOW.replace("\"read\"", "\"create\""),
            19,
            "flows[0].steps[1].name",
            "used twice",
        ),
        (
            FLOW.replace("think_time = \"none\"", "weight = 3"),
            22,
            "flows[0].steps[1].weight",
            "give one to its flow",
        ),
        (
            format!("[[feeds]]\nname = \"f\"\nfile = \"nowhere.csv\"\n{FLOW}"),
            3,
            "feeds[0].file",
            "cannot read nowhere.csv",
        ),
        (
            format!("[[feeds]]\nname = \"f\"\nfile = \"data.txt\"\n{FLOW}"),
            3,
            "feeds[0].file",
            "data.txt: a feed is a .csv, .jsonl or .ndjson file",
        ),
    ];
    for (source, line, field, message) in cases {
        let (at, named, told) = refuse(&source);
        assert!(told.contains(message), "{told}\n{source}");
        assert_eq!((at, named.as_str()), (line, field), "{source}");
    }
}

#[test]
fn feeds_are_found_beside_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write("users.csv", "name,password\nann,1\nbob,2\n");
    let request = "[[requests]]\nname = \"a\"\npath = \"/{{users.name}}\"\n";
    let feed = "[[feeds]]\nname = \"users\"\nfile = \"users.csv\"\nper = \"user\"\n";
    write("base.toml", &format!("{TOP}{feed}{request}"));
    write(
        "child.toml",
        &format!(
            "extends = \"base\"\n{TOP}login = {{ path = \"/login\", body = \"{{{{users.password}}}}\" }}"
        ),
    );
    let load = |name: &str| Scenario::load_from(name, folder.path());
    let scenario = load("base").unwrap();
    assert_eq!(scenario.feeds[0].data.rows(), 2);
    let child = load("child").unwrap();
    assert_eq!(child.feeds[0].per, Per::User);
    assert_eq!(child.requests.len(), 1);
    assert_eq!(child.login.unwrap().token, None);

    write("users.csv", "name,password\nann\n");
    let error = load("base").unwrap_err().to_string();
    assert!(
        error.contains("users.csv:2: has 1 fields, and the header row has 2"),
        "{error}"
    );
    write("users.csv", "login,password\nann,1\n");
    let error = load("base").unwrap_err().to_string();
    assert!(
        error.contains("base.toml:10:1: `requests[0].path`: `{{users.name}}`: feed `users` has no column `name`; there are `login`, `password`"),
        "{error}"
    );
}

#[test]
fn scenarios_in_the_guide_and_the_examples_can_be_loaded() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = root.join("docs/guide/from-k6-and-locust.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks: Vec<_> = guide
        .split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        if let Err(error) = Scenario::parse(block, "guide") {
            panic!("{error}\n{block}");
        }
    }
    for name in ["case-lifecycle", "from-locust"] {
        let path = root.join(format!("config/scenarios/examples/{name}.toml"));
        let scenario = Scenario::load(path.to_str().unwrap()).unwrap();
        assert_eq!(scenario.name, name);
    }
}
