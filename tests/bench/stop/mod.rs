//! `cargo xtask bench stop`: how long after the stop was pressed anything still
//! happens: a byte that reaches a service, an instruction of a contained process,
//! a new request that is let through.
//!
//! None of it is the product's own word. The press is a signal that this program
//! sends; bytes are stamped by the far side's kernel as they arrive (`far`), and
//! processes write the time for as long as they run (`agents`). All by the kernel's
//! one monotonic clock.

mod agents;
mod clock;
mod far;

pub(crate) use agents::{crowd, member, probe};

use crate::table::{Goal, Table};
use crate::{loader, ours};
use countersign_testkit::person::Person;
use countersign_testkit::scene::{piped, said};
use countersign_testkit::{Group, Hierarchy, Scene, programs, random};
use far::Far;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

const RUNS: usize = 20;
/// In each run.
const PROCESSES: usize = 10;
/// In each run, for as long as it runs.
const IN_FLIGHT: usize = 50;

/// How long everything goes on at full speed before the press.
const FULL_SPEED: Duration = Duration::from_millis(500);
/// How long it is watched after the press.
const WATCHED: Duration = Duration::from_millis(700);
/// How long it may take until everything is under way.
const SET_UP: Duration = Duration::from_secs(180);
/// Whoever did not write for so long before the press did not run.
const ALIVE: Duration = Duration::from_secs(1);

/// What runs are ended by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    FreezeV2,
    FreezeV1,
    Kill,
}

impl Means {
    const ALL: [Self; 3] = [Self::FreezeV2, Self::FreezeV1, Self::Kill];

    /// As `countersign status` says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FreezeV2 => "freeze-v2",
            Self::FreezeV1 => "freeze-v1",
            Self::Kill => "kill",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|means| means.name() == name)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::FreezeV2 => "frozen by cgroup v2",
            Self::FreezeV1 => "frozen by cgroup v1",
            Self::Kill => "killed by their init",
        }
    }
}

/// Measures so many stops by each of these means.
pub(crate) fn measure(stops: usize, means: &[Means], table: &mut Table) -> io::Result<()> {
    for &means in means {
        one_means(stops, means, table)?;
    }
    table.note(format!(
        "{RUNS} contained runs of {PROCESSES} processes each (one for each processor never sleeps, the others wake every 5 ms), \
         with {} requests in flight: of 50, 20 are uploads and 20 replies that stream, 10 are WebSockets. \
         From a signal that this program sends; bytes as the far side's kernel gets them, processes as they write the time into files.",
        RUNS * IN_FLIGHT
    ));
    Ok(())
}

