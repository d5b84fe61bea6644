//! Which crate may name which: dependencies point one way.

use super::Finding;
use crate::shell::Result;
use serde_json::Value;
use std::fs;

/// A crate of the workspace, as its manifest says.
#[derive(Debug, Clone, Default)]
pub(super) struct Crate {
    name: String,
    /// Dependencies of the crate itself and of its build script.
    names: Vec<String>,
    /// Dependencies of its tests.
    tests_name: Vec<String>,
    lints: bool,
}

/// What each of our crates may name of our crates.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("config", &["model"]),
    ("policy", &["model"]),
    ("catalogue", &["model"]),
    // What a signature is; whose key makes it is for others to know.
    ("sigv4", &["model"]),
    ("vault", &["model", "sigv4"]),
    // A maintainer's tool; no part of the product.
    ("catalogue-gen", &["model", "catalogue"]),
    ("ledger", &["model"]),
    (
        "broker",
        &[
            "model",
            "protocol",
            "config",
            "policy",
            "catalogue",
            "vault",
            "ledger",
        ],
    ),
    // They parse what is hostile: neither secrets nor records are theirs to touch.
    (
        "gateway-",
        &[
            "model",
            "protocol",
            "config",
            "catalogue",
            "sigv4",
            "broker",
        ],
    ),
    ("containment", &["model", "protocol", "config", "broker"]),
    (
        "cli",
        &[
            "model",
            "protocol",
            "config",
            "policy",
            "catalogue",
            "sigv4",
            "vault",
            "ledger",
            "broker",
            "containment",
            "gateway-",
        ],
    ),
    ("desktop", &["model", "protocol"]),
    (
        "testkit",
        &[
            "model",
            "protocol",
            "config",
            "policy",
            "catalogue",
            "vault",
            "ledger",
            "broker",
        ],
    ),
    ("tests", &["model", "protocol", "config", "testkit"]),
];

/// Families of foreign crates that only one of ours may name.
const OWNED: &[(&str, &[&str], &str)] = &[
    (
        "vault",
        &["keyring", "secret-service"],
        "Only `vault` names the keyring: secrets exist in one crate, that can be read in one sitting.",
    ),
    (
        "ledger",
        &["rusqlite", "libsqlite3-sys", "sqlx"],
        "Only `ledger` names SQLite: one writer, one way for a record to become durable.",
    ),
    (
        "desktop",
        &[
            "tauri",
            "wry",
            "gtk",
            "webkit2gtk",
            "notify-rust",
            "global-hotkey",
            "tray-icon",
        ],
        "Only the desktop names Tauri and its like: what holds secrets links no GTK and no web engine.",
    ),
];

/// Crates that are pure, and what would make them impure.
pub(super) const PURE: [&str; 5] = ["model", "policy", "catalogue", "config", "sigv4"];
const IMPURE: [&str; 12] = [
    "tokio",
    "async-std",
    "getrandom",
    "rand",
    "fastrand",
    "reqwest",
    "hyper",
    "nix",
    "rustix",
    "libc",
    "mio",
    "tempfile",
];

pub(super) const WHY_PURE: &str = "`model`, `policy`, `catalogue`, `config` and `sigv4` know no I/O, clock or randomness: the same input gives the same verdict, here, in a test and in a replay.";
const WHY_DIRECTION: &str = "Dependencies point one way (model <- protocol, config, policy, catalogue, sigv4 <- vault, ledger <- broker <- gateways, containment <- cli; the desktop names model and protocol), so that each crate can be read without what is above it.";
const WHY_LINTS: &str =
    "Every crate has the workspace's lints: none may unwrap or be unsafe unseen.";

/// Reads `cargo metadata --no-deps`.
pub(super) fn read(metadata: &Value) -> Result<Vec<Crate>> {
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    packages.iter().map(read_one).collect()
}

fn read_one(package: &Value) -> Result<Crate> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]);
    let content = fs::read_to_string(&manifest).map_err(|e| format!("{manifest}: {e}"))?;
    let mut made = Crate {
        name: text(&package["name"]),
        lints: has_lints(&content),
        ..Crate::default()
    };
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let list = if dependency["kind"] == "dev" {
            &mut made.tests_name
        } else {
            &mut made.names
        };
        list.push(text(&dependency["name"]));
    }
    Ok(made)
}

fn has_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1);
    lines.any(|line| line.replace(' ', "") == "workspace=true")
}

/// Checks all rules on crates.
pub(super) fn check(crates: &[Crate]) -> Vec<Finding> {
    crates
        .iter()
        .flat_map(|c| [direction(c), owners(c), purity(c), lints(c)].concat())
        .collect()
}

/// Our own name for a crate: without the product's.
fn short(name: &str) -> Option<&str> {
    name.strip_prefix("countersign-")
}

fn layer(short: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    LAYERS.iter().find(|(name, _)| matches(name, short))
}

/// Layers that end in `-` stand for all crates that begin so.
fn matches(layer: &str, short: &str) -> bool {
    layer == short || layer.ends_with('-') && short.starts_with(layer)
}

