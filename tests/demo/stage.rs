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

    /// Cuts the part of the last picture out that the README shows: so many
    /// pixels wide and high, from there.
    pub(crate) fn cut_out(&self, name: &str, from: (i32, i32), size: (i32, i32)) -> io::Result<()> {
        let last = format!("{:02}-{name}.png", self.pictures);
        let region = format!("{}x{}+{}+{}", size.0, size.1, from.0, from.1);
        let cut = std::process::Command::new("convert")
            .arg(self.folder.join("screenshots").join(last))
            .args(["-crop", &region, "+repage"])
            .arg(self.folder.join("question.png"))
            .status()?;
        if cut.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("convert: {cut}")))
        }
    }

    /// Takes a picture of the desktop; pictures are numbered in their order.
    pub(crate) fn picture(&mut self, name: &str) -> io::Result<()> {
        self.pictures += 1;
        let file = format!("screenshots/{:02}-{name}.png", self.pictures);
        self.desktop.screenshot(&self.folder.join(&file))?;
        self.say(&format!("[{file}]"))
    }
}
