//! The tokens of a file, and new ones.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::line::{self, Line, PREFIX, Problem};
use crate::{Error, files};

/// Every request is compared with all of them.
const MAX_TOKENS: usize = 1_000;
/// Longer texts are no token of ours, and are not worth hashing.
const MAX_TOKEN_BYTES: usize = 1_024;
const TOKEN_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens(Vec<Line>);

impl Tokens {
    /// Reads the text of a file; `path` is for errors.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        let mut lines: Vec<Line> = Vec::new();
        for (i, text) in text.split(|it| *it == b'\n').enumerate() {
            let wrong = |problem| Error::TokensLine { path: path.to_owned(), line: i + 1, problem };
            let Some(line) = Line::parse(text).map_err(wrong)? else { continue };
            if lines.iter().any(|it| it.name == line.name) {
                return Err(wrong(Problem::SameName));
            }
            if lines.iter().any(|it| it.is_same_token(&line)) {
                return Err(wrong(Problem::SameToken));
            }
            lines.push(line);
            if lines.len() > MAX_TOKENS {
                return Err(Error::TooManyTokens { path: path.to_owned(), limit: MAX_TOKENS });
            }
        }
        Ok(Self(lines))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line of a token that a client sent.
    ///
    /// Hashes are compared, all of them and each to its end. That a comparison may be timed would tell of a hash at
    /// most, from which no random token can be computed; constant time costs nothing, and spares that argument.
    pub fn find(&self, token: &[u8]) -> Option<&Line> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let hash = line::hash(token);
        self.0.iter().fold(None, |found, line| if line.is_of(&hash) { Some(line) } else { found })
    }
}

/// A new token of 256 random bits.
pub fn generate() -> Result<String, Error> {
    let mut random = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| Error::Random)?;
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

/// Adds a line to a tokens file, which is made if it is not there, readable by its owner only.
pub fn append(path: &Path, line: &Line) -> Result<(), Error> {
    let failed = |source| Error::WriteFile { path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(files::MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    let mut added = if text.last().is_none_or(|it| *it == b'\n') { String::new() } else { "\n".to_owned() };
    added += &format!("{line}\n");
    text.extend_from_slice(added.as_bytes());
    // With the line: also one that is there already is an error.
    Tokens::parse(path, &text)?;
    file.write_all(added.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::{Scope, Scopes};

    fn parse(text: &str) -> Result<Tokens, String> {
        Tokens::parse(Path::new("/etc/tokens"), text.as_bytes()).map_err(|it| it.to_string())
    }

    #[test]
    fn a_token_is_found_by_its_text_and_by_no_other() {
        let other = Line::of("another", None, Scopes::parse("read").unwrap()).unwrap();
        let made = Line::of("emb_example", Some("drivers"), Scopes::parse("ingest").unwrap()).unwrap();
        let tokens = parse(&format!("# who\n\n  {made}\r\n{other}\n")).unwrap();
        assert_eq!(tokens.find(b"emb_example").unwrap().name, "drivers");
        assert!(tokens.find(b"another").unwrap().scopes.allow(Scope::Read));
        assert!(other.name.starts_with("token-") && other.name.len() == 14, "{}", other.name);
        for unknown in ["", "emb_exampl", "emb_example ", "emb_Example", &"x".repeat(1 << 20)] {
            assert_eq!(tokens.find(unknown.as_bytes()), None, "{unknown}");
        }
    }

    #[test]
    fn the_hash_of_a_token_is_its_sha_256() {
        let line = Line::of("abc", Some("a"), Scopes::parse("read").unwrap()).unwrap().to_string();
        // The example of FIPS 180-4.
        assert_eq!(line, "a read sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_by_its_line_and_never_repeated() {
        let hash = format!("sha256:{}", "0a".repeat(32));
        let secret = "hunter2";
        for (text, says) in [
            (format!("a read {hash}\n{secret} {secret} {hash}"), "line 2: the scopes"),
            (secret.to_owned(), "line 1: a line has three fields"),
            (format!("a read {hash} {secret}"), "line 1: a line has three fields"),
            (format!("a read,{secret} {hash}"), "line 1: the scopes"),
            (format!("a read {secret}"), "line 1: the third field"),
            (format!("a read sha256:{secret}"), "line 1: the third field"),
            (format!("a read sha256:{}", "0g".repeat(32)), "line 1: the third field"),
            (format!("{secret}/ read {hash}"), "line 1: the name"),
            (format!("{secret}{} read {hash}", "x".repeat(64)), "line 1: the name"),
            (format!("#\n\nemb_{secret}"), "line 3: this is a token itself"),
            (format!("a read emb_{secret}"), "line 1: this is a token itself"),
            (format!("{secret} read {hash}\n{secret} read sha256:{}", "0b".repeat(32)), "line 2: the name stands in"),
            (format!("a read {hash}\n{secret} read {hash}"), "line 2: the token stands in"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.contains(says) && error.contains("/etc/tokens") && !error.contains(secret),
                "{text}: {error}"
            );
        }
        assert!(Tokens::parse(Path::new("/x"), b"a read \xff").unwrap_err().to_string().contains("not UTF-8"));
        let many: String = (0..=MAX_TOKENS).map(|i| format!("{i} read sha256:{i:064x}\n")).collect();
        assert!(parse(&many).unwrap_err().contains("1000"));
    }

    #[test]
    fn new_tokens_are_random_and_a_file_of_them_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let tokens: Vec<_> = (0..3).map(|_| generate().unwrap()).collect();
        for token in &tokens {
            assert_eq!((token.len(), &token[..4]), (47, "emb_"));
            append(&path, &Line::of(token, None, Scopes::parse("read").unwrap()).unwrap()).unwrap();
            // A person's editor may leave the last line without its end.
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.trim_end()).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read(&path).unwrap();
        let file = Tokens::parse(&path, &text).unwrap();
        assert!(tokens.iter().all(|it| file.find(it.as_bytes()).is_some()) && file.len() == 3);
        let again = append(&path, &Line::of(&tokens[0], None, Scopes::parse("read").unwrap()).unwrap());
        assert!(again.unwrap_err().to_string().contains("line 4"));
        assert_eq!(std::fs::read(&path).unwrap(), text);
    }
}
