//! Where logs go: a bounded queue, and a thread that writes it.
//!
//! Whoever logs never waits and never fails. A disk that is full or hangs, a pipe that nobody reads, a
//! reader that is gone: lines are lost, counted, and the loss is told once when writing works again.

mod error_log;
mod queue;
mod sink;

pub use error_log::ErrorLog;
pub(crate) use queue::{Limits, LogWriter, Receipt};
pub(crate) use sink::Sink;
