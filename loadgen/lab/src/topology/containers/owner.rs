//! Whose containers they are, so that those of a generator that was killed are found and removed.

use std::{fmt, fs, io, os::unix::fs::MetadataExt as _};

use procfs::process::Process;

/// One process of one start of one machine. Process ids are used again, also by other process
/// namespaces and after a reboot, so that an id alone says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    boot: String,
    namespace: u64,
    pid: u32,
    /// When it started, in clock ticks since the machine did.
    started: u64,
}

impl Owner {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = std::process::id();
        let started = start_of(pid).ok_or_else(|| io::Error::other("/proc does not show it"))?;
        Ok(Self {
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                .trim()
                .to_owned(),
            namespace: fs::metadata("/proc/self/ns/pid")?.ino(),
            pid,
            started,
        })
    }

    /// Reads what a label says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('/');
        let owner = Self {
            boot: words.next()?.to_owned(),
            namespace: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(owner)
    }

    /// Whether this process has ended for sure, as seen by `observer`. One of another process
    /// namespace cannot be seen, and may live.
    pub(super) fn is_gone(&self, observer: &Self) -> bool {
        if self.boot != observer.boot {
            return true;
        }
        self.namespace == observer.namespace && start_of(self.pid) != Some(self.started)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            boot,
            namespace,
            pid,
            started,
        } = self;
        write!(f, "{boot}/{namespace}/{pid}/{started}")
    }
}

/// When a process started; none when there is none that lives.
fn start_of(pid: u32) -> Option<u64> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_an_owner_that_has_ended_for_sure_is_gone() {
        let own = Owner::own().unwrap();
        assert_eq!(Owner::parse(&own.to_string()), Some(own.clone()));
        assert!(!own.is_gone(&own));
        let with = |change: fn(&mut Owner)| {
            let mut owner = own.clone();
            change(&mut owner);
            owner
        };
        assert!(with(|owner| owner.pid = u32::MAX / 4).is_gone(&own));
        assert!(
            with(|owner| owner.started += 1).is_gone(&own),
            "its id belongs to another process"
        );
        assert!(with(|owner| owner.boot = "before the reboot".to_owned()).is_gone(&own));
        assert!(
            !with(|owner| (owner.namespace, owner.pid) = (1, u32::MAX / 4)).is_gone(&own),
            "nobody can see that from here"
        );
        for not_ours in ["", "a/b/c/d", "boot/1/2", "boot/1/2/3/4"] {
            assert_eq!(Owner::parse(not_ours), None);
        }
    }
}
