//! Starting the parts of a desktop, each until it is ready.

use super::{Desktop, Keyring, Options, READY, config, named};
use crate::random;
use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;

impl Desktop {
    pub(super) fn start_screen(&mut self, options: &Options) -> io::Result<()> {
        // The cookie keeps other users, and contained agents of this one, out.
        let cookie = random::bytes::<16>();
        let authority = self.path("xauthority");
        self.person
            .write(&authority, config::xauthority("", &cookie))?;
        let (width, height) = options.size;
        let mut server = self
            .logged("Xvfb", "Xvfb")?
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                &format!("{width}x{height}x24"),
            ])
            .args(["-nolisten", "tcp", "-noreset", "-auth"])
            .arg(&authority)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| named("Xvfb", &e))?;
        let said = server.stdout.take();
        self.children.push(server);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            if let Some(said) = said {
                let _ended = BufReader::new(said).read_line(&mut line);
            }
            let _nobody_waits = tell.send(line);
        });
        let number = told.recv_timeout(READY).unwrap_or_default();
        let number = number.trim();
        if number.is_empty() {
            return Err(self.failed("Xvfb"));
        }
        self.person
            .write(&authority, config::xauthority(number, &cookie))?;
        self.env.push(("DISPLAY".into(), format!(":{number}")));
        Ok(())
    }

    pub(super) fn start_bus(&mut self, options: &Options) -> io::Result<()> {
        // The bus would start these by itself when somebody asks for them.
        let unwanted = [
            (options.keyring == Keyring::None, "org.freedesktop.secrets"),
            (options.keyring == Keyring::None, "org.gnome.keyring"),
            (!options.notify, "org.freedesktop.Notifications"),
        ];
        for (_, name) in unwanted.iter().filter(|(unwanted, _)| *unwanted) {
            self.service(name, "/bin/false")?;
        }
        self.prepare_portal(options.portal)?;
        let address = config::bus_address(self.folder.path());
        self.background(
            "dbus",
            "dbus-daemon",
            &[
                "--session",
                "--nofork",
                "--nopidfile",
                "--nosyslog",
                "--address",
                &address,
            ],
        )?;
        let socket = self.path("run/bus");
        self.wait("dbus", |_| Ok(socket.exists()))
    }

    /// What the bus starts when somebody asks for this name.
    pub(super) fn service(&self, name: &str, exec: &str) -> io::Result<()> {
        let file = self.path(&format!("run/dbus-1/services/{name}.service"));
        let text = format!("[D-BUS Service]\nName={name}\nExec={exec}\n");
        self.person.write(&file, text)
    }

    pub(super) fn start_keyring(&mut self, keyring: Keyring) -> io::Result<()> {
        if keyring == Keyring::None {
            return Ok(());
        }
        self.person
            .write(&self.path("home/.local/share/keyrings/default"), "login")?;
        let control = self.path("run/keyring");
        let mut daemon = self
            .logged("keyring", "gnome-keyring-daemon")?
            .args([
                "--foreground",
                "--unlock",
                "--components=secrets",
                "--control-directory",
            ])
            .arg(&control)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| named("gnome-keyring-daemon", &e))?;
        if let Some(mut stdin) = daemon.stdin.take() {
            stdin.write_all(self.password.as_bytes())?;
        }
        self.children.push(daemon);
        self.wait_for_bus_name("keyring", "org.freedesktop.secrets")?;
        if keyring == Keyring::Locked {
            self.lock_keyring()?;
        }
        Ok(())
    }

    pub(super) fn start_windows(&mut self) -> io::Result<()> {
        self.background("openbox", "openbox", &["--sm-disable"])?;
        self.wait("openbox", |desktop| {
            let said = desktop.run("xprop", &["-root", "_NET_SUPPORTING_WM_CHECK"])?;
            Ok(String::from_utf8_lossy(&said.stdout).contains("window id"))
        })?;
        self.run("xsetroot", &["-solid", "#3b4a5a"]).map(|_| ())
    }

    pub(super) fn start_notifications(&mut self) -> io::Result<()> {
        self.xfconf("xfce4-notifyd", config::NOTIFICATIONS)?;
        let daemon = config::notification_daemon()?;
        self.background("notifyd", &daemon, &[])?;
        self.wait_for_bus_name("notifyd", "org.freedesktop.Notifications")
    }

    pub(super) fn start_tray(&mut self) -> io::Result<()> {
        self.xfconf("xfce4-panel", config::PANEL)?;
        self.background(
            "panel",
            "xfce4-panel",
            &["--disable-wm-check", "--sm-client-disable"],
        )?;
        self.wait_for_bus_name("panel", "org.kde.StatusNotifierWatcher")
    }

    /// Writes a channel of the xfce programs' settings.
    fn xfconf(&self, channel: &str, xml: &str) -> io::Result<()> {
        let file = format!("home/.config/xfce4/xfconf/xfce-perchannel-xml/{channel}.xml");
        self.person.write(&self.path(&file), xml)
    }
}
