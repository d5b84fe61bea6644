//! What lies at the top of the checkout, and what lies nowhere in it.

use super::{File, Finding};

const TOP: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "src-tauri",
    "ui",
    "tests",
    "icons",
    "README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];

pub(super) fn check(top: &[String], files: &[File]) -> Vec<Finding> {
    const WHY: &str =
        "The top level is fixed, so that a reader finds the same few things there for ever.";
    const TOOLCHAIN: &str = "The toolchain is the user's: `rust-version` says what is needed, and a file that switches it would download another.";
    let extra = top
        .iter()
        .filter(|name| !name.starts_with('.') && *name != "target" && !TOP.contains(&name.as_str()))
        .map(|name| Finding::new(name, "does not belong at the top", WHY));
    let lacking = TOP
        .iter()
        .filter(|name| !top.iter().any(|there| there == *name))
        .map(|name| Finding::new(*name, "is missing", WHY));
    let toolchain = files
        .iter()
        .filter(|file| {
            file.path
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with("rust-toolchain"))
        })
        .map(|file| Finding::new(&file.path, "picks a toolchain", TOOLCHAIN));
    extra.chain(lacking).chain(toolchain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_level_is_exactly_what_the_design_says() {
        let mut top: Vec<String> = TOP.iter().map(|s| (*s).to_owned()).collect();
        top.extend([".cargo".to_owned(), "target".to_owned()]);
        assert!(check(&top, &[]).is_empty());
        top.push("docs".to_owned());
        top.retain(|name| name != "icons");
        let places: Vec<_> = check(&top, &[]).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["docs", "icons"]);
    }

    #[test]
    fn no_file_picks_a_toolchain() {
        let file = File {
            path: "src-tauri/rust-toolchain.toml".into(),
            text: String::new(),
        };
        let top: Vec<String> = TOP.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(check(&top, &[file]).len(), 1);
    }
}
