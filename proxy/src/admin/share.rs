//! How much of the process's descriptors the admin API may hold.

use rustix::process::{Resource, getrlimit};

/// How few places a low limit on descriptors leaves.
const LEAST: usize = 4;

/// So many places, but no more than one in `one_of` of the descriptors that the process may have: clients of the admin
/// API do not take those that requests of the proxy need.
pub(super) fn share(most: usize, one_of: u64) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let share = limit.map_or(most, |limit| {
        usize::try_from(limit / one_of).unwrap_or(most)
    });
    most.min(share.max(LEAST))
}
