//! `cargo xtask bench hotkey`: how long from a press of the stop key to the
//! latch, and that nothing wakes while nobody presses.
//!
//! The press is the X server's own (XTEST), the latch is seen in its file by the
//! kernel's word, and the stop is lifted by a human between two presses.

use crate::table::{Goal, Table};
use countersign_testkit::Authority;
use countersign_testkit::authority::SOON;
use countersign_testkit::desktop::{Desktop, Options};
use countersign_testkit::scene::said;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::{DefaultStream, RustConnection};

const PRESSES: usize = 200;
const IDLE: Duration = Duration::from_secs(10);
/// Keysyms of X11: Control, Alt and Shift on the left; Escape.
const MODIFIERS: [u32; 3] = [0xffe3, 0xffe9, 0xffe1];
const ESCAPE: u32 = 0xff1b;
const ENGAGED: u8 = b'1';

/// Measures into the table.
pub(crate) fn measure(table: &mut Table) -> io::Result<()> {
    let desktop = Desktop::start(&Options {
        notify: false,
        ..Options::default()
    })?;
    let mut authority = Authority::on_a_terminal(&desktop, &["--desktop"])?;
    let tray_app = until_it_listens(&desktop, &authority)?;
    let keyboard = Keyboard::of(&desktop)?;
    let latch = Latch::watch(&desktop.path("home/.local/state/countersign/stop"))?;

    crate::say("the stop key, idle");
    sleep(Duration::from_secs(3));
    let before = (switches(&tray_app, "hotkey")?, switches(&tray_app, "")?);
    sleep(IDLE);
    let after = (switches(&tray_app, "hotkey")?, switches(&tray_app, "")?);
    let woken = |before: u64, after: u64| after.saturating_sub(before) as f64;
    table.once(
        "stop key, idle for 10 s: its thread was woken",
        woken(before.0, after.0),
        " times",
        Some(Goal::AtMost(0.0)),
    );
    table.once(
        "  all threads of the tray app",
        woken(before.1, after.1),
        " times",
        None,
    );

    crate::say("the stop key, pressed 200 times; a human lifts the stop between them");
    let mut times = Vec::with_capacity(PRESSES);
    for _ in 0..PRESSES {
        latch.forget()?;
        times.push(keyboard.press(&latch)?.as_secs_f64() * 1e3);
        resume(&desktop, &mut authority)?;
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (part * times.len() as f64).ceil() as usize;
        times
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    };
    for (what, part, goal) in [
        (
            "stop key to latch: median of 200",
            0.5,
            Some(Goal::AtMost(1.0)),
        ),
        (
            "stop key to latch: 99 of 100",
            0.99,
            Some(Goal::AtMost(10.0)),
        ),
        ("stop key to latch: the slowest", 1.0, None),
    ] {
        table.precise(what, at(part), " ms", goal);
    }
    authority.end(&desktop)
}

/// Waits for the tray app and its hotkey; the tray app's folder in `/proc`.
fn until_it_listens(desktop: &Desktop, authority: &Authority) -> io::Result<PathBuf> {
    let end = Instant::now() + SOON;
    loop {
        for pid in crate::memory::tree(authority.pid())? {
            let process = Path::new("/proc").join(pid.to_string());
            let status = said(&authority.command(desktop, &["status"])?);
            if switches(&process, "hotkey").is_ok_and(|n| n > 0) && !status.contains("hotkey") {
                return Ok(process);
            }
        }
        if Instant::now() > end {
            return Err(io::Error::other("the stop key is not listened for"));
        }
        sleep(Duration::from_millis(50));
    }
}

