//! Starting the product, and playing the demo.

use crate::shell::{self, Result};
use crate::{deny, packages, ui};
use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// The authority, which starts the tray app by itself.
const SERVE: [&str; 2] = ["serve", "--desktop"];

/// Builds the product and starts it on the desktop of whoever runs this.
pub(crate) fn run() -> Result {
    if cfg!(target_os = "linux")
        && env::var_os("DISPLAY").is_none()
        && env::var_os("WAYLAND_DISPLAY").is_none()
    {
        println!(
            "There is no desktop here (neither DISPLAY nor WAYLAND_DISPLAY is set), so the demo is played on one without a screen."
        );
        return demo();
    }
    packages::install(packages::BUILD)?;
    build(&[
        "--package",
        "countersign-cli",
        "--package",
        "countersign-desktop",
    ])?;
    let program = deny::target()?
        .join("debug")
        .join(format!("countersign{}", env::consts::EXE_SUFFIX));
    shell::show(shell::program(program).args(SERVE))
}

/// Builds everything and plays the demo; says where its pictures are.
pub(crate) fn demo() -> Result {
    packages::install(packages::ALL)?;
    build(&["--workspace"])?;
    let target = deny::target()?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|e| e.to_string())?
        .as_secs();
    let out = target.join("demo").join(now.to_string());
    shell::show(shell::program(target.join("debug/countersign-demo")).arg(&out))
}

fn build(what: &[&str]) -> Result {
    ui::install()?;
    ui::build()?;
    shell::show(
        shell::cargo()
            .args(["build", "--bins", "--locked"])
            .args(what),
    )
}
