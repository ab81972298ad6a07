//! Tokens and TLS of a whole deployment: who gets in, what is exchanged while it runs, and where no token may be.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::client::{Client, path};
use e2e::payload::small_run;
use e2e::process::{command_of, said};
use e2e::security::{Authority, new_token};
use e2e::server::{Site, command, data_dir};
use e2e::{spark, topic, wait};
use journal::Subscriber;
use tempfile::TempDir;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// What an operator keeps apart from the data.
struct Secrets {
    dir: TempDir,
    tokens: PathBuf,
    ingest: String,
    read: String,
    admin: String,
}

impl Secrets {
    fn new() -> Self {
        let dir = data_dir();
        let tokens = dir.path().join("tokens");
        let [ingest, read, admin] = ["ingest", "read", "admin"].map(|scope| new_token(&tokens, scope, scope));
        Self { dir, tokens, ingest, read, admin }
    }

    fn flags(&self) -> [&str; 2] {
        ["--tokens", self.tokens.to_str().unwrap()]
    }
}

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

#[test]
fn curl_and_openssl_agree_that_it_is_tls_and_plain_http_is_told() {
    let (site, secrets) = (site(), Secrets::new());
    let authority = Authority::new(secrets.dir.path());
    let (certificate, key) = (authority.certificate(), authority.key());
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut server = site.start(&[&secrets.flags()[..], &tls].concat());
    for client in server.metrics() {
        assert!(client.url.starts_with("https://127.0.0.1:"), "{}", client.url);
        let url = format!("{}/metrics", client.url);
        let curl = |more: &[&str]| {
            let output =
                Command::new("curl").args(["-sS", "--noproxy", "*", "-w", "%{http_code}"]).args(more).output().unwrap();
            (output.status.success(), said(&output))
        };
        let trust = authority.own_certificate();
        let bearer = format!("Authorization: Bearer {}", secrets.read);
        // A machine that stands still ends a handshake.
        let again = |more: &[&str]| wait::until("an answer", || Some(curl(more)).filter(|it| it.0)).1;
        let text = again(&["--cacert", trust.to_str().unwrap(), "-H", &bearer, &url]);
        assert!(text.contains("200 err: ") && text.contains("process_cpu_seconds_total"), "{text}");
        assert!(!curl(&["-H", &bearer, &url]).0, "a client that does not trust the authority goes on");
        let text = again(&[&url.replace("https", "http")]);
        assert!(text.contains("400 err: ") && text.contains("https://"), "{text}");
        for version in ["-tls1_2", "-tls1_3"] {
            let mut openssl = Command::new("openssl");
            openssl.args(["s_client", "-brief", version, "-alpn", "http/1.1", "-verify_return_error", "-CAfile"]);
            openssl.arg(&trust).args(["-connect", client.address()]);
            wait::until(version, || openssl.output().unwrap().status.success().then_some(()));
        }
    }
    assert!(server.stop().success());
}

#[test]
fn certificates_are_exchanged_under_load_and_nothing_is_lost() {
    let (site, dir) = (site(), data_dir());
    let authority = Authority::new(dir.path());
    let (certificate, key) = (authority.certificate(), authority.key());
    let mut server = site.start(&["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    let client = server.client();
    let serials = |client: &Client| {
        let script = format!(
            "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
            client.address()
        );
        wait::until("a certificate", || {
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            output.status.success().then_some(output.stdout)
        })
    };
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let run = format!("run {}", sent.load(Ordering::Relaxed));
                // Each on a connection of its own.
                let fresh = client.trusting(&authority.own_certificate());
                let body = small_run("job", &run, 3).to_gzip();
                wait::until("a payload to be taken in", || match fresh.try_post("/collect", &[], &body) {
                    Ok(answer) => (answer.status == 200).then_some(()),
                    // A machine that stands still ends handshakes.
                    Err(error) => {
                        assert!(!error.to_string().to_lowercase().contains("certificate"), "{error}");
                        None
                    }
                });
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..3 {
            let clients = server.metrics();
            let before: Vec<_> = clients.iter().map(serials).collect();
            authority.issue();
            for (client, before) in clients.iter().zip(before) {
                wait::until("the new certificate", || (serials(client) != before).then_some(()));
            }
        }
        wait::until("some load", || (sent.load(Ordering::Relaxed) > 20).then_some(()));
        over.store(true, Ordering::Relaxed);
    });
    let sent = sent.into_inner();
    wait::until("all runs", || {
        let runs = client.get("/job/job").json();
        (runs.as_array().map(Vec::len) == Some(sent)).then_some(())
    });
    drop(client);
    assert!(server.stop().success());
}