/// How often threads of this name (all, when it is empty) have given up the
/// processor, by the kernel's count; 0 without such a thread.
fn switches(process: &Path, name: &str) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(process.join("task"))? {
        let task = task?.path();
        // A thread can end while we look at it.
        let called = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if !name.is_empty() && called.trim() != name {
            continue;
        }
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let numbers = status.lines().filter_map(|l| l.split_once("_switches:"));
        sum += numbers
            .filter_map(|(_, n)| n.trim().parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(sum)
}

fn resume(desktop: &Desktop, authority: &mut Authority) -> io::Result<()> {
    let from = authority.screen().len();
    let program = countersign_testkit::programs::built("countersign")?;
    let mut asks = desktop
        .command(program)
        .arg("resume")
        .stdout(std::process::Stdio::null())
        .spawn()?;
    authority.approve(from)?;
    if asks.wait()?.success() {
        Ok(())
    } else {
        Err(io::Error::other("the stop was not lifted"))
    }
}

/// The latch's file.
struct Latch {
    file: File,
    changes: Inotify,
}

impl Latch {
    fn watch(path: &Path) -> io::Result<Self> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        changes.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Ok(Self {
            file: File::open(path)?,
            changes,
        })
    }
    /// What was written so far says nothing of what comes.
    fn forget(&self) -> io::Result<()> {
        while self.changes.read_events().is_ok() {}
        if self.is_engaged()? {
            return Err(io::Error::other("the stop is engaged already"));
        }
        Ok(())
    }
    fn is_engaged(&self) -> io::Result<bool> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, 0)?;
        Ok(byte == [ENGAGED])
    }
    /// Asleep until it says that the stop is engaged.
    fn wait(&self) -> io::Result<Instant> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;
        loop {
            let mut ready = [PollFd::new(self.changes.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(5_000_u16))? == 0 {
                return Err(io::Error::other("the stop key stopped nothing"));
            }
            let now = Instant::now();
            let _read_below = self.changes.read_events();
            if self.is_engaged()? {
                return Ok(now);
            }
        }
    }
}

/// The X server's keyboard.
struct Keyboard {
    x: RustConnection,
    modifiers: Vec<u8>,
    escape: u8,
}

impl Keyboard {
    fn of(desktop: &Desktop) -> io::Result<Self> {
        let x = connect(desktop)?;
        let (min, max) = (x.setup().min_keycode, x.setup().max_keycode);
        let mapping = x
            .get_keyboard_mapping(min, max - min + 1)
            .map_err(io::Error::other)?
            .reply()
            .map_err(io::Error::other)?;
        let width = usize::from(mapping.keysyms_per_keycode).max(1);
        let code = |sym: u32| {
            let found = (min..=max)
                .zip(mapping.keysyms.chunks(width))
                .find(|(_, syms)| syms.first() == Some(&sym));
            found
                .map(|(code, _)| code)
                .ok_or_else(|| io::Error::other("the keyboard lacks a key"))
        };
        Ok(Self {
            modifiers: MODIFIERS.map(code).into_iter().collect::<io::Result<_>>()?,
            escape: code(ESCAPE)?,
            x,
        })
    }

    fn send(&self, what: u8, code: u8) -> io::Result<()> {
        self.x
            .xtest_fake_input(what, code, x11rb::CURRENT_TIME, x11rb::NONE, 0, 0, 0)
            .map_err(io::Error::other)?;
        self.x.flush().map_err(io::Error::other)
    }

    /// Presses the combination; the time from the last key's press to the latch.
    fn press(&self, latch: &Latch) -> io::Result<Duration> {
        for code in &self.modifiers {
            self.send(KEY_PRESS_EVENT, *code)?;
        }
        sleep(Duration::from_millis(20));
        let pressed = Instant::now();
        self.send(KEY_PRESS_EVENT, self.escape)?;
        let latched = latch.wait()?;
        self.send(KEY_RELEASE_EVENT, self.escape)?;
        for code in &self.modifiers {
            self.send(KEY_RELEASE_EVENT, *code)?;
        }
        Ok(latched.duration_since(pressed))
    }
}

/// A connection of this process to that desktop, with its cookie.
fn connect(desktop: &Desktop) -> io::Result<RustConnection> {
    let find = |name: &str| {
        let found = desktop.env().iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| io::Error::other(format!("no {name}")))
    };
    let display = find("DISPLAY")?;
    let parsed =
        x11rb::reexports::x11rb_protocol::parse_display::parse_display(Some(display.as_str()))
            .map_err(io::Error::other)?;
    let (stream, _) = parsed
        .connect_instruction()
        .find_map(|address| DefaultStream::connect(&address).ok())
        .ok_or_else(|| io::Error::other("the X server does not answer"))?;
    let authority = fs::read(find("XAUTHORITY")?)?;
    let cookie = authority.last_chunk::<16>().map_or(&[][..], |c| &c[..]);
    RustConnection::connect_to_stream_with_auth_info(
        stream,
        usize::from(parsed.screen),
        b"MIT-MAGIC-COOKIE-1".to_vec(),
        cookie.to_vec(),
    )
    .map_err(io::Error::other)
}
