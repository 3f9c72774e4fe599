//! `weir run`: start, serve, end; and hand over to a successor or take over from a predecessor.

mod files;
mod open;
mod serve;
mod signals;
mod upgrade;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use tracing::info;
use weir_proxy::config::{self, Config, ConfigErrors};
use weir_proxy::engine::handover::Predecessor;
use weir_proxy::observe::log::ErrorLog;
use weir_proxy::tls::Credentials;

use self::open::{Opened, Ready};
use self::signals::Signals;
use crate::cli::RunArgs;
use crate::exit::{EXIT_FAILED, EXIT_USAGE};

/// Runs until a signal; the exit code says how it went.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let Ok(log) = ErrorLog::start() else {
        return ExitCode::from(EXIT_FAILED);
    };
    let code = with_log(args, &log);
    log.close();
    code
}

fn with_log(args: &RunArgs, log: &ErrorLog) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            log.say(&format!("weir: cannot start a runtime: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let code = runtime.block_on(live(args, log));
    // What still blocks, such as the look-up of a name, does not hold the end up.
    runtime.shutdown_background();
    code
}

async fn live(args: &RunArgs, log: &ErrorLog) -> ExitCode {
    // First of all: no signal that comes early ends the process by its default action.
    let mut signals = match Signals::install(args.exit_with_parent) {
        Ok(signals) => signals,
        Err(error) => {
            log.say(&format!("weir: cannot handle signals: {error}"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let (config, text, credentials) = match read(&args.config) {
        Ok(read) => read,
        Err(problems) => {
            log.say(&config::render(&problems));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if SystemTime::now() < SystemTime::UNIX_EPOCH {
        // Neither the Date of an answer nor the age of a certificate could be told: every request would fail.
        log.say("weir: the clock stands before 1970: set it, then start again");
        return ExitCode::from(EXIT_FAILED);
    }
    let started = tokio::select! {
        started = start(args, &config, text, log, credentials) => started,
        reason = signals.stop() => {
            info!(reason, "told to stop before serving");
            return ExitCode::SUCCESS;
        }
    };
    let done = match started {
        Ok((ready, predecessor)) => {
            serve::serve(args, &config, ready, predecessor, &mut signals).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&format!("weir: {error:#}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The configuration, the text that it was read from, and the certificates and keys that it names.
fn read(file: &Path) -> Result<(Config, String, Arc<Credentials>), ConfigErrors> {
    let text = config::read(file)?;
    let (config, credentials) = config::parse_with_credentials(&text, file)?;
    Ok((config, text, Arc::new(credentials)))
}

/// Opens everything; with `--upgrade` then waits for the sockets of the process that runs.
async fn start(
    args: &RunArgs,
    config: &Config,
    text: String,
    log: &ErrorLog,
    credentials: Arc<Credentials>,
) -> anyhow::Result<(Ready, Option<Predecessor>)> {
    // Files and names may take their time; signals are heeded meanwhile.
    let opening = tokio::task::spawn_blocking({
        let (args, config, log) = (args.clone(), config.clone(), log.clone());
        move || Opened::open(&args, &config, &text, log, credentials)
    });
    let opened = opening.await.context("the start failed")??;
    if args.upgrade {
        let (ready, predecessor) = upgrade::take_over(args, config, opened).await?;
        return Ok((ready, Some(predecessor)));
    }
    Ok((opened.ready(args, config, &mut Default::default())?, None))
}
