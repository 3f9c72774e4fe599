//! Removing a Compose project: by the labels that Compose puts on everything, without the files that
//! it was made from.

use std::{collections::BTreeSet, io::Read as _, process::ExitCode, thread, time::Duration};

use weir_load::stop::StopToken;

use super::{command::docker, overlay::OWNER, owner::Owner, part::ids_of};
use crate::{error::TopologyError, stdio};

/// What a project of this program is called, before the numbers.
const PREFIX: &str = "weir-bench-";
/// Word that tells the process which waits for this one that nothing is left to remove.
pub(super) const DONE: &[u8] = b"done";
/// Pause between two looks at what is left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks that find nothing, one after the other, before nothing more is expected: a Compose that was
/// left alone may still be starting something.
const EMPTY_LOOKS: u32 = 5;
/// Looks in all.
const MOST_LOOKS: u32 = 60;

/// The name of a project that nobody else has.
pub(super) fn name() -> String {
    format!(
        "{PREFIX}{}-{:08x}",
        std::process::id(),
        rand::random::<u32>()
    )
}

/// Removes the containers and networks of a project. Whether there were any.
pub(super) fn remove(project: &str) -> Result<bool, TopologyError> {
    // Also when the user has asked to stop: this is what stopping means.
    let stop = StopToken::new();
    let containers = ids_of(project, &stop)?;
    if !containers.is_empty() {
        let mut arguments = vec!["rm", "--force", "--volumes"];
        arguments.extend(containers.iter().map(String::as_str));
        docker("remove the containers", &arguments, &stop)?;
    }
    let filter = format!("label=com.docker.compose.project={project}");
    let arguments = ["network", "ls", "--quiet", "--filter", &filter];
    let networks = docker("list the networks", &arguments, &stop)?;
    let networks: Vec<_> = networks.split_whitespace().collect();
    if !networks.is_empty() {
        let mut arguments = vec!["network", "rm"];
        arguments.extend(&networks);
        docker("remove the network", &arguments, &stop)?;
    }
    Ok(!containers.is_empty() || !networks.is_empty())
}

/// Removes what generators left that were killed together with the process that waits for them.
pub(super) fn remove_stale(own: &Owner, stop: &StopToken) -> Result<(), TopologyError> {
    let filter = format!("label={OWNER}");
    let format =
        format!("{{{{.Label \"com.docker.compose.project\"}}}} {{{{.Label \"{OWNER}\"}}}}");
    let mut stale = BTreeSet::new();
    for list in [&["ps", "--all"][..], &["network", "ls"][..]] {
        let mut arguments = list.to_vec();
        arguments.extend(["--filter", filter.as_str(), "--format", format.as_str()]);
        let text = docker("look for what was left", &arguments, stop)?;
        let gone = text.lines().filter_map(|line| {
            let (project, owner) = line.split_once(' ')?;
            let gone = project.starts_with(PREFIX) && Owner::parse(owner)?.is_gone(own);
            gone.then(|| project.to_owned())
        });
        stale.extend(gone);
    }
    for project in stale {
        // Somebody else may be removing it just now.
        if remove(&project).unwrap_or(true) {
            stdio::note(format_args!(
                "removed the containers {project}, whose weir-bench was killed"
            ));
        }
    }
    Ok(())
}

/// Arguments of the hidden `weir-bench containers-keeper`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The Compose project.
    #[arg(long, value_name = "NAME")]
    project: String,
}

/// Waits until the process that started this one says that it is done, or ends without saying so;
/// then the containers of its project are removed.
///
/// # Errors
///
/// When the containers cannot be removed.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    let mut said = Vec::new();
    let heard = std::io::stdin().lock().read_to_end(&mut said);
    if heard.is_ok() && said == DONE {
        return Ok(ExitCode::SUCCESS);
    }
    let mut empty = 0;
    for _ in 0..MOST_LOOKS {
        // What cannot be removed yet, because Compose is still at it, can be a little later.
        empty = match remove(&args.project) {
            Ok(false) => empty + 1,
            Ok(true) | Err(_) => 0,
        };
        if empty == EMPTY_LOOKS {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(LOOK_EVERY);
    }
    anyhow::bail!("the containers of {} could not be removed", args.project)
}
