//! Tokens: issued at login, verified once each and then remembered.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
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

/// The only header there is: HMAC with SHA-256 (RFC 7518 §3.2).
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
}

pub(super) struct Tokens {
    key: hmac::Key,
    /// Token to time of expiry, in seconds since the epoch.
    verified: RefCell<HashMap<Box<[u8]>, u64>>,
}

impl Tokens {
    pub(super) fn new(secret: &str) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            verified: RefCell::new(HashMap::new()),
        }
    }

    /// A token for a user: a JSON web token in the compact form (RFC 7515 §7.1).
    pub(super) fn issue(&self, user: &str) -> Result<String, serde_json::Error> {
        let iat = now();
        let claims = Claims {
            sub: user.to_owned(),
            iat,
            exp: iat + LIFETIME_S,
        };
        let header = Header {
            alg: "HS256".to_owned(),
            typ: "JWT".to_owned(),
        };
        let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims)?, &mut token);
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// What a token claims, if this secret signed it and it has not expired.
    fn verify(&self, token: &[u8], now: u64) -> Option<Claims> {
        let token = std::str::from_utf8(token).ok()?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        hmac::verify(&self.key, signed.as_bytes(), &decoded(signature)?).ok()?;
        let header: Header = serde_json::from_slice(&decoded(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&decoded(claims)?).ok()?;
        (header.alg == "HS256" && now < claims.exp).then_some(claims)
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
        let Some(claims) = self.verify(token, now) else {
            return false;
        };
        let mut verified = self.verified.borrow_mut();
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(token.into(), claims.exp);
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

    #[test]
    fn a_token_expires_and_cannot_be_changed() {
        let tokens = Tokens::new("a");
        let token = tokens.issue("user-1").unwrap();
        let claims = tokens.verify(token.as_bytes(), now()).unwrap();
        assert_eq!(claims.sub, "user-1");
        assert!(tokens.verify(token.as_bytes(), claims.exp).is_none());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = tokens.issue("user-2").unwrap();
        let (other, _) = other.rsplit_once('.').unwrap();
        assert_ne!(signed, other);
        let forged = format!("{other}.{signature}");
        assert!(tokens.verify(forged.as_bytes(), now()).is_none());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let (_, payload) = signed.split_once('.').unwrap();
        let signed = format!("{none}.{payload}");
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&tokens.key, signed.as_bytes()));
        assert!(
            tokens
                .verify(format!("{signed}.{tag}").as_bytes(), now())
                .is_none()
        );
    }

    #[test]
    fn a_token_is_what_other_programs_make_of_the_same_claims() {
        // By `openssl dgst -sha256 -hmac secret` over the first two parts.
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1IiwiaWF0IjoxLCJleHAiOjQxMDI0NDQ4MDB9.4EHQDQaT1tgYr9OFyVxZRrUc79xz3S2LDvp71varxV8";
        let claims = Tokens::new("secret").verify(token.as_bytes(), 2).unwrap();
        assert_eq!((claims.sub.as_str(), claims.exp), ("u", 4_102_444_800));
    }
}