fn direction(c: &Crate) -> Vec<Finding> {
    if c.name == "xtask" {
        let ours = c
            .names
            .iter()
            .chain(&c.tests_name)
            .filter(|n| short(n).is_some());
        return ours
            .map(|n| Finding::new(&c.name, format!("names {n}"), WHY_DIRECTION))
            .collect();
    }
    let Some((_, may)) = short(&c.name).and_then(layer) else {
        let what = "has no place in the layers: give it one in src-tauri/xtask/src/tidy/crates.rs";
        return vec![Finding::new(&c.name, what, WHY_DIRECTION)];
    };
    let allowed = |list: &[&str], name: &str| list.iter().any(|layer| matches(layer, name));
    let ours = c.names.iter().filter_map(|n| short(n));
    let upward = ours
        .filter(|n| !allowed(may, n))
        .map(|n| format!("names {n}"));
    // A test may set up what its crate meets in the product, but nothing above.
    let ours = c
        .tests_name
        .iter()
        .filter_map(|n| short(n))
        .filter(|n| *n != "testkit");
    let above =
        |n: &&str| layer(n).is_none_or(|(_, its)| short(&c.name).is_none_or(|me| allowed(its, me)));
    let upward_in_tests = ours
        .filter(above)
        .map(|n| format!("names {n} in its tests"));
    upward
        .chain(upward_in_tests)
        .map(|what| Finding::new(&c.name, what, WHY_DIRECTION))
        .collect()
}

fn owners(c: &Crate) -> Vec<Finding> {
    let me = short(&c.name).unwrap_or(&c.name);
    let mut findings = Vec::new();
    // The black-box tests tamper with what the product wrote.
    for (owner, families, why) in OWNED
        .iter()
        .filter(|(owner, ..)| *owner != me && me != "tests")
    {
        let foreign = c
            .names
            .iter()
            .chain(&c.tests_name)
            .filter(|n| short(n).is_none());
        for name in foreign.filter(|n| families.iter().any(|family| is_of(n, family))) {
            findings.push(Finding::new(
                &c.name,
                format!("names {name}, which is {owner}'s"),
                why,
            ));
        }
    }
    findings
}

/// Whether a crate's name has the family's name as whole words.
fn is_of(name: &str, family: &str) -> bool {
    format!("-{name}-").contains(&format!("-{family}-"))
}

fn purity(c: &Crate) -> Vec<Finding> {
    if !short(&c.name).is_some_and(|me| PURE.contains(&me)) {
        return Vec::new();
    }
    let impure = c.names.iter().filter(|n| IMPURE.contains(&n.as_str()));
    impure
        .map(|n| Finding::new(&c.name, format!("names {n}"), WHY_PURE))
        .collect()
}

fn lints(c: &Crate) -> Vec<Finding> {
    if c.lints {
        Vec::new()
    } else {
        vec![Finding::new(
            &c.name,
            "lacks `[lints] workspace = true`",
            WHY_LINTS,
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, names: &[&str]) -> Crate {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        Crate {
            name: name.into(),
            names,
            tests_name: Vec::new(),
            lints: true,
        }
    }

    fn found(c: Crate) -> Vec<String> {
        check(&[c]).into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn what_points_down_is_allowed() {
        assert!(
            found(names(
                "countersign-broker",
                &["countersign-model", "countersign-ledger", "tokio"]
            ))
            .is_empty()
        );
        assert!(
            found(names(
                "countersign-cli",
                &["countersign-gateway-ssh", "countersign-vault"]
            ))
            .is_empty()
        );
        assert!(found(names("xtask", &["serde_json"])).is_empty());
    }

    #[test]
    fn siblings_and_what_is_above_are_not_named() {
        for (who, whom) in [
            ("model", "policy"),
            ("policy", "catalogue"),
            ("ledger", "broker"),
            ("gateway-http", "gateway-ssh"),
            ("gateway-http", "vault"),
            ("containment", "gateway-http"),
            ("desktop", "broker"),
            ("cli", "desktop"),
        ] {
            let c = names(
                &format!("countersign-{who}"),
                &[&format!("countersign-{whom}")],
            );
            assert_eq!(found(c), [format!("names {whom}")], "{who}");
        }
    }

    #[test]
    fn a_test_may_name_siblings_and_what_is_below_but_nothing_above() {
        let with = |name: &str| Crate {
            tests_name: vec![format!("countersign-{name}"), "countersign-testkit".into()],
            ..names("countersign-gateway-http", &[])
        };
        assert!(found(with("ledger")).is_empty());
        assert_eq!(found(with("cli")), ["names cli in its tests"]);
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert_eq!(found(names("countersign-extra", &[])).len(), 1);
    }

    #[test]
    fn only_owners_name_the_keyring_sqlite_and_tauri() {
        for (owner, name) in [
            ("vault", "keyring-core"),
            ("vault", "zbus-secret-service-keyring-store"),
            ("ledger", "rusqlite"),
            ("desktop", "tauri-plugin-global-shortcut"),
        ] {
            assert!(
                found(names(&format!("countersign-{owner}"), &[name])).is_empty(),
                "{name}"
            );
            assert_eq!(found(names("countersign-cli", &[name])).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_pure_crate_names_no_runtime_and_no_randomness() {
        assert_eq!(
            found(names("countersign-policy", &["tokio", "getrandom"])).len(),
            2
        );
        assert!(found(names("countersign-vault", &["tokio", "getrandom"])).is_empty());
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert!(has_lints("[lints]\nworkspace = true\n"));
        assert!(!has_lints("[package]\nworkspace = true\n"));
        assert_eq!(
            found(Crate {
                lints: false,
                ..names("countersign-model", &[])
            })
            .len(),
            1
        );
    }
}
