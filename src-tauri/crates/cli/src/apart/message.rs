//! What the authority and a gateway say to each other.

use countersign_broker::{
    AccountView, Destination, NotConnected, Place, Presented, Rejected, Secret, Submission,
};
use countersign_gateway_http::CaParts;
use countersign_model::{
    Account, CredentialVersion, Digest, ReasonCode, Refusal, RequestId, RunFacts, Settled,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// On a stream of requests, from the gateway. `call` is drawn by the gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromGateway {
    /// Judge it, and release what it needs.
    Decide {
        call: u64,
        submission: Box<Submission>,
    },
    /// Nobody waits for that any more.
    Withdraw { call: u64 },
    /// What became of a released request.
    Settle { call: u64, settled: Settled },
    /// It was refused before it could be judged.
    Reject { call: u64, rejected: Rejected },
    /// Everything by this stream has ended, since the run was cut off.
    Ended {},
}

/// On a stream of requests, to the gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToGateway {
    /// It may be sent, once. The secrets lie beside the message.
    Released {
        call: u64,
        request: RequestId,
        presented: Shape,
    },
    /// It may not.
    Refused { call: u64, refusal: Refusal },
    /// The refusal is recorded.
    Recorded { call: u64 },
    /// End what was released: the stop, or a change of its account.
    Cut { call: u64 },
}

/// By datagram, to the gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first. It carries the run's socket, and the key of its CA as a file.
    Begin {
        facts: Box<RunFacts>,
        ca: CaParts,
        /// Id and secret of the run's access key, which opens nothing.
        placeholder: (String, String),
        accounts: Vec<View>,
    },
    /// The run's ports; it carries them.
    Ports {},
    /// The accounts as they are now.
    Accounts { accounts: Vec<View> },
    /// End everything that goes on: why.
    Cut { reason: ReasonCode },
    /// It carries the connection, or says why there is none.
    Connected {
        call: u64,
        failed: Option<NotConnected>,
    },
    /// It carries the file, or there is none.
    Spooled { call: u64 },
}

/// By datagram, from the gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Wish {
    /// A connection.
    Connect { call: u64, to: Destination },
    /// A file without a name.
    Spool { call: u64 },
    /// The connection of that call is closed; in order, if what was written to it is
    /// to arrive.
    Closed { call: u64, in_order: bool },
}

/// An account as a run may use it now.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct View {
    account: Account,
    digest: Digest,
    credential: Option<CredentialVersion>,
}

impl From<AccountView> for View {
    fn from(view: AccountView) -> Self {
        Self {
            account: Account::clone(&view.account),
            digest: view.digest,
            credential: view.credential,
        }
    }
}

impl From<View> for AccountView {
    fn from(view: View) -> Self {
        Self {
            account: Arc::new(view.account),
            digest: view.digest,
            credential: view.credential,
        }
    }
}

/// Where a credential goes, and how long each secret is that lies beside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shape {
    place: PlaceName,
    /// Of the values in their places, if there are any; and of what must not come back.
    lengths: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
enum PlaceName {
    Nowhere,
    Header(String),
    Headers(Vec<String>),
    Query(String),
}

impl Shape {
    /// Takes apart what is to be sent.
    pub(super) fn of(presented: &Presented) -> (Self, Zeroizing<Vec<u8>>) {
        let (place, values) = match &presented.place {
            Place::Nowhere => (PlaceName::Nowhere, vec![]),
            Place::Header { name, value } => (PlaceName::Header(name.clone()), vec![value]),
            Place::Headers(headers) => {
                let (names, values): (Vec<_>, _) = headers.iter().map(|(n, v)| (n, v)).unzip();
                (
                    PlaceName::Headers(names.into_iter().cloned().collect()),
                    values,
                )
            }
            Place::Query { name, value } => (PlaceName::Query(name.clone()), vec![value]),
        };
        let secrets = || {
            values
                .iter()
                .copied()
                .chain(&presented.needles)
                .map(Secret::expose)
        };
        let lengths: Vec<usize> = secrets().map(<[u8]>::len).collect();
        // As large as needed at once, so that no copy is left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(lengths.iter().sum()));
        secrets().for_each(|secret| bytes.extend_from_slice(secret));
        (Self { place, lengths }, bytes)
    }

    /// Puts together what came. `None` when the two do not fit.
    pub(super) fn with(self, bytes: &[u8]) -> Option<Presented> {
        let mut rest = bytes;
        let mut secrets = Vec::with_capacity(self.lengths.len());
        for length in self.lengths {
            let (secret, left) = rest.split_at_checked(length)?;
            secrets.push(Secret::new(secret.to_vec()));
            rest = left;
        }
        let mut secrets = secrets.into_iter();
        let place = match self.place {
            PlaceName::Nowhere => Place::Nowhere,
            PlaceName::Header(name) => Place::Header {
                name,
                value: secrets.next()?,
            },
            PlaceName::Headers(names) => {
                let pairs = names.into_iter().map(|name| Some((name, secrets.next()?)));
                Place::Headers(pairs.collect::<Option<_>>()?)
            }
            PlaceName::Query(name) => Place::Query {
                name,
                value: secrets.next()?,
            },
        };
        rest.is_empty().then(|| Presented {
            place,
            needles: secrets.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_presented_arrives_as_it_was_and_a_message_holds_no_byte_of_it() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let presented = Presented {
            place: Place::Header {
                name: "authorization".into(),
                value: secret("Bearer plainly-not-real"),
            },
            needles: vec![secret("plainly-not-real"), secret("another")],
        };
        let (shape, bytes) = Shape::of(&presented);
        let message = super::super::frame::written(&shape).unwrap();
        let text = String::from_utf8_lossy(&message);
        assert!(!text.contains("real"), "{text}");
        let shape: Shape = super::super::frame::read(&message).unwrap();
        let there = shape.with(&bytes).unwrap();
        let Place::Header { name, value } = &there.place else {
            panic!("{there:?}")
        };
        assert_eq!(
            (name.as_str(), value.expose()),
            ("authorization", &b"Bearer plainly-not-real"[..])
        );
        let needles: Vec<&[u8]> = there.needles.iter().map(Secret::expose).collect();
        assert_eq!(needles, [&b"plainly-not-real"[..], b"another"]);
    }

    #[test]
    fn secrets_that_do_not_fit_their_lengths_are_none() {
        let shape = || Shape {
            place: PlaceName::Query("key".into()),
            lengths: vec![2, 3],
        };
        assert!(shape().with(b"abcde").is_some());
        for wrong in [&b"abcd"[..], b"abcdef", b""] {
            assert!(shape().with(wrong).is_none(), "{wrong:?}");
        }
    }
}
