//! The suite as a file declares it: `config/suite.toml`, which is also built in.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;
use toml::{Table, Value};

use weir_load::{
    scenario::Scenario,
    units::{format_duration, parse_duration},
};

/// The suite that is built in.
const BUILT_IN: &str = include_str!("../../../../config/suite.toml");
/// Where the one of a work tree is.
const FILE: &str = "config/suite.toml";
/// Warm-up of a test that does not say.
const WARMUP: Duration = Duration::from_millis(500);

/// A suite: tests in the order in which they run.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The tests.
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// The load.
    pub scenario: Scenario,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSuite {
    name: String,
    #[serde(default)]
    description: String,
    timeouts: Option<Value>,
    login: Option<Value>,
    #[serde(default)]
    requests: Vec<Table>,
    #[serde(default)]
    test: Vec<RawTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: String,
    #[serde(default)]
    about: String,
    requests: Vec<String>,
    #[serde(default = "wire")]
    engine: String,
    duration: String,
    quick: Option<String>,
    warmup: Option<String>,
    connections: Option<i64>,
    load: Value,
}

fn wire() -> String {
    "wire".to_owned()
}

impl Suite {
    /// The suite of a file, of `config/suite.toml` when there is one, or the one built in. With
    /// `quick`, each test lasts as long as its `quick` says.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not a suite: what is wrong, and where.
    pub fn load(file: Option<&Path>, quick: bool) -> Result<Self, String> {
        let path = file.unwrap_or(Path::new(FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(_) if file.is_none() => BUILT_IN.to_owned(),
            Err(error) => return Err(format!("cannot read suite {}: {error}", path.display())),
        };
        Self::parse(&text, quick).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    fn parse(text: &str, quick: bool) -> Result<Self, String> {
        let raw: RawSuite = toml::from_str(text).map_err(|error| error.to_string())?;
        if raw.test.is_empty() {
            return Err("it has no [[test]]".to_owned());
        }
        let tests = raw
            .test
            .iter()
            .map(|test| {
                let scenario = raw
                    .scenario(test, quick)
                    .map_err(|reason| format!("test `{}`: {reason}", test.name))?;
                Ok(Test {
                    name: test.name.clone(),
                    about: test.about.clone(),
                    scenario,
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Self {
            name: raw.name,
            description: raw.description,
            tests,
        })
    }
}

impl RawSuite {
    /// A test as a scenario, written as one and read by what reads scenarios: the same grammar, the
    /// same checks.
    fn scenario(&self, test: &RawTest, quick: bool) -> Result<Scenario, String> {
        let length = |field: &str, text: &str| {
            parse_duration(text).map_err(|error| format!("{field}: {error}"))
        };
        let duration = match (&test.quick, quick) {
            (Some(quick), true) => length("quick", quick)?,
            _ => length("duration", &test.duration)?,
        };
        let warmup = match &test.warmup {
            Some(warmup) => length("warmup", warmup)?,
            None => WARMUP,
        };
        let requests = test
            .requests
            .iter()
            .map(|name| self.request(name))
            .collect::<Result<Vec<_>, _>>()?;
        let text = |text: &str| Value::String(text.to_owned());
        let mut table = Table::new();
        table.insert("name".into(), text(&test.name.replace(' ', "-")));
        table.insert("description".into(), text(&test.about));
        table.insert("engine".into(), text(&test.engine));
        table.insert("duration".into(), text(&format_duration(duration)));
        table.insert("warmup".into(), text(&format_duration(warmup)));
        if let Some(connections) = test.connections {
            table.insert("connections".into(), Value::Integer(connections));
        }
        table.insert("load".into(), test.load.clone());
        for (name, value) in [("timeouts", &self.timeouts), ("login", &self.login)] {
            if let Some(value) = value {
                table.insert(name.into(), value.clone());
            }
        }
        table.insert("requests".into(), Value::Array(requests));
        let source = toml::to_string(&table).map_err(|error| error.to_string())?;
        Scenario::parse(&source, "as a scenario").map_err(|error| error.to_string())
    }

    fn request(&self, name: &str) -> Result<Value, String> {
        let of_name = |table: &&Table| table.get("name").and_then(Value::as_str) == Some(name);
        self.requests
            .iter()
            .find(of_name)
            .map(|table| Value::Table(table.clone()))
            .ok_or_else(|| {
                let known: Vec<_> = self
                    .requests
                    .iter()
                    .filter_map(|table| table.get("name")?.as_str())
                    .collect();
                format!(
                    "requests: there is no `{name}`; [[requests]] has {}",
                    known.join(", ")
                )
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use weir_load::scenario::Load;

    use super::*;

    #[test]
    fn the_suite_that_is_built_in_is_the_documented_one() {
        let suite = Suite::parse(BUILT_IN, false).unwrap();
        let names: Vec<_> = suite.tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "single request",
                "sequential",
                "concurrency 10",
                "concurrency 25",
                "concurrency 50",
                "light",
                "heavy",
                "mixed",
                "sustained",
                "burst of 1000"
            ]
        );
        for (test, users) in suite.tests.iter().zip([1, 1, 10, 25, 50]) {
            assert_eq!(test.scenario.lanes(), users, "{}", test.name);
        }
        assert_eq!(suite.tests[8].scenario.duration, Duration::from_secs(10));
        assert!(matches!(suite.tests[9].scenario.load, Load::Open(_)));
    }

    #[test]
    fn quick_is_shorter_and_nothing_else() {
        let (full, quick) = (
            Suite::parse(BUILT_IN, false).unwrap(),
            Suite::parse(BUILT_IN, true).unwrap(),
        );
        let total = |suite: &Suite| {
            suite
                .tests
                .iter()
                .map(|t| t.scenario.duration)
                .sum::<Duration>()
        };
        assert!(total(&quick) < total(&full) / 2);
        for (full, quick) in full.tests.iter().zip(&quick.tests) {
            assert_eq!(full.scenario.lanes(), quick.scenario.lanes());
        }
    }

    #[test]
    fn mistakes_name_the_test_and_what_would_be_right() {
        let wrong =
            |from: &str, to: &str| Suite::parse(&BUILT_IN.replace(from, to), false).unwrap_err();
        let error = wrong("requests = [\"large-list\"", "requests = [\"huge-list\"");
        assert!(
            error.contains("test `heavy`") && error.contains("large-list"),
            "{error}"
        );
        let error = wrong("users = 25 }", "userz = 25 }");
        assert!(error.contains("test `concurrency 25`"), "{error}");
        let error = wrong("quick = \"3s\"", "quik = \"3s\"");
        assert!(error.contains("quik"), "{error}");
        assert!(
            Suite::parse("name = \"empty\"", false)
                .unwrap_err()
                .contains("[[test]]")
        );
    }
}
