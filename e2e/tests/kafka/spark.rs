//! Real Spark in, four queries out.

use std::sync::{Mutex, PoisonError};

use e2e::client::lines;
use e2e::server::Site;
use e2e::spark::{self, applications, assert_is_served, job_name, run_of};

/// Spark takes both processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn examples_on_spark_3_5_are_served_as_spark_logged_them() {
    examples_are_served_as_spark_logged_them("3.5");
}

#[test]
fn examples_on_spark_4_are_served_as_spark_logged_them() {
    examples_are_served_as_spark_logged_them("4");
}

fn examples_are_served_as_spark_logged_them(version: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::of(env!("CARGO_CRATE_NAME"));
    let own = site.path().join("own");
    let server = site.start(&[]);
    let client = server.client();
    let ran = spark::run(version, &server.url, &own, &["--concurrent", "failing", "sql_shuffle_skew"]);
    assert!(ran.succeeded, "{}", ran.output);
    let ids = applications(&own);
    assert_eq!(ids.len(), 2, "{ids:?}");
    for id in &ids {
        let log = std::fs::read(own.join(id)).unwrap();
        let job = job_name(&lines(&log));
        assert_is_served(&client, &job, id, &log);
        let run = run_of(&client, &job, id);
        let outcome = if job == "failing" { "failed" } else { "succeeded" };
        assert_eq!((&run["complete"], &run["outcome"]), (&true.into(), &outcome.into()), "{run}");
    }
    assert!(server.stop().success());
}
