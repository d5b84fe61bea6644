//! The way to a real host: only of the run's accounts, resolved with suspicion.

use crate::broker::Broker;
use crate::lines::Carrier;
use crate::port::{AccountView, Countersigner as _, Destination, Line, NotConnected};
use countersign_model::{Account, RunFacts, RunId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(4);

impl Broker {
    /// Takes what uses a run's connections, to pause it while they are cut; for as
    /// long as what is returned is kept.
    #[must_use]
    pub fn carried_by(&self, run: &RunFacts, carrier: Box<dyn Carrier>) -> impl Send + use<> {
        self.inner.lines.carried_by(run, carrier)
    }

    /// Connects to a host of the run's accounts, as they are now.
    pub(crate) async fn dial(&self, run: &RunId, to: &Destination) -> Result<Line, NotConnected> {
        let facts = self.run(run).ok_or(NotConnected::NotTheirs)?;
        let account = theirs(self.accounts(run), to).ok_or(NotConnected::NotTheirs)?;
        self.still_runs(run).map_err(|_| NotConnected::NotTheirs)?;
        let tcp = connect(&account, to).await?;
        let tcp = tcp.into_std().map_err(|_| NotConnected::Unreachable)?;
        let hold = self.inner.lines.keep(&facts, &tcp);
        let held = Box::new(hold.ok_or(NotConnected::TooMany)?);
        // Kept first, so that the stop finds it or is seen here.
        self.still_runs(run).map_err(|_| NotConnected::NotTheirs)?;
        Ok(Line { tcp, held })
    }
}

/// The account that is meant, if it is as it was judged and has this host.
fn theirs(views: Vec<AccountView>, to: &Destination) -> Option<Arc<Account>> {
    let mut views = views.into_iter();
    let view = views.find(|view| view.account.id == to.account && view.digest == to.digest)?;
    let account = view.account;
    (account.has_host(&to.host) && account.port == to.port).then_some(account)
}

/// Resolves and connects. A name that resolves to this machine or a private
/// network is refused (DNS rebinding), unless the human configured where the
/// host really is; the address that was checked is the one that is used.
async fn connect(account: &Account, to: &Destination) -> Result<TcpStream, NotConnected> {
    let addresses: Vec<SocketAddr> = match &account.connect_to {
        Some(place) => tokio::net::lookup_host(place.as_str())
            .await
            .map_err(|_| NotConnected::Unresolved)?
            .collect(),
        None => {
            let all = tokio::net::lookup_host((to.host.as_str(), to.port))
                .await
                .map_err(|_| NotConnected::Unresolved)?;
            let public: Vec<_> = all.filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                return Err(NotConnected::Private);
            }
            public
        }
    };
    for address in addresses {
        if let Ok(Ok(tcp)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            return Ok(tcp);
        }
    }
    Err(NotConnected::Unreachable)
}

/// Whether an address is on the public internet (IANA special-purpose
/// registries), seen through every way of writing IPv4 inside IPv6.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |hi: u16, lo: u16| Ipv4Addr::from(u32::from(hi) << 16 | u32::from(lo));
    match s {
        // Unspecified, loopback, IPv4-compatible, IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, hi, lo] => s[5] == 0xffff && is_public_v4(embedded(hi, lo)),
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => is_public_v4(embedded(hi, lo)),
        // Teredo, ORCHID, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // 6to4.
        [0x2002, hi, lo, ..] => is_public_v4(embedded(hi, lo)),
        // Everything else that is global unicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_model::{CredentialKind, Digest, Environment, HostPattern, Provider};

    #[test]
    fn a_gateway_is_connected_to_hosts_of_the_runs_accounts_as_they_are_now_and_to_no_other() {
        let account = Account {
            id: "forum".parse().unwrap(),
            provider: Provider(Provider::PLAIN.into()),
            hosts: vec![HostPattern::new("*.forum.example").unwrap()],
            port: 443,
            environment: Environment::default(),
            tags: Default::default(),
            credential: CredentialKind::Bearer,
            connect_to: None,
            ca_pem: None,
            plaintext: false,
            effects: Vec::new(),
            forward_headers: Vec::new(),
            token_url: None,
        };
        let digest = account.digest();
        let view = AccountView {
            account: Arc::new(account),
            digest,
            credential: None,
        };
        let to = Destination {
            account: "forum".parse().unwrap(),
            digest,
            host: "a.forum.example".into(),
            port: 443,
        };
        let found = |to: &Destination| theirs(vec![view.clone()], to).is_some();
        assert!(found(&to));
        for other in [
            Destination {
                host: "forum.example".into(),
                ..to.clone()
            },
            Destination {
                host: "a.forum.example.evil.example".into(),
                ..to.clone()
            },
            Destination {
                host: "127.0.0.1".into(),
                ..to.clone()
            },
            Destination {
                port: 22,
                ..to.clone()
            },
            Destination {
                account: "other".parse().unwrap(),
                ..to.clone()
            },
            Destination {
                digest: Digest::of(b"as it was"),
                ..to.clone()
            },
        ] {
            assert!(!found(&other), "{other:?}");
        }
        assert!(theirs(Vec::new(), &to).is_none());
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_dialled() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
