//! Metrics of this process, under the names that every Prometheus client library gives them.

use prometheus::{IntGauge, Registry};

use super::allowance::Allowance;
use super::metrics::{register, set};

/// CPU, memory, descriptors and threads, and how much of them the process may have.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    cpu: prometheus::Counter,
    resident: IntGauge,
    virtual_memory: IntGauge,
    fds: IntGauge,
    threads: IntGauge,
    memory_limit: IntGauge,
    cpu_limit: prometheus::Gauge,
}

impl ProcessMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            cpu: register(
                r,
                prometheus::Counter::new(
                    "process_cpu_seconds_total",
                    "CPU time, user and system.",
                )?,
            )?,
            resident: register(
                r,
                IntGauge::new("process_resident_memory_bytes", "Resident memory.")?,
            )?,
            virtual_memory: register(
                r,
                IntGauge::new("process_virtual_memory_bytes", "Virtual memory.")?,
            )?,
            fds: register(
                r,
                IntGauge::new("process_open_fds", "Open file descriptors.")?,
            )?,
            threads: register(r, IntGauge::new("process_threads", "Threads.")?)?,
            memory_limit: register(
                r,
                IntGauge::new(
                    "weir_memory_limit_bytes",
                    "Memory that the process may use: of its control group, or of the machine.",
                )?,
            )?,
            cpu_limit: register(
                r,
                prometheus::Gauge::new(
                    "weir_cpu_limit_cores",
                    "Processors that the process may use: quota of its control group, or those it may run on.",
                )?,
            )?,
        };
        let start = register(
            r,
            prometheus::Gauge::new("process_start_time_seconds", "Start time since the epoch.")?,
        )?;
        if let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            start.set(now.as_secs_f64());
        }
        Ok(metrics)
    }

    /// Reads `/proc/self`; what cannot be read keeps its last value.
    pub(super) fn update(&self) {
        let Ok(me) = procfs::process::Process::myself() else {
            return;
        };
        if let Ok(stat) = me.stat() {
            let ticks = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            self.cpu.inc_by((ticks - self.cpu.get()).max(0.0));
            set(&self.resident, stat.rss * procfs::page_size());
            set(&self.virtual_memory, stat.vsize);
            self.threads.set(stat.num_threads);
        }
        if let Ok(fds) = me.fd_count() {
            set(&self.fds, fds as u64);
        }
        let allowance = Allowance::of(&me);
        if let Some(memory) = allowance.memory {
            set(&self.memory_limit, memory);
        }
        if let Some(cpus) = allowance.cpus {
            self.cpu_limit.set(cpus);
        }
    }
}
