//! `weir-bench replica`: the stand-in API as a process.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use weir_lab::{
    replica::{
        Capacity, Certificate, DEFAULT_SECRET, Distribution, Kind, ReplicaConfig, Work, bind,
        secure, serve,
    },
    stdio,
};
use weir_load::units::parse_duration;

use crate::exit::{Exit, Usage};

/// How often a stand-in looks whether its parent is still there.
const PARENT_CHECK: Duration = Duration::from_millis(200);

/// Arguments of `weir-bench replica`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 picks a free one. Repeat it for several.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Name, sent in `X-Replica`.
    #[arg(long, default_value = "replica")]
    name: String,
    /// Requests worked on at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    slots: u32,
    /// Mean time a request occupies its slot.
    #[arg(long, default_value = "10ms", value_parser = parse_duration, value_name = "DURATION")]
    service_time: Duration,
    /// How service times are distributed around the mean.
    #[arg(long, value_enum, default_value_t = Shape::Constant)]
    distribution: Shape,
    /// Requests that may wait for a slot; more are answered with 503.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    queue: usize,
    /// Slots burn processor time instead of waiting.
    #[arg(long)]
    cpu_work: bool,
    /// No slots and no service time: answer as fast as possible.
    #[arg(long, conflicts_with_all = ["slots", "service_time", "distribution", "cpu_work"])]
    fast: bool,
    /// Answer everything with the same bytes at the least cost: no login, no slots.
    #[arg(long, conflicts_with_all = ["slots", "service_time", "distribution", "cpu_work", "fast"])]
    null: bool,
    /// Size of the null answer's body.
    #[arg(long, default_value_t = 256, requires = "null", value_name = "BYTES")]
    body: usize,
    /// Time until each null answer.
    #[arg(long, default_value = "0", requires = "null", value_parser = parse_duration, value_name = "DURATION")]
    delay: Duration,
    /// Speak TLS with a certificate of its own making, for localhost, 127.0.0.1 and ::1; HTTP/2 and
    /// HTTP/1.1 are offered. Without TLS, HTTP/2 needs prior knowledge.
    #[arg(long)]
    tls: bool,
    /// Further name in that certificate; repeat it for several.
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
    /// Write that certificate (PEM) to this file, for clients to trust.
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_save: Option<PathBuf>,
    /// Speak TLS with this certificate chain (PEM).
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls"
    )]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Key of the tokens; replicas that share it accept each other's.
    #[arg(long, default_value = DEFAULT_SECRET)]
    jwt_secret: String,
    /// Seed of the service times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write addresses and process id to this file, as JSON, once connections are accepted.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// End when process PID, the one that starts this, is not its parent any more.
    #[arg(long, value_name = "PID")]
    exit_with_parent: Option<u32>,
}

/// Distribution of service times by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shape {
    /// Always the same.
    Constant,
    /// Log-normal with σ = 0.5.
    Lognormal,
    /// Nine of ten take half the mean, one takes five and a half times the mean.
    Bimodal,
}

impl Args {
    fn config(&self) -> ReplicaConfig {
        let mean = self.service_time;
        let capacity = Capacity {
            slots: self.slots,
            service: match self.distribution {
                Shape::Constant => Distribution::Constant(mean),
                Shape::Lognormal => Distribution::LogNormal(mean),
                Shape::Bimodal => Distribution::Bimodal(mean),
            },
            queue: self.queue,
            work: if self.cpu_work { Work::Cpu } else { Work::Wait },
            seed: self.seed,
        };
        ReplicaConfig {
            name: self.name.clone(),
            listen: self.listen.clone(),
            kind: if self.null {
                Kind::Null {
                    body: self.body,
                    delay: self.delay,
                }
            } else {
                Kind::Api {
                    capacity: (!self.fast).then_some(capacity),
                    secret: self.jwt_secret.clone(),
                }
            },
        }
    }
}

impl Args {
    fn certificate(&self) -> Option<Certificate> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some(Certificate::Files {
                chain: chain.clone(),
                key: key.clone(),
            }),
            _ if self.tls => Some(Certificate::SelfSigned {
                names: self.tls_name.clone(),
                save: self.tls_save.clone(),
            }),
            _ => None,
        }
    }
}

/// Runs `weir-bench replica` until SIGTERM, SIGINT, or the end of its parent.
///
/// # Errors
///
/// When an address cannot be bound, the ports file not be written, or serving fails.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if http::HeaderValue::from_str(&args.name).is_err() {
        return Err(Usage::new("`--name` must be visible ASCII: it is sent in a header").into());
    }
    let config = args.config();
    let tls = args
        .certificate()
        .map(|certificate| secure::configuration(&certificate))
        .transpose()?;
    let (listeners, addresses) = bind(&config.listen)?;
    let (stop, stopped) = watch::channel(false);
    stop_on_signals(stop, args.exit_with_parent).context("installing signal handlers")?;
    if let Some(path) = &args.ports_file {
        write_ports(path, &addresses)
            .with_context(|| format!("writing the ports file {}", path.display()))?;
    }
    for address in &addresses {
        stdio::line(format_args!("{} listens on {address}", config.name))?;
    }
    serve(config, tls, listeners, stopped)?;
    Ok(Exit::Passed.into())
}

/// Writes addresses and process id in one step: whoever sees the file sees all of it.
fn write_ports(path: &Path, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    let json = serde_json::json!({
        "listeners": addresses,
        "pid": std::process::id(),
    });
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{json}")?;
    file.persist(path)?;
    Ok(())
}

/// Stops on the first signal, from a thread of its own; a second one ends the process at once.
fn stop_on_signals(stop: watch::Sender<bool>, parent: Option<u32>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                let orphaned = async {
                    loop {
                        tokio::time::sleep(PARENT_CHECK).await;
                        if parent.is_some_and(|pid| pid != std::os::unix::process::parent_id()) {
                            return;
                        }
                    }
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = orphaned => {}
                }
                let _ = stop.send(true);
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = std::future::pending() => {}
                }
                std::process::exit(130);
            });
        })?;
    Ok(())
}
