//! The generator goes first: on a machine where it shares cores with what it measures, a late
//! generator would measure itself.

use rustix::{
    process::{getpriority_process, setpriority_process},
    thread::gettid,
};

/// The nice value asked for, from -20 (first) to 19 (last); 0 is usual.
const WANTED: i32 = -10;

/// Asks the system to schedule this thread before ordinary ones, which root may; the nice value it
/// has afterwards. On Linux a nice value belongs to a thread (setpriority(2)).
pub(crate) fn raise() -> i32 {
    let me = Some(gettid());
    // Without the right to do so everything stays as it is.
    let _ = setpriority_process(me, WANTED);
    getpriority_process(me).unwrap_or(0)
}
