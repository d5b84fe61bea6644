//! Where an agent is played: an authority at a terminal, the agent's program in
//! the user's home as npm would put it there, its provider and a registry.

use crate::model;
use crate::play::Agent;
use crate::registry;
use countersign_testkit::scene::piped;
use countersign_testkit::upstream::Upstream;
use countersign_testkit::{Scene, programs, random};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// No play takes longer: some need a minute to start where nothing is compiled yet.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) provider: Upstream,
    pub(crate) registry: Upstream,
    pub(crate) key: String,
    pub(crate) agent: Agent,
}

impl Stage {
    pub(crate) fn open(agent: Agent, packages: &Path) -> io::Result<Self> {
        let desktop = Scene::plain_desktop()?;
        let bin = desktop.path("home/.npm-global/bin");
        desktop.person().make_folder(&bin)?;
        let prefix = desktop.path("home/.npm-global");
        desktop
            .person()
            .make_folder(&prefix.join("lib/node_modules"))?;
        for (what, place) in agent.installed(packages)? {
            put(&what, &prefix.join(place))?;
        }
        if let Some(script) = agent.script() {
            std::os::unix::fs::symlink(script, bin.join(agent.program()))?;
        }
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        let desktop = desktop.with_env("PATH", &path);
        let mut scene = Scene::at(desktop, 1)?;
        let key = format!("key-{}", random::credential());
        let provider = model::start(agent, &key)?;
        let registry = registry::start()?;
        // The user's own configuration, with a secret that is not to go along.
        for (name, content) in agent.users_files() {
            let path = scene.desktop.path("home").join(name);
            scene.desktop.person().write(&path, content)?;
        }
        let account = agent.account();
        let mut config = scene.read_config()?;
        config.push_str(&scene.account(account, &format!("kind = \"{account}\""), &provider)?);
        config.push_str(&scene.account("npm", "kind = \"npm\"", &registry)?);
        scene.accept(&config)?;
        scene.set_credential(account, &key)?;
        Ok(Self {
            scene,
            provider,
            registry,
            key,
            agent,
        })
    }

    /// A working folder.
    pub(crate) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.scene.desktop.path("home").join(name);
        let person = self.scene.desktop.person();
        person.write(&folder.join("notes.txt"), "the first line\n")?;
        person.write(
            &folder.join("package.json"),
            "{\"name\":\"work\",\"version\":\"1.0.0\"}\n",
        )?;
        Ok(folder)
    }

    /// `countersign run` of the agent's program with these arguments.
    pub(crate) fn run(&self, folder: &Path, arguments: &[&str]) -> io::Result<Child> {
        self.run_as(self.agent.program(), folder, arguments)
    }

    /// The same as an agent of this name.
    pub(crate) fn run_as(
        &self,
        name: &str,
        folder: &Path,
        arguments: &[&str],
    ) -> io::Result<Child> {
        let mut command = self.scene.desktop.command(programs::built("countersign")?);
        command
            .args(["run", "--agent", name, "--task", "play", "--"])
            .arg(self.agent.program())
            .args(arguments)
            .current_dir(folder);
        let mut child = piped(&mut command).spawn()?;
        // Nobody types anything.
        drop(child.stdin.take());
        Ok(child)
    }
}

/// What a run printed until it ended; it is ended when it takes too long.
pub(crate) fn ended(mut run: Child) -> io::Result<Output> {
    let began = Instant::now();
    while run.try_wait()?.is_none() {
        if began.elapsed() > LONGEST {
            run.kill()?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    run.wait_with_output()
}

/// A program or folder at this place, without a second copy of it where that can be.
fn put(what: &Path, place: &Path) -> io::Result<()> {
    if let Some(above) = place.parent() {
        fs::create_dir_all(above)?;
    }
    let copied = |how: &str| {
        let mut copy = Command::new("cp");
        copy.args([how, "-T"]).args([what, place]).status()
    };
    if copied("-al")?.success() || copied("-a")?.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} cannot be put in place",
        what.display()
    )))
}
