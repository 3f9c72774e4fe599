//! A token of the admin API for one run. The proxy's file holds only its hash.

use std::fmt::Write as _;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

/// A token, and the table for it in the proxy's file.
pub(super) struct Token {
    pub(super) secret: String,
    pub(super) entry: String,
}

impl Token {
    /// One of 256 random bits, which may read and write.
    pub(super) fn new(name: &str) -> Self {
        let secret = format!("weir_{}", hex(&rand::rng().random::<[u8; 32]>()));
        let digest = hex(&Sha256::digest(secret.as_bytes()));
        let entry = format!(
            "[[token]]\nname = {name:?}\nscopes = [\"read\", \"write\"]\nsha256 = \"{digest}\"\n"
        );
        Self { secret, entry }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
