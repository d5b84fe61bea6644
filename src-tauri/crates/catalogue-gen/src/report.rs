//! How good a generation is, in figures.

use crate::operation::{Catalogue, Operation};
use countersign_catalogue::embedded::{Level, Traits};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The report that is committed beside the data.
pub(crate) fn report(catalogue: &Catalogue, size: usize) -> String {
    let mut out = String::from(
        "# The generated catalogue, in figures\n\nWritten by `catalogue-gen` together with the data.\n\n",
    );
    let _ = writeln!(out, "Embedded: {size} bytes.\n");
    out.push_str("| Provider | Operations | Routine reads | Reads that are secret | Others |\n|---|---|---|---|---|\n");
    let mut providers: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for operation in &catalogue.operations {
        let counts = providers.entry(operation.provider).or_default();
        counts[0] += 1;
        let secret_read = operation.effects.to_string() == "read, secret";
        counts[if is_routine(operation) {
            1
        } else if secret_read {
            2
        } else {
            3
        }] += 1;
    }
    for (provider, [all, routine, secret, others]) in providers {
        let _ = writeln!(
            out,
            "| {provider} | {all} | {routine} | {secret} | {others} |"
        );
    }
    out.push_str("\n## AWS: the verb rules alone against IAM's access levels\n\n");
    matrix(&mut out, catalogue, "verb", |o| {
        o.traits.has(Traits::VERB_READS)
    });
    out.push_str("\n## AWS: what goes alone against IAM's access levels\n\n");
    matrix(&mut out, catalogue, "routine", is_routine);
    out.push_str("\n## Fields of replies that make an operation secret\n\n");
    let mut fields: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for operation in &catalogue.operations {
        if let Some(field) = &operation.shows {
            *fields.entry((operation.provider, field)).or_default() += 1;
        }
    }
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(name, times)| (std::cmp::Reverse(*times), *name));
    // The long tail is of one or two each.
    for ((provider, field), times) in fields.into_iter().filter(|(_, times)| *times > 2) {
        let _ = writeln!(out, "- {provider} `{field}`: {times}");
    }
    out
}

fn matrix(out: &mut String, catalogue: &Catalogue, what: &str, reads: impl Fn(&Operation) -> bool) {
    let _ = write!(out, "| {what} |");
    Level::ALL.iter().for_each(|level| {
        let _ = write!(out, " {} |", level.word());
    });
    out.push_str("\n|---|---|---|---|---|---|---|\n");
    for wanted in [true, false] {
        let _ = write!(out, "| {} |", if wanted { "reads" } else { "does more" });
        for level in Level::ALL {
            let aws = catalogue.operations.iter().filter(|o| o.provider == "aws");
            let count = aws
                .filter(|o| o.level == level && reads(o) == wanted)
                .count();
            let _ = write!(out, " {count} |");
        }
        out.push('\n');
    }
}

pub(crate) fn is_routine(operation: &Operation) -> bool {
    operation.effects.is_read_only() && operation.traits.has(Traits::AGREED)
}
