//! The name server of a contained run, and its table: which address stands for
//! which name.
//!
//! Programs that know nothing of proxies look a name up and connect to what they
//! are told. In a run every name has an address of 198.18.0.0/15 (RFC 2544, for
//! tests: no host of the Internet has one), all of which lead to the gateway,
//! and the gateway finds the name again by the address.
//!
//! It lies here and not in the run's init because the table is needed where the
//! server name of TLS is compared with it. What the run sends is read by the
//! crate `simple-dns`, and of that the header and one question: what follows a
//! question is not even looked at. Nothing is decided here: whatever name is
//! asked for, what comes to its address is judged like any other request.

use crate::normalise::{authority, is_ip_literal};
use crate::wire::Io;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// The first of the addresses, which stands for nothing, and how many there are.
const NETWORK: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const ADDRESSES: u32 = 1 << 17;
/// Names that have an address at once. The one that was asked for longest ago
/// loses its own, which nobody else gets before all others were given out.
const MOST_NAMES: usize = 4096;
/// How long a program may go by an answer, in seconds.
const LIFE: u32 = 30;
/// The longest message that is taken, in bytes. Without EDNS none is longer; what
/// EDNS adds is not looked at.
pub(crate) const LONGEST: usize = 512;
/// How long a client may take for a question that it sends by TCP, or its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The length of a message's header, in bytes (RFC 1035 section 4.1.1).
const HEADER: usize = 12;

/// The names of one run.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: HashMap<Arc<str>, u32>,
    names: HashMap<u32, Arc<str>>,
    /// By age.
    given: VecDeque<u32>,
    last: u32,
}

impl Names {
    /// The name that this address was given out for.
    pub(crate) fn of(&self, address: Ipv4Addr) -> Option<Arc<str>> {
        self.known().names.get(&address.into()).cloned()
    }

    /// The address of a name; the same one until it is forgotten.
    fn address(&self, name: &str) -> Ipv4Addr {
        let mut known = self.known();
        if let Some(&address) = known.addresses.get(name) {
            return address.into();
        }
        if known.given.len() >= MOST_NAMES
            && let Some(oldest) = known.given.pop_front()
            && let Some(forgotten) = known.names.remove(&oldest)
        {
            known.addresses.remove(&forgotten);
        }
        // Neither the first nor the last of the network.
        known.last = known.last % (ADDRESSES - 2) + 1;
        let address = NETWORK + known.last;
        let name: Arc<str> = name.into();
        known.addresses.insert(Arc::clone(&name), address);
        known.names.insert(address, name);
        known.given.push_back(address);
        address.into()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a message; `None` to one that asks nothing.
    ///
    /// Every name that a host can have has one address of IPv4 and no other
    /// record, so that clients do not wait for IPv6. Source: RFC 1035 section 4.
    pub(crate) fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let &[a, b, flags, ..] = message.first_chunk::<HEADER>()?;
        if flags & 0x80 != 0 {
            // An answer; to answer that could go on for ever.
            return None;
        }
        let mut reply = Packet::new_reply(u16::from_be_bytes([a, b]));
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE | PacketFlag::RECURSION_DESIRED);
        let asked = question_alone(message);
        let asked = asked.as_deref().map(Packet::parse);
        *reply.rcode_mut() = match &asked {
            Some(Ok(asked)) => self.reply(asked, &mut reply),
            _ => RCODE::FormatError,
        };
        reply.build_bytes_vec_compressed().ok()
    }

    fn reply<'a>(&self, asked: &Packet<'a>, reply: &mut Packet<'a>) -> RCODE {
        if asked.opcode() != simple_dns::OPCODE::StandardQuery {
            return RCODE::NotImplemented;
        }
        let [question] = asked.questions.as_slice() else {
            return RCODE::FormatError;
        };
        reply.questions.push(question.clone());
        let address = match address_of(&question.qname.to_string()) {
            Meaning::Name(name) => self.address(&name),
            Meaning::Loopback => Ipv4Addr::LOCALHOST,
            Meaning::Nothing => return RCODE::NameError,
        };
        let of_internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
        if of_internet && matches!(question.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
            reply.answers.push(ResourceRecord::new(
                question.qname.clone(),
                CLASS::IN,
                LIFE,
                RData::A(A::from(address)),
            ));
        }
        RCODE::NoError
    }
}

/// Answers questions that come by TCP, each after its length (RFC 1035 section
/// 4.2.2), until the client ends or pauses.
pub(crate) async fn serve(names: &Names, mut io: Io) {
    let next = async |io: &mut Io| -> io::Result<Vec<u8>> {
        let length = usize::from(io.read_u16().await?);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = vec![0; length];
        io.read_exact(&mut message).await?;
        Ok(message)
    };
    while let Ok(Ok(message)) = timeout(PATIENCE, next(&mut io)).await {
        let Some(answer) = names.answer(&message) else {
            return;
        };
        let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
        framed.extend(answer);
        if !matches!(timeout(PATIENCE, io.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What a name stands for.
enum Meaning {
    /// Itself, as accounts spell it.
    Name(String),
    /// This machine: RFC 6761 section 6.3.
    Loopback,
    /// No host has it.
    Nothing,
}

fn address_of(name: &str) -> Meaning {
    let Ok(name) = authority(name) else {
        return Meaning::Nothing;
    };
    let (name, port) = (name.host, name.port);
    let under = |top: &str| {
        name.strip_suffix(top)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if port.is_some() || is_ip_literal(&name) || under("invalid") || under("arpa") {
        Meaning::Nothing
    } else if under("localhost") {
        Meaning::Loopback
    } else {
        Meaning::Name(name)
    }
}

/// The message as if it ended with its questions: the other sections, which a
/// server has no use for, count nothing.
fn question_alone(message: &[u8]) -> Option<Vec<u8>> {
    let mut alone = message.to_vec();
    alone.get_mut(6..HEADER)?.fill(0);
    Some(alone)
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