/// Real Spark, the listener's token and private authority, and the same against what Spark logged itself.
#[test]
fn a_real_spark_sends_over_tls_with_a_token() {
    let (site, secrets) = (site(), Secrets::new());
    let authority = Authority::new(secrets.dir.path());
    let (certificate, key) = (authority.certificate(), authority.key());
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = site.start(&[&secrets.flags()[..], &tls].concat());
    let version = if site.is_on_kafka() { "4" } else { "3.5" };
    let own = site.path().join("own");
    let trust = format!("spark.emberlog.caFile={}", authority.own_certificate().display());
    let token = format!("spark.emberlog.token.secret={}", secrets.ingest);
    let ran = spark::run(version, &server.url, &own, &["--conf", &trust, "--conf", &token, "pi"]);
    assert!(ran.succeeded, "{}", ran.output);
    let reader = server.client().with_token(&secrets.read);
    let id = &spark::applications(&own)[0];
    spark::assert_is_served(&reader, "pi", id, &std::fs::read(own.join(id)).unwrap());
    // The token is one of the application's properties, and was redacted like all secrets.
    let events = reader.get(&path(&["job", "pi", id, "events"])).text();
    assert!(events.contains("spark.emberlog.token.secret") && !events.contains(&secrets.ingest));

    // With a wrong one, the driver's log says once what to do, and the application does not suffer.
    let wrong = "spark.emberlog.token.secret=emb_wrong-in-driver";
    let more = ["--conf", &trust, "--conf", wrong, "--conf", "spark.emberlog.drain.timeout=5s", "pi"];
    let ran = spark::run(version, &server.url, &site.path().join("other"), &more);
    assert!(ran.succeeded, "{}", ran.output);
    let said: Vec<_> = ran.output.lines().filter(|it| it.contains("status 401")).collect();
    assert!(said.len() == 1 && said[0].contains("spark.emberlog.token.secret"), "{said:?}\n{}", ran.output);
    // Without the authority it says why there is no connection.
    let more = ["--conf", &token, "--conf", "spark.emberlog.drain.timeout=5s", "pi"];
    let ran = spark::run(version, &server.url, &site.path().join("third"), &more);
    assert!(ran.succeeded && ran.output.contains("spark.emberlog.caFile"), "{}", ran.output);
    assert!(server.stop().success());
}

#[test]
fn the_command_line_speaks_to_a_server_with_its_token_and_authority() {
    let (site, secrets) = (site(), Secrets::new());
    let authority = Authority::new(secrets.dir.path());
    let (certificate, key) = (authority.certificate(), authority.key());
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = site.start(&[&secrets.flags()[..], &tls].concat());
    let mut payload = small_run("job", "run", 5);
    payload.messages[1].message_type = "other".to_owned();
    let answer = server.client().with_token(&secrets.ingest).post("/collect", &payload.to_gzip());
    assert_eq!(answer.json()["dead_lettered"], 1, "{}", answer.text());
    let token = secrets.dir.path().join("own-token");
    let replay = |token_text: &str, more: &[&str]| {
        std::fs::write(&token, format!("{token_text}\n")).unwrap();
        let to = ["replay", "0", "--url", &server.url, "--token-file", token.to_str().unwrap()];
        site.dead_letters(&[&to[..], more].concat())
    };
    let trust = authority.own_certificate();
    let trust = ["--ca-file", trust.to_str().unwrap()];
    let sent = replay(&secrets.ingest, &trust);
    assert!(said(&sent).contains("0 stored, 1 still"), "{}", said(&sent));
    let refused = replay(&secrets.read, &trust);
    assert!(said(&refused).contains("403") && said(&refused).contains("scope ingest"), "{}", said(&refused));
    let unknown = replay("emb_wrong", &trust);
    assert!(said(&unknown).contains("401") && said(&unknown).contains("not known here"), "{}", said(&unknown));
    let untrusted = replay(&secrets.ingest, &[]);
    assert!(said(&untrusted).contains("certificate"), "{}", said(&untrusted));
    for output in [&sent, &refused, &unknown, &untrusted] {
        assert!(!said(output).contains(&secrets.ingest), "{}", said(output));
    }
    assert!(server.stop().success());
}

