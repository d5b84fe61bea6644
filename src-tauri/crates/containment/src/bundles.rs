//! Bundles of CAs that programs bring along and trust instead of the system's:
//! the run's own CA is laid over them too, for programs that heed no variable.
//!
//! Those in the working folder are left alone: what is mounted over could not be
//! removed, and an agent may well remove a virtual environment. What was installed
//! there heeds the variables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which form a bundle has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Pem,
    Java,
}

/// Below a folder of Python packages: certifi, what pip has of it, and others'.
const OF_PYTHON: &[&str] = &[
    "certifi/cacert.pem",
    "pip/_vendor/certifi/cacert.pem",
    "botocore/cacert.pem",
    "httplib2/cacerts.txt",
    "grpc/_cython/_credentials/roots.pem",
];

/// Below the folder of a Java: of 9 and later, and before.
const OF_JAVA: &[&str] = &["lib/security/cacerts", "jre/lib/security/cacerts"];

/// Where folders of Python packages are, below the root of an installation. A
/// part may end in `*`.
const PACKAGES: &[&str] = &[
    "lib/python3*/dist-packages",
    "lib/python3*/site-packages",
    "lib64/python3*/site-packages",
];

/// Where installations are, below a place of the system.
pub(crate) const OF_SYSTEM: &[&str] = &["", "*"];
/// The same below a tool chain.
pub(crate) const OF_TOOLS: &[&str] = &["", "*", "*/*"];

/// The bundles below these places, which are shown read-only: where each appears
/// in a run.
pub(crate) fn below<'a>(
    places: impl Iterator<Item = (&'a Path, &'a Path)>,
    installations: &[&str],
) -> Vec<(PathBuf, Form)> {
    let mut found = Vec::new();
    for (seen, real) in places {
        for installation in installations.iter().flat_map(|i| matching(real, i)) {
            let java = OF_JAVA
                .iter()
                .map(|name| (installation.join(name), Form::Java));
            let python = PACKAGES
                .iter()
                .flat_map(|packages| matching(&installation, packages))
                // `.local/lib` is a place itself.
                .chain(matching(&installation, "site-packages"))
                .flat_map(|packages| OF_PYTHON.iter().map(move |name| packages.join(name)))
                .map(|path| (path, Form::Pem));
            for (path, form) in java.chain(python) {
                // A link leads to the system's, which has the run's CA already.
                let is_file = |found: std::fs::Metadata| found.is_file();
                if path.symlink_metadata().is_ok_and(is_file)
                    && let Ok(rest) = path.strip_prefix(real)
                {
                    found.push((seen.join(rest), form));
                }
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.dedup();
    found
}

/// Folders below this one whose relative path is like the pattern. Links are not
/// followed.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found
            .iter()
            .flat_map(|folder| entries(folder, part))
            .collect();
    }
    found
}

fn entries(folder: &Path, part: &str) -> Vec<PathBuf> {
    let Some(beginning) = part.strip_suffix('*') else {
        return vec![folder.join(part)];
    };
    let Ok(entries) = folder.read_dir() else {
        return Vec::new();
    };
    let fits = |name: &OsString| name.to_string_lossy().starts_with(beginning);
    entries
        .filter_map(Result::ok)
        .filter(|entry| fits(&entry.file_name()) && entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_found_where_tools_keep_them_and_links_are_not() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "old").unwrap();
        };
        let python = "lib/python3.12/site-packages/certifi/cacert.pem";
        make(python);
        make("3.11/lib/python3.11/site-packages/pip/_vendor/certifi/cacert.pem");
        make("venvs/tool/lib/python3.13/site-packages/certifi/cacert.pem");
        make("java/21/lib/security/cacerts");
        make("python2/lib/python2.7/site-packages/certifi/cacert.pem");
        let link = root.path().join("linked/lib/security");
        std::fs::create_dir_all(&link).unwrap();
        std::os::unix::fs::symlink("/etc/ssl/certs/java/cacerts", link.join("cacerts")).unwrap();
        let seen = Path::new("/seen");
        let found = below([(seen, root.path())].into_iter(), OF_TOOLS);
        let of = |path: &str, form| (seen.join(path), form);
        assert_eq!(
            found,
            [
                of(
                    "3.11/lib/python3.11/site-packages/pip/_vendor/certifi/cacert.pem",
                    Form::Pem
                ),
                of("java/21/lib/security/cacerts", Form::Java),
                of(python, Form::Pem),
                of(
                    "venvs/tool/lib/python3.13/site-packages/certifi/cacert.pem",
                    Form::Pem
                ),
            ]
        );
    }
}
