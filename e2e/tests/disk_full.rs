//! A full disk: nothing acknowledged is lost, and the server goes on when there is space again.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::agent::Agents;
use e2e::payload::small_run;
use e2e::random::Random;
use e2e::server::{Server, check, data_dir};
use e2e::wait;
use tempfile::TempDir;

/// A file system of its own, of a given size.
struct Disk {
    dir: TempDir,
}

impl Disk {
    /// None if this process may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = data_dir();
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "emberlog-e2e"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { dir }),
            Ok(output) => {
                println!("skipped: mounting needs root: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let megabyte = vec![7; 1 << 20];
        let mut file = std::fs::File::create(self.dir.path().join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &megabyte).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.dir.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|it| it.success()) || std::thread::panicking());
    }
}

fn is_full(data: &Path, server: &Server) -> Option<()> {
    let answer = server.client().post_once("/collect", &small_run("probe", &data.to_string_lossy(), 2_000).to_json());
    assert!([200, 503].contains(&answer.status), "{}", answer.text());
    // On a slow machine it may only be late.
    (answer.status == 503 && answer.message().contains("Send the payload again later")).then(|| {
        assert!(answer.header("retry-after").is_some());
    })
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = Disk::mount(160) else { return };
    let data = disk.path();
    let mut random = Random::for_test("full disk");
    let mut server = Server::start(&data, &["--memtable", "4MiB"]);
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(server.client()));
    for round in 0..3 {
        let sent = agents.ledger.count().acknowledged;
        wait::until("some load", || (agents.ledger.count().acknowledged > sent + 5_000).then_some(()));
        disk.fill();
        wait::until("a refusal", || is_full(&data, &server));
        assert!(server.is_running(), "round {round}");
        // Reads go on.
        assert_eq!(server.client().get("/job").status, 200);
        if round == 2 {
            server.kill();
            disk.free();
            server = Server::start(&data, &["--memtable", "4MiB"]);
            agents.target.set(Some(server.client()));
        } else {
            disk.free();
        }
        agents.ledger.assert_sound(&server.client());
    }
    agents.end();
    agents.ledger.assert_sound(&server.client());
    assert_eq!(server.client().get("/health").status, 200);
    assert_eq!(server.stop().code(), Some(0));
    check(&data);
    println!("{:?}", agents.ledger.count());
}
