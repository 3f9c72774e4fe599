//! The machine a comparison runs on, and how its cores are shared out.

use serde::Serialize;

/// What every table has to say about where it was made.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Processor name.
    pub cpu: String,
    /// Cores available to this process.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Load average over one minute when the comparison began.
    pub load_1min: f64,
}

impl Machine {
    /// Reads it from `/proc`; what cannot be read is left empty.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(String::new, |(_, name)| name.trim().to_owned());
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            load_1min: load
                .split(' ')
                .next()
                .and_then(|l| l.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// Another process is likely to disturb the figures.
    pub fn is_busy(&self) -> bool {
        self.load_1min > 0.5
    }
}

/// Which core runs what. `None` leaves it to the scheduler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cores {
    /// The proxy under test: a core of its own.
    pub proxy: Option<usize>,
    /// The load source.
    pub load: Option<usize>,
    /// The upstream servers.
    pub upstreams: Option<usize>,
}

impl Cores {
    /// Shares out `cores`: the last is the proxy's, the first the load source's, and the upstream
    /// servers get a third if there is one.
    pub fn share(cores: usize) -> Self {
        match cores {
            0 | 1 => Self::default(),
            2 => Self {
                proxy: Some(1),
                load: Some(0),
                upstreams: Some(0),
            },
            _ => Self {
                proxy: Some(cores - 1),
                load: Some(0),
                upstreams: Some(1),
            },
        }
    }
}

/// Lets this process and its children open many files (as far as it may).
///
/// Returns the limit that now holds.
pub fn raise_file_limit(wanted: u64) -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    // Root may raise the hard limit; anybody may raise the soft one up to it.
    for (soft, hard) in [
        (wanted.max(soft), wanted.max(hard)),
        (hard.min(wanted).max(soft), hard),
    ] {
        if setrlimit(Resource::RLIMIT_NOFILE, soft, hard).is_ok() {
            return soft;
        }
    }
    soft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_never_shares_its_core() {
        for cores in 2..8 {
            let shared = Cores::share(cores);
            assert_ne!(shared.proxy, shared.load);
            assert_ne!(shared.proxy, shared.upstreams);
            assert!(shared.proxy < Some(cores));
        }
        assert_eq!(Cores::share(1), Cores::default());
    }
}
