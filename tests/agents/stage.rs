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
use std::process::{Child, Output};
use std::time::{Duration, Instant};

/// No play takes longer.
const LONGEST: Duration = Duration::from_secs(90);

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
        for (program, name) in agent.programs(packages)? {
            put(&program, &bin.join(name))?;
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
        let mut command = self.scene.desktop.command(programs::built("countersign")?);
        command
            .args(["run", "--task", "play", self.agent.program()])
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

/// The program at this place, without a second copy of it where that can be.
fn put(program: &Path, place: &Path) -> io::Result<()> {
    if fs::hard_link(program, place).is_ok() {
        return Ok(());
    }
    fs::copy(program, place).map(|_| ())
}
