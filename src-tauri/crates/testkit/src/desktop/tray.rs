//! The tray, as its host sees it: the items on the session bus and their menus.

use super::Desktop;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("tray.py");
const POLL: Duration = Duration::from_millis(100);

impl Desktop {
    /// The labels of all menu entries of all tray items, one a line, each after
    /// the item's id, title and status: `id<TAB>title<TAB>status<TAB>label`.
    /// Control characters in them are escaped.
    ///
    /// # Errors
    /// When there is no tray.
    pub fn tray(&self) -> io::Result<String> {
        self.must("/usr/bin/python3", &["-c", SCRIPT, "list"])
    }

    /// Waits until a tray item has an enabled menu entry of this label, and
    /// chooses it, as a click there does.
    ///
    /// # Errors
    /// When there is none in time: says which there are.
    pub fn choose_from_tray(&self, label: &str, at_most: Duration) -> io::Result<()> {
        let until = Instant::now() + at_most;
        loop {
            if self
                .run("/usr/bin/python3", &["-c", SCRIPT, "choose", label])?
                .status
                .success()
            {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!(
                    "no tray entry {label:?}; there are:\n{}",
                    self.tray()?
                )));
            }
            sleep(POLL);
        }
    }
}
