//! Commands of `docker` and Compose: bounded in time, and given up when the user wants to stop.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::{sleep, timeout};
use weir_load::stop::StopToken;

use crate::{error::TopologyError, tuning::runtime};

/// The longest that an ordinary command may take.
pub(super) const COMMAND_WITHIN: Duration = Duration::from_secs(60);
/// How long a command that was interrupted may take to end.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(10);

/// Runs `docker` with these arguments, and returns what it wrote to standard output.
pub(super) fn docker<S: AsRef<str>>(
    what: &'static str,
    arguments: &[S],
    stop: &StopToken,
) -> Result<String, TopologyError> {
    let mut command = Command::new("docker");
    command.args(arguments.iter().map(AsRef::as_ref));
    run(what, command, COMMAND_WITHIN, stop)
}

/// Runs a command to its end, and returns what it wrote to standard output.
pub(super) fn run(
    what: &'static str,
    command: Command,
    within: Duration,
    stop: &StopToken,
) -> Result<String, TopologyError> {
    let output = finish(what, command, within, stop)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said =
        [output.stderr, output.stdout].map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = said
        .iter()
        .map(|text| text.trim())
        .find(|text| !text.is_empty());
    Err(TopologyError::Engine {
        what,
        message: said.map_or_else(|| output.status.to_string(), str::to_owned),
    })
}

fn finish(
    what: &'static str,
    command: Command,
    within: Duration,
    stop: &StopToken,
) -> Result<Output, TopologyError> {
    let failed = |message: String| TopologyError::Engine { what, message };
    runtime()?.block_on(async {
        let child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C reaches this program alone, which then ends the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        let ended = child.wait_with_output();
        tokio::pin!(ended);
        let cut_short = tokio::select! {
            output = &mut ended => return output.map_err(|error| failed(error.to_string())),
            () = stop.stopped() => TopologyError::Stopped,
            () = sleep(within) => failed(format!("it took longer than {} s", within.as_secs())),
        };
        if let Some(group) = group {
            let _ = killpg(Pid::from_raw(group), Signal::SIGINT);
        }
        let _ = timeout(INTERRUPTED_WITHIN, &mut ended).await;
        Err(cut_short)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn try_it(script: &str, within: Duration, stop: &StopToken) -> Result<String, TopologyError> {
        run("try it", shell(script), within, stop)
    }

    #[test]
    fn a_command_says_what_it_wrote_or_why_it_failed() {
        let stop = StopToken::new();
        assert_eq!(try_it("echo yes", COMMAND_WITHIN, &stop).unwrap(), "yes\n");
        let error = try_it("echo no >&2; exit 3", COMMAND_WITHIN, &stop).unwrap_err();
        assert_eq!(error.to_string(), "cannot try it: no");
        let silent = try_it("exit 3", COMMAND_WITHIN, &stop).unwrap_err();
        assert!(silent.to_string().contains("exit status: 3"), "{silent}");
    }

    #[test]
    fn a_command_that_hangs_is_given_up() {
        let begun = Instant::now();
        let stop = StopToken::new();
        let late = try_it("exec sleep 600", Duration::from_millis(50), &stop).unwrap_err();
        assert!(late.to_string().contains("took longer"), "{late}");
        stop.stop();
        let stopped = try_it("exec sleep 600", COMMAND_WITHIN, &stop).unwrap_err();
        assert!(matches!(stopped, TopologyError::Stopped), "{stopped}");
        assert!(begun.elapsed() < COMMAND_WITHIN);
    }
}
