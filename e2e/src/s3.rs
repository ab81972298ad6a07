//! A server that speaks S3's protocol, with one bucket.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::wait;

pub const BUCKET: &str = "logs";

#[derive(Debug)]
pub struct S3 {
    _process: Process,
    pub url: String,
}

impl S3 {
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/s3-env");
        let environment = Command::new(script).output().unwrap();
        assert!(environment.status.success(), "{}", String::from_utf8_lossy(&environment.stderr));
        let python = String::from_utf8(environment.stdout).unwrap().trim().to_owned() + "/bin/python";
        let port = kafka_broker::free_port().to_string();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]).stdin(Stdio::null());
        let server = Self { _process: Process::spawn("moto", command), url: format!("http://127.0.0.1:{port}") };
        wait::until("the bucket", || ureq::put(format!("{}/{BUCKET}", server.url)).send_empty().ok());
        server
    }

    /// Puts an object, by its key as it is in a URL.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        ureq::put(format!("{}/{BUCKET}/{key}", self.url)).send(bytes).unwrap();
    }

    /// With what a command needs to reach it.
    pub fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("AWS_ENDPOINT_URL", &self.url).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test")
    }
}
