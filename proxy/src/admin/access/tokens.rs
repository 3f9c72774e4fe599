//! Tokens: who may use the admin API from where only the network is in between.
//!
//! The file holds no token, only the SHA-256 of each. A token is 256 random bits, so a plain hash is enough:
//! there is nothing to guess. Comparing takes the same time for a wrong token as for a right one, whatever
//! they have in common, and every entry is compared.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;
use rand::RngExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use weir_api::endpoints::Scope;

/// What every token begins with, so that one is recognised where it should not be.
const PREFIX: &str = "weir_";
/// Most tokens in a file.
const MOST: usize = 1000;

/// A file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("{path}: cannot be read: {cause}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {what}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        what: String,
    },
}

/// A name that may do some things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Holder {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
}

#[derive(Debug, Clone)]
struct Entry {
    holder: Holder,
    digest: [u8; 32],
}

/// The tokens of a file.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Tokens(Vec<Entry>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    token: Vec<RawToken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    name: String,
    scopes: Vec<String>,
    sha256: String,
}

impl Tokens {
    /// Reads the text of a file; `path` is for errors only.
    ///
    /// # Errors
    /// Text that is not of this form, with the line; no token at all; a name that is there twice.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, TokenError> {
        let wrong = |what: String| TokenError::Content {
            path: path.to_owned(),
            what,
        };
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            wrong(format!("line {line}: {}", error.message()))
        })?;
        if raw.token.is_empty() || raw.token.len() > MOST {
            let count = raw.token.len();
            return Err(wrong(format!(
                "{count} tokens; allowed: 1 to {MOST} tables [[token]] with name, scopes and sha256 (weir token new NAME prints one)"
            )));
        }
        let mut entries: Vec<Entry> = Vec::new();
        for token in raw.token {
            let name = token.name;
            if !is_name(&name) || entries.iter().any(|entry| entry.holder.name == name) {
                return Err(wrong(format!(
                    "token {name:?}: the name is not allowed; allowed: {NAME_ALLOWED}, each name once"
                )));
            }
            let scopes: Option<Vec<Scope>> = token.scopes.iter().map(|s| scope(s)).collect();
            let scopes = scopes.filter(|scopes| !scopes.is_empty()).ok_or_else(|| {
                wrong(format!("token {name:?}: scopes {:?} are not allowed; allowed: one or more of \"read\", \"write\", \"profile\"", token.scopes))
            })?;
            let digest = from_hex(&token.sha256).ok_or_else(|| {
                wrong(format!("token {name:?}: sha256 is not allowed; allowed: the SHA-256 of the token as 64 hexadecimal digits"))
            })?;
            let holder = Holder { name, scopes };
            entries.push(Entry { holder, digest });
        }
        Ok(Self(entries))
    }

    /// Who holds a token, if anyone.
    pub(super) fn holder(&self, token: &str) -> Option<&Holder> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.digest.ct_eq(&digest)) {
                found = Some(&entry.holder);
            }
        }
        found
    }
}

/// A file of tokens, and what it held when it was last read.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    tokens: RwLock<Tokens>,
}

impl TokenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        Ok(Self {
            tokens: RwLock::new(read(path)?),
            path: path.to_owned(),
        })
    }

    /// Reads it again. Until then, and when it cannot be used, the old tokens hold.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub fn reread(&self) -> Result<(), TokenError> {
        let tokens = read(&self.path)?;
        *self.tokens.write() = tokens;
        Ok(())
    }

    pub(in crate::admin) fn holder(&self, token: &str) -> Option<Holder> {
        self.tokens.read().holder(token).cloned()
    }
}

fn read(path: &Path) -> Result<Tokens, TokenError> {
    let text = std::fs::read_to_string(path).map_err(|cause| TokenError::Read {
        path: path.to_owned(),
        cause,
    })?;
    Tokens::parse(&text, path)
}

fn scope(word: &str) -> Option<Scope> {
    [Scope::Read, Scope::Write, Scope::Profile]
        .into_iter()
        .find(|scope| scope.as_str() == word)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a token's name may be.
pub const NAME_ALLOWED: &str = "1 to 64 visible characters";

/// Whether a token may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic())
}

/// A new token, and the table that goes into the file for it.
#[must_use]
pub fn generate(name: &str, scopes: &[Scope]) -> (String, String) {
    let token = format!("{PREFIX}{}", to_hex(&rand::rng().random::<[u8; 32]>()));
    let words: Vec<String> = scopes.iter().map(|s| format!("{:?}", s.as_str())).collect();
    let entry = format!(
        "[[token]]\nname = {name:?}\nscopes = [{}]\nsha256 = \"{}\"\n",
        words.join(", "),
        to_hex(&Sha256::digest(token.as_bytes()))
    );
    (token, entry)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tokens, String> {
        Tokens::parse(text, Path::new("tokens.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_generated_token_is_recognised_and_nothing_else() {
        let (token, entry) = generate("ana", &[Scope::Read, Scope::Write]);
        let (other, second) = generate("bob", &[Scope::Read]);
        let tokens = parse(&format!("{entry}{second}")).unwrap();
        let ana = tokens.holder(&token).unwrap();
        assert_eq!((ana.name.as_str(), ana.scopes.len()), ("ana", 2));
        assert_eq!(tokens.holder(&other).unwrap().name, "bob");
        for wrong in ["", "weir_", &token[1..], &format!("{token} ")] {
            assert!(tokens.holder(wrong).is_none(), "{wrong:?}");
        }
        assert!(
            !entry.contains(&token),
            "the file does not hold the token itself"
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let good = "a".repeat(64);
        for (text, says) in [
            ("", "0 tokens; allowed: 1 to 1000"),
            (
                "[[token]]\nname = \"a\"\n",
                "line 1: missing field `scopes`",
            ),
            (
                &format!("[[token]]\nname = \"a\"\nscopes = [\"all\"]\nsha256 = \"{good}\""),
                "one or more of \"read\", \"write\", \"profile\"",
            ),
            (
                &format!("[[token]]\nname = \"a\"\nscopes = []\nsha256 = \"{good}\""),
                "scopes [] are not allowed",
            ),
            (
                "[[token]]\nname = \"a\"\nscopes = [\"read\"]\nsha256 = \"abc\"",
                "64 hexadecimal digits",
            ),
            (
                "[[token]]\nname = \"\"\nscopes = [\"read\"]\nsha256 = \"abc\"",
                "the name is not allowed",
            ),
            ("[[token]]\nname = 1", "line 2"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.starts_with("tokens.toml: "), "{error}");
        }
        let entry = generate("a", &[Scope::Read]).1;
        assert!(
            parse(&format!("{entry}{entry}"))
                .unwrap_err()
                .contains("each name once")
        );
    }
}
