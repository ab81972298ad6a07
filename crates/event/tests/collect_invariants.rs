//! What the fuzz target checks, on a stable compiler: payloads put together from parts that are right and wrong, then
//! damaged.

#[path = "../../../fuzz/invariants.rs"]
mod invariants;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4_000), ..ProptestConfig::default() })]

    #[test]
    fn they_hold_for_payloads_right_and_wrong(body in payload()) {
        invariants::hold_for(&body);
    }

    #[test]
    fn they_hold_for_damaged_payloads(
        body in payload(), at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..3), cut: bool,
    ) {
        let mut body = body;
        let at = at.index(body.len());
        let end = if cut { body.len() } else { (at + bytes.len()).min(body.len()) };
        body.splice(at..end, bytes);
        invariants::hold_for(&body);
    }

    #[test]
    fn they_hold_for_any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        invariants::hold_for(&body);
    }
}
