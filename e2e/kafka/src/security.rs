//! A node with a listener that wants TLS and a password, and grants nothing that was not allowed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::Ports;
use crate::{Cluster, UNDISTURBED, free_port, java, new_dir};

/// Of the key store, which nobody else can reach.
const STORE_PASSWORD: &str = "of-the-key-store";

/// Users by SASL/PLAIN are part of a broker's configuration.
#[derive(Debug, Clone, Copy)]
pub struct PlainUser<'a> {
    pub name: &'a str,
    pub password: &'a str,
}

impl Cluster {
    /// One node. `bootstrap` is open and may do everything; `secure_bootstrap` is SASL_SSL with PLAIN and SCRAM-SHA-512.
    pub fn secured(users: &[PlainUser<'_>]) -> Self {
        let dir = new_dir();
        let store = issue(dir.path());
        let accounts: String =
            users.iter().map(|PlainUser { name, password }| format!(" user_{name}=\"{password}\"")).collect();
        let plain = format!("org.apache.kafka.common.security.plain.PlainLoginModule required{accounts};");
        let extra = [
            UNDISTURBED,
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            // All of the open listeners.
            ("super.users", "User:ANONYMOUS"),
            ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512"),
            ("listener.name.sasl_ssl.plain.sasl.jaas.config", &plain),
            (
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            ),
            ("ssl.keystore.location", store.to_str().unwrap()),
            ("ssl.keystore.password", STORE_PASSWORD),
            ("ssl.keystore.type", "PKCS12"),
        ];
        let ports = Ports { secure: Some(free_port()), ..Ports::free() };
        Self::launched(dir, vec![ports], &extra)
    }

    pub fn secure_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0].secure.unwrap())
    }

    /// The certificate of the authority that vouches for the broker.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn add_scram_user(&self, name: &str, password: &str) {
        let config = format!("SCRAM-SHA-512=[password={password}]");
        let args = ["--alter", "--add-config", &config, "--entity-type", "users", "--entity-name", name];
        self.tool("kafka.admin.ConfigCommand", &args);
    }

    /// `rights` as `kafka-acls.sh` takes them, such as `--operation Read --topic t`.
    pub fn allow(&self, user: &str, rights: &str) {
        let principal = format!("User:{user}");
        let args: Vec<_> = ["--add", "--allow-principal", &principal].into_iter().chain(rights.split(' ')).collect();
        self.tool("org.apache.kafka.tools.AclCommand", &args);
    }
}

/// An authority, and by it a certificate for 127.0.0.1.
fn issue(dir: &Path) -> PathBuf {
    let store = dir.join("broker.p12");
    let keytool = |args: &[&str]| {
        let mut command = Command::new(java().with_file_name("keytool"));
        command.args(args).args(["-storepass", STORE_PASSWORD, "-keystore"]).arg(&store);
        let output = command.output().unwrap();
        assert!(output.status.success(), "keytool {args:?}: {}", String::from_utf8_lossy(&output.stdout));
    };
    let key = ["-genkeypair", "-keyalg", "EC", "-validity", "2", "-storetype", "PKCS12"];
    keytool(&[&key[..], &["-alias", "ca", "-dname", "CN=ca", "-ext", "bc:c"]].concat());
    let name = ["-alias", "broker", "-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1"];
    keytool(&[&key[..], &name, &["-signer", "ca"]].concat());
    let certificate = dir.join("ca.pem");
    keytool(&["-exportcert", "-rfc", "-alias", "ca", "-file", certificate.to_str().unwrap()]);
    // A broker must not have the authority's key at hand: with two keys in its store it may choose the wrong one.
    keytool(&["-delete", "-alias", "ca"]);
    assert!(fs::metadata(&certificate).is_ok());
    store
}
