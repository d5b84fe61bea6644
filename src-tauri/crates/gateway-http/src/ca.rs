//! The CA of one run: made in memory, gone with the run, and good only for the
//! hosts of the run's accounts and sites.

use countersign_broker::{AccountView, Secret};
use countersign_model::HostPattern;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use zeroize::Zeroize as _;

/// A run that lives longer needs a new start.
const CA_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A leaf is made anew well before it ends.
const LEAF_RENEWAL: Duration = Duration::from_secs(12 * 3600);
/// Clocks inside a container may be behind.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Hosts under a wildcard are the agent's choice, so the cache is bounded.
const MOST_LEAVES: usize = 256;

/// Why a CA or a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the run's certificate authority: {0}")]
pub struct CaError(String);

impl CaError {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The key pair that signs, wiped when the run ends. (`ring` keeps its own
/// parsed copy, which it does not wipe.)
struct SigningKey(KeyPair);

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl rcgen::PublicKeyData for SigningKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen::PublicKeyData::algorithm(&self.0)
    }
}

impl rcgen::SigningKey for SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rcgen::SigningKey::sign(&self.0, message)
    }
}

struct Leaf {
    config: Arc<ServerConfig>,
    made: Instant,
}

/// The certificate authority of one run: ECDSA P-256, name-constrained (RFC 5280
/// section 4.2.1.10) to the hosts that it was made for, without addresses. Its
/// key never leaves this value.
pub struct RunCa {
    hosts: Vec<HostPattern>,
    issuer: Issuer<'static, SigningKey>,
    pem: String,
    chain: CertificateDer<'static>,
    leaf_key: SigningKey,
    leaf_signer: Arc<dyn rustls::sign::SigningKey>,
    provider: Arc<CryptoProvider>,
    leaves: Mutex<HashMap<String, Leaf>>,
}

/// A run's CA without its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaParts {
    hosts: Vec<HostPattern>,
    pem: String,
}

impl fmt::Debug for RunCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCa")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl RunCa {
    /// A CA for these hosts. One that is added to the configuration later takes
    /// effect at the next run.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new(hosts: &[HostPattern]) -> Result<Self, CaError> {
        let key = SigningKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::new)?);
        let certificate = ca_params(hosts).self_signed(&key).map_err(CaError::new)?;
        Self::assemble(hosts, certificate.pem(), key)
    }

    /// The same CA in another process.
    ///
    /// # Errors
    /// When these are not the parts of a CA.
    pub fn from_parts(parts: &CaParts, key: &Secret) -> Result<Self, CaError> {
        let der = PrivatePkcs8KeyDer::from(key.expose());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        let key = SigningKey(key.map_err(CaError::new)?);
        Self::assemble(&parts.hosts, parts.pem.clone(), key)
    }

    /// What [`RunCa::from_parts`] makes it from; the key lies in the secret.
    #[must_use]
    pub fn parts(&self) -> (CaParts, Secret) {
        let parts = CaParts {
            hosts: self.hosts.clone(),
            pem: self.pem.clone(),
        };
        let key = self.issuer.key().0.serialize_der();
        (parts, Secret::new(key))
    }

    fn assemble(hosts: &[HostPattern], pem: String, key: SigningKey) -> Result<Self, CaError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let leaf_key =
            SigningKey(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::new)?);
        let leaf_der = PrivatePkcs8KeyDer::from(leaf_key.0.serialize_der());
        let leaf_signer = provider
            .key_provider
            .load_private_key(leaf_der.into())
            .map_err(CaError::new)?;
        Ok(Self {
            hosts: hosts.to_vec(),
            chain: CertificateDer::from_pem_slice(pem.as_bytes()).map_err(CaError::new)?,
            pem,
            issuer: Issuer::new(ca_params(hosts), key),
            leaf_key,
            leaf_signer,
            provider,
            leaves: Mutex::new(HashMap::new()),
        })
    }

    /// A CA for the hosts of these accounts and sites, and for the token
    /// endpoints that the gateway answers in their providers' place.
    ///
    /// # Errors
    /// As [`RunCa::new`].
    pub fn for_accounts(accounts: &[AccountView]) -> Result<Self, CaError> {
        let mut hosts: Vec<HostPattern> = Vec::new();
        for view in accounts {
            hosts.extend(view.account.hosts.iter().cloned());
            if let Some(kind) = countersign_catalogue::kind(&view.account.provider.0) {
                hosts.extend(
                    kind.token_hosts
                        .iter()
                        .filter_map(|host| HostPattern::new(host).ok()),
                );
            }
        }
        hosts.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        hosts.dedup();
        Self::new(&hosts)
    }

    /// The certificate, for the run's CA bundle.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.pem
    }

    /// Whether a certificate for this (normalised) host lies within the
    /// constraints.
    #[must_use]
    pub fn vouches_for(&self, host: &str) -> bool {
        !crate::normalise::is_ip_literal(host)
            && self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// TLS as this host.
    pub(crate) fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, CaError> {
        if !self.vouches_for(host) {
            return Err(CaError("the host is not among those of the run".into()));
        }
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves
            .get(host)
            .filter(|leaf| leaf.made.elapsed() < LEAF_RENEWAL)
        {
            return Ok(Arc::clone(&leaf.config));
        }
        let config = Arc::new(self.mint(host)?);
        if leaves.len() >= MOST_LEAVES {
            leaves.clear();
        }
        leaves.insert(
            host.to_owned(),
            Leaf {
                config: Arc::clone(&config),
                made: Instant::now(),
            },
        );
        Ok(config)
    }

    fn mint(&self, host: &str) -> Result<ServerConfig, CaError> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(CaError::new)?;
        lasts(&mut params, LEAF_LIFE);
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&self.leaf_key, &self.issuer)
            .map_err(CaError::new)?;
        let chain = vec![certificate.der().clone(), self.chain.clone()];
        let certified = CertifiedKey::new(chain, Arc::clone(&self.leaf_signer));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(CaError::new)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(certified))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn ca_params(hosts: &[HostPattern]) -> CertificateParams {
    let mut params = CertificateParams::default();
    lasts(&mut params, CA_LIFE);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Countersign run");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut permitted: Vec<_> = hosts
        .iter()
        .map(|pattern| {
            GeneralSubtree::DnsName(
                pattern
                    .wildcard_base()
                    .unwrap_or(pattern.as_str())
                    .to_owned(),
            )
        })
        .collect();
    // An empty list would permit every name; this one never exists (RFC 6761).
    permitted.push(GeneralSubtree::DnsName("countersign.invalid".into()));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
        ],
    });
    params
}

