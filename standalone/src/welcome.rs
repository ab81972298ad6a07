//! The lines that the server says at its start.

use std::path::{Path, PathBuf};

const JAR: &str = "emberlog-listener.jar";

/// What is to be said of a server.
pub struct Welcome {
    pub url: String,
    pub admin_url: Option<String>,
    pub needs_token: bool,
    /// What is open that should not be.
    pub exposure: Option<&'static str>,
}

impl Welcome {
    /// Where it listens, where the data lie, and the line to copy.
    pub fn text(&self, data: &Path) -> String {
        let (version, url) = (env!("CARGO_PKG_VERSION"), &self.url);
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        let line = |name: &str, text: String| format!("  {name:<9}  {text}\n");
        let what = if self.admin_url.is_some() { "ingest and reads" } else { "ingest, reads, health and metrics" };
        let (header, conf) = match self.needs_token {
            true => ("-H 'Authorization: Bearer TOKEN' ", "    --conf spark.emberlog.token.secret=TOKEN \\\n"),
            false => ("", ""),
        };
        let lines = [
            Some(line("listening", format!("{url}   {what}"))),
            self.admin_url.as_ref().map(|url| line("admin", format!("{url}   health and metrics"))),
            Some(line("data", data.display().to_string())),
            self.exposure.map(|exposure| line("WARNING", exposure.to_owned())),
            Some(line("try", format!("curl {header}{url}/job"))),
        ];
        format!(
            "Emberlog {version}\n{}\nSend it the events of a Spark application:\n\n  spark-submit --jars {} \\\n    \
             --conf spark.extraListeners=io.emberlog.EmberlogListener \\\n{conf}    \
             --conf spark.emberlog.url={url} YOUR_APPLICATION\n",
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
    fn the_lines_to_copy_have_a_token_where_one_is_needed_and_a_warning_where_all_is_open() {
        let welcome = |needs_token, exposure| {
            let url = "http://10.0.0.1:5000".to_owned();
            Welcome { url, admin_url: None, needs_token, exposure }.text(Path::new("/data"))
        };
        let open = welcome(false, Some("NO TOKENS"));
        assert!(
            open.contains("\n  WARNING    NO TOKENS\n") && open.contains("curl http://10.0.0.1:5000/job"),
            "{open}"
        );
        let closed = welcome(true, None);
        assert!(closed.contains("curl -H 'Authorization: Bearer TOKEN' http"), "{closed}");
        assert!(closed.contains("    --conf spark.emberlog.token.secret=TOKEN \\\n    --conf"), "{closed}");
        assert!(!closed.contains("WARNING"), "{closed}");
    }
}
