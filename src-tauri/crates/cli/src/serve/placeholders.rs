//! What the clients of a run find in place of credentials: it opens nothing.

use countersign_broker::AccountView;
use countersign_catalogue::Kind;
use countersign_gateway_http::Key;
use countersign_model::CredentialKind;
use countersign_protocol::control::PlaceholderFile;
use std::io;
use zeroize::Zeroizing;

/// An access key of AWS's shape for one run, plainly not real. It is random so that
/// no request counts that another run, or a recorded one, has signed.
pub(super) fn access_key() -> io::Result<Key> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let digits: String = random.iter().map(|byte| format!("{byte:02X}")).collect();
    let (id, secret) = digits.split_at(16);
    let secret = format!("countersign-placeholder-{secret}");
    Key::new(
        &format!("COUNTERSIGN{id}"),
        Zeroizing::new(secret.into_bytes()),
    )
    .ok_or_else(|| io::Error::other("no placeholder could be made"))
}

/// What AWS's clients look for, where the run has an account of AWS.
fn of_aws(accounts: &[AccountView], key: &Key) -> Vec<(String, String)> {
    let region = accounts
        .iter()
        .find_map(|view| match &view.account.credential {
            CredentialKind::Aws(settings) => Some(settings.region.clone()),
            _ => None,
        });
    let Some(region) = region else {
        return Vec::new();
    };
    let secret = String::from_utf8_lossy(key.expose()).into_owned();
    [
        ("AWS_ACCESS_KEY_ID", key.id().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", region.clone()),
        ("AWS_DEFAULT_REGION", region),
        // There is no machine's role to be found, and nobody to be asked for it.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The accounts of a run with what is known of their kind.
fn known(accounts: &[AccountView]) -> impl Iterator<Item = (&AccountView, &'static Kind)> {
    accounts
        .iter()
        .filter(|view| !view.account.provider.is_plain())
        .filter_map(|view| Some((view, countersign_catalogue::kind(&view.account.provider.0)?)))
}

/// Environment variables, each once.
pub(super) fn variables(accounts: &[AccountView], key: &Key) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = known(accounts)
        .flat_map(|(view, kind)| {
            kind.placeholders
                .iter()
                .filter(|each| each.is_for(&view.account.credential))
        })
        .map(|each| (each.variable.to_owned(), each.value.to_owned()))
        .chain(of_aws(accounts, key))
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
