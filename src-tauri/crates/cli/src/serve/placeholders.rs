//! What the clients of a run find in place of credentials: it opens nothing.

use countersign_broker::AccountView;
use countersign_catalogue::Kind;
use countersign_protocol::control::PlaceholderFile;

/// The accounts of a run with what is known of their kind.
fn known(accounts: &[AccountView]) -> impl Iterator<Item = (&AccountView, &'static Kind)> {
    accounts
        .iter()
        .filter(|view| !view.account.provider.is_plain())
        .filter_map(|view| Some((view, countersign_catalogue::kind(&view.account.provider.0)?)))
}

/// Environment variables, each once.
pub(super) fn variables(accounts: &[AccountView]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = known(accounts)
        .flat_map(|(view, kind)| {
            kind.placeholders
                .iter()
                .filter(|each| each.is_for(&view.account.credential))
        })
        .map(|each| (each.variable.to_owned(), each.value.to_owned()))
        .collect();
    all.sort();
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

/// Files, each once.
pub(super) fn files(accounts: &[AccountView]) -> Vec<PlaceholderFile> {
    let mut all: Vec<PlaceholderFile> = known(accounts)
        .flat_map(|(_, kind)| kind.placeholder_files)
        .map(|file| PlaceholderFile {
            variable: file.variable.to_owned(),
            name: file.file_name.to_owned(),
            content: file.content.to_owned(),
        })
        .collect();
    all.sort_by(|a, b| a.variable.cmp(&b.variable));
    all.dedup_by(|a, b| a.variable == b.variable);
    all
}
