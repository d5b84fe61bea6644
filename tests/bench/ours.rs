//! The product as an agent meets it: the built `countersign serve`, a run, an
//! account with a credential, and the loader as the run's command.

use crate::loader::{self, Answer};
use crate::origin::Origin;
use countersign_testkit::Scene;
use countersign_testkit::scene::said;
use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Child;

/// Runs what follows with the newest run's own socket named, which is that of
/// the run that it is in: one run at a time is live here.
const AT_THE_SOCKET: &str = "BENCH_SOCKET=$(ls -t \"$XDG_RUNTIME_DIR\"/countersign/runs/*/gateway.sock | head -n 1) exec \"$0\" \"$@\"";

/// A read that the catalogue knows and calls routine; its number is the length
/// of the reply.
pub(crate) fn small() -> String {
    read(crate::SMALL as u64)
}

/// The same of any length.
pub(crate) fn read(length: u64) -> String {
    format!("https://api.github.com/repos/octo/tales/issues/{length}")
}

/// The one upload that the catalogue lets stream: a human is asked.
pub(crate) const UPLOAD: &str =
    "https://uploads.github.com/repos/octo/tales/releases/1/assets?name=large.bin";

/// An authority whose agent `inbox-bot` has the account `code`, served by the
/// origin.
pub(crate) struct Ours {
    pub(crate) scene: Scene,
}

impl Ours {
    pub(crate) fn start(origin: &Origin, credential: &str) -> io::Result<Self> {
        let mut scene = Scene::start(1)?;
        let code = account(&scene, origin.address, &origin.ca_pem)?;
        let text = scene
            .read_config()?
            .replace("accounts = [\"mail\"]", "accounts = [\"mail\", \"code\"]");
        scene.accept(&format!("{text}\n{code}"))?;
        scene.set_credential("code", credential)?;
        lay_loader(&scene)?;
        Ok(Self { scene })
    }

    /// The loader in a contained run: what an agent sees, the system call filter
    /// included.
    pub(crate) fn contained(&self, args: &[&str]) -> io::Result<Answer> {
        loader::answer(self.begin(args)?)
    }

    /// The same in an uncontained run, at the run's Unix socket.
    pub(crate) fn at_the_socket(&self, args: &[&str]) -> io::Result<Answer> {
        let program = format!("./{}", loader::NAME);
        let argv = [&["sh", "-c", AT_THE_SOCKET, &program], args].concat();
        loader::answer(self.scene.run_with(&["--uncontained"], &argv)?)
    }

    /// The loader in a contained run, asking for what a human must approve, who
    /// does.
    pub(crate) fn approved(&mut self, args: &[&str]) -> io::Result<Answer> {
        let from = self.scene.authority.screen().len();
        let mut child = self.begin(args)?;
        if let Err(why) = self.scene.authority.approve(from) {
            let _ended_already = child.kill();
            let said = said(&child.wait_with_output()?);
            return Err(io::Error::other(format!("{why}; {said}")));
        }
        loader::answer(child)
    }

    fn begin(&self, args: &[&str]) -> io::Result<Child> {
        let program = format!("./{}", loader::NAME);
        self.scene.run(&[&[program.as_str()], args].concat())
    }
}

/// Copies the loader to where a contained run sees it: its working folder.
pub(crate) fn lay_loader(scene: &Scene) -> io::Result<()> {
    let copy = scene.work()?.join(loader::NAME);
    fs::copy(env::current_exe()?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    scene.desktop.person().give(&copy)
}

/// The section of the account `code`, which is served there.
pub(crate) fn account(scene: &Scene, address: SocketAddr, ca_pem: &str) -> io::Result<String> {
    let file = scene.config().join("code-ca.pem");
    scene.desktop.person().write(&file, ca_pem)?;
    Ok(format!(
        "[accounts.code]\nkind = \"github\"\nenvironment = \"personal\"\nconnect_to = \"{address}\"\nca = \"code-ca.pem\"\n"
    ))
}
