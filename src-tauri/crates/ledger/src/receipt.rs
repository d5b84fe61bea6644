use countersign_model::{AuditRecord, Decision, Digest, Event, RequestId};

/// Proof that a record is durable. Only a durable append makes one; it cannot be
/// copied, so what is made from it is made once.
///
/// ```compile_fail
/// fn copied(receipt: &countersign_ledger::Receipt) -> countersign_ledger::Receipt {
///     receipt.clone()
/// }
/// ```
#[derive(Debug)]
#[must_use = "a receipt is what a permit is made from"]
pub struct Receipt {
    index: u64,
    leaf: Digest,
    requested: Option<(RequestId, Decision, Option<Digest>)>,
}

/// What a receipt proves of a [`requested`](Event::Requested) record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedProof<'a> {
    /// The request.
    pub request: &'a RequestId,
    /// What was decided.
    pub decision: Decision,
    /// Digest of the exact request that was judged.
    pub exact: Option<Digest>,
}

impl Receipt {
    /// To be called after the commit of that very record, and nowhere else.
    pub(crate) fn new(index: u64, leaf: Digest, record: &AuditRecord) -> Self {
        let requested = match &record.event {
            Event::Requested(r) => Some((r.request.clone(), r.decision, r.exact)),
            _ => None,
        };
        Self {
            index,
            leaf,
            requested,
        }
    }
    /// The place of the record; the first is 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }
    /// RFC 6962 leaf hash of its canonical JSON.
    #[must_use]
    pub const fn leaf(&self) -> Digest {
        self.leaf
    }
    /// What was recorded of a request; `None` for other records.
    #[must_use]
    pub fn requested(&self) -> Option<RequestedProof<'_>> {
        self.requested
            .as_ref()
            .map(|(request, decision, exact)| RequestedProof {
                request,
                decision: *decision,
                exact: *exact,
            })
    }
}
