//! `ports` and `host_ports` of an agent: what leads between a run's loopback and
//! this machine's.

use crate::parse::Limits;
use crate::problem::Problems;
use crate::section::Section;
use countersign_model::{Account, AccountId, Agent};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Ports that a run's own network needs: its name server, and its gateway by HTTP,
/// by TLS and as a proxy.
const OF_A_RUN: [u16; 4] = [53, 80, 443, 3128];

/// From here on an ordinary program may listen, in a run as on this machine.
/// Source: ip(7), `ip_unprivileged_port_start`.
const UNPRIVILEGED: u64 = 1024;

/// So many ports from `[gateway] tcp` on may be Countersign's own.
const OF_THE_GATEWAY: u16 = 16;

/// Reads both.
pub(crate) fn read(section: &mut Section<'_>, problems: &mut Problems<'_>) -> (Vec<u16>, Vec<u16>) {
    let mut list = |key, from| {
        let range: RangeInclusive<u64> = from..=u64::from(u16::MAX);
        let numbers = section.numbers(key, Limits::PORTS, &range, problems);
        let port = |number| u16::try_from(number).ok();
        numbers.into_iter().filter_map(port).collect()
    };
    (list("ports", UNPRIVILEGED), list("host_ports", 1))
}

/// Notes ports that are something else already: in a run, or as Countersign's own.
pub(crate) fn check(
    agent: &Agent,
    place: usize,
    accounts: &BTreeMap<AccountId, Arc<Account>>,
    gateway: Option<u16>,
    problems: &mut Problems<'_>,
) {
    let assigned = agent.accounts.iter().filter_map(|id| accounts.get(id));
    let of_hosts: Vec<u16> = assigned.map(|account| account.port).collect();
    let name = agent.id.as_str();
    for port in &agent.host_ports {
        let of = |(_, account): &(_, &Arc<Account>)| on_loopback(account) == Some(*port);
        if let Some((id, _)) = accounts.iter().find(of) {
            problems.at(
                place,
                format!(
                    "expected other host_ports of {name:?}: {port} is where the account {id} is \
                     (its connect_to), and a passage there would lead around its gateway"
                ),
            );
        }
    }
    for port in agent.ports.iter().chain(&agent.host_ports) {
        let of_the_gateway = |first: u16| *port >= first && port - first < OF_THE_GATEWAY;
        let taken = if OF_A_RUN.contains(port) || of_hosts.contains(port) {
            "is the run's own gateway's there"
        } else if agent.ports.contains(port) && agent.host_ports.contains(port) {
            "is in both"
        } else if gateway.is_some_and(of_the_gateway) {
            "is Countersign's own ([gateway] tcp)"
        } else {
            continue;
        };
        problems.at(
            place,
            format!("expected other ports or host_ports of {name:?}: {port} {taken}"),
        );
    }
}

/// The port at which an account's host is on this machine's loopback, as far as its
/// `connect_to` says so.
fn on_loopback(account: &Account) -> Option<u16> {
    let (host, port) = account.connect_to.as_deref()?.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        // What is connected to at no address at all is connected to on loopback.
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    is.then(|| port.parse().ok()).flatten()
}
