//! What the fuzz targets check, on a stable compiler: inputs put together from parts that are right and wrong, then damaged.

#[path = "../../../fuzz/invariants/collect.rs"]
mod collect;
#[path = "../../../fuzz/invariants/delight.rs"]
mod delight;
#[path = "../../../fuzz/invariants/lines.rs"]
mod lines;
#[path = "../../../fuzz/invariants/record.rs"]
mod record;
#[path = "../../../fuzz/invariants/redact.rs"]
mod redact;

use proptest::prelude::*;

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "null",
        "true",
        "7",
        "-9223372036854775808",
        "9223372036854775808",
        "1.5",
        "1e999",
        "\"\"",
        "\"j\"",
        "\"\\ud800\"",
        "{}",
        "[]",
        "[[[1]]]",
        "\"spark-event\"",
        "\"heartbeat\"",
        "\"{\\\"Event\\\":\\\"E\\\"}\"",
        "\"{\\\"Event\\\":1}\"",
        "\"{\\\"Event\\\":\\\"SparkListenerTaskStart\\\",\\\"Task Info\\\":{\\\"Task ID\\\":1}}\"",
        "\"{\\\"Event\\\":\\\"E\\\",\\n\\\"a\\\":1}\"",
        "\"\\u0000\"",
    ])
    .prop_map(str::to_owned)
}

fn object(members: Vec<(&'static str, BoxedStrategy<String>)>) -> impl Strategy<Value = String> {
    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = members.into_iter().map(|(_, value)| prop::option::weighted(0.95, value)).collect();
    let extra = prop::option::weighted(0.1, (prop::sample::select(names.clone()), value()));
    (values, extra).prop_map(move |(values, extra)| {
        let present = names.iter().zip(values).filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
        let extra = extra.map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", present.chain(extra).collect::<Vec<_>>().join(","))
    })
}

/// Mostly `right`, now and then anything.
fn mostly(right: &'static str) -> BoxedStrategy<String> {
    prop_oneof![9 => Just(right.to_owned()), 1 => value()].boxed()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let message = object(vec![
        ("content", prop_oneof![mostly("\"{\\\"Event\\\":\\\"E\\\"}\""), value()].boxed()),
        ("generated_at", mostly("1795229683257")),
        ("message_type", mostly("\"spark-event\"")),
    ]);
    let messages = prop::collection::vec(prop_oneof![9 => message, 1 => value()], 0..6)
        .prop_map(|messages| format!("[{}]", messages.join(",")));
    object(vec![
        ("job_name", mostly("\"j\"")),
        ("run_id", mostly("\"r\"")),
        ("instance_id", mostly("null")),
        ("counters", prop_oneof![mostly("{\"message_counter\":5}"), mostly("null")].boxed()),
        ("messages", messages.boxed()),
    ])
    .prop_map(String::into_bytes)
}

/// Texts of parts, in any order: mostly no JSON, but soon enough some.
fn text(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(parts), 0..12).prop_map(|parts| parts.concat().into_bytes())
}

fn event() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "SparkListenerJobStart",
        "SparkListenerStageSubmitted",
        "SparkListenerEnvironmentUpdate",
        "SparkListenerExecutorAdded",
        "E",
    ]);
    let section = prop::sample::select(vec!["Properties", "Spark Properties", "Executor Info", "Prop\\u0065rties"]);
    let key = prop::sample::select(vec!["a.password", "a", "p\\u0061ssword", "spark.sql.warehouse.dir", ""]);
    let members = prop::collection::vec((key, value()), 0..4).prop_map(|members| {
        members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect::<Vec<_>>().join(",")
    });
    (name, section, members, any::<bool>()).prop_map(|(name, section, members, first)| {
        let event = format!("\"Event\":\"{name}\"");
        let section = format!("\"{section}\":{{{members}}}");
        let (one, other) = if first { (event, section) } else { (section, event) };
        format!("{{{one},{other}}}").into_bytes()
    })
}

/// With `selector` before it, and now and then a byte changed.
fn damaged(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bytes, any::<u8>(), prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(
        |(mut bytes, selector, damage)| {
            if let (Some((at, byte)), false) = (damage, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.insert(0, selector);
            bytes
        },
    )
}

fn recorded() -> impl Strategy<Value = Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/fixtures/wire/delight/spark-3.5-pi");
    (1..=9).prop_map(move |n| std::fs::read(format!("{folder}/{n:05}.body")).expect("a recorded request"))
}

const LINES: &[&str] = &[
    "{\"Event\":\"A\"}",
    "{\"Event\":\"SparkListenerJobStart\",\"Properties\":{\"a.password\":\"b\"}}",
    "{\"timestamp\":5,\"password\":\"a\"}",
    "{\"timestamp\":-9223372036854775808}",
    "{}",
    "password=a",
    "{",
    " ",
    "\n",
    "\n",
    "\n",
    "\r",
    "\r\n",
];
const HEADERS: &[&str] = &[
    "1",
    " event",
    " sample",
    " delete",
    " collect",
    " delight",
    " ingest",
    " admin",
    " -",
    " 5",
    " -1",
    " +5",
    " 0000000000c0ffee",
    " c8db626e",
    " x",
    "[\"a\",\"b\"]",
    "{\"run\":",
    "\"AAAAAAAAAAAAAAAAAAAAAA\"",
    "AAAAAAAAAAAAAAAAAAAAAA",
    "}",
    "{\"version\":1,\"kind\":\"message\",\"reason\":\"\",\"detail\":\"\",\"received_at\":1",
    ",\"protocol\":\"delight\"",
    ",\"job_name\":\"j\",\"run_id\":\"r\"",
    ",\"sequence\":9223372036854775807",
    ",\"sequence\":1",
];

proptest! {
    #[test]
    fn they_hold_for_events_and_samples_in_lines(bytes in damaged(text(LINES))) {
        lines::hold_for_events(&bytes);
        lines::hold_for_samples(&bytes[1..]);
    }

    #[test]
    fn they_hold_for_events_with_secrets(bytes in damaged(event())) {
        redact::hold_for(&bytes[1..]);
        lines::hold_for_events(&bytes);
    }

    #[test]
    fn they_hold_for_headers_and_keys(bytes in damaged(text(HEADERS))) {
        record::hold_for(&bytes[1..]);
    }

    #[test]
    fn they_hold_for_requests_of_the_delight_agent(bytes in damaged(recorded()), other in damaged(payload())) {
        delight::hold_for(&bytes);
        delight::hold_for(&other);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4_000), ..ProptestConfig::default() })]

    #[test]
    fn they_hold_for_payloads_right_and_wrong(body in payload()) {
        collect::hold_for(&body);
    }

    #[test]
    fn they_hold_for_damaged_payloads(
        body in payload(), at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..3), cut: bool,
    ) {
        let mut body = body;
        let at = at.index(body.len());
        let end = if cut { body.len() } else { (at + bytes.len()).min(body.len()) };
        body.splice(at..end, bytes);
        collect::hold_for(&body);
    }

    #[test]
    fn they_hold_for_any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        collect::hold_for(&body);
    }
}