#[test]
fn flags_that_protect_nothing_end_the_start() {
    let (site, dir) = (site(), data_dir());
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "emb_in-clear\n").unwrap();
    let wrong = wrong.to_str().unwrap();
    for (flags, says) in [
        (&["--tls-cert", wrong][..], "--tls-key"),
        (&["--tls-key", wrong], "--tls-cert"),
        (&["--tls-cert", wrong, "--tls-key", wrong], "holds no certificate"),
        (&["--tokens", wrong], "line 1: this is a token itself"),
        (&["--tokens", "/does/not/exist"], "/does/not/exist"),
    ] {
        let programs: &[(&str, &[&str])] = match site.is_on_kafka() {
            false => &[("emberlog", &["serve"])],
            true => &[
                ("emberlog-collector", &["--kafka-brokers", "127.0.0.1:1"]),
                ("emberlog-materializer", &["run", "--kafka-brokers", "127.0.0.1:1"]),
                ("emberlog-api", &[]),
            ],
        };
        for (program, arguments) in programs {
            let mut command = command_of(program, arguments);
            command.args(["--listen", "127.0.0.1:0"]).args(flags).current_dir(dir.path());
            let output = command.output().unwrap();
            assert!(!output.status.success() && said(&output).contains(says), "{program}: {}", said(&output));
            assert!(!said(&output).contains("emb_in-clear"), "{}", said(&output));
        }
    }
}

/// In every planted token, and nowhere else.
const PLANTED: &str = "planted-7d2e";

/// Adds a token that a person has already.
fn keep_token(file: &Path, token: &str, scope: &str) {
    let mut command = command(&["token", "hash", "--name", scope, "--scope", scope, "--tokens"]);
    let mut child = command.arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

/// Good and bad requests, each with a token in every place where a client may put one.
fn send_planted(client: &Client, ingest: &str) {
    let payload = small_run("job", "run", 5);
    let mut rejected = small_run("job", "rejected", 5);
    rejected.messages[1].message_type = "other".to_owned();
    rejected.messages[2].content = "no event".to_owned();
    let json = payload.to_json();
    let cut = json[..json.len() - 20].to_vec();
    let requests = [
        ("/collect", payload.to_gzip()),
        ("/collect", rejected.to_gzip()),
        ("/collect", cut.clone()),
        ("/collect", vec![0x1f, 0x8b, 1]),
        ("/collector/bulk", cut.clone()),
        ("/collector/heartbeat", cut),
        ("/v1/ingest/job/lines", b"{\"Event\":\"E\"}\nno event\n".to_vec()),
        ("/v1/ingest/job/refused", b"no event".to_vec()),
    ];
    let (bearer, wrong) = (format!("Bearer {ingest}"), format!("Bearer emb_{PLANTED}-of-nobody"));
    let basic = format!("Basic {PLANTED}");
    for (path, body) in &requests {
        for headers in [
            &[("authorization", bearer.as_str())][..],
            &[("x-api-key", ingest), ("authorization", &basic)],
            &[("authorization", &wrong)],
            &[("x-api-key", &wrong)],
            &[("authorization", &basic)],
        ] {
            let answer = client.post_with(path, headers, body);
            assert!(!answer.text().contains(PLANTED), "{}", answer.text());
        }
        // At most one sample of what is refused is kept in a second.
        std::thread::sleep(Duration::from_millis(1_100));
    }
}

fn files(dir: &Path, seen: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), seen),
            false => seen.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap())),
        }
    }
}

