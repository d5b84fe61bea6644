//! Tools that a run cannot see where they are installed here: they are laid into
//! the agent's working folder, which only the throw-away user has.

use countersign_testkit::{Scene, programs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clients from npm that `cargo xtask setup` has installed.
pub(crate) fn copy_node_modules(scene: &Scene) {
    let target = programs::folder().unwrap();
    let from = target.parent().unwrap().join("tools/clients/node_modules");
    assert!(
        from.is_dir(),
        "{} is missing: cargo xtask setup installs it",
        from.display()
    );
    lay(scene, &from, Path::new("node_modules"));
}

/// Where `cargo xtask setup` has installed the clients from PyPI.
pub(crate) fn python() -> PathBuf {
    let target = programs::folder().unwrap();
    let folder = target.parent().unwrap().join("tools/clients/python");
    assert!(
        folder.is_dir(),
        "{} is missing: cargo xtask setup installs it",
        folder.display()
    );
    folder
}

/// AWS's client for Python, in the folder `python` of the working folder.
pub(crate) fn copy_boto3(scene: &Scene) {
    let packages = std::fs::read_dir(python().join("lib")).unwrap();
    let version = packages.map(|entry| entry.unwrap().path()).next().unwrap();
    for package in [
        "boto3",
        "botocore",
        "dateutil",
        "jmespath",
        "s3transfer",
        "six.py",
        "urllib3",
    ] {
        let from = version.join("site-packages").join(package);
        lay(scene, &from, &Path::new("python").join(package));
    }
}

/// The cargo that builds this test, and what it starts to learn of its target.
pub(crate) fn cargo(scene: &Scene) -> PathBuf {
    let cargo = env!("CARGO");
    let sysroot = Command::new(Path::new(cargo).with_file_name("rustc"))
        .args(["--print", "sysroot"])
        .output()
        .unwrap();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
    let mut parts = vec![PathBuf::from("bin/cargo"), PathBuf::from("bin/rustc")];
    for library in std::fs::read_dir(sysroot.join("lib")).unwrap() {
        let name = library.unwrap().file_name();
        if name.to_string_lossy().contains(".so") {
            parts.push(Path::new("lib").join(name));
        }
    }
    for part in parts {
        lay(
            scene,
            &sysroot.join(&part),
            &Path::new("toolchain").join(&part),
        );
    }
    scene.work().unwrap().join("toolchain")
}

/// Linked where it lies on the same disk, else copied.
fn lay(scene: &Scene, from: &Path, to: &Path) {
    let to = scene.work().unwrap().join(to);
    let folder = to.parent().unwrap();
    scene.desktop.person().make_folder(folder).unwrap();
    let copied = ["-rlL", "-rL"].iter().any(|how| {
        let copy = Command::new("cp").arg(how).arg(from).arg(&to).output();
        copy.is_ok_and(|copy| copy.status.success())
    });
    assert!(copied, "{} cannot be copied", from.display());
    let open = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755));
    if to.is_dir() {
        open(&to).unwrap();
    }
}
