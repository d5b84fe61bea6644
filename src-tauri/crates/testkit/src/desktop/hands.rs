//! What a human does at the desk: pointing, clicking, typing; and looking.

use super::Desktop;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

impl Desktop {
    /// Moves the pointer to a point of the screen and clicks there.
    ///
    /// # Errors
    /// When xdotool fails.
    pub fn click(&self, x: i32, y: i32) -> io::Result<()> {
        self.must(
            "xdotool",
            &["mousemove", &x.to_string(), &y.to_string(), "click", "1"],
        )
        .map(|_| ())
    }

    /// Holds the left button down at a point for this long.
    ///
    /// # Errors
    /// When xdotool fails.
    pub fn press_for(&self, x: i32, y: i32, how_long: Duration) -> io::Result<()> {
        let seconds = format!("{:.3}", how_long.as_secs_f64());
        let (x, y) = (x.to_string(), y.to_string());
        self.must(
            "xdotool",
            &[
                "mousemove",
                &x,
                &y,
                "mousedown",
                "1",
                "sleep",
                &seconds,
                "mouseup",
                "1",
            ],
        )
        .map(|_| ())
    }

    /// Presses a key with its modifiers, as `ctrl+alt+shift+Escape`.
    ///
    /// # Errors
    /// When xdotool fails.
    pub fn key(&self, keys: &str) -> io::Result<()> {
        self.must("xdotool", &["key", "--clearmodifiers", keys])
            .map(|_| ())
    }

    /// Types text into what has the focus.
    ///
    /// # Errors
    /// When xdotool fails.
    pub fn type_text(&self, text: &str) -> io::Result<()> {
        self.must("xdotool", &["type", "--delay", "5", "--", text])
            .map(|_| ())
    }

    /// Saves what the screen shows as a PNG file, readable by us.
    ///
    /// # Errors
    /// When it cannot be taken or saved.
    pub fn screenshot(&self, file: &Path) -> io::Result<()> {
        let shot = self
            .command("import")
            .args(["-window", "root", "png:-"])
            .output()?;
        if !shot.status.success() || shot.stdout.is_empty() {
            let why = String::from_utf8_lossy(&shot.stderr);
            return Err(io::Error::other(format!(
                "import: {}: {}",
                shot.status,
                why.trim()
            )));
        }
        fs::write(file, shot.stdout)
    }
}
