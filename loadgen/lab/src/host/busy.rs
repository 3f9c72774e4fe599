//! How busy the whole machine is.

use procfs::{CurrentSI, KernelStats};

/// CPU seconds that the machine has spent on processes since it was started; time stolen by a
/// hypervisor counts, since it was not to be had either. Interrupts do not: on the loopback
/// interface most of them belong to the load itself.
pub(crate) fn busy_s() -> Option<f64> {
    let total = KernelStats::current().ok()?.total;
    let ticks = total.user + total.nice + total.system + total.steal.unwrap_or(0);
    Some(ticks as f64 / procfs::ticks_per_second() as f64)
}
