//! What the demo leaves behind: pictures and the words that go with them.

use countersign_testkit::desktop::{Desktop, Options};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A desktop, and a folder that fills while the demo plays.
pub(crate) struct Stage {
    /// Where everything happens.
    pub(crate) desktop: Desktop,
    folder: PathBuf,
    words: File,
    begun: Instant,
    pictures: usize,
}

impl Stage {
    /// A desktop, and the empty folder `folder` with `screenshots/` and
    /// `narration.txt`.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("screenshots"))?;
        let words = File::create(folder.join("narration.txt"))?;
        let desktop = Desktop::start(&Options::default())?;
        Ok(Self {
            desktop,
            folder: folder.to_owned(),
            words,
            begun: Instant::now(),
            pictures: 0,
        })
    }

    /// Where the results go: `timeline.json` and `ledger.db` among them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says what happens, on the terminal and in `narration.txt`, with the
    /// seconds since the beginning.
    pub(crate) fn say(&mut self, words: &str) -> io::Result<()> {
        let line = format!("{:6.1} s  {words}", self.begun.elapsed().as_secs_f64());
        println!("{line}");
        writeln!(self.words, "{line}")
    }

    /// Takes a picture of the desktop; pictures are numbered in their order.
    pub(crate) fn picture(&mut self, name: &str) -> io::Result<()> {
        self.pictures += 1;
        let file = format!("screenshots/{:02}-{name}.png", self.pictures);
        self.desktop.screenshot(&self.folder.join(&file))?;
        self.say(&format!("[{file}]"))
    }
}
