use proptest::prelude::*;

use super::*;

fn redacted(event: &str) -> String {
    let redacted = Redaction::default().event(event.as_bytes());
    redacted.map_or_else(|| event.to_owned(), |it| String::from_utf8(it.text).unwrap())
}

fn scrubbed(text: &str) -> String {
    let scrubbed = Redaction::default().scrub(text.as_bytes());
    scrubbed.map_or_else(|| text.to_owned(), |it| String::from_utf8_lossy(&it.text).into_owned())
}

#[test]
fn values_are_replaced_by_key_and_by_value_and_nothing_else_is_touched() {
    let cases = [
        (
            r#"{"Event":"SparkListenerJobStart","Job ID":0,"Properties" : { "spark.s3.secret.key":"hunter2" ,"b":1.50}}"#,
            r#"{"Event":"SparkListenerJobStart","Job ID":0,"Properties" : { "spark.s3.secret.key":"*********(redacted)" ,"b":1.50}}"#,
        ),
        // The key in escapes, the value a command line.
        (
            r#"{"Event":"SparkListenerEnvironmentUpdate","System Properties":{"\u0053ecRet":"a","sun.java.command":"x --conf spark.a.Pass\u0057ord=b"}}"#,
            r#"{"Event":"SparkListenerEnvironmentUpdate","System Properties":{"\u0053ecRet":"*********(redacted)","sun.java.command":"*********(redacted)"}}"#,
        ),
        // Sections that later versions of Spark may add, but not the class path.
        (
            r#"{"Event":"SparkListenerEnvironmentUpdate","New":{"access.key":""},"Classpath Entries":{"/token.jar":"System Classpath"}}"#,
            r#"{"Event":"SparkListenerEnvironmentUpdate","New":{"access.key":"*********(redacted)"},"Classpath Entries":{"/token.jar":"System Classpath"}}"#,
        ),
        // Pairs, and values that are no texts.
        (
            r#"{"Event":"SparkListenerStageSubmitted","Properties":[["token","a"],["a","b"],["a",{"b":[1,"token"]}],["token",7],["token",null],"token"]}"#,
            r#"{"Event":"SparkListenerStageSubmitted","Properties":[["token","*********(redacted)"],["a","b"],["a","*********(redacted)"],["token","*********(redacted)"],["token",null],"*********(redacted)"]}"#,
        ),
        (
            r#"{"Event":"SparkListenerExecutorAdded","Executor Info":{"Host":"token","Attributes":{"TOKEN":"a"}}}"#,
            r#"{"Event":"SparkListenerExecutorAdded","Executor Info":{"Host":"token","Attributes":{"TOKEN":"*********(redacted)"}}}"#,
        ),
        (
            r#"{"Event":"SparkListenerJobStart","\u0050roperties":{"token":"a"}}"#,
            r#"{"Event":"SparkListenerJobStart","\u0050roperties":{"token":"*********(redacted)"}}"#,
        ),
        // The event's name where Spark does not write it.
        (
            r#"{"Properties":{"token":"a"},"Event":"SparkListenerJobStart"}"#,
            r#"{"Properties":{"token":"*********(redacted)"},"Event":"SparkListenerJobStart"}"#,
        ),
    ];
    for (event, expected) in cases {
        spark::validate(event).unwrap();
        assert_eq!(redacted(event), expected);
        assert_eq!(redacted(expected), expected, "once is enough");
    }
    let untouched = [
        r#"{"Event":"SparkListenerTaskEnd","Properties":{"token":"a"}}"#,
        r#"{"Event":"SparkListenerJobStart","Stage Infos":[{"Stage Name":"token"}],"Properties":{"a":"b\n","c":"\u0064"}}"#,
        r#"{"Event":"SparkListenerJobStart","Properties":null}"#,
        r#"{"Event":"SparkListenerJobStart","a\"Properties":{"token":"a"},"b":"\"Properties\":{\"token\":\"a\"}"}"#,
        r#"{"Event":"SparkListenerJobStart","Properties":{"token":"*********(redacted)"}}"#,
    ];
    for event in untouched {
        assert_eq!(Redaction::default().event(event.as_bytes()), None, "{event}");
    }
}

