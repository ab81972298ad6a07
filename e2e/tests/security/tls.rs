//! TLS as other programs see it, certificates that are exchanged, and clients with tokens over it.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::client::{Client, path};
use e2e::payload::small_run;
use e2e::process::{command_of, said};
use e2e::security::Authority;
use e2e::server::data_dir;
use e2e::{spark, wait};

use super::{Secrets, site};

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
