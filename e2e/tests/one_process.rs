//! One process: health, the description of its routes, its welcome, and clear errors at its start.
#![allow(clippy::unwrap_used)]

use e2e::client::Client;
use e2e::payload::small_run;
use e2e::process::said;
use e2e::server::{Server, command, data_dir, tool};
use e2e::wait;

#[test]
fn health_is_told_and_the_routes_are_described() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let client = server.client();
    for path in ["/health", "/health/ready"] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.json()["ready"].clone()), (200, true.into()), "{}", answer.text());
    }
    assert_eq!(client.get("/health/live").json(), serde_json::json!({"live": true}));
    let document = client.get("/openapi.json").json();
    let description = document["info"]["description"].as_str().unwrap();
    assert!(description.lines().next().unwrap().contains("not a Spark job"), "{description}");
    let paths = document["paths"].as_object().unwrap();
    let expected = [
        ("/collect", "post"),
        ("/collect/", "post"),
        ("/", "post"),
        ("/collector/bulk", "post"),
        ("/collector/heartbeat", "post"),
        ("/collector/ack", "post"),
        ("/collector/metrics", "post"),
        ("/apps/{dmAppId}", "get"),
        ("/job", "get"),
        ("/job/{job}", "get"),
        ("/job/{job}/{run}/events", "get"),
        ("/job/{job}/{run}/duration", "get"),
        ("/v1/jobs", "get"),
        ("/v1/jobs", "delete"),
        ("/v1/runs", "get"),
        ("/v1/runs/{id}", "get"),
        ("/v1/runs/{id}", "delete"),
        ("/v1/runs/{id}/events", "get"),
        ("/v1/runs/{id}/duration", "get"),
        ("/v1/runs/{id}/samples", "get"),
        ("/v1/ingest/{job}/{run}", "get"),
        ("/v1/ingest/{job}/{run}", "post"),
        ("/health", "get"),
        ("/health/live", "get"),
        ("/health/ready", "get"),
        ("/metrics", "get"),
    ];
    for (path, method) in expected {
        assert!(paths.get(path).is_some_and(|it| it.get(method).is_some()), "{method} {path} is not described");
    }
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("/health")) {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            for (status, answer) in answers.iter().filter(|(status, _)| status.as_str() >= "400") {
                let types: Vec<_> = answer["content"].as_object().unwrap().keys().collect();
                assert_eq!(types, ["application/problem+json"], "{status} of {method} {path}");
            }
        }
    }
    for path in ["/collect", "/collect/", "/"] {
        for status in ["400", "401", "403", "408", "413", "415", "503"] {
            assert!(paths[path]["post"]["responses"].get(status).is_some(), "{status} of {path}");
        }
    }
    let described: usize = paths.values().map(|it| it.as_object().unwrap().len()).sum();
    assert_eq!(described, expected.len(), "{:?}", paths.keys());
    for path in paths.keys() {
        assert_ne!(client.raw_get(&path.replace(['{', '}'], "")).status, 500, "{path}");
    }
}

#[test]
fn health_and_metrics_move_to_their_own_port() {
    let data = data_dir();
    let server = Server::start(data.path(), &["--admin-listen", "127.0.0.1:0"]);
    let (client, admin) = (server.client(), Client::new(server.admin_url.as_ref().unwrap()));
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!((client.get(path).status, admin.get(path).status), (404, 200), "{path}");
    }
    assert_eq!((client.get("/job").status, admin.get("/job").status), (200, 404));
    assert_eq!(admin.post("/collect", b"x").status, 404);
    assert!(admin.get("/openapi.json").json()["paths"].get("/metrics").is_some());
    assert!(client.get("/openapi.json").json()["paths"].get("/metrics").is_none());
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn the_welcome_says_where_it_listens_where_data_lie_and_what_to_submit() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    assert_ne!(port, "0");
    let data = data.path().canonicalize().unwrap();
    let welcome = wait::until("the whole welcome", || {
        let welcome = server.stdout();
        welcome.contains("YOUR_APPLICATION").then_some(welcome)
    });
    for part in [
        &server.url,
        data.to_str().unwrap(),
        "spark-submit --jars",
        "spark.extraListeners=io.emberlog.EmberlogListener",
        &format!("spark.emberlog.url={}", server.url),
    ] {
        assert!(welcome.contains(part), "{part} is not in {welcome}");
    }
}

