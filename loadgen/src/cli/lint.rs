//! `weir-bench lint`: print the contradictions of a scenario, a proxy configuration and a gate.

use std::{path::PathBuf, process::ExitCode};

use clap::Args as ClapArgs;
use serde::Serialize;
use weir_lab::stdio;
use weir_load::{scenario::Scenario, units::Rate};

use crate::{
    exit::{Exit, Usage},
    judge::Thresholds,
    lint::{Facts, Finding, LimitFacts, Severity, lint},
    text::wrapped,
};

/// Arguments of `weir-bench lint`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Scenario: a name in config/scenarios, or a path to a TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: String,
    /// Proxy configuration that the load would pass.
    #[arg(long, value_name = "FILE")]
    pub proxy: Option<PathBuf>,
    /// Thresholds that the scenario does not set itself [default: config/thresholds.toml if there].
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
    /// Judge this rate limit as well, e.g. `50r/s,burst=100,nodelay`; may be repeated.
    #[arg(long = "limit", value_name = "LIMIT")]
    pub limits: Vec<String>,
    /// Source addresses that the load comes from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub source_addresses: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Exit with 3 when a finding is an error.
    #[arg(long)]
    pub strict: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    scenario: &'a str,
    findings: &'a [Finding],
}

/// Prints the findings.
///
/// # Errors
///
/// When an input cannot be read or is invalid.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(&args.scenario).map_err(Usage::new)?;
    let config = args
        .proxy
        .as_deref()
        .map(|path| weir_api::config::load(path).map_err(Usage::new))
        .transpose()?;
    let thresholds =
        Thresholds::for_scenario(&scenario, args.thresholds.as_deref()).map_err(Usage::new)?;
    let mut facts = Facts::new(
        &scenario,
        thresholds,
        args.source_addresses,
        config.as_ref(),
    );
    let extra = args
        .limits
        .iter()
        .map(|text| parse_limit(text, args.source_addresses));
    let extra = extra.collect::<Result<Vec<_>, _>>()?;
    if !extra.is_empty() {
        let proxy = facts.proxy.get_or_insert_with(no_proxy);
        proxy.limits.extend(extra);
    }
    let findings = lint(&facts);
    if args.json {
        let output = Output {
            scenario: &facts.scenario,
            findings: &findings,
        };
        stdio::line(serde_json::to_string_pretty(&output)?)?;
    } else {
        stdio::text(render(&facts.scenario, &findings))?;
    }
    let grave = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if args.strict && grave {
        Exit::GateFailed.into()
    } else {
        Exit::Passed.into()
    })
}

/// A proxy of which nothing is known but the limits named on the command line.
fn no_proxy() -> crate::lint::ProxyFacts {
    crate::lint::ProxyFacts {
        limits: Vec::new(),
        connections_max: 0,
        keepalive: Vec::new(),
        connect_timeout_s: 0.0,
    }
}

/// Findings for a terminal.
#[must_use]
pub fn render(scenario: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{scenario}: no contradictions found\n");
    }
    let mut text = format!(
        "{scenario}: {} found by arithmetic\n",
        plural(findings.len())
    );
    for finding in findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        text += &format!("\n{word}[{}]: {}\n", finding.code, finding.title);
        text += &(wrapped(&finding.detail, "    ", "    ") + "\n");
        text += &(wrapped(
            &format!("possible with: {}", finding.remedy),
            "    ",
            "    ",
        ) + "\n");
    }
    text
}

fn plural(count: usize) -> String {
    if count == 1 {
        "1 contradiction".to_owned()
    } else {
        format!("{count} contradictions")
    }
}

fn parse_limit(text: &str, source_addresses: u32) -> Result<LimitFacts, Usage> {
    let wrong = |why: String| {
        Usage::new(format!(
            "--limit `{text}`: {why}; write it like 50r/s,burst=100,nodelay"
        ))
    };
    let mut parts = text.split(',').map(str::trim);
    let rate: Rate = parts
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    if rate.get() <= 0.0 {
        return Err(wrong("the rate must be above 0".to_owned()));
    }
    let mut limit = LimitFacts {
        name: format!("`{text}`"),
        rps: rate.get(),
        burst: 0,
        delayed_beyond: Some(0),
        buckets: source_addresses,
    };
    let number = |value: &str| {
        value
            .parse()
            .map_err(|_| wrong(format!("`{value}` is not a count")))
    };
    for part in parts {
        match part.split_once('=') {
            None if part == "nodelay" => limit.delayed_beyond = None,
            Some(("burst", value)) => limit.burst = number(value)?,
            Some(("delay", value)) => limit.delayed_beyond = Some(number(value)?),
            _ => return Err(wrong(format!("`{part}` is not known"))),
        }
    }
    Ok(limit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_nginx_writes_them_with_commas() {
        let limit = parse_limit("50r/s, burst=100, nodelay", 1).unwrap();
        assert_eq!(
            (limit.rps, limit.burst, limit.delayed_beyond),
            (50.0, 100, None)
        );
        for bad in ["", "0r/s", "fast", "50r/s,burst=x", "50r/s,nodely"] {
            assert!(parse_limit(bad, 1).is_err(), "{bad}");
        }
    }
}
