//! What the human accepted: the content of every file, sealed. An edit of a
//! file on disk changes nothing until it is accepted (guarantee G6).

use crate::home::{CONFIG_NAME, Home, POLICIES_NAME, write_whole};
use countersign_broker::Force;
use countersign_catalogue as catalogue;
use countersign_config::{Accepted, Config, KindDefaults, SealError, SealKey, Sealed};
use countersign_model::{Digest, HostPattern, InstallId, Provider};
use countersign_policy::Policies;
use countersign_vault::Secret;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

/// The configuration that a first start writes and accepts: nothing may do
/// anything yet.
const FIRST_CONFIG: &str = include_str!("first-countersign.toml");
/// No rule file is longer, in bytes; and there are no more.
const RULE_LIMIT: u64 = 256 * 1024;
const RULES_LIMIT: usize = 1000;

/// Files, checked: what would be in force if they were accepted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) digest: Digest,
    pub(crate) config: Config,
    pub(crate) policies: Policies,
}

impl Checked {
    /// As what is in force from now on.
    pub(crate) fn into_force(self, counter: u64) -> Force {
        Force::new(counter, self.digest, self.config, self.policies)
    }
}

/// Why nothing is in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptedError {
    #[error("{0}; nothing is allowed until you accept a configuration: countersign config accept")]
    Seal(#[from] SealError),
    #[error("the accepted configuration cannot be used by this version: {}", .0.join("; "))]
    Unusable(Vec<String>),
    #[error("{what}: {source}")]
    Disk { what: String, source: io::Error },
}

/// Writes the first files, where there are none yet.
pub(crate) fn write_first(home: &Home) -> Result<(), AcceptedError> {
    let disk = |what: &str| {
        let what = what.to_owned();
        move |source| AcceptedError::Disk { what, source }
    };
    if !home.config_file().exists() {
        write_whole(&home.config_file(), FIRST_CONFIG.as_bytes())
            .map_err(disk("cannot write countersign.toml"))?;
    }
    if !home.policies().exists() {
        crate::home::make_private(&home.policies()).map_err(|e| AcceptedError::Disk {
            what: e.to_string(),
            source: io::ErrorKind::Other.into(),
        })?;
        for (name, text) in countersign_policy::DEFAULTS {
            write_whole(&home.policies().join(name), text.as_bytes())
                .map_err(disk("cannot write a default rule"))?;
        }
    }
    Ok(())
}

/// What a first start accepts without asking: exactly what is built in.
pub(crate) fn first() -> Result<Checked, Vec<String>> {
    let mut files = BTreeMap::from([(CONFIG_NAME.to_owned(), FIRST_CONFIG.to_owned())]);
    for (name, text) in countersign_policy::DEFAULTS {
        files.insert(format!("{POLICIES_NAME}/{name}"), (*text).to_owned());
    }
    check(&files)
}

/// Opens what was accepted, against the counter that the ledger knows.
pub(crate) fn open(
    home: &Home,
    install: &InstallId,
    key: &Secret,
    at_least: u64,
) -> Result<(u64, Checked), AcceptedError> {
    let stored = match std::fs::read(home.accepted()) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(AcceptedError::Disk {
                what: "cannot read accepted.json".into(),
                source,
            });
        }
    };
    let key = seal_key(key)?;
    let accepted = Sealed::open(stored.as_deref(), install, SealKey(&key), at_least)?;
    let checked = check(&accepted.files).map_err(AcceptedError::Unusable)?;
    Ok((accepted.counter, checked))
}

/// What the file says that was accepted, with its seal not looked at: for what must
/// be known before any key is, and for words. Nothing is allowed by it.
pub(crate) fn unsealed(home: &Home) -> Option<Checked> {
    #[derive(serde::Deserialize)]
    struct Unsealed {
        accepted: Accepted,
    }
    let bytes = std::fs::read(home.accepted()).ok()?;
    let unsealed: Unsealed = serde_json::from_slice(&bytes).ok()?;
    check(&unsealed.accepted.files).ok()
}

/// Seals what the human has just accepted and stores it.
pub(crate) fn store(
    home: &Home,
    install: &InstallId,
    key: &Secret,
    counter: u64,
    files: BTreeMap<String, String>,
) -> Result<(), AcceptedError> {
    let key = seal_key(key)?;
    let sealed = Sealed::new(Accepted { counter, files }, install, SealKey(&key));
    write_whole(&home.accepted(), &sealed.to_bytes()).map_err(|source| AcceptedError::Disk {
        what: "cannot write accepted.json".into(),
        source,
    })
}

