//! Telling an error with its causes.

use std::error::Error;

/// The texts of an error and its causes, the outermost first. Many errors say in their text what caused them: that is not said
/// again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
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
    }
}
