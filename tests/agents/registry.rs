//! A package registry with one package in it.

use countersign_testkit::upstream::{Reply, Upstream};
use serde_json::json;
use std::io;
use std::process::Command;

/// The package.
pub(crate) const PACKAGE: &str = "left-alone";

/// Serves `registry.npmjs.org`.
pub(crate) fn start() -> io::Result<Upstream> {
    let archive = archive()?;
    Upstream::start("registry.npmjs.org", move |seen| {
        match (seen.method.as_str(), seen.path()) {
            ("GET", "/left-alone") => {
                let version = json!({"name": PACKAGE, "version": "1.0.0", "dist": {
                "tarball": format!("https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE}-1.0.0.tgz")}});
                Reply::json(
                    200,
                    &json!({"name": PACKAGE, "dist-tags": {"latest": "1.0.0"},
                                     "versions": {"1.0.0": version}}),
                )
            }
            ("GET", "/left-alone/-/left-alone-1.0.0.tgz") => {
                let mut reply = Reply::status(200).with("content-type", "application/octet-stream");
                reply.body.clone_from(&archive);
                reply
            }
            ("DELETE", _) => Reply::json(200, &json!({"deleted": true})),
            _ => Reply::status(404),
        }
    })
}

fn archive() -> io::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let package = folder.path().join("package");
    std::fs::create_dir(&package)?;
    std::fs::write(
        package.join("package.json"),
        json!({"name": PACKAGE, "version": "1.0.0"}).to_string(),
    )?;
    let packed = Command::new("tar")
        .args(["czf", "-", "package"])
        .current_dir(folder.path())
        .output()?;
    if packed.status.success() {
        Ok(packed.stdout)
    } else {
        Err(io::Error::other("tar cannot pack"))
    }
}
