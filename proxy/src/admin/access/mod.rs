//! Who may do what: tokens, callers, and what every request must pass.

mod caller;
mod throttle;
mod tokens;

pub use tokens::{
    NAME_ALLOWED as TOKEN_NAME_ALLOWED, TokenError, TokenFile, generate as generate_token,
    is_name as is_token_name,
};

pub(super) use caller::{Caller, Origin, Peer};
pub(super) use throttle::{Payer, Throttle};
