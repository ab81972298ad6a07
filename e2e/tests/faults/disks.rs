//! A broker that comes back with less than it acknowledged, or with a file that is damaged.

use e2e::case::Case;
use e2e::parts::Part;
use e2e::payload::small_run;
use e2e::topic::Topic;
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
    mended.assert_halts("damaged", "the journal is damaged");
    given_up.assert_halts("damaged", "the journal is damaged");

    cluster.stop(1);
    cluster.damage_last_batch(&mended.topic.name);
    cluster.restart(1);
    mended.served.push(small_run("job", "damaged", 30));
    mended.resume(&[]);
    mended.end();

    // The batch before it holds the first of its events.
    let mut before = small_run("job", "damaged", 30);
    before.messages.truncate(given_up.client.get("/job/job/damaged/events").lines().len());
    given_up.served.push(before);
    cluster.delete_records(&given_up.topic.name, 0, 75);
    given_up.accept_gap_now();
    given_up.end();
}