fn lasts(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + life).into();
}

/// One certificate, whatever the client says: the name was checked before.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    fn ca(hosts: &[&str]) -> RunCa {
        RunCa::new(
            &hosts
                .iter()
                .map(|h| HostPattern::new(h).unwrap())
                .collect::<Vec<_>>(),
        )
        .unwrap()
    }

    /// What a client says of a certificate for `host`, minted past the check.
    fn verdict(ca: &RunCa, host: &str) -> Result<(), rustls::Error> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&ca.leaf_key, &ca.issuer).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.cert_pem().as_bytes()).unwrap())
            .unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&ca.provider))
                .build()
                .unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        verifier
            .verify_server_cert(leaf.der(), &[], &name, &[], UnixTime::now())
            .map(|_| ())
    }

    #[test]
    fn a_stolen_ca_key_is_good_for_the_runs_hosts_only() {
        let ca = ca(&["a.example", "*.b.example"]);
        assert!(verdict(&ca, "a.example").is_ok() && verdict(&ca, "x.b.example").is_ok());
        for other in ["c.example", "evila.example", "127.0.0.1", "::1"] {
            assert!(verdict(&ca, other).is_err(), "{other}");
        }
        assert!(
            verdict(&self::ca(&[]), "a.example").is_err(),
            "no hosts must not mean every host"
        );
    }

    #[test]
    fn certificates_are_made_for_the_runs_hosts_only_and_once() {
        let ca = ca(&["a.example", "127.0.0.1"]);
        let first = ca.server_config("a.example").unwrap();
        assert!(Arc::ptr_eq(&first, &ca.server_config("a.example").unwrap()));
        assert!(ca.server_config("x.a.example").is_err() && ca.server_config("127.0.0.1").is_err());
    }

    #[test]
    fn the_key_is_in_nothing_that_can_be_printed() {
        let ca = ca(&["a.example"]);
        assert!(!ca.cert_pem().contains("PRIVATE") && !format!("{ca:?}").contains("key"));
    }
}
