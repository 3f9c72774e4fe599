//! Tokens: issued at login, verified once each and then remembered.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// How long a token is good for, in seconds: longer than any documented run but the soak.
pub(super) const LIFETIME_S: u64 = 24 * 3600;
/// Verified tokens that are remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 100_000;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    iat: u64,
    exp: u64,
}

pub(super) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Token to time of expiry, in seconds since the epoch.
    verified: RefCell<HashMap<Box<[u8]>, u64>>,
}

impl Tokens {
    pub(super) fn new(secret: &str) -> Self {
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            verified: RefCell::new(HashMap::new()),
        }
    }

    /// A token for a user.
    pub(super) fn issue(&self, user: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = now();
        let claims = Claims {
            sub: user.to_owned(),
            iat,
            exp: iat + LIFETIME_S,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// Whether the value of an `Authorization` header holds a valid token.
    pub(super) fn accepts(&self, authorization: Option<&[u8]>) -> bool {
        let token = authorization.and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let Some(token) = token else {
            return false;
        };
        let now = now();
        if let Some(expiry) = self.verified.borrow().get(token) {
            return now < *expiry;
        }
        let validation = Validation::new(Algorithm::HS256);
        let Ok(data) = decode::<Claims>(token, &self.decoding, &validation) else {
            return false;
        };
        let mut verified = self.verified.borrow_mut();
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(token.into(), data.claims.exp);
        true
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_of_the_same_secret_are_accepted() {
        let (ours, theirs) = (Tokens::new("a"), Tokens::new("b"));
        let good = format!("Bearer {}", ours.issue("user-1").unwrap());
        assert!(ours.accepts(Some(good.as_bytes())));
        assert!(ours.accepts(Some(good.as_bytes())), "from memory");
        assert!(!theirs.accepts(Some(good.as_bytes())));
        assert!(Tokens::new("a").accepts(Some(good.as_bytes())));
        for bad in ["", "Bearer", "Bearer ", "Basic abc", "Bearer abc"] {
            assert!(!ours.accepts(Some(bad.as_bytes())), "{bad}");
        }
        assert!(!ours.accepts(None));
    }
}
