//! A line of the tokens file: `NAME SCOPES sha256:HASH`.

use std::fmt;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq;

use super::Scopes;

/// What `emberlog token new` makes begins so: a token that stands in the wrong place is recognised.
pub(super) const PREFIX: &str = "emb_";
const HASH: &str = "sha256:";
const MAX_NAME: usize = 64;

/// What is wrong with a line. It never repeats the line's text, which may be a secret in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error(
        "this is a token itself; only its hash may stand here. Take the token out of use: whoever could read the file \
         may know it. `emberlog token new` makes another one and prints the line for it"
    )]
    PlainToken,
    #[error("a line has three fields: a name, its scopes and `sha256:` with the token's hash in hexadecimal digits")]
    Fields,
    #[error("the name (the first field) must be 1 to 64 letters, digits, `-`, `_`, `.` or `@`")]
    Name,
    #[error("the scopes (the second field) must be `ingest`, `read` or `admin`, or several with commas and no spaces")]
    Scopes,
    #[error(
        "the third field must be `sha256:` and the 64 hexadecimal digits of the token's SHA-256, never the token \
         itself. `emberlog token hash` prints the line for a token that you have"
    )]
    Hash,
    #[error("the name stands in another line already")]
    SameName,
    #[error("the token stands in another line already")]
    SameToken,
}

/// A token as the file holds it: its name for people, what it allows, and its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    pub name: String,
    pub scopes: Scopes,
    hash: [u8; SHA256_OUTPUT_LEN],
}

impl Line {
    /// Without a name it gets one that no other token has.
    pub fn of(token: &str, name: Option<&str>, scopes: Scopes) -> Result<Self, Problem> {
        let hash = hash(token.as_bytes());
        let name = name.map_or_else(|| format!("token-{}", hex(&hash[..4])), str::to_owned);
        check_name(&name)?;
        Ok(Self { name, scopes, hash })
    }

    /// None for blank lines and comments.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>, Problem> {
        let text = std::str::from_utf8(text).map_err(|_| Problem::NotText)?.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let fields: Vec<_> = text.split_whitespace().collect();
        if fields.iter().any(|field| field.starts_with(PREFIX)) {
            return Err(Problem::PlainToken);
        }
        let [name, scopes, hash] = fields[..] else { return Err(Problem::Fields) };
        check_name(name)?;
        let scopes = Scopes::parse(scopes).ok_or(Problem::Scopes)?;
        let hash = hash.strip_prefix(HASH).and_then(unhex).ok_or(Problem::Hash)?;
        Ok(Some(Self { name: name.to_owned(), scopes, hash }))
    }

    pub(super) fn is_same_token(&self, other: &Self) -> bool {
        self.hash == other.hash
    }

    /// Whether this is the token of that hash, in the same time whatever the hash is.
    pub(super) fn is_of(&self, hash: &[u8; SHA256_OUTPUT_LEN]) -> bool {
        self.hash.ct_eq(hash).into()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {HASH}{}", self.name, self.scopes, hex(&self.hash))
    }
}

/// Without the hash: one of a token that a person thought up can be guessed.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    match (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(Problem::Name),
    }
}

pub(super) fn hash(token: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; SHA256_OUTPUT_LEN]> {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    let is_whole = text.len() == 2 * bytes.len() && text.bytes().all(|it| it.is_ascii_hexdigit());
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_whole.then_some(bytes)
}
