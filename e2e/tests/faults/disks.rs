//! A broker that comes back with less than it acknowledged, or with a file that is damaged.

use e2e::case::Case;
use e2e::client::lines;
use e2e::parts::Part;
use e2e::payload::small_run;
use e2e::topic::Topic;
use e2e::wait;
use kafka_broker::Cluster;

#[test]
fn a_log_that_was_cut_back_halts_at_the_start_and_while_running_and_its_command_leads_out() {
    let mut cluster = Cluster::start(1);
    let mut running = Case::start(Topic::on(&cluster, 1), &[]);
    let mut down = Case::start(Topic::on(&cluster, 1), &[]);
    for case in [&mut running, &mut down] {
        // Payloads of their own batches, so that half of the log ends between two of them.
        (0..10).for_each(|i| case.post(small_run("job", &format!("more {i}"), 20)));
        case.assert_serves_all();
    }
    assert!(down.parts.stop(Part::Materializer).success());
    cluster.kill(1);
    cluster.cut_back(&running.topic.name);
    cluster.cut_back(&down.topic.name);
    cluster.restart(1);
    down.parts.start(Part::Materializer);
    for mut case in [running, down] {
        case.assert_halts("cut_back", "hold");
        case.accept_gap();
        case.end();
    }
}

#[test]
fn a_damaged_log_halts_and_once_the_damage_is_gone_nothing_is_lost() {
    let mut cluster = Cluster::start(1);
    let mut mended = Case::start(Topic::on(&cluster, 1), &[]);
    let mut given_up = Case::start(Topic::on(&cluster, 1), &[]);
    assert!(mended.parts.stop(Part::Materializer).success());
    given_up.freeze();
    mended.publish(&small_run("job", "damaged", 30));
    given_up.publish(&small_run("job", "damaged", 30));
    cluster.stop(1);
    cluster.damage_last_batch(&mended.topic.name);
    cluster.damage_last_batch(&given_up.topic.name);
    cluster.restart(1);
    mended.parts.start(Part::Materializer);
    given_up.thaw();
    let has_ended = [&mut mended, &mut given_up].map(ends_at_damage);

    cluster.stop(1);
    cluster.damage_last_batch(&mended.topic.name);
    cluster.restart(1);
    mended.served.push(small_run("job", "damaged", 30));
    if has_ended[0] {
        mended.parts.start(Part::Materializer);
        mended.assert_goes_on();
    } else {
        mended.resume(&[]);
    }
    mended.end();

    // A batch before it may hold the first of its events.
    let mut before = small_run("job", "damaged", 30);
    before.messages.truncate(lines(&given_up.client.events("job", "damaged").unwrap()).len());
    if !before.messages.is_empty() {
        given_up.served.push(before);
    }
    cluster.delete_records(&given_up.topic.name, 0, 75);
    if has_ended[1] {
        given_up.parts.start(Part::Materializer);
        given_up.assert_halts("out_of_range", "75 to 75");
    }
    given_up.accept_gap_now();
    given_up.end();
}

/// Whether librdkafka has ended the process at the damage, as it may, and not halted: nothing is skipped either way.
fn ends_at_damage(case: &mut Case) -> bool {
    let metrics = case.parts.client_of(Part::Materializer);
    let has_ended = wait::until("the damage to be noticed", || match metrics.try_get("/metrics") {
        Ok(answer) => answer.text().contains("halted{state=\"damaged\"} 1").then_some(false),
        Err(_) => (!case.parts.process(Part::Materializer).is_running()).then_some(true),
    });
    if has_ended {
        let (status, said) = case.parts.ended(Part::Materializer);
        assert!(said.contains("rd_slice_narrow_copy"), "{status}: {said}");
    } else {
        case.assert_halts("damaged", "the journal is damaged");
    }
    has_ended
}