fn seal_key(key: &Secret) -> Result<[u8; 32], AcceptedError> {
    key.expose()
        .try_into()
        .map_err(|_| AcceptedError::Seal(SealError::Forged))
}

/// Reads and checks the files on disk. Every problem is a sentence with file,
/// line and what was expected.
pub(crate) fn read_disk(home: &Home) -> Result<Checked, Vec<String>> {
    let mut files = BTreeMap::new();
    let text = read_text(&home.config_file(), countersign_config::Limits::FILE as u64)
        .map_err(|e| vec![format!("{CONFIG_NAME}: {e}")])?;
    // What the configuration names is part of what is accepted.
    let named: RefCell<BTreeMap<String, String>> = RefCell::default();
    let read = |name: &str| {
        let text = read_text(
            &home.config.join(name),
            countersign_config::Limits::CA as u64,
        )?;
        named.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    };
    // Only to learn the names: `check` below says what is wrong.
    let parsed = countersign_config::parse(&text, CONFIG_NAME, &kind_defaults, &read);
    if let Err(problems) = parsed {
        return Err(problems.iter().map(ToString::to_string).collect());
    }
    files.insert(CONFIG_NAME.to_owned(), text);
    files.append(&mut named.borrow_mut());
    for (name, text) in read_rules(home)? {
        files.insert(format!("{POLICIES_NAME}/{name}"), text);
    }
    check(&files)
}

fn read_rules(home: &Home) -> Result<Vec<(String, String)>, Vec<String>> {
    let problem = |e: &dyn std::fmt::Display| vec![format!("{POLICIES_NAME}: {e}")];
    let listed = std::fs::read_dir(home.policies()).map_err(|e| problem(&e))?;
    let mut rules = Vec::new();
    for entry in listed {
        let path = entry.map_err(|e| problem(&e))?.path();
        if path.extension().is_none_or(|e| e != "cedar") {
            continue;
        }
        let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else {
            return Err(problem(&"a file's name is not UTF-8"));
        };
        if rules.len() >= RULES_LIMIT {
            return Err(problem(&"more than 1000 files"));
        }
        let text = read_text(&path, RULE_LIMIT)
            .map_err(|e| vec![format!("{POLICIES_NAME}/{name}: {e}")])?;
        rules.push((name, text));
    }
    Ok(rules)
}

/// Checks a set of files that belong together.
pub(crate) fn check(files: &BTreeMap<String, String>) -> Result<Checked, Vec<String>> {
    let text = files
        .get(CONFIG_NAME)
        .ok_or_else(|| vec![format!("{CONFIG_NAME} is missing")])?;
    let read = |name: &str| {
        files
            .get(name)
            .cloned()
            .ok_or_else(|| format!("{name} is not there"))
    };
    let config = countersign_config::parse(text, CONFIG_NAME, &kind_defaults, &read)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let prefix = format!("{POLICIES_NAME}/");
    let rules: Vec<(String, String)> = files
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(&prefix)?.to_owned(), text.clone())))
        .collect();
    let policies = Policies::parse(&rules).map_err(|problems| {
        problems
            .iter()
            .map(|p| format!("{POLICIES_NAME}/{p}"))
            .collect::<Vec<_>>()
    })?;
    let accepted = Accepted {
        counter: 0,
        files: files.clone(),
    };
    Ok(Checked {
        digest: accepted.digest(),
        files: accepted.files,
        config,
        policies,
    })
}

fn read_text(path: &std::path::Path, limit: u64) -> Result<String, String> {
    use std::io::Read as _;
    // A pipe or a device would hold whoever reads it.
    if !std::fs::metadata(path)
        .map_err(|e| e.to_string())?
        .is_file()
    {
        return Err("it is no ordinary file".into());
    }
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("longer than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

/// What the catalogue knows of `kind = "…"`.
pub(crate) fn kind_defaults(name: &str) -> Option<KindDefaults> {
    let kind = catalogue::kind(name)?;
    Some(KindDefaults {
        provider: Provider(kind.provider.to_owned()),
        hosts: kind
            .hosts
            .iter()
            .filter_map(|h| HostPattern::new(h).ok())
            .collect(),
        regional_hosts: kind.regional_hosts.iter().map(|&h| h.to_owned()).collect(),
        credential: kind.credential.kind(),
        token_url: kind.token_url.map(str::to_owned),
        forward_headers: kind.forward_headers.iter().map(|&h| h.to_owned()).collect(),
    })
}
