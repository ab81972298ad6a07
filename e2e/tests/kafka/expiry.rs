//! A topic that no longer holds all that the store does: no rebuild loses what is gone from it.

use e2e::client::undisturbed;
use e2e::parts::{Part, Parts, check, rebuild};
use e2e::payload::small_run;
use e2e::process::said;
use e2e::server::data_dir;
use e2e::topic::{self, Topic};
use e2e::wait;

#[test]
fn what_has_expired_from_the_topic_is_lost_by_no_rebuild() {
    undisturbed(|| {
        const RUNS: usize = 12;
        let Some(cluster) = topic::own() else { return };
        let (data, topic) = (data_dir(), Topic::new(1));
        let mut parts = Parts::started(&topic, data.path(), &[]);
        let client = parts.client();
        let runs: Vec<_> = (0..RUNS).map(|i| small_run("job", &format!("run {i:02}"), 50)).collect();
        for run in &runs {
            assert_eq!(client.post("/collect", &run.to_gzip()).status, 200);
        }
        let serves = |run: usize| {
            let expected: String = runs[run].messages.iter().map(|it| format!("{}\n", it.content)).collect();
            client.events("job", &runs[run].run_id).unwrap() == expected.as_bytes()
        };
        wait::until("all runs", || (0..RUNS).all(serves).then_some(()));
        let whole = check(data.path());
        // Five runs and the beginning of the sixth: 52 records each.
        cluster.delete_records(&topic.name, 0, 270);

        let refused = rebuild(data.path(), &topic, "topic", &[]).output().unwrap();
        assert!(!refused.status.success());
        let text = said(&refused);
        for part in ["6 runs would vanish or lose events", "rebuild from the store", "--accept-loss"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!((0..RUNS).all(serves), "what was refused changes nothing");
        assert_eq!(parts.readiness(Part::Materializer).status, 200, "what was applied before it expired is no halt");

        let kept = rebuild(data.path(), &topic, "store", &[]).output().unwrap();
        assert!(kept.status.success(), "{}", said(&kept));
        assert!((0..RUNS).all(serves));
        let now = check(data.path());
        assert_eq!((&now["generation"], &now["digest"]), (&2.into(), &whole["digest"]));

        let accepted = rebuild(data.path(), &topic, "topic", &["--accept-loss", "--drop-old"]).output().unwrap();
        assert!(accepted.status.success(), "{}", said(&accepted));
        wait::until("the new generation in the API", || {
            let listed = client.get("/job/job").json();
            let mut listed: Vec<_> = listed.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            listed.sort_unstable();
            let expected = runs[5..].iter().map(|it| it.run_id.as_str());
            listed.into_iter().eq(expected).then_some(())
        });
        assert!(parts.stop_all().success());
    });
}
