//! Who gets in by which token, and tokens that are exchanged.

use e2e::client::Client;
use e2e::payload::small_run;
use e2e::security::new_token;
use e2e::wait;

use super::{Secrets, site};

/// The methods and paths that a process describes, with the scopes of which each needs one.
fn routes(client: &Client, token: &str) -> Vec<(String, String, Vec<String>)> {
    let document = client.with_token(token).send("GET", "/openapi.json").json();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs = operation["security"].as_array().cloned().unwrap_or_default();
            let scopes = needs.iter().filter_map(|it| Some(it["bearer"][0].as_str()?.to_owned())).collect();
            routes.push((method.to_uppercase(), path.replace(['{', '}'], ""), scopes));
        }
    }
    routes
}

#[test]
fn every_route_needs_a_token_that_allows_it_and_health_needs_none() {
    let (site, secrets) = (site(), Secrets::new());
    let mut flags = secrets.flags().to_vec();
    if site.is_on_kafka() {
        flags.extend(["--serve", "127.0.0.1:0"]);
    }
    let mut server = site.start(&flags);
    let mut clients = server.metrics();
    if site.is_on_kafka() {
        // The materializer's own reads.
        let line = wait::until("the address of reads", || {
            let logs = server.logs();
            logs.lines().find(|it| it.contains("serving reads")).map(str::to_owned)
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        clients.push(Client::new(line["url"].as_str().unwrap()));
    }
    let mut checked = 0;
    for client in clients {
        let routes = routes(&client, &secrets.admin);
        for (method, path, scopes) in &routes {
            let (method, path) = (method.as_str(), path.as_str());
            let refused = client.send(method, path);
            if path.starts_with("/health") {
                assert_eq!((refused.status, scopes.len()), (200, 0), "{path}");
                continue;
            }
            assert_eq!(refused.status, 401, "{method} {path}");
            assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
            assert_eq!(client.with_token("emb_wrong").send(method, path).status, 401, "{method} {path}");
            for (scope, token) in [("ingest", &secrets.ingest), ("read", &secrets.read)] {
                let status = client.with_token(token).send(method, path).status;
                assert_eq!(
                    status == 403,
                    !scopes.iter().any(|it| it == scope),
                    "{method} {path} with {scope}: {status}"
                );
                assert_ne!(status, 401, "{method} {path} with {scope}");
            }
            let status = client.with_token(&secrets.admin).send(method, path).status;
            assert!(status != 401 && status != 403, "{method} {path}: {status}");
            checked += 1;
        }
        for path in ["/nothing", "/", "/job/a/b/c/d", "/openapi.json", "/metrics", "/health/", "/admin", "/api/v1"] {
            let refused = client.send("GET", path);
            assert_eq!(refused.status, 401, "{path}");
            assert!(!refused.text().contains("/v1/runs"), "{}", refused.text());
        }
        if !routes.iter().any(|(_, path, _)| path == "/metrics") {
            continue;
        }
        let metrics = client.with_token(&secrets.read).send("GET", "/metrics").text();
        assert!(metrics.contains("emberlog_auth_tokens 3"), "{metrics}");
        assert!(!metrics.contains("emberlog_auth_refusals_total{reason=\"missing\"} 0"), "{metrics}");
    }
    assert!(checked >= 17, "{checked}");
    // With the right ones, it all works.
    let client = server.client();
    let payload = small_run("job", "run", 5);
    assert_eq!(client.with_token(&secrets.ingest).post("/collect", &payload.to_gzip()).status, 200);
    let reader = client.with_token(&secrets.read);
    wait::until("the run", || (!reader.events("job", "run").unwrap().is_empty()).then_some(()));
    let id = reader.get("/v1/runs?job=job").json()["runs"][0]["id"].as_str().unwrap().to_owned();
    let deleted = client.with_token(&secrets.admin).delete(&format!("/v1/runs/{id}"));
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    // One line says who deleted what, and no field of a log is a dump of a value.
    let said = wait::until("the line of the deletion", || {
        let logs = server.logs();
        let mut lines = logs.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find(|line| line["message"] == "deleted" && line["run"] == id.as_str())
    });
    assert!(said["token"] == "admin" && said["reopen"] == false, "{said}");
    let logs = server.logs();
    assert!(!logs.contains("Some(") && !logs.contains("Options {"), "{logs}");
    // A stream of a run that vanishes is cut.
    wait::until("the deletion", || reader.events("job", "run").is_ok_and(|it| it.is_empty()).then_some(()));
    assert!(server.stop().success());
}

/// Until every process has taken a change in.
fn until_status(clients: &[Client], token: &str, path: &str, status: u16) {
    for client in clients {
        wait::until("a change of the tokens", || {
            (client.with_token(token).send("GET", path).status == status).then_some(())
        });
    }
}

#[test]
fn a_rotated_token_works_without_a_restart_and_the_old_one_ceases() {
    let (site, secrets) = (site(), Secrets::new());
    let mut server = site.start(&secrets.flags());
    let clients = server.metrics();
    let new = new_token(&secrets.tokens, "read-next", "read");
    until_status(&clients, &new, "/metrics", 200);
    until_status(&clients, &secrets.read, "/metrics", 200);

    let file = std::fs::read_to_string(&secrets.tokens).unwrap();
    let without: String = file.lines().filter(|it| !it.starts_with("read ")).map(|it| format!("{it}\n")).collect();
    // As an editor does, and as Kubernetes does: another file takes the place of the old one.
    let next = secrets.dir.path().join("next");
    std::fs::write(&next, &without).unwrap();
    std::fs::rename(&next, &secrets.tokens).unwrap();
    until_status(&clients, &secrets.read, "/metrics", 401);
    until_status(&clients, &new, "/metrics", 200);

    // A token itself, by mistake.
    std::fs::write(&secrets.tokens, format!("{without}{new}\n")).unwrap();
    for client in &clients {
        wait::until("the file to be found broken", || {
            let metrics = client.with_token(&new).send("GET", "/metrics").text();
            metrics.contains("emberlog_auth_file_broken 1").then_some(())
        });
    }
    wait::until("the log", || server.logs().contains("line 4: this is a token itself").then_some(()));
    assert!(!server.logs().contains(&new), "{}", server.logs());
    assert!(server.stop().success());
}
