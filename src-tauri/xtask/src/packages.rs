//! The system packages of Debian and Ubuntu.

use crate::shell::{self, Result};
use std::fs;
use std::process::Stdio;

/// Packages that belong together, and what they are for.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    why: &'static str,
    names: &'static [&'static str],
}

/// What building and running the product needs.
pub(crate) const BUILD: &[Group] = &[
    Group {
        why: "to build the tray app (WebKitGTK, tray, D-Bus)",
        names: &[
            "build-essential",
            "pkg-config",
            "libwebkit2gtk-4.1-dev",
            "libayatana-appindicator3-dev",
            "libdbus-1-dev",
            "librsvg2-dev",
        ],
    },
    Group {
        why: "to run it (tray, containment of agents)",
        names: &["libayatana-appindicator3-1", "bubblewrap"],
    },
];

/// What the tests and the demo need besides: a desktop without a screen.
pub(crate) const ALL: &[Group] = &[
    BUILD[0],
    BUILD[1],
    Group {
        why: "a desktop without a screen, for the tests and the demo",
        names: &[
            "xvfb",
            "openbox",
            "dbus",
            "gnome-keyring",
            "libsecret-tools",
            "xfce4-notifyd",
            "xfce4-panel",
            "xfconf",
            "libglib2.0-bin",
            "adwaita-icon-theme",
            "fonts-dejavu-core",
            "xdg-desktop-portal",
        ],
    },
    Group {
        why: "to look at that desktop and to click on it",
        names: &[
            "xdotool",
            "wmctrl",
            "x11-utils",
            "x11-xserver-utils",
            "imagemagick",
            "at-spi2-core",
            "gir1.2-atspi-2.0",
            "gir1.2-ayatanaappindicator3-0.1",
            "python3",
            "python3-gi",
            "webkit2gtk-driver",
        ],
    },
    Group {
        why: "clients that agents use, to see that they work contained",
        names: &[
            "ca-certificates",
            "curl",
            "wget",
            "git",
            "gh",
            "gron",
            "python3-venv",
            "python3-requests",
            "python3-httpx",
            "python3-aiohttp",
            "python3-googleapi",
            "default-jdk-headless",
            "musl-tools",
        ],
    },
];

/// What the bench needs besides.
pub(crate) const BENCH: &[Group] = &[
    Group {
        why: "to compare speed with (Debian and Ubuntu start it as a service at port 3128; \
              `systemctl disable --now squid` ends that)",
        names: &["squid-openssl"],
    },
    Group {
        why: "for an environment of its own with mitmproxy",
        names: &["python3-venv"],
    },
];

/// Installs what is missing; says what and why before it does.
pub(crate) fn install(groups: &[Group]) -> Result {
    if !cfg!(target_os = "linux") {
        println!(
            "System packages: none are installed on this system; see the README for what it needs."
        );
        return Ok(());
    }
    if shell::first_line("dpkg-query", &["--version"]).is_none() {
        let all: Vec<&str> = groups.iter().flat_map(|g| g.names).copied().collect();
        return Err(format!(
            "only Debian and Ubuntu are set up by this command. Install what your distribution calls these, \
             and build with cargo and npm yourself (README, \"From source\"): {}",
            all.join(" ")
        ));
    }
    let installed = installed()?;
    let mut missing: Vec<&str> = Vec::new();
    for group in groups {
        let lacking: Vec<&str> = group
            .names
            .iter()
            .copied()
            .filter(|n| !installed.iter().any(|i| i == n))
            .collect();
        if !lacking.is_empty() {
            println!("Missing, {}: {}", group.why, lacking.join(" "));
            missing.extend(lacking);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing {} system packages …", missing.len());
    if !all_known(&missing) {
        shell::quiet("apt-get update", apt().arg("update"))?;
    }
    let mut install = apt();
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(&missing);
    let first = shell::quiet("apt-get install", &mut install);
    if first.is_err() {
        // Package lists that are old name files that are gone.
        shell::quiet("apt-get update", apt().arg("update"))?;
        shell::quiet("apt-get install", &mut install)?;
    }
    println!("Installed.");
    Ok(())
}

/// The names of all installed packages.
fn installed() -> Result<Vec<String>> {
    let mut query = shell::program("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package}\\n"]);
    let list = shell::quiet("dpkg-query", &mut query)?;
    Ok(list
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect())
}

/// Whether the package lists on this machine know a version of each.
fn all_known(names: &[&str]) -> bool {
    names.iter().all(|name| {
        let policy = shell::program("apt-cache")
            .args(["policy", name])
            .stderr(Stdio::null())
            .output();
        policy.is_ok_and(|p| {
            let text = String::from_utf8_lossy(&p.stdout).into_owned();
            text.contains("Candidate:") && !text.contains("Candidate: (none)")
        })
    })
}

/// apt-get, as root, waiting for another that runs.
fn apt() -> std::process::Command {
    let mut command = if is_root() {
        shell::program("apt-get")
    } else {
        let mut sudo = shell::program("sudo");
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    command
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|l| l.strip_prefix("Uid:"))
        .and_then(|l| l.split_whitespace().nth(1));
    effective == Some("0")
}
