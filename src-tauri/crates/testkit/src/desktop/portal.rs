//! The desktop's portal: the real `xdg-desktop-portal`, and behind it a stand-in
//! for the part that a compositor has, which binds global shortcuts as told.
//!
//! The bus starts both when somebody asks for them, as on a user's desktop.

use super::Desktop;
use std::io;
use std::path::Path;

const SCRIPT: &str = include_str!("portal.py");
const BEHIND: &str = "org.freedesktop.impl.portal.desktop.test";
const FRONT: &str = "org.freedesktop.portal.Desktop";

/// What happens to a shortcut that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portal {
    /// There is no portal.
    None,
    /// It is bound, to the key that is preferred.
    Binds,
    /// It is bound to a key that is called so.
    BindsTo(&'static str),
    /// The human refuses it.
    Refuses,
}

/// A part of the portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What programs talk to.
    Front,
    /// What stands behind it.
    Behind,
}

impl Desktop {
    /// Before the bus starts: it reads these files, and hands its environment on.
    pub(super) fn prepare_portal(&mut self, portal: Portal) -> io::Result<()> {
        let rule: &[&str] = match portal {
            // The system may have one installed.
            Portal::None => return self.service(FRONT, "/bin/false"),
            Portal::Binds => &[],
            Portal::BindsTo(key) => &["call", key],
            Portal::Refuses => &["refuse"],
        };
        let front = ["/usr/libexec", "/usr/lib"]
            .iter()
            .map(|folder| Path::new(folder).join("xdg-desktop-portal"))
            .find(|file| file.is_file())
            .ok_or_else(|| {
                io::Error::other(
                    "xdg-desktop-portal is not installed (`cargo xtask setup` installs it)",
                )
            })?;
        let folder = self.path("portals");
        let of = format!(
            "[portal]\nDBusName={BEHIND}\nInterfaces=org.freedesktop.impl.portal.GlobalShortcuts\nUseIn=XFCE\n"
        );
        self.person.write(&folder.join("test.portal"), of)?;
        // Since 1.17 this says which is used.
        let chosen = self.path("home/.config/xdg-desktop-portal/portals.conf");
        self.person.write(&chosen, "[preferred]\ndefault=test\n")?;
        self.env.push((
            "XDG_DESKTOP_PORTAL_DIR".into(),
            folder.display().to_string(),
        ));
        let script = folder.join("portal.py");
        self.person.write(&script, SCRIPT)?;
        let rule: String = rule.iter().map(|word| format!(" \"{word}\"")).collect();
        self.service(
            BEHIND,
            &format!("/usr/bin/python3 {}{rule}", script.display()),
        )?;
        // It would mount a file system in the runtime folder.
        self.service("org.freedesktop.portal.Documents", "/bin/false")?;
        self.service(FRONT, &front.display().to_string())
    }

    /// Presses the key to which the shortcuts are bound.
    ///
    /// # Errors
    /// When nothing stands behind the portal.
    pub fn press_shortcut(&self) -> io::Result<()> {
        self.hands("Press", &[]).map(|_| ())
    }

    /// Lets it go.
    ///
    /// # Errors
    /// When nothing stands behind the portal.
    pub fn release_shortcut(&self) -> io::Result<()> {
        self.hands("Release", &[]).map(|_| ())
    }

    /// Ends all sessions, as a human does who takes a shortcut away.
    ///
    /// # Errors
    /// When nothing stands behind the portal.
    pub fn take_shortcuts_back(&self) -> io::Result<()> {
        self.hands("TakeBack", &[]).map(|_| ())
    }

    /// Binds the shortcuts to a key that is called so.
    ///
    /// # Errors
    /// When nothing stands behind the portal.
    pub fn rename_shortcut(&self, key: &str) -> io::Result<()> {
        self.hands("Name", &[key]).map(|_| ())
    }

    /// Which key was preferred by who asked last.
    ///
    /// # Errors
    /// When nothing stands behind the portal.
    pub fn preferred_shortcut(&self) -> io::Result<String> {
        self.hands("Asked", &[])
    }

    /// Kills a part of the portal, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn crash_portal(&self, part: Part) -> io::Result<()> {
        let name = match part {
            Part::Front => FRONT,
            Part::Behind => BEHIND,
        };
        let bus = "org.freedesktop.DBus";
        let method = format!("{bus}.GetConnectionUnixProcessID");
        let said = self.call(bus, "/org/freedesktop/DBus", &method, &[name])?;
        let pid: String = said
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        self.must("/bin/kill", &["-KILL", &pid]).map(|_| ())
    }

    fn hands(&self, method: &str, args: &[&str]) -> io::Result<String> {
        let method = format!("app.countersign.test.Hands.{method}");
        self.call(BEHIND, "/org/freedesktop/portal/desktop", &method, args)
    }

    fn call(&self, name: &str, path: &str, method: &str, args: &[&str]) -> io::Result<String> {
        let to = ["call", "--session", "--dest", name, "--object-path", path];
        let said = self.must("gdbus", &[&to[..], &["--method", method], args].concat())?;
        Ok(said.trim().to_owned())
    }
}