#[test]
fn a_port_in_use_is_said_with_the_flag_to_change_it() {
    let data = [data_dir(), data_dir()];
    let server = Server::start(data[0].path(), &[]);
    let address = server.client().address().to_owned();
    for (flag, other) in [("--listen", "--admin-listen"), ("--admin-listen", "--listen")] {
        let mut second = command(&["serve", flag, &address, other, "127.0.0.1:0", "--data-dir"]);
        let output = second.arg(data[1].path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let said = error.lines().last().unwrap();
        assert!(said.contains(&address) && said.contains("in use") && said.contains(&format!("`{flag} ")), "{said}");
    }
    assert_eq!(server.client().get("/health").status, 200);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let data = data_dir();
    let server = Server::start(data.path(), &[]);
    let client = server.client();
    assert_eq!(client.post("/collect", &small_run("job", "one", 3).to_gzip()).status, 200);
    let (status, error) = Server::spawn(data.path(), &[]).ended();
    assert_eq!(status.code(), Some(1), "{error}");
    let said = error.lines().last().unwrap();
    assert!(said.contains(data.path().to_str().unwrap()), "{said}");
    assert!(said.contains("in use by") || said.contains("another process"), "{said}");
    // The first one does not notice.
    assert_eq!(client.post("/collect", &small_run("job", "two", 3).to_gzip()).status, 200);
    for run in ["one", "two"] {
        wait::until("the run", || (client.events("job", run).unwrap().len() > 500).then_some(()));
    }
}

#[test]
fn flags_that_do_not_exist_or_make_no_sense_are_told() {
    let data = data_dir();
    for (arguments, says) in [
        (&["--lissten", "127.0.0.1:0"][..], "--lissten"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--lost-after", "soon"], "--lost-after"),
        (&["--max-body", "lots"], "--max-body"),
        (&["rebuild"], "--from"),
        (&["rebuild", "--from", "memory"], "--from"),
        (&["check", "--data-dir", "/does/not/exist"], "/does/not/exist"),
    ] {
        let output = command(arguments).current_dir(data.path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(says), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "an error leaves nothing behind");
}

#[test]
fn dead_letters_of_a_folder_without_data_are_told_so() {
    let data = data_dir();
    let empty = tool(data.path(), &["dlq", "list"]);
    assert!(!empty.status.success() && said(&empty).contains("--data-dir"), "{}", said(&empty));
}

#[test]
fn dead_letters_expire_and_what_is_kept_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let data = data_dir();
    let server = Server::start(data.path(), &["--dlq-retention", "3s"]);
    let client = server.client();
    let list = || {
        let output = tool(data.path(), &["dlq", "list", "--json"]);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut last = None;
    // On a slow machine one may have expired before it is looked for.
    let mut letter = || {
        assert_eq!(client.post("/collector/bulk", b"no payload").json()["dead_lettered"], 1);
        let listed = list().lines().last().map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap())?;
        let id = listed["id"].as_str().unwrap().parse::<u64>().unwrap();
        assert!(last.replace(id).is_none_or(|last| last < id), "{listed}");
        Some(())
    };
    wait::until("a letter", &mut letter);
    // Although no other comes behind it.
    wait::until("the letter to expire", || list().is_empty().then_some(()));
    wait::until("another letter", letter);
    for dir in ["journal", "store", "dlq"] {
        let mode = data.path().join(dir).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{dir}");
    }
    assert!(server.stop().success());
    // Those of an older version stay as they are, and are warned of.
    let dlq = data.path().join("dlq");
    std::fs::set_permissions(&dlq, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut server = Server::start(data.path(), &[]);
    wait::until("the warning", || server.logs().contains("dead letters may hold secrets: chmod -R go=").then_some(()));
    assert_eq!(dlq.metadata().unwrap().permissions().mode() & 0o777, 0o755);
}
