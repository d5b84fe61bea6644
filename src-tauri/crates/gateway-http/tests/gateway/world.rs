//! One run, its gateway, an upstream, and a client's way in.

use crate::client::{Client, Reply};
use crate::fake::Fake;
use crate::upstream::Upstream;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_broker::{AccountView, Place, Presented, Secret};
use countersign_gateway_http::{Checked, Doors, Gateway, Key, Limits, RunCa, RunGateway};
use countersign_model::{
    Account, CredentialKind, CredentialVersion, Environment, HostPattern, Provider, RunId, Settled,
};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const HOST: &str = "forum.example";
/// What an upstream's certificate is for.
pub const NAMES: [&str; 4] = [HOST, "a.wild.example", "gmail.googleapis.com", "127.0.0.1"];

pub struct World {
    pub fake: Arc<Fake>,
    pub upstream: Arc<Upstream>,
    pub ca_pem: String,
    pub socket: PathBuf,
    /// The marked credential.
    pub secret: String,
    pub gateway: JoinHandle<()>,
    /// Where the run's port is handed over.
    pub port: Option<oneshot::Sender<Checked>>,
    _folder: tempfile::TempDir,
}

pub fn random_text(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).unwrap();
    URL_SAFE_NO_PAD.encode(random)
}

/// An account as the broker hands it out.
pub fn view(account: Account, credential: Option<CredentialVersion>) -> AccountView {
    AccountView {
        digest: account.digest(),
        account: Arc::new(account),
        credential,
    }
}

pub fn account(name: &str, provider: &str, hosts: &[&str], credential: CredentialKind) -> Account {
    Account {
        id: name.parse().unwrap(),
        provider: Provider(provider.into()),
        hosts: hosts.iter().map(|h| HostPattern::new(h).unwrap()).collect(),
        port: 443,
        environment: Environment::default(),
        tags: vec![],
        credential,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec![],
        token_url: None,
    }
}

/// The access key of the run.
pub fn placeholder() -> Key {
    let secret = b"countersign-placeholder-of-a-test".to_vec();
    Key::new("COUNTERSIGNTEST", secret.into()).unwrap()
}

/// Limits short enough for tests.
pub fn limits() -> Limits {
    Limits {
        head_time: Duration::from_millis(500),
        idle_request: Duration::from_millis(800),
        connect: Duration::from_secs(3),
        reply_head: Duration::from_secs(5),
        idle_reply: Duration::from_secs(5),
        keep_awake: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Event loops on threads of their own, as the authority has them.
fn lanes() -> Vec<Handle> {
    static LANES: OnceLock<Vec<Handle>> = OnceLock::new();
    let open = |_| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    };
    LANES.get_or_init(|| (0..2).map(open).collect()).clone()
}

impl World {
    pub async fn new() -> Self {
        Self::with(limits(), |_| {}).await
    }

    /// A world whose one account with a credential is changed by `change`.
    pub async fn with(limits: Limits, change: impl FnOnce(&mut Account)) -> Self {
        Self::before(Upstream::start(&NAMES, true).await, limits, change)
    }

    /// A world before this upstream.
    pub fn before(
        upstream: Arc<Upstream>,
        limits: Limits,
        change: impl FnOnce(&mut Account),
    ) -> Self {
        let mut forum = account(
            "forum",
            "http",
            &[HOST, "*.wild.example"],
            CredentialKind::Bearer,
        );
        change(&mut forum);
        let mut site = account("docs", "http", &["docs.example"], CredentialKind::None);
        for account in [&mut forum, &mut site] {
            account.connect_to.get_or_insert(upstream.address.clone());
            account.ca_pem.get_or_insert(upstream.ca_pem.clone());
        }
        let secret = random_text(30);
        let fake = Arc::new(Fake::new());
        let version = CredentialVersion {
            id: "forum".parse().unwrap(),
            version: 1,
        };
        *fake.accounts.lock().unwrap() = vec![view(forum, Some(version)), view(site, None)];
        let place = Place::Header {
            name: "authorization".into(),
            value: Secret::new(format!("Bearer {secret}").into_bytes()),
        };
        let presented = Presented {
            place,
            needles: vec![Secret::new(secret.clone().into_bytes())],
        };
        fake.presented
            .lock()
            .unwrap()
            .insert("forum".into(), presented);
        let ca = RunCa::for_accounts(&fake.accounts.lock().unwrap()).unwrap();
        let ca_pem = ca.cert_pem().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("gateway");
        let listener = UnixListener::bind(&socket).unwrap();
        let run = RunGateway {
            run: RunId::from_random([1; 8]),
            ca: Arc::new(ca),
            placeholder: placeholder(),
            port: Arc::clone(&fake),
            limits,
        };
        let (port, to_come) = oneshot::channel();
        let doors = Doors::new(listener, to_come).unwrap();
        let serve = async move {
            Gateway::on(lanes()).serve_run(doors, run).await;
        };
        let gateway = tokio::spawn(serve);
        Self {
            fake,
            upstream,
            ca_pem,
            socket,
            secret,
            gateway,
            port: Some(port),
            _folder: folder,
        }
    }

    /// Hands a port over, as the launcher of an uncontained run does.
    pub async fn open_port(&mut self) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        let port = Checked::handed_over(vec![listener.into()], false, me)
            .await
            .unwrap();
        self.port.take().unwrap().send(port).unwrap();
        address
    }

    /// A client inside the tunnel to the account's host.
    pub async fn client(&self) -> Client {
        self.client_of(HOST).await.unwrap()
    }
    pub async fn client_of(&self, host: &str) -> Result<Client, String> {
        Client::tunnel(&self.socket, &self.ca_pem, host, host).await
    }
    /// One request on a connection of its own.
    pub async fn ask(&self, bytes: impl AsRef<[u8]>) -> Reply {
        self.client().await.ask(bytes).await
    }
    pub async fn get(&self, path: &str) -> Reply {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await
    }

    /// Waits for the record after.
    pub async fn settled(&self) -> Settled {
        for _ in 0..500 {
            if let Some(settled) = self.fake.settled.lock().unwrap().last().cloned() {
                return settled;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was settled")
    }
    pub fn rejected(&self) -> Vec<String> {
        self.fake
            .rejected
            .lock()
            .unwrap()
            .iter()
            .map(|r| r.reason.code())
            .collect()
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}")
}
