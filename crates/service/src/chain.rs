//! Telling an error with its causes.

use std::error::Error;

/// The texts of an error and its causes, the outermost first. Many errors say in their text what caused them, and many causes
/// begin with a name that the text before says, such as a file's: neither is said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(unsaid(&text, &next));
        }
        cause = error.source();
    }
    text
}

/// What of `next` the text before does not say already.
fn unsaid<'a>(text: &str, next: &'a str) -> &'a str {
    match next.split_once(": ") {
        Some((name, rest)) if text.split_whitespace().any(|word| word.trim_end_matches([':', ',']) == name) => rest,
        _ => next,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x: {source}")]
    struct Told {
        source: io::Error,
    }

    #[test]
    fn each_cause_is_told_once() {
        let told = Told { source: io::Error::from_raw_os_error(2) };
        let error = Err::<(), _>(told).context("starting").unwrap_err();
        assert_eq!(chain(error.as_ref()), "starting: cannot read x: No such file or directory (os error 2)");
        let error = Err::<(), _>(io::Error::other("full")).context("cannot write").unwrap_err();
        assert_eq!(chain(error.as_ref()), "cannot write: full");
        let error = Err::<(), _>(io::Error::other("/a/x: full")).context("cannot read /a/x back").unwrap_err();
        assert_eq!(chain(error.as_ref()), "cannot read /a/x back: full");
        let error = Err::<(), _>(io::Error::other("x: full")).context("cannot read /a/x back").unwrap_err();
        assert_eq!(chain(error.as_ref()), "cannot read /a/x back: x: full");
    }
}
