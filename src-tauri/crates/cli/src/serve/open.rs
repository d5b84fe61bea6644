//! Opening: lock, vault, ledger, latch, broker, accepted configuration.

use super::{Options, accepted};
use crate::home::{Home, write_whole};
use countersign_broker::{Broker, EmergencyStop, Parts, Press, SystemClock};
use countersign_config::VaultChoice;
use countersign_ledger::{Ledger, LedgerError, OpenOptions, Opening};
use countersign_model::{AgentId, Digest, Event, InstallId, StopTrigger};
use countersign_vault::{Backend, Purpose, Secret, Vault, VaultError, VaultOptions};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What is open, ready to serve.
pub(super) struct Opened {
    pub(super) home: Home,
    pub(super) install: InstallId,
    pub(super) broker: Broker,
    pub(super) seal_key: Secret,
    /// What the user should read at the start.
    pub(super) notes: Vec<String>,
}

/// Takes the place of this user's one authority.
pub(super) fn lock(home: &Home) -> Result<File, String> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(home.lock())
        .map_err(|e| format!("{} cannot be opened: {e}", home.lock().display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err("An authority of yours is running already. See it with: countersign status".into())
        }
        Err(TryLockError::Error(e)) => {
            Err(format!("{} cannot be locked: {e}", home.lock().display()))
        }
    }
}

pub(super) fn open(home: Home, options: &Options) -> Result<Opened, String> {
    let install = install_id(&home.install())?;
    // First of all: where no vault opens, this is the file to say so in.
    accepted::write_first(&home).map_err(|e| e.to_string())?;
    let vault = open_vault(&home, &install, options)?;
    let say = |e: VaultError| format!("{e} {}", e.fix());
    let ledger_key = vault.key_blocking(Purpose::Ledger).map_err(say)?;
    let seal_key = vault.key_blocking(Purpose::ConfigSeal).map_err(say)?;

    let (ledger, opening) = open_ledger(&home, &install, &ledger_key)?;
    let now = crate::say::now();
    let stop = EmergencyStop::open(&home.latch(), &home.agent_latches(), now)
        .map_err(|e| format!("The stop's latch cannot be opened, so nothing is started: {e}"))?;
    let was_engaged = stop.is_engaged();
    let broker = Broker::new(Parts {
        clock: Arc::new(SystemClock),
        ledger,
        vault,
        stop,
        seal_counter: opening.last_seal_counter.unwrap_or(0),
        spool: home.state.clone(),
    });

    let mut notes = Vec::new();
    if !was_engaged {
        engage_if_it_must(&broker, &opening, &mut notes);
    } else {
        if !opening.stop_engaged {
            // Its record was lost in a crash.
            broker.record_later(Event::StopEngaged {
                trigger: StopTrigger::UncleanEnd,
                reason: None,
            });
        }
        notes.push(
            "The stop is engaged since an earlier time. Lift it with: countersign resume".into(),
        );
    }
    agree_on_agents(&broker, &opening.stopped_agents);
    put_in_force(&home, &install, &broker, &seal_key, &opening, &mut notes)?;
    Ok(Opened {
        home,
        install,
        broker,
        seal_key,
        notes,
    })
}

/// An end without order, with something going on, starts stopped; so does a
/// latch that was removed while the trail says "engaged".
fn engage_if_it_must(broker: &Broker, opening: &Opening, notes: &mut Vec<String>) {
    let going_on = !opening.open_runs.is_empty() || !opening.unknown.is_empty();
    if !opening.clean && going_on {
        broker.engage(StopTrigger::UncleanEnd, None, Press::Once);
        notes.push(format!(
            "The last end was not in order: {} run(s) and {} request(s) were open, so the stop is engaged. What became of those requests is unknown; see: countersign timeline. Go on with: countersign resume",
            opening.open_runs.len(),
            opening.unknown.len()
        ));
    } else if opening.stop_engaged {
        broker.engage(StopTrigger::UncleanEnd, None, Press::Once);
        notes.push(
            "The trail says that the stop is engaged, so it is. Lift it with: countersign resume"
                .into(),
        );
    }
}

/// An agent that either the file or the trail says is stopped is stopped, and
/// then both say so: the file may have been removed, the record lost in a crash.
fn agree_on_agents(broker: &Broker, recorded: &BTreeSet<AgentId>) {
    for agent in recorded {
        if broker.agent_stop(agent).is_none() {
            broker.stop_agent(agent, StopTrigger::UncleanEnd, None, Press::Once);
        }
    }
    for stop in broker.agent_stops() {
        if !recorded.contains(&stop.agent) {
            broker.record_later(Event::AgentStopped {
                agent: stop.agent,
                trigger: stop.trigger,
                reason: None,
            });
        }
    }
}

