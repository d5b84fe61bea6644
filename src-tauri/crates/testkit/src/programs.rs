//! The programs under test, as files that an ordinary user can run.

use std::ffi::OsStr;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where cargo put the programs: the folder above the `deps` that the running
/// test lies in.
///
/// # Errors
/// When the running program was not started from a target folder.
pub fn folder() -> io::Result<PathBuf> {
    let me = env::current_exe()?;
    let beside = me
        .parent()
        .ok_or_else(|| io::Error::other("the test program has no folder"))?;
    let folder = if beside.file_name() == Some(OsStr::new("deps")) {
        beside.parent()
    } else {
        Some(beside)
    };
    folder
        .map(Path::to_owned)
        .ok_or_else(|| io::Error::other("the test program has no target folder"))
}

/// The built program of this name, at a path that every user can run: where it
/// was built, or a copy of it when a folder above is closed to others.
///
/// # Errors
/// When it was not built (`cargo build --workspace` builds all).
pub fn built(name: &str) -> io::Result<PathBuf> {
    let program = folder()?.join(name);
    if !program.is_file() {
        return Err(io::Error::other(format!(
            "{} is missing: build it first with `cargo build --workspace`",
            program.display()
        )));
    }
    if nix::unistd::Uid::effective().is_root() && !open_to_all(&program)? {
        // The authority finds the tray app beside itself: one of another build
        // there would not understand it.
        for other in TOGETHER {
            let other = program.with_file_name(other);
            if other.is_file() {
                copy(&other)?;
            }
        }
        copy(&program)
    } else {
        Ok(program)
    }
}

/// Programs that talk to each other.
const TOGETHER: [&str; 2] = ["countersign", "countersign-desktop"];

/// Whether every user can reach and run the file.
fn open_to_all(program: &Path) -> io::Result<bool> {
    for path in program.ancestors() {
        let wanted = if path == program { 0o005 } else { 0o001 };
        if fs::metadata(path)?.permissions().mode() & wanted != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies the program to a folder that all can read; one copy, renewed when
/// the program was built anew.
fn copy(program: &Path) -> io::Result<PathBuf> {
    // Of this target folder alone: those of another checkout are others.
    let mut hash = std::hash::DefaultHasher::new();
    program.parent().hash(&mut hash);
    let name = format!("countersign-test-programs-{:016x}", hash.finish());
    let folder = env::temp_dir().join(name);
    match fs::create_dir(&folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?,
    }
    let owner = fs::symlink_metadata(&folder)?.uid();
    if owner != nix::unistd::Uid::effective().as_raw() {
        return Err(io::Error::other(format!(
            "{} belongs to uid {owner}",
            folder.display()
        )));
    }
    let name = program
        .file_name()
        .ok_or_else(|| io::Error::other("a program without a name"))?;
    let copy = folder.join(name);
    let built = fs::metadata(program)?;
    let is_current =
        |m: fs::Metadata| m.len() == built.len() && m.modified().ok() == built.modified().ok();
    if !fs::metadata(&copy).is_ok_and(is_current) {
        // Under another name first: nobody must run half a file.
        let part = tempfile::NamedTempFile::new_in(&folder)?;
        fs::copy(program, part.path())?;
        fs::set_permissions(part.path(), fs::Permissions::from_mode(0o755))?;
        part.as_file().set_modified(built.modified()?)?;
        part.into_temp_path().persist(&copy)?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_renewed_when_the_program_was_built_anew() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder
            .path()
            .join(format!("copied-{}", crate::random::hex::<8>()));
        for content in ["first", "second, longer"] {
            fs::write(&program, content).unwrap();
            let copy = copy(&program).unwrap();
            assert_eq!(fs::read_to_string(&copy).unwrap(), content);
            assert_eq!(
                fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
                0o755
            );
        }
        fs::remove_file(copy(&program).unwrap()).unwrap();
    }
}
