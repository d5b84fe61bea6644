//! The keystone. A [`Permit`] can be made only from the [`Receipt`] of a
//! durable record that allows exactly this request, and it is used up by value.

use crate::outcomes::Unused;
use countersign_ledger::Receipt;
use countersign_model::{
    Account, CredentialVersion, Decision, Digest, ExactRequest, ReasonCode, RequestId, RunId,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a permit is bound to, besides the receipt.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) request: RequestId,
    pub(crate) run: RunId,
    pub(crate) account: Arc<Account>,
    pub(crate) credential: Option<CredentialVersion>,
    pub(crate) exact: Digest,
    pub(crate) config: Digest,
    /// On the boot-time clock.
    pub(crate) expires: Duration,
    pub(crate) cut: CancellationToken,
}

/// Leave to use one credential for one exact request, once.
///
/// Not `Clone`, not serialisable, no public fields, no public constructor:
/// releasing a credential without a record does not compile.
///
/// ```compile_fail
/// fn twice(permit: countersign_broker::Permit) -> (countersign_broker::Permit, countersign_broker::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    bound: Bound,
    /// Dropped with the permit, it records that nothing was sent.
    unused: Unused,
    /// Kept, so that a permit without one cannot exist.
    _receipt: Receipt,
}

impl Permit {
    /// From the receipt of the record before.
    ///
    /// # Errors
    /// [`ReasonCode::Internal`] when the receipt is of another request, of
    /// other content, or of a record that does not allow it.
    pub(crate) fn from_receipt(
        receipt: Receipt,
        bound: Bound,
        unused: Unused,
    ) -> Result<Self, ReasonCode> {
        let proves = receipt.requested().is_some_and(|proof| {
            proof.request == &bound.request
                && proof.decision == Decision::Allow
                && proof.exact == Some(bound.exact)
        });
        if proves {
            Ok(Self {
                bound,
                unused,
                _receipt: receipt,
            })
        } else {
            Err(ReasonCode::Internal)
        }
    }

    /// The request that it is for.
    #[must_use]
    pub fn request(&self) -> &RequestId {
        &self.bound.request
    }

    /// Uses the permit up: what it was bound to, and what sees to its outcome.
    pub(crate) fn use_up(self) -> (Bound, Unused) {
        let Self {
            bound,
            unused,
            _receipt,
        } = self;
        (bound, unused)
    }
}

impl Bound {
    /// Whether `exact` is the request that was judged.
    pub(crate) fn is_for(&self, exact: &ExactRequest) -> bool {
        exact.digest() == self.exact && exact.credential == self.credential
    }
}
