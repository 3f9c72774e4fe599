//! Locust, as people run it: `FastHttpUser`, headless, one process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use weir_lab::process::owned::find;

use super::inner::Flat;

/// Users without a pause between requests.
const LOCUSTFILE: &str = "\
from locust import FastHttpUser, constant, task


class Null(FastHttpUser):
    wait_time = constant(0)

    @task
    def root(self):
        self.client.get(\"/\")
";
/// Where `scripts/locust.sh` installs it, relative to the working directory.
const INSTALLED: &str = "target/locust/bin/locust";

/// Locust, ready to run.
#[derive(Debug, Clone)]
pub struct Locust {
    program: PathBuf,
    folder: PathBuf,
}

impl Locust {
    /// Finds it and writes its file into `folder`; `None` if it is not installed.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn prepare(folder: &Path) -> anyhow::Result<Option<Self>> {
        let installed = Path::new(INSTALLED);
        let program = if installed.is_file() {
            Some(std::path::absolute(installed)?)
        } else {
            find("locust")
        };
        let Some(program) = program else {
            return Ok(None);
        };
        let folder = folder.join("locust");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("locustfile.py"), LOCUSTFILE)?;
        Ok(Some(Self { program, folder }))
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its arguments: all users at once, for this long, figures as CSV.
    pub fn arguments(&self, url: &str, users: u32, length: Duration) -> Vec<String> {
        let file = self.folder.join("locustfile.py").display().to_string();
        let csv = self.folder.join("run").display().to_string();
        let users = users.to_string();
        let length = format!("{}s", length.as_secs());
        [
            "-f",
            &file,
            "--headless",
            "-u",
            &users,
            "-r",
            &users,
            "-t",
            &length,
            "--host",
            url,
            "--csv",
            &csv,
            "--only-summary",
            "--loglevel",
            "ERROR",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// What the last run gave.
    ///
    /// # Errors
    ///
    /// When its figures cannot be read, or requests failed.
    pub fn figures(&self) -> anyhow::Result<Flat> {
        let file = self.folder.join("run_stats.csv");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("Locust left no {}", file.display()))?;
        parse(&text)
    }
}

/// The row `Aggregated` of `*_stats.csv`.
fn parse(text: &str) -> anyhow::Result<Flat> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers()?.clone();
    let row = reader
        .records()
        .filter_map(Result::ok)
        .find(|row| row.get(1) == Some("Aggregated"))
        .context("Locust's figures have no row `Aggregated`")?;
    let value = |name: &str| -> anyhow::Result<f64> {
        let at = columns
            .iter()
            .position(|column| column == name)
            .with_context(|| format!("Locust's figures have no column `{name}`"))?;
        let text = row.get(at).unwrap_or_default();
        text.parse()
            .with_context(|| format!("`{name}` of Locust is `{text}`"))
    };
    let failed = value("Failure Count")?;
    if failed > 0.0 {
        bail!("{failed} requests failed");
    }
    Ok(Flat {
        requests: value("Request Count")? as u64,
        rate: value("Requests/s")?,
        p50_ms: Some(value("50%")?),
        p99_ms: Some(value("99%")?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATS: &str = "Type,Name,Request Count,Failure Count,Median Response Time,Requests/s,50%,99%\n\
                         GET,/,1200,0,20,400.5,20,23\n\
                         ,Aggregated,1200,0,20,400.5,20,23\n";

    #[test]
    fn its_figures_are_read() {
        let flat = parse(STATS).unwrap();
        assert_eq!((flat.requests, flat.rate), (1200, 400.5));
        assert_eq!((flat.p50_ms, flat.p99_ms), (Some(20.0), Some(23.0)));
        let failed = STATS.replace("Aggregated,1200,0", "Aggregated,1200,7");
        assert!(
            parse(&failed)
                .unwrap_err()
                .to_string()
                .contains("7 requests failed")
        );
        assert!(parse("nonsense").is_err());
    }
}
