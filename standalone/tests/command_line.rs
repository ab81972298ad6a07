//! The command line of the real program, as a person meets it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn emberlog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberlog")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_the_commands_and_how_to_set_each_flag_of_the_server() {
    let help = text(&emberlog(&["--help"]).stdout);
    for word in [
        "serve",
        "check",
        "rebuild",
        "dlq",
        "import",
        "ship",
        "export",
        "archive",
        "--listen",
        "EMBERLOG_LISTEN",
        "--data-dir",
        "EMBERLOG_DATA_DIR",
        "127.0.0.1:5000",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    let version = text(&emberlog(&["--version"]).stdout);
    assert_eq!(version.trim(), concat!("emberlog ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_cannot_be_understood_is_an_error_that_says_why() {
    for (arguments, word) in [
        (&["--lissten", "x"][..], "--listen"),
        (&["serve", "--max-body", "64 bananas"], "64MiB"),
        (&["serve", "--lost-after", "soon"], "30s"),
        (&["rebuild"], "--from"),
    ] {
        let output = emberlog(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn commands_on_a_folder_without_data_say_so() {
    let dir = std::env::temp_dir().join("emberlog-no-such-folder");
    for arguments in [&["check"][..], &["rebuild", "--from", "journal"], &["dlq", "list"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_emberlog")).args(arguments).arg("--data-dir").arg(&dir).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("--data-dir"), "{arguments:?}: {}", text(&output.stderr));
    }
}
