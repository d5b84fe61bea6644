//! Requests a second and their latency, round after round, each way in turn: so
//! that what else goes on at the machine meets all of them alike.

use crate::loader::{self, Answer, number};
use crate::machine;
use crate::origin::Origin;
use crate::others::Proxy;
use crate::ours::{self, Ours};
use crate::table::{Goal, Table};
use std::io;
use std::path::Path;

const ROUNDS: usize = 8;
/// How long each way is measured in each round.
const MILLISECONDS: &str = "1500";

/// The ways that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Squid,
    Mitmproxy,
    Ours,
    AtTheSocket,
}

const WAYS: [Way; 5] = [
    Way::Direct,
    Way::Squid,
    Way::Mitmproxy,
    Way::Ours,
    Way::AtTheSocket,
];

/// What stands ready to be measured.
pub(crate) struct Field<'f> {
    pub(crate) origin: &'f Origin,
    pub(crate) origin_ca: &'f Path,
    pub(crate) squid: &'f Proxy,
    pub(crate) mitmproxy: &'f Proxy,
    pub(crate) ours: &'f Ours,
}

impl Field<'_> {
    fn measure(&self, way: Way, connections: &str) -> io::Result<Answer> {
        let url = format!(
            "https://localhost:{}/repos/octo/tales/issues/{}",
            self.origin.address.port(),
            crate::SMALL
        );
        let args = ["read", &url, connections, MILLISECONDS];
        let url = ours::small();
        let same = ["read", &url, connections, MILLISECONDS];
        let bore = self.origin.bearing();
        let answer = match way {
            Way::Direct => loader::plain(None, self.origin_ca, &args),
            Way::Squid => loader::plain(Some(self.squid.port), &self.squid.ca, &args),
            Way::Mitmproxy => loader::plain(Some(self.mitmproxy.port), &self.mitmproxy.ca, &args),
            Way::Ours => self.ours.contained(&same),
            Way::AtTheSocket => self.ours.at_the_socket(&same),
        }
        .map_err(|e| io::Error::other(format!("{way:?}: {e}")))?;
        let with_credential = (self.origin.bearing() - bore) as f64;
        let through_ours = matches!(way, Way::Ours | Way::AtTheSocket);
        if through_ours && with_credential < number(&answer, "requests")? {
            return Err(io::Error::other(
                "not every request arrived with the credential",
            ));
        }
        Ok(answer)
    }
}

/// One value of each way, in each round.
struct Rounds(Vec<[f64; WAYS.len()]>);

impl Rounds {
    fn of(&self, way: Way) -> Vec<f64> {
        self.by(|values| at(values, way))
    }
    fn by(&self, figure: impl Fn(&[f64; WAYS.len()]) -> f64) -> Vec<f64> {
        self.0.iter().map(figure).collect()
    }
}

fn at(values: &[f64; WAYS.len()], way: Way) -> f64 {
    let place = WAYS.iter().position(|w| *w == way);
    place
        .and_then(|p| values.get(p).copied())
        .unwrap_or(f64::NAN)
}

/// Measures all ways and adds what they show.
pub(crate) fn measure(field: &Field<'_>, table: &mut Table) -> io::Result<()> {
    let mut others = Vec::new();
    let many = rounds(field, "16", "per_second", &mut others)?;
    let one = rounds(field, "1", "p50_us", &mut others)?;

    let ratio = |way: Way, to: Way| many.by(|values| at(values, way) / at(values, to));
    table.rounds(
        "requests/s, 16 connections, to squid",
        &ratio(Way::Ours, Way::Squid),
        " ×",
        Some(Goal::AtLeast(1.2)),
    );
    table.rounds(
        "requests/s, 16 connections, to mitmproxy",
        &ratio(Way::Ours, Way::Mitmproxy),
        " ×",
        Some(Goal::AtLeast(15.0)),
    );
    let added = |way: Way| one.by(|values| (at(values, way) - at(values, Way::Direct)) / 1e3);
    table.rounds(
        "added median latency, 1 connection",
        &added(Way::Ours),
        " ms",
        Some(Goal::AtMost(0.15)),
    );
    for (way, name) in [
        (Way::Squid, "squid"),
        (Way::Mitmproxy, "mitmproxy"),
        (Way::AtTheSocket, "ours, uncontained at the socket"),
    ] {
        table.rounds(&format!("  the same, {name}"), &added(way), " ms", None);
    }
    table.rounds(
        "requests/s to squid, uncontained at the socket",
        &ratio(Way::AtTheSocket, Way::Squid),
        " ×",
        None,
    );
    for (way, name) in [
        (Way::Ours, "ours, contained"),
        (Way::AtTheSocket, "ours, uncontained at the socket"),
        (Way::Squid, "squid"),
        (Way::Mitmproxy, "mitmproxy"),
        (Way::Direct, "direct"),
    ] {
        table.rounds(
            &format!("requests/s, 16 connections, {name}"),
            &many.of(way),
            "",
            None,
        );
    }
    others.sort_by(f64::total_cmp);
    let part = |n: usize| others.get(n).copied().unwrap_or(f64::NAN);
    table.note(format!(
        "In the pauses between rounds others used {:.0} % of the processors (median; at most {:.0} %).",
        part(others.len() / 2),
        part(others.len().saturating_sub(1)),
    ));
    Ok(())
}

fn rounds(
    field: &Field<'_>,
    connections: &str,
    name: &str,
    others: &mut Vec<f64>,
) -> io::Result<Rounds> {
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        crate::say(&format!(
            "connections: {connections}, round {} of {ROUNDS}",
            round + 1
        ));
        others.push(machine::pause()?);
        let mut values = [f64::NAN; WAYS.len()];
        let mut turn: Vec<(usize, Way)> = WAYS.into_iter().enumerate().collect();
        // Nobody always comes after the same other.
        turn.rotate_left(round % WAYS.len());
        if round % 2 == 1 {
            turn.reverse();
        }
        for (place, way) in turn {
            values[place] = number(&field.measure(way, connections)?, name)?;
        }
        all.push(values);
    }
    Ok(Rounds(all))
}
