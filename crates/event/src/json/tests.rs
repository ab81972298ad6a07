use proptest::prelude::*;

use super::*;

fn skips(json: &[u8]) -> bool {
    let mut scanner = Scanner::new(json);
    scanner.skip().and_then(|()| scanner.end()).is_ok()
}

fn serde_skips(json: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok()
}

/// Bytes that are JSON often enough, and nearly JSON more often still.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"b\\n\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u12\"",
        "\\",
        "0",
        "-1",
        "01",
        "1.5",
        "1.",
        "-",
        "2e9",
        "1E+",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\u{1}",
        "é",
        "{\"a\":",
        "[1,",
        "\"x\":1",
    ]);
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_json_is_agreed_on_with_serde_json(json in nearly_json()) {
        prop_assert_eq!(skips(&json), serde_skips(&json), "{}", String::from_utf8_lossy(&json));
    }

    #[test]
    fn any_text_that_serde_json_writes_is_read_back(text: String, after in "[ \\n]{0,3}") {
        let json = serde_json::to_string(&text).unwrap() + &after;
        let mut out = Vec::new();
        prop_assert_eq!(Scanner::new(json.as_bytes()).text(&mut out), Ok(true));
        prop_assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn any_bytes_inside_quotes_end_where_serde_json_ends_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let json = [&b"\""[..], &bytes, b"\""].concat();
        prop_assert_eq!(skips(&json), serde_skips(&json));
        let mut out = Vec::new();
        let mut scanner = Scanner::new(&json);
        let read = scanner.text(&mut out).and_then(|_| scanner.end()).is_ok();
        prop_assert_eq!(read, serde_skips(&json));
    }
}

#[test]
fn half_a_surrogate_pair_is_replaced_and_told() {
    for (json, text, whole) in [
        (r#""\ud83d\ude00""#, "😀", true),
        (r#""\ud83d""#, "\u{fffd}", false),
        (r#""\ude00x""#, "\u{fffd}x", false),
        (r#""\ud83d\u0041""#, "\u{fffd}A", false),
    ] {
        let mut out = Vec::new();
        assert_eq!(Scanner::new(json.as_bytes()).text(&mut out), Ok(whole), "{json}");
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn values_that_nobody_reads_have_a_limit_of_depth() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(skips(nested(MAX_DEPTH).as_bytes()));
    for levels in [MAX_DEPTH + 1, 100_000] {
        let deep = nested(levels);
        let result = Scanner::new(deep.as_bytes()).skip();
        assert_eq!(result, Err(Error::TooDeep { at: MAX_DEPTH }));
    }
}