#[test]
fn a_pattern_decides_and_a_wrong_one_is_refused() {
    let event = br#"{"Event":"SparkListenerJobStart","Properties":{"token":"a","host":"db7.internal"}}"#;
    for pattern in ["internal", r"\.internal$", "^host$"] {
        let redaction = Redaction::from(pattern.parse::<Pattern>().unwrap());
        let text = String::from_utf8(redaction.event(event).unwrap().text).unwrap();
        assert!(text.contains(r#""token":"a","host":"*********(redacted)""#), "{pattern}: {text}");
    }
    assert!(matches!("(".parse::<Pattern>(), Err(InvalidPattern::Syntax(_))));
    for pattern in ["", "a*", "x|"] {
        assert_eq!(pattern.parse::<Pattern>().unwrap_err(), InvalidPattern::MatchesAll, "{pattern}");
    }
    assert_eq!(DEFAULT_PATTERN, IDENTITY.regex.as_str(), "they may differ one day; until then one pass is enough");
}

#[test]
fn the_identity_depends_neither_on_the_pattern_nor_on_the_secret() {
    let event = |secret: &str| {
        format!(
            r#"{{"Event":"SparkListenerEnvironmentUpdate","Spark Properties":{{"password":"{secret}","host":"h"}}}}"#
        )
    };
    let of = |redaction: &Redaction, event: &str| {
        redaction.occurrence(event.as_bytes(), redaction.event(event.as_bytes()).as_ref())
    };
    let stored = Identity::of_occurrence(redacted(&event("a")).as_bytes());
    for redaction in [Redaction::default(), Redaction::off(), Redaction::from("host".parse::<Pattern>().unwrap())] {
        assert_eq!([of(&redaction, &event("a")), of(&redaction, &event("b"))], [stored; 2]);
    }
}

#[test]
fn a_rejected_message_keeps_all_but_its_secrets() {
    let plan = r#"{\"Event\":\"SparkListenerSQLExecutionStart\",\"plan\":\"token \\\"\"}"#;
    let message = |content: &str| format!(r#"{{"content":{content},"generated_at":"x","message_type":"spark-event"}}"#);
    let of = |content: &str| {
        let message = message(content);
        let redacted = Redaction::default().message(message.as_bytes());
        redacted.map_or(message, |it| String::from_utf8(it.text).unwrap())
    };
    let same = format!("\"{plan}\"");
    assert_eq!(of(&same), message(&same));
    let secret = r#""{\"Event\":\"SparkListenerJobStart\",\n\"Job ID\":7,\"Properties\":{\"password\":\"hunter2\"}}""#;
    assert_eq!(of(secret), message(&secret.replace("hunter2", REPLACEMENT)));
    // Cut off, and not wrapped in a text.
    let cut = r#""{\"Event\":\"SparkListenerJobStart\",\"Job ID\":7,\"Properties\":{\"password\":\"hunter2""#;
    assert_eq!(of(cut), message(&cut.replace("hunter2", r#"*********(redacted)\""#)));
    let object = r#"{"Event":"SparkListenerJobStart","Properties":{"password":"hunter2"}}"#;
    assert_eq!(of(object), message(&object.replace("hunter2", REPLACEMENT)));
    let surrogate =
        r#""{\"Event\":\"SparkListenerJobStart\",\"Properties\":{\"password\":\"hunter2\"},\"a\":\"\ud800\"}""#;
    assert!(!of(surrogate).contains("hunter2") && of(surrogate).contains(REPLACEMENT));
}

#[test]
fn what_is_no_event_loses_its_secrets_however_it_is_broken() {
    let event = r#"{"Event":"SparkListenerJobStart","Properties":{"a":"b","spark.password":"hunter2","c":["d","e"]}}"#;
    assert_eq!(scrubbed(event), event.replace("hunter2", REPLACEMENT));
    // Payloads hold events as texts, and those hold texts again.
    let once = serde_json::to_string(event).unwrap();
    let twice = serde_json::to_string(&once).unwrap();
    for text in [event, &once, &twice, &format!(r#"{{"messages":[{{"content":{once}"#)] {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            // Cut anywhere at its end, and in its middle.
            let start = &text[..end];
            let gap = format!("{start}{}", &text[(end + 1).min(text.len())..]);
            for broken in [start, &gap].into_iter().filter(|it| it.contains("password")) {
                assert!(!scrubbed(broken).contains("hunter2"), "{broken}\n{}", scrubbed(broken));
            }
        }
    }
    let others = [
        "password=hunter2&a=b",
        "{password: 'hunter2'}",
        r#"["--password","hunter2"]"#,
        r#"{"p\u0061ssword":hunter2}"#,
        r#"{"password":{"a":["hunter2"]},"b":1}"#,
        r#"{"password" : "hunter2"#,
        r#"{\"password\":\"hunter2\"}"#,
        r#"{"a":"\x","\u0070assword\x":"hunter2"}"#,
    ];
    for text in others {
        assert!(!scrubbed(text).contains("hunter2"), "{}", scrubbed(text));
    }
    assert_eq!(scrubbed(r#"{"a":["b"],"c":1}"#), r#"{"a":["b"],"c":1}"#);
}

/// A text, each of its characters written as it is or escaped.
type Text = Vec<(char, bool)>;

#[derive(Debug, Clone)]
enum Value {
    Text(Text),
    Number(i64),
    Null,
    List(Vec<Text>),
    Object(Vec<(Text, Text)>),
}

fn text() -> impl Strategy<Value = Text> {
    let pieces = prop::sample::select(vec![
        "spark.", "sec", "ret", "SECRET", "pass", "word", "Token", "access", ".", "key", "creden", "tial", "é", "\"",
        "\\", "\n", "😀", "/", " ", "{", "}", "[", ",", ":",
    ]);
    let piece = (pieces, prop::bool::weighted(0.2))
        .prop_map(|(piece, escaped)| piece.chars().map(move |it| (it, escaped)).collect::<Vec<_>>());
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => text().prop_map(Value::Text),
        1 => any::<i64>().prop_map(Value::Number),
        1 => Just(Value::Null),
        1 => prop::collection::vec(text(), 0..3).prop_map(Value::List),
        1 => prop::collection::vec((text(), text()), 0..3).prop_map(Value::Object),
    ]
}

fn is_secret(text: &Text) -> bool {
    let text = text.iter().map(|(it, _)| *it).collect::<String>().to_lowercase();
    ["secret", "password", "token", "accesskey", "access.key", "credential"].iter().any(|it| text.contains(it))
}

fn write_text(text: &Text) -> String {
    let mut out = String::from("\"");
    for (it, escaped) in text {
        match it {
            _ if *escaped => it.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04X}")),
            '"' | '\\' => out.extend(['\\', *it]),
            '\n' => out += "\\n",
            _ => out.push(*it),
        }
    }
    out + "\""
}

fn write(value: &Value) -> String {
    match value {
        Value::Text(text) => write_text(text),
        Value::Number(number) => number.to_string(),
        Value::Null => "null".to_owned(),
        Value::List(list) => format!("[{}]", list.iter().map(write_text).collect::<Vec<_>>().join(" , ")),
        Value::Object(members) => {
            let member = |(key, value): &(Text, Text)| format!("{} :{}", write_text(key), write_text(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}

fn write_expected(key: &Text, value: &Value) -> String {
    let holds_secret = match value {
        Value::Text(text) => is_secret(text),
        Value::Number(_) | Value::Null => false,
        Value::List(list) => list.iter().any(is_secret),
        Value::Object(members) => members.iter().any(|(key, value)| is_secret(key) || is_secret(value)),
    };
    let is_replaced = !matches!(value, Value::Null) && (is_secret(key) || holds_secret);
    if is_replaced { format!("\"{REPLACEMENT}\"") } else { write(value) }
}

proptest! {
    /// Against texts put together from the same parts, with the values that are secret left out.
    #[test]
    fn all_other_bytes_are_unchanged(
        properties in prop::collection::vec((text(), value()), 0..6),
        other in value(),
        is_environment in any::<bool>(),
        is_array in any::<bool>(),
        space in prop::sample::select(vec!["", " ", "\t "]),
    ) {
        let event = |write_value: &dyn Fn(&Text, &Value) -> String| {
            let member = |(key, value): &(Text, Value)| match is_array {
                true => format!("[{}{space},{}]", write_text(key), write_value(key, value)),
                false => format!("{}{space}:{}", write_text(key), write_value(key, value)),
            };
            let members = properties.iter().map(member).collect::<Vec<_>>().join(&format!("{space},"));
            let section = if is_array { format!("[{members}]") } else { format!("{{{members}}}") };
            let (name, member, untouched) = match is_environment {
                true => ("SparkListenerEnvironmentUpdate", "Hadoop Properties", "Classpath Entries"),
                false => ("SparkListenerJobStart", "Properties", "Stage Infos"),
            };
            let other = write(&other);
            format!(r#"{{"Event":"{name}",{space}"{untouched}":{other},"{member}":{space}{section},"{untouched}":{other}}}"#)
        };
        let original = event(&|_, value| write(value));
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&original).is_ok(), "{}", original);
        prop_assert_eq!(redacted(&original), event(&write_expected));
    }

    #[test]
    fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\"\\\\{}:,a-u0-9 \\[\\]]{0,60}") {
        for it in [&bytes[..], text.as_bytes()] {
            let redaction = Redaction::default();
            let _ = (redaction.event(it), redaction.message(it), redaction.scrub(it));
        }
    }
}