/// The journals record by record: their files are compressed.
fn records(site: &Site) -> Vec<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    for journal in ["journal", "dlq"] {
        let mut subscriber = journal::local::open_reader(&site.path().join(journal)).unwrap();
        let extent = subscriber.extents().unwrap()[0];
        subscriber.seek(journal::Position { partition: 0, offset: extent.start }).unwrap();
        let mut next = extent.start;
        while next < extent.end {
            for entry in subscriber.next(Duration::from_secs(10)).unwrap() {
                next = entry.offset + 1;
                let bytes = [&entry.record.key[..], &entry.record.header, &entry.record.value].concat();
                seen.push((format!("{journal} {}", entry.offset), bytes));
            }
        }
    }
    seen
}

/// The same on Kafka, by Kafka's own consumer.
fn consumed(name: &str) -> Vec<(String, Vec<u8>)> {
    let Some(cluster) = topic::own() else { return vec![] };
    let consume = |topic: &str| {
        let arguments = ["--topic", topic, "--from-beginning", "--timeout-ms", "8000"];
        let print = ["--formatter-property", "print.headers=true", "--formatter-property", "print.key=true"];
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        // It ends when nothing has come for a while, which on a slow machine may be before the first.
        let text = wait::until("records", || {
            let text = cluster.tool(class, &[&arguments[..], &print].concat());
            text.contains("emberlog:").then_some(text)
        });
        (topic.to_owned(), text.into_bytes())
    };
    vec![consume(name), consume(&format!("{name}.dlq"))]
}

#[test]
fn no_byte_of_a_token_is_kept_or_said_with_and_without_a_tokens_file() {
    for with_tokens in [true, false] {
        let (site, dir) = (site(), data_dir());
        let file = dir.path().join("tokens");
        let [ingest, read] = ["ingest", "read"].map(|scope| format!("emb_{PLANTED}-{scope}-0123456789"));
        keep_token(&file, &ingest, "ingest");
        keep_token(&file, &read, "read");
        let tokens = ["--tokens", file.to_str().unwrap()];
        let mut server = site.start(if with_tokens { &tokens } else { &[] });
        let client = server.client();
        send_planted(&client, &ingest);
        let reader = client.with_token(&read);
        wait::until("the run", || (!reader.events("job", "run").unwrap().is_empty()).then_some(()));
        wait::until("the dead letters", || {
            let list = site.dead_letters(&["list", "--json"]).stdout;
            (String::from_utf8(list).unwrap().lines().count() >= 8).then_some(())
        });
        let mut seen = Vec::new();
        for client in server.metrics() {
            seen.push(("/metrics".to_owned(), client.with_token(&read).send("GET", "/metrics").body));
        }
        let list = site.dead_letters(&["list", "--json"]);
        assert!(list.status.success(), "{}", said(&list));
        let mut paths = BTreeSet::new();
        for line in String::from_utf8(list.stdout).unwrap().lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            let shown = site.dead_letters(&["show", letter["id"].as_str().unwrap()]);
            // The letter holds headers; which are no credentials.
            assert!(String::from_utf8_lossy(&shown.stdout).contains("content-length"), "{}", said(&shown));
            paths.insert(letter["path"].as_str().unwrap().to_owned());
            seen.push((line.to_owned(), [line.as_bytes(), &shown.stdout].concat()));
        }
        assert!(paths.len() >= 4, "{paths:?}");
        if with_tokens {
            wait::until("the warning", || server.logs().contains("an unknown token").then_some(()));
        }
        let logs = server.logs();
        assert_eq!(logs.contains("an unknown token"), with_tokens, "{logs}");
        seen.push(("the log".to_owned(), logs.into_bytes()));
        drop((client, reader));
        assert!(server.stop().success());
        files(site.path(), &mut seen);
        match site.topic() {
            None => seen.extend(records(&site)),
            Some(topic) => seen.extend(consumed(&topic.name)),
        }
        let size: usize = seen.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size > 10_000, "{size}");
        let has = |bytes: &[u8]| bytes.windows(PLANTED.len()).any(|it| it == PLANTED.as_bytes());
        let leaks: Vec<_> = seen.iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name).collect();
        assert!(leaks.is_empty(), "with tokens: {with_tokens}: {leaks:?}");
    }
}
