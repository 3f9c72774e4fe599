//! `weir run`: the parts put together, and the signals.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use weir_api::config::{self, Config, LogFormat};
use weir_proxy::engine::Engine;
use weir_proxy::observe::access_log::{AccessLog, Format};
use weir_proxy::observe::metrics::Metrics;

use crate::cli::{EXIT_FAILED, EXIT_USAGE, RunArgs};

/// Runs until a signal; the exit code says how it went.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match serve(args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("weir: {e:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn serve(args: &RunArgs, config: &Config) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let access_log = open_log(config)?;
    let settings = Arc::new(config.settings().clone());
    let engine = Arc::new(Engine::start(config, 1, &settings, metrics, access_log)?);
    if let Some(file) = &args.ports_file {
        write_ports(file, &engine)?;
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    rt.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        term.recv().await;
        anyhow::Ok(())
    })?;
    engine.drain();
    Ok(())
}

fn open_log(config: &Config) -> anyhow::Result<Option<AccessLog>> {
    let log = &config.access_log;
    if !log.enabled {
        return Ok(None);
    }
    let format = match log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    let path = &log.path;
    AccessLog::open(path, format)
        .map(Some)
        .with_context(|| format!("access_log.path: cannot open {}", path.display()))
}

fn write_ports(file: &Path, engine: &Engine) -> anyhow::Result<()> {
    let text = json!({
        "listeners": engine.addresses(),
        "admin": "",
        "pid": std::process::id(),
    });
    let dir = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temp = dir.join(format!(".weir-ports-{}", std::process::id()));
    let mut out = std::fs::File::create(&temp)?;
    out.write_all(text.to_string().as_bytes())?;
    std::fs::rename(&temp, file)?;
    Ok(())
}
