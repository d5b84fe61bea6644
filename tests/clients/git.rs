//! git's own server (git-http-backend(1)) behind HTTPS, with one repository.

use countersign_testkit::upstream::{Reply, Seen, Upstream};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes `team/project.git` in the folder, with a first commit, and serves it to
/// the holder of this bearer credential.
pub(crate) fn serve(host: &str, folder: &Path, credential: &'static str) -> Upstream {
    git(
        folder,
        &["init", "-q", "--bare", "-b", "main", "team/project.git"],
    );
    commit(folder, "first");
    let folder = folder.to_owned();
    Upstream::start(host, move |seen| {
        if seen.bears(credential) {
            answer(&folder, seen)
        } else {
            Reply::status(401)
        }
    })
    .unwrap()
}

/// Adds a commit whose README has one line.
pub(crate) fn commit(folder: &Path, line: &str) {
    let work = tempfile::tempdir().unwrap();
    let origin = folder.join("team/project.git");
    let origin = origin.to_str().unwrap();
    git(work.path(), &["clone", "-q", origin, "work"]);
    let clone = work.path().join("work");
    std::fs::write(clone.join("README"), format!("{line}\n")).unwrap();
    git(&clone, &["add", "README"]);
    git(&clone, &["commit", "-q", "-m", line]);
    git(&clone, &["push", "-q", origin, "HEAD:main"]);
}

/// What README says on the server.
pub(crate) fn content(folder: &Path) -> String {
    git(&folder.join("team/project.git"), &["show", "main:README"])
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=n", "-c", "user.email=e@example.com"])
        .args(args)
        .current_dir(folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// One request by CGI (RFC 3875).
fn answer(folder: &Path, seen: &Seen) -> Reply {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "somebody")
        .env("REQUEST_METHOD", &seen.method)
        .env("PATH_INFO", seen.path())
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", seen.body.len().to_string())
        .env("CONTENT_TYPE", seen.header("content-type").unwrap_or(""))
        .env(
            "HTTP_CONTENT_ENCODING",
            seen.header("content-encoding").unwrap_or(""),
        )
        .env("GIT_PROTOCOL", seen.header("git-protocol").unwrap_or(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    backend.stdin.take().unwrap().write_all(&seen.body).unwrap();
    let said = backend.wait_with_output().unwrap().stdout;
    let end = said.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let mut reply = Reply::status(200);
    reply.body = said[end + 4..].to_vec();
    for line in String::from_utf8_lossy(&said[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            reply.status = value[..3].parse().unwrap();
        } else {
            reply = reply.with(name, value);
        }
    }
    reply
}