fn one_means(stops: usize, means: Means, table: &mut Table) -> io::Result<()> {
    crate::say(&format!("{stops} stops, runs are {}", means.words()));
    let mut stage = Stage::set_up(means)?;
    let mut all = Vec::with_capacity(stops);
    for number in 1..=stops {
        all.push(stage.stop()?);
        if number < stops {
            stage.go_on()?;
        }
        if number % 10 == 0 {
            crate::say(&format!("{number} of {stops}"));
        }
    }
    let words = means.words();
    let column = |pick: fn(&Stop) -> f64| all.iter().map(pick).collect::<Vec<_>>();
    for (what, times, goal) in [
        ("last byte at the far side", column(|s| s.byte), Some(50.0)),
        (
            "last instruction of a process",
            column(|s| s.beat),
            Some(50.0),
        ),
        (
            "last new request let through",
            column(|s| s.request),
            Some(1.0),
        ),
        (
            "a request made later is refused within",
            column(|s| s.refusal),
            Some(1.0),
        ),
        (
            "half of the requests made later are refused within",
            column(|s| s.usual_refusal),
            None,
        ),
        (
            "last connection closed at the far side",
            column(|s| s.closed),
            None,
        ),
    ] {
        let goal = goal.map(Goal::AtMost);
        for (part, share, goal) in [
            ("median", 0.5, None),
            ("99 of 100", 0.99, goal),
            ("slowest", 1.0, None),
        ] {
            let what = format!("{words}: {what}, {part} of {stops}");
            table.precise(&what, quantile(&times, share), " ms", goal);
        }
    }
    stage.tear_down()
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// One stop, in milliseconds from the press; 0 for what ended before it.
struct Stop {
    byte: f64,
    beat: f64,
    request: f64,
    /// Not from the press: how long a refusal took, at most, and half of them.
    refusal: f64,
    usual_refusal: f64,
    closed: f64,
}

/// Everything that is stopped.
struct Stage {
    /// One for each run, and one for the agent that got away. Gone before the folder
    /// that they are in.
    places: Vec<Place>,
    scene: Scene,
    far: Far,
    means: Means,
    group: Option<Group>,
    runs: Vec<Child>,
    probe: Option<Child>,
}

/// A working folder: one run's alone.
struct Place {
    folder: PathBuf,
    _board: Board,
    /// One byte that the processes read: whether they go at full speed.
    pace: File,
}

impl Place {
    /// With the loader in it, which lies in `work`.
    fn make(work: &Path, name: &str, person: &Person) -> io::Result<Self> {
        let folder = work.join(name);
        person.make_folder(&folder)?;
        fs::hard_link(work.join(loader::NAME), folder.join(loader::NAME))?;
        let board = Board::put(folder.join(agents::BOARD), person)?;
        person.write(&folder.join(agents::PACE), [agents::SLOW])?;
        person.write(&folder.join(agents::TOLD), "")?;
        let pace = File::options()
            .write(true)
            .open(folder.join(agents::PACE))?;
        Ok(Self {
            folder,
            _board: board,
            pace,
        })
    }
}

/// A folder in memory that processes write the time into: on a disk they would
/// wait for its journal, and not be seen to run.
struct Board(PathBuf);

impl Board {
    fn put(path: PathBuf, person: &Person) -> io::Result<Self> {
        fs::create_dir(&path)?;
        let options = Some("mode=0755,size=1m");
        mount(
            Some("board"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            options,
        )?;
        person.give(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _stays_until_reboot = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

impl Stage {
    fn set_up(means: Means) -> io::Result<Self> {
        let credential = random::credential();
        let far = Far::start()?;
        let mut scene = Scene::start(1)?;
        let rule = scene.config().join("policies/everything-alone.cedar");
        scene.desktop.person().write(&rule, agents::RULE)?;
        let code = ours::account(&scene, far.address, &far.ca_pem)?;
        let text = scene
            .read_config()?
            .replace("[\"mail\"]", "[\"mail\", \"code\"]");
        scene.accept(&format!("{text}\n{code}"))?;
        scene.set_credential("code", &credential)?;
        ours::lay_loader(&scene)?;
        let work = scene.work()?;
        let person = scene.desktop.person();
        let places: io::Result<_> = (0..=RUNS)
            .map(|number| Place::make(&work, &number.to_string(), person))
            .collect();
        let group = match means {
            Means::FreezeV2 => Some(Group::make(Hierarchy::V2, person)?),
            Means::FreezeV1 => Some(Group::make(Hierarchy::V1Freezer, person)?),
            Means::Kill => None,
        };
        let mut stage = Self {
            places: places?,
            scene,
            far,
            means,
            group,
            runs: Vec::new(),
            probe: None,
        };
        stage.launch()?;
        stage.until_all_is_under_way()?;
        Ok(stage)
    }

    fn launch(&mut self) -> io::Result<()> {
        let program = format!("./{}", loader::NAME);
        for place in 0..RUNS {
            let (number, processes) = (place.to_string(), PROCESSES.to_string());
            let each = (IN_FLIGHT / PROCESSES).to_string();
            let argv = [program.as_str(), "crowd", &number, &processes, &each];
            let run = self.run(place, &[], &argv)?;
            self.runs.push(run);
        }
        Ok(())
    }

    fn run(&self, place: usize, options: &[&str], argv: &[&str]) -> io::Result<Child> {
        let countersign = programs::built("countersign")?;
        let mut command = match &self.group {
            Some(group) => group.command(&self.scene.desktop, countersign),
            None => self.scene.desktop.command(countersign),
        };
        command
            .args(["run", "--agent", "inbox-bot", "--task", "be stopped"])
            .args(options)
            .arg("--")
            .args(argv)
            .current_dir(&self.places[place].folder);
        piped(&mut command).spawn()
    }

    /// An agent that got away: nobody contains it, so that it goes on asking when
    /// everything is stopped.
    fn launch_probe(&mut self) -> io::Result<()> {
        let _of_the_last_stop = fs::remove_file(self.probed());
        let program = format!("./{}", loader::NAME);
        let script = format!(
            "setsid --fork {program} probe {}; sleep 900",
            agents::PROBED
        );
        self.probe = Some(self.run(RUNS, &["--uncontained"], &["sh", "-c", &script])?);
        Ok(())
    }

    fn probed(&self) -> PathBuf {
        self.places[RUNS].folder.join(agents::PROBED)
    }

    fn set_pace(&self, pace: u8) -> io::Result<()> {
        let mut all = self.places.iter();
        all.try_for_each(|place| place.pace.write_all_at(&[pace], 0))
    }

    /// Waits until every process runs, every request is in flight, and the one that
    /// got away is answered.
    fn until_all_is_under_way(&mut self) -> io::Result<()> {
        self.launch_probe()?;
        let answered = self.far.answered();
        let end = Instant::now() + SET_UP;
        loop {
            let (beating, open) = (self.beats(clock::now())?.alive, self.far.open());
            let probes = self.far.answered() - answered;
            if beating == RUNS * PROCESSES && open == RUNS * IN_FLIGHT && probes > 20 {
                return Ok(());
            }
            if let Some(said) = self.one_that_ended()? {
                return Err(io::Error::other(format!("a run ended: {said}")));
            }
            if Instant::now() > end {
                let told = self
                    .places
                    .iter()
                    .map(|place| place.folder.join(agents::TOLD));
                let told: String = told.map(fs::read_to_string).collect::<io::Result<_>>()?;
                let last: Vec<_> = told.lines().rev().take(10).collect();
                return Err(io::Error::other(format!(
                    "{beating} processes run, {open} requests are in flight, {probes} more were answered: {last:#?}",
                )));
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn one_that_ended(&mut self) -> io::Result<Option<String>> {
        for place in 0..self.runs.len() {
            if self.runs[place].try_wait()?.is_some() {
                let ended = self.runs.swap_remove(place);
                return Ok(Some(said(&ended.wait_with_output()?)));
            }
        }
        Ok(None)
    }

    fn stop(&mut self) -> io::Result<Stop> {
        self.set_pace(agents::FULL)?;
        self.at_full_speed()?;
        let authority = i32::try_from(self.scene.authority.pid()).map_err(io::Error::other)?;
        let press = clock::now();
        kill(Pid::from_raw(authority), Signal::SIGUSR1)?;
        sleep(WATCHED);
        self.set_pace(agents::SLOW)?;
        let (usual_refusal, refusal) = self.refusals(press)?;
        let since = |then: u64| then.saturating_sub(press) as f64 / 1e6;
        let stop = Stop {
            byte: since(self.far.last_byte()),
            beat: since(self.beats(press)?.last),
            request: since(self.far.last_new()),
            refusal,
            usual_refusal,
            closed: since(self.far.last_closed()),
        };
        if self.far.open() != 0 {
            return Err(io::Error::other(format!(
                "{} connections are open",
                self.far.open()
            )));
        }
        Ok(stop)
    }

    /// Waits for a moment in which everything has run at full speed. On a busy machine
    /// a process can be without a turn for so long that it is not seen to run.
    fn at_full_speed(&self) -> io::Result<()> {
        const TIMES: usize = 20;
        let mut words = String::new();
        for _ in 0..TIMES {
            sleep(FULL_SPEED);
            let (beating, open) = (self.beats(clock::now())?.alive, self.far.open());
            if beating == RUNS * PROCESSES && open == RUNS * IN_FLIGHT {
                return Ok(());
            }
            words = format!("{beating} processes run, {open} requests are in flight");
        }
        Err(io::Error::other(words))
    }

    /// What processes wrote last, of all of them; and how many did shortly before
    /// `then`, or after it.
    fn beats(&self, then: u64) -> io::Result<Beats> {
        let mut beats = Beats { last: 0, alive: 0 };
        let boards = self
            .places
            .iter()
            .map(|place| place.folder.join(agents::BOARD));
        let boards: Vec<_> = boards.map(fs::read_dir).collect::<io::Result<_>>()?;
        for file in boards.into_iter().flatten() {
            let file = file?;
            if !file.file_name().to_string_lossy().starts_with(agents::BEAT) {
                continue;
            }
            let bytes = fs::read(file.path())?;
            // One that has just begun has written nothing yet.
            let Ok(bytes) = bytes.try_into() else {
                continue;
            };
            let time = u64::from_le_bytes(bytes);
            beats.last = beats.last.max(time);
            let ago = Duration::from_nanos(then.saturating_sub(time));
            beats.alive += usize::from(ago < ALIVE);
        }
        Ok(beats)
    }

    /// How long those of what was asked after the press took: half of them, and the
    /// slowest.
    fn refusals(&mut self, press: u64) -> io::Result<(f64, f64)> {
        let end = Instant::now() + SET_UP;
        let text = loop {
            match fs::read_to_string(self.probed()) {
                Ok(text) => break text,
                Err(_) if Instant::now() < end => sleep(Duration::from_millis(20)),
                Err(why) => return Err(why),
            }
        };
        let mut took = Vec::new();
        for line in text.lines() {
            let mut times = line.split(' ').filter_map(|time| time.parse::<u64>().ok());
            if let (Some(made), Some(refused)) = (times.next(), times.next())
                && made >= press
            {
                took.push(refused.saturating_sub(made) as f64 / 1e6);
            }
        }
        if took.is_empty() {
            return Err(io::Error::other(format!("nothing was refused: {text}")));
        }
        Ok((quantile(&took, 0.5), quantile(&took, 1.0)))
    }

    /// Back to where it was before the stop: what is frozen is thawed, and what was
    /// killed is launched anew.
    fn go_on(&mut self) -> io::Result<()> {
        if self.means == Means::Kill {
            self.until_all_have_ended()?;
        }
        if let Some(probe) = self.probe.take() {
            ended_by_the_stop(probe)?;
        }
        self.scene.confirm(&["resume"])?;
        if self.means == Means::Kill {
            self.launch()?;
        }
        self.until_all_is_under_way()
    }

    fn until_all_have_ended(&mut self) -> io::Result<()> {
        self.runs.drain(..).try_for_each(ended_by_the_stop)
    }

    fn tear_down(mut self) -> io::Result<()> {
        if self.means != Means::Kill {
            // The second press kills what is frozen.
            self.scene.countersign(&["stop"])?;
        }
        self.until_all_have_ended()?;
        if let Some(probe) = self.probe.take() {
            ended_by_the_stop(probe)?;
        }
        self.scene.shut_down()
    }
}

struct Beats {
    last: u64,
    alive: usize,
}

fn ended_by_the_stop(run: Child) -> io::Result<()> {
    const STOPPED: i32 = 6;
    let output = run.wait_with_output()?;
    if output.status.code() == Some(STOPPED) {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{}: {}",
            output.status,
            said(&output)
        )))
    }
}
