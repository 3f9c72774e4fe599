//! The machine that everything runs on.

pub(crate) mod busy;
pub(crate) mod cgroup;
mod cpu;
pub mod machine;
pub mod probe;
pub(crate) mod process;

pub use self::cpu::CpuClock;
pub use self::{
    cgroup::{GroupLimits, group_limits},
    process::{Detail, Reading, TcpStates},
};
