//! Processes that belong to a measurement: started in a group of their own, stopped on drop, and
//! read through `/proc`.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use procfs::process::{Process, all_processes};

/// A child process and whatever it starts. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Owned {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Owned {
    /// Starts `program` with its output appended to `output`.
    ///
    /// With `core`, the process may only run on that core (through `taskset`, which replaces
    /// itself with the program, so the process id stays).
    ///
    /// # Errors
    ///
    /// When the program cannot be started or the output file cannot be opened.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[String],
        core: Option<usize>,
        output: &Path,
    ) -> anyhow::Result<Self> {
        // The programs in front of it would start, and only then fail.
        ensure!(
            program.is_file(),
            "cannot start {name}: there is no {}",
            program.display()
        );
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(output)
            .with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = pinned(program, core);
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            output: output.to_owned(),
        })
    }

    /// The process id, which is the id of the group as well.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error, with the last lines of output, if the process has ended.
    ///
    /// # Errors
    ///
    /// When it has ended, whatever its exit code.
    pub fn still_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!(
                "{} ended early ({status}): {}",
                self.name,
                last_lines(&self.output, 5)
            )),
        }
    }

    /// CPU time and memory of the process and its descendants, up to now.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of_tree(self.pid())
            .with_context(|| format!("cannot read the usage of {}", self.name))
    }

    fn signal(&self, signal: Signal) {
        // The group is gone if all of its processes are: nothing to do then.
        let _ = i32::try_from(self.pid()).map(|pid| killpg(Pid::from_raw(pid), signal));
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A command for `program`, kept on one core if one is named, and asked to end if this program dies
/// without a chance to say so.
///
/// Both are done by small programs that replace themselves with the next one, so the process id is
/// that of `program`. `setpriv` is left out where there is none.
pub fn pinned(program: &Path, core: Option<usize>) -> Command {
    let mut words: Vec<OsString> = Vec::new();
    if let Some(setpriv) = find("setpriv") {
        words.push(setpriv.into());
        words.extend(["--pdeathsig", "TERM", "--"].map(OsString::from));
    }
    if let Some(core) = core {
        words.extend(["taskset", "--cpu-list", &core.to_string()].map(OsString::from));
    }
    words.push(program.into());
    let mut words = words.into_iter();
    // There is at least the program itself.
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// What a process tree has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time in user space.
    pub user: Duration,
    /// CPU time in the kernel on behalf of the process.
    pub system: Duration,
    /// Resident memory in bytes, summed over processes (shared pages count once for each).
    pub rss: u64,
}

impl Usage {
    /// Reads `/proc/PID/stat` of a process and its descendants.
    ///
    /// The kernel scales user and system time so that their sum is exact to a clock tick (10 ms);
    /// the split between them is sampled at ticks.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read or the process does not exist.
    pub fn of_tree(root: u32) -> anyhow::Result<Self> {
        let root = i32::try_from(root)?;
        let ticks = procfs::ticks_per_second() as f64;
        let stats: Vec<_> = all_processes()?
            .filter_map(|process| process.ok()?.stat().ok())
            .collect();
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            tree.extend(stats.iter().filter(|s| s.ppid == parent).map(|s| s.pid));
            next += 1;
        }
        let mut usage = Self::default();
        let mut found = false;
        for stat in stats.iter().filter(|s| tree.contains(&s.pid)) {
            found |= stat.pid == root;
            usage.user += Duration::from_secs_f64(stat.utime as f64 / ticks);
            usage.system += Duration::from_secs_f64(stat.stime as f64 / ticks);
            usage.rss += stat.rss * procfs::page_size();
        }
        if found {
            Ok(usage)
        } else {
            Err(anyhow!("no process {root}"))
        }
    }

    /// What was used since `earlier`; the memory is today's.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            rss: self.rss,
        }
    }

    /// User and system time together.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// The end of a file, for error messages.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "no output".to_owned();
    }
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join(" | ")
}

/// The program's path: in `PATH`, or where Debian keeps daemons.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// The process that this code runs in.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn own_usage() -> anyhow::Result<Usage> {
    let stat = Process::myself()?.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    Ok(Usage {
        user: Duration::from_secs_f64(stat.utime as f64 / ticks),
        system: Duration::from_secs_f64(stat.stime as f64 / ticks),
        rss: stat.rss * procfs::page_size(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_process_ends_its_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 60 & echo $!; wait".to_owned();
        let output = dir.path().join("out");
        let owned = Owned::start(
            "shell",
            Path::new("/bin/sh"),
            &["-c".to_owned(), script],
            None,
            &output,
        )
        .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let grandchild: i32 = loop {
            if let Ok(pid) = std::fs::read_to_string(&output)
                .unwrap_or_default()
                .trim()
                .parse()
            {
                break pid;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the shell never started its child"
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(owned.usage().unwrap().rss > 0);
        drop(owned);
        // The orphan is reaped by init, which may take a moment: a zombie counts as ended.
        let ended = || {
            Process::new(grandchild)
                .and_then(|p| p.stat())
                .map_or(true, |s| s.state == 'Z')
        };
        while !ended() {
            assert!(
                std::time::Instant::now() < deadline,
                "the grandchild still runs"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Owned::start(
            "ghost",
            Path::new("/no/such/program"),
            &[],
            None,
            &dir.path().join("out"),
        )
        .unwrap_err();
        assert!(error.to_string().contains("ghost"), "{error}");
        assert!(find("no-such-program-anywhere").is_none());
    }
}
