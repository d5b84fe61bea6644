//! Which account a request is for.

use crate::head::Head;
use crate::normalise::Target;
use crate::refuse::No;
use countersign_broker::AccountView;
use countersign_model::{ReasonCode, Scheme};

/// Whether a provider of one of these accounts mints access tokens here. The
/// run's placeholder is no credential, and no minted one may reach it (G1).
pub(crate) fn is_token_endpoint(views: &[AccountView], target: &Target) -> bool {
    views
        .iter()
        .filter_map(|view| countersign_catalogue::kind(&view.account.provider.0))
        .flat_map(|kind| kind.token_endpoints)
        .any(|&(host, path)| host == target.host && path == target.path && target.port == 443)
}

/// The account that has the host: an exact name before a wildcard, a longer
/// wildcard before a shorter. Two of the same rank are told apart by the agent,
/// in a `Countersign-Account` header.
pub(crate) fn account_for(
    views: Vec<AccountView>,
    head: &Head,
    target: &Target,
) -> Result<AccountView, No> {
    let named = head.first("countersign-account");
    let rank = |view: &AccountView| {
        let fits = view
            .account
            .hosts
            .iter()
            .filter(|p| p.matches(&target.host));
        fits.map(|p| p.wildcard_base().map_or(usize::MAX, str::len))
            .max()
    };
    let mut fit: Vec<(usize, AccountView)> = views
        .into_iter()
        .filter(|view| named.is_none_or(|name| name == view.account.id.as_str().as_bytes()))
        .filter_map(|view| Some((rank(&view)?, view)))
        .collect();
    let best = fit
        .iter()
        .map(|(rank, _)| *rank)
        .max()
        .ok_or(No::ours(ReasonCode::NotAssigned))?;
    fit.retain(|(rank, _)| *rank == best);
    let on_port = fit
        .iter()
        .filter(|(_, view)| view.account.port == target.port)
        .count();
    fit.retain(|(_, view)| on_port == 0 || view.account.port == target.port);
    let (Some((_, view)), 0) = (fit.pop(), fit.len()) else {
        return Err(No::malformed(
            "several accounts have this host; name one in a Countersign-Account header",
        ));
    };
    if target.scheme == Scheme::Http && !view.account.plaintext {
        return Err(No::unsupported(
            "Plain http is not allowed for this account. Use https.",
        ));
    }
    if view.account.port != target.port {
        return Err(No::because(
            ReasonCode::NotAssigned,
            "This port of the host is not among the accounts of this agent. Ask the user to add it.",
        ));
    }
    Ok(view)
}
