//! How the programs of the desktop are told to behave.

use super::{Keyring, Options};
use std::io;
use std::path::{Path, PathBuf};

/// The environment of everything at the desktop.
pub(super) fn environment(folder: &Path, mark: &str, options: &Options) -> Vec<(String, String)> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut env: Vec<(String, String)> = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/games".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("HOME", at("home")),
        ("XDG_CONFIG_HOME", at("home/.config")),
        ("XDG_DATA_HOME", at("home/.local/share")),
        ("XDG_CACHE_HOME", at("home/.cache")),
        ("XDG_STATE_HOME", at("home/.local/state")),
        ("XDG_RUNTIME_DIR", at("run")),
        ("TMPDIR", at("tmp")),
        ("XAUTHORITY", at("xauthority")),
        ("DBUS_SESSION_BUS_ADDRESS", bus_address(folder)),
        ("XDG_SESSION_TYPE", "x11".to_owned()),
        ("XDG_CURRENT_DESKTOP", "XFCE".to_owned()),
        ("GDK_BACKEND", "x11".to_owned()),
        ("GTK_USE_PORTAL", "0".to_owned()),
        ("GIO_USE_VFS", "local".to_owned()),
        ("GVFS_DISABLE_FUSE", "1".to_owned()),
        ("LIBGL_ALWAYS_SOFTWARE", "1".to_owned()),
        ("WEBKIT_DISABLE_DMABUF_RENDERER", "1".to_owned()),
        // Buttons are found by their accessible names.
        ("NO_AT_BRIDGE", "0".to_owned()),
        // Finds the processes that the bus started.
        (super::end::MARK, mark.to_owned()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v))
    .collect();
    if options.dark {
        env.push(("GTK_THEME".to_owned(), "Adwaita:dark".to_owned()));
    }
    if options.keyring != Keyring::None {
        env.push(("GNOME_KEYRING_CONTROL".to_owned(), at("run/keyring")));
    }
    env
}

pub(super) fn bus_address(folder: &Path) -> String {
    format!("unix:path={}", folder.join("run/bus").display())
}

/// An Xauthority file with one cookie for a display of any host; an empty
/// number stands for any display.
pub(super) fn xauthority(number: &str, cookie: &[u8; 16]) -> Vec<u8> {
    const ANY_HOST: u16 = 0xffff;
    let mut file = ANY_HOST.to_be_bytes().to_vec();
    for field in [
        b"".as_slice(),
        number.as_bytes(),
        b"MIT-MAGIC-COOKIE-1",
        cookie,
    ] {
        // Each field is far shorter than 64 KiB.
        file.extend(u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
        file.extend(field);
    }
    file
}

/// xfce4-notifyd is not on the PATH; where it is depends on the architecture.
pub(super) fn notification_daemon() -> io::Result<PathBuf> {
    const UNDER: &str = "xfce4/notifyd/xfce4-notifyd";
    let arch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/lib", &arch, "/usr/lib64", "/usr/libexec"]
        .iter()
        .map(|folder| Path::new(folder).join(UNDER))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            io::Error::other("xfce4-notifyd is not installed (`cargo xtask setup` installs it)")
        })
}

/// Notifications stay until they are answered, and are drawn at once.
pub(super) const NOTIFICATIONS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-notifyd" version="1.0">
  <property name="notify-location" type="uint" value="3"/>
  <property name="do-fadeout" type="bool" value="false"/>
  <property name="do-slideout" type="bool" value="false"/>
  <property name="initial-opacity" type="double" value="1.0"/>
  <property name="expire-timeout" type="int" value="-1"/>
  <property name="log-level" type="uint" value="0"/>
  <property name="notification-log" type="bool" value="false"/>
  <property name="primary-monitor" type="uint" value="0"/>
</channel>
"#;

/// One panel at the top with a task list and the tray.
pub(super) const PANEL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array"><value type="int" value="1"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="size" type="uint" value="28"/>
      <property name="plugin-ids" type="array"><value type="int" value="1"/><value type="int" value="2"/><value type="int" value="3"/></property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="tasklist"/>
    <property name="plugin-2" type="string" value="separator"><property name="expand" type="bool" value="true"/><property name="style" type="uint" value="0"/></property>
    <property name="plugin-3" type="string" value="systray"><property name="square-icons" type="bool" value="true"/><property name="hide-new-items" type="bool" value="false"/></property>
  </property>
</channel>
"#;
