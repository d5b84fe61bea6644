//! Finding things on the screen by their accessible names (AT-SPI), as a
//! screen reader does: what a test can click, a blind user can too.

use super::Desktop;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("accessible.py");
const POLL: Duration = Duration::from_millis(50);

impl Desktop {
    /// The centre, in pixels, of the first thing on the screen with this
    /// accessible name and role (`push button`, `label`, `entry`, …); an empty
    /// role is any.
    ///
    /// # Errors
    /// When the accessibility bus cannot be asked.
    pub fn find(&self, name: &str, role: &str) -> io::Result<Option<(i32, i32)>> {
        let found = self.ask(&["find", name, role])?;
        let mut numbers = found.split_whitespace().map(str::parse::<i32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(x)), Some(Ok(y))) => Ok(Some((x, y))),
            _ => Ok(None),
        }
    }

    /// As [`Desktop::find`], waiting until it is there and lies still.
    ///
    /// # Errors
    /// When it is not there in time: says what is.
    pub fn wait_for(&self, name: &str, role: &str, at_most: Duration) -> io::Result<(i32, i32)> {
        let until = Instant::now() + at_most;
        let mut last = None;
        loop {
            let now = self.find(name, role)?;
            if let Some(place) = now.filter(|_| now == last) {
                return Ok(place);
            }
            last = now;
            if Instant::now() > until {
                let there = self.showing()?;
                return Err(io::Error::other(format!(
                    "no {role} {name:?} within {at_most:?}; showing:\n{there}"
                )));
            }
            sleep(POLL);
        }
    }

    /// Waits until it is there, and clicks it.
    ///
    /// # Errors
    /// When it is not there in time.
    pub fn click_on(&self, name: &str, role: &str, at_most: Duration) -> io::Result<()> {
        let (x, y) = self.wait_for(name, role, at_most)?;
        self.click(x, y)
    }

    /// Waits until nothing of this name and role shows any more.
    ///
    /// # Errors
    /// When it still shows after that time.
    pub fn wait_until_gone(&self, name: &str, role: &str, at_most: Duration) -> io::Result<()> {
        let until = Instant::now() + at_most;
        while self.find(name, role)?.is_some() {
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "{role} {name:?} still shows after {at_most:?}"
                )));
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Everything that shows and has a name or a text, one a line: role, name
    /// and text, tab-separated, with control characters escaped.
    ///
    /// # Errors
    /// When the accessibility bus cannot be asked.
    pub fn showing(&self) -> io::Result<String> {
        self.ask(&["list"])
    }

    fn ask(&self, args: &[&str]) -> io::Result<String> {
        // The system's own Python: others have no GObject bindings.
        let mut all = vec!["-c", SCRIPT];
        all.extend(args);
        self.must("/usr/bin/python3", &all)
    }
}
