//! What must hold for any event that secrets are taken out of: none stays under a name that says what it is, and what is
//! no secret stays as it was.

use event::redact::{DEFAULT_PATTERN, REPLACEMENT};
use event::{Redaction, spark};
use regex::Regex;
use serde_json::Value;

pub fn hold_for(event: &[u8]) {
    let redaction = Redaction::default();
    // These take anything.
    for redacted in [redaction.message(event), redaction.line(event), redaction.scrub(event)].into_iter().flatten() {
        assert!(redacted.values > 0);
    }
    let is_event = std::str::from_utf8(event).is_ok_and(|it| spark::validate(it).is_ok());
    if !is_event {
        return;
    }
    let redacted = redaction.event(event);
    let text = redacted.as_ref().map_or(event, |it| &it.text);
    assert_eq!(std::str::from_utf8(text).map(spark::validate), Ok(Ok(())));
    assert_eq!(redaction.event(text).map_or(text.to_vec(), |it| it.text), text, "redacting again changes it");
    assert_eq!(redaction.occurrence(event, redacted.as_ref()), Redaction::off().occurrence(event, None));
    let (Ok(before), Ok(after)) = (serde_json::from_slice(event), serde_json::from_slice(text)) else { return };
    differs_by_replacements(&before, &after);
    let pattern = Regex::new(DEFAULT_PATTERN).expect("a pattern");
    let section = match after["Event"].as_str() {
        Some("SparkListenerJobStart" | "SparkListenerStageSubmitted") => &after["Properties"],
        Some("SparkListenerEnvironmentUpdate") => &after["Spark Properties"],
        _ => return,
    };
    for (name, value) in section.as_object().into_iter().flatten() {
        let is_secret = pattern.is_match(name) || value.as_str().is_some_and(|it| pattern.is_match(it));
        assert!(!is_secret || value.is_null() || *value == REPLACEMENT, "{name} is not redacted");
    }
}

fn differs_by_replacements(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            before.values().zip(after.values()).for_each(|(before, after)| differs_by_replacements(before, after));
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| differs_by_replacements(before, after));
        }
        _ => assert!(before == after || *after == REPLACEMENT),
    }
}
