//! Who may do what: tokens, callers, and what every request must pass.

mod caller;
mod throttle;
mod tokens;

pub use tokens::{TokenError, TokenFile, generate as generate_token};

pub(super) use caller::{Caller, Peer};
pub(super) use throttle::Throttle;