fn put_in_force(
    home: &Home,
    install: &InstallId,
    broker: &Broker,
    seal_key: &Secret,
    opening: &Opening,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    if opening.last_seal_counter.is_none() && !home.accepted().exists() {
        // A first start: what is built in allows nothing yet, and is accepted.
        let first = accepted::first().map_err(|p| p.join("; "))?;
        accepted::store(home, install, seal_key, 1, first.files.clone())
            .map_err(|e| e.to_string())?;
        broker.record_later(Event::ConfigAccepted {
            counter: 1,
            digest: first.digest,
            by: "first start".into(),
        });
        broker.enforce(first.into_force(1));
        return Ok(());
    }
    match accepted::open(
        home,
        install,
        seal_key,
        opening.last_seal_counter.unwrap_or(0),
    ) {
        // A trail that knows of no acceptance cannot say which is the newest: an
        // old one, put back, would count. Only what is built in needs no record.
        Ok((counter, checked))
            if opening.last_seal_counter.is_none()
                && (counter != 1
                    || accepted::first().is_ok_and(|first| first.digest != checked.digest)) =>
        {
            let sentence = "The trail knows nothing of the accepted configuration, so none is in force. Read it and accept it anew: countersign config accept";
            broker.warn("config", sentence);
            notes.push(sentence.into());
        }
        Ok((counter, checked)) => broker.enforce(checked.into_force(counter)),
        Err(error) => {
            broker.warn("config", &error.to_string());
            notes.push(error.to_string());
        }
    }
    Ok(())
}

fn install_id(path: &Path) -> Result<InstallId, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 16];
            getrandom::fill(&mut random)
                .map_err(|e| format!("the system gave no randomness: {e}"))?;
            let id = InstallId::from_random(random);
            write_whole(path, id.as_str().as_bytes())
                .map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(id)
        }
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn open_ledger(
    home: &Home,
    install: &InstallId,
    key: &Secret,
) -> Result<(Ledger, Opening), String> {
    let seed: [u8; 32] = key
        .expose()
        .try_into()
        .map_err(|_| "The ledger's key is damaged.".to_owned())?;
    let opened = Ledger::open(OpenOptions {
        path: home.ledger(),
        install: install.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        key: zeroize::Zeroizing::new(seed),
        now: crate::say::now(),
    });
    let (ledger, opening) = opened.map_err(|e: LedgerError| {
        format!(
            "{e}\nNothing is released while the trail cannot be kept. The file stays as it is: {}",
            home.ledger().display()
        )
    })?;
    let public = Digest::from_bytes(ledger.public_key()).to_string();
    write_whole(&home.ledger_key(), public.as_bytes())
        .map_err(|e| format!("{}: {e}", home.ledger_key().display()))?;
    Ok((ledger, opening))
}

/// The vault, where the user chose it to be. The choice is read before any seal
/// can be: a forged choice opens a vault without the seal's key, and then
/// nothing is in force.
fn open_vault(home: &Home, install: &InstallId, options: &Options) -> Result<Vault, String> {
    let backend = match vault_choice(home) {
        VaultChoice::Keyring => Backend::Keyring,
        VaultChoice::File => Backend::File {
            path: home.vault_file(),
            passphrase: passphrase(home, options)?,
        },
    };
    Vault::open(backend, install.clone(), VaultOptions::default())
        .map_err(|e| format!("{e} {}", e.fix()))
}

fn vault_choice(home: &Home) -> VaultChoice {
    let chosen_at = |checked: accepted::Checked| checked.config.vault;
    accepted::unsealed(home)
        .map(chosen_at)
        .filter(|choice| *choice == VaultChoice::File)
        .or_else(|| accepted::read_disk(home).ok().map(chosen_at))
        .unwrap_or_default()
}

fn passphrase(home: &Home, options: &Options) -> Result<Secret, String> {
    let first_line = |mut bytes: Vec<u8>| {
        let end = bytes
            .iter()
            .position(|&b| b == b'\n' || b == b'\r')
            .unwrap_or(bytes.len());
        bytes.truncate(end);
        Secret::new(bytes)
    };
    if let Some(path) = &options.passphrase_file {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        return Ok(first_line(bytes));
    }
    let new = !home.vault_file().exists();
    let ask = |prompt: &str| {
        crate::say::ask_hidden(prompt)
            .map_err(|e| format!("vault = \"file\" needs its passphrase, on a terminal or with --passphrase-file: {e}"))
    };
    let first = ask(if new {
        "A passphrase for the new vault: "
    } else {
        "Passphrase of the vault: "
    })?;
    if new && ask("Again: ")?.expose() != first.expose() {
        return Err("The two passphrases differ.".into());
    }
    Ok(first)
}
