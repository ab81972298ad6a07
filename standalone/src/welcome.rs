//! The lines that the server says at its start.

use std::path::{Path, PathBuf};

const JAR: &str = "emberlog-listener.jar";

/// What is to be said of a server.
pub struct Welcome {
    pub url: String,
    pub admin_url: Option<String>,
    pub needs_token: bool,
}

impl Welcome {
    /// Where it listens, where the data lie, and the line to copy.
    pub fn text(&self, data: &Path) -> String {
        let (version, url) = (env!("CARGO_PKG_VERSION"), &self.url);
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        let line = |name: &str, text: String| format!("  {name:<9}  {text}\n");
        let what = if self.admin_url.is_some() { "ingest and reads" } else { "ingest, reads, health and metrics" };
        let (header, token) = match self.needs_token {
            // A command line shows its secrets to every user of the machine.
            true => ("-H 'Authorization: Bearer TOKEN' ", "    --properties-file EMBERLOG.conf \\\n"),
            false => ("", ""),
        };
        let (authority, trust) = match url.starts_with("https:") {
            true => ("--cacert CA.crt ", "    --conf spark.emberlog.caFile=CA.crt \\\n"),
            false => ("", ""),
        };
        let note = match (self.needs_token, trust.is_empty()) {
            (true, true) => "\nEMBERLOG.conf holds your properties and the line: spark.emberlog.token.secret TOKEN\n",
            (true, false) => {
                "\nEMBERLOG.conf holds your properties and the line: spark.emberlog.token.secret TOKEN\nCA.crt is the \
                 authority that signed the server's certificate; for a public one, leave it out.\n"
            }
            (false, false) => {
                "\nCA.crt is the authority that signed the server's certificate; for a public one, leave it out.\n"
            }
            (false, true) => "",
        };
        let lines = [
            Some(line("listening", format!("{url}   {what}"))),
            self.admin_url.as_ref().map(|url| line("admin", format!("{url}   health and metrics"))),
            Some(line("data", data.display().to_string())),
            Some(line("try", format!("curl {authority}{header}{url}/job"))),
        ];
        format!(
            "Emberlog {version}\n{}\nSend it the events of a Spark application:\n\n  spark-submit --jars {} \\\n    \
             --conf spark.extraListeners=io.emberlog.EmberlogListener \\\n{token}{trust}    \
             --conf spark.emberlog.url={url} YOUR_APPLICATION\n{note}",
            lines.into_iter().flatten().collect::<String>(),
            jar().display()
        )
    }
}

/// The listener as installed beside this program or built in the working folder, else only its name.
fn jar() -> PathBuf {
    let installed = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("share").join("emberlog").join(JAR)));
    let built = Path::new("listener").join("target").join(JAR);
    installed.into_iter().chain([built]).find(|it| it.is_file()).unwrap_or_else(|| JAR.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_copy_have_a_token_where_one_is_needed() {
        let welcome = |scheme, needs_token| {
            let url = format!("{scheme}://10.0.0.1:5000");
            Welcome { url, admin_url: None, needs_token }.text(Path::new("/data"))
        };
        let open = welcome("http", false);
        assert!(open.contains("curl http://10.0.0.1:5000/job"), "{open}");
        assert!(!open.contains("EMBERLOG.conf") && !open.contains("CA.crt"), "{open}");
        let closed = welcome("https", true);
        assert!(closed.contains("curl --cacert CA.crt -H 'Authorization: Bearer TOKEN' https"), "{closed}");
        assert!(
            closed.contains("    --properties-file EMBERLOG.conf \\\n    --conf spark.emberlog.caFile"),
            "{closed}"
        );
        assert!(closed.contains("the line: spark.emberlog.token.secret TOKEN\n"), "{closed}");
        assert!(!closed.contains("--conf spark.emberlog.token"), "{closed}");
    }
}
