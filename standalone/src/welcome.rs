//! The lines that the server says at its start.

use std::path::{Path, PathBuf};

const JAR: &str = "emberlog-listener.jar";

/// Where it listens, where the data lie, what is open that should not be, and the line to copy.
pub fn text(url: &str, admin: Option<&str>, data: &Path, exposure: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let what = if admin.is_some() { "ingest and reads" } else { "ingest, reads, health and metrics" };
    let exposure = exposure.map(|it| format!("  WARNING    {it}\n")).unwrap_or_default();
    let admin = admin.map(|url| format!("  admin      {url}   health and metrics\n")).unwrap_or_default();
    format!(
        "Emberlog {version}\n  listening  {url}   {what}\n{admin}  data       {}\n{exposure}  try        curl {url}/job\n\n\
         Send it the events of a Spark application:\n\n  spark-submit --jars {} \\\n    \
         --conf spark.extraListeners=io.emberlog.EmberlogListener \\\n    \
         --conf spark.emberlog.url={url} YOUR_APPLICATION\n",
        data.display(),
        jar().display()
    )
}

/// The listener as installed beside this program or built in the working folder, else only its name.
fn jar() -> PathBuf {
    let installed = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("share").join("emberlog").join(JAR)));
    let built = Path::new("listener").join("target").join(JAR);
    installed.into_iter().chain([built]).find(|it| it.is_file()).unwrap_or_else(|| JAR.into())
}
