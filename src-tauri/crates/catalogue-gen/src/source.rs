//! Reading the unpacked packages.

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The entries of a folder whose names end so, in order.
pub(crate) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(wrong)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(wrong))
        .collect::<Result<_, _>>()?;
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    Ok(found)
}

/// A file's name without its last ending.
pub(crate) fn stem(file: &Path) -> String {
    file.file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// A JSON file, compressed if its name says so.
pub(crate) fn json(file: &Path) -> Result<Value, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let bytes = fs::read(file).map_err(|e| wrong(&e))?;
    if file.extension().is_some_and(|e| e == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .map_err(|e| wrong(&e))?;
        return serde_json::from_slice(&plain).map_err(|e| wrong(&e));
    }
    serde_json::from_slice(&bytes).map_err(|e| wrong(&e))
}
