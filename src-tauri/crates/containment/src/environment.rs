//! The variables of a run. A contained run's environment is built up from
//! nothing; an uncontained one's is the caller's, with the same settings on top.

use crate::git;
use crate::places::{Owner, Places};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Variables by name; each once.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// What a contained run keeps of the caller's environment, besides `LC_*`:
/// how to draw and format, nothing else.
const KEPT: &[&str] = &["COLORTERM", "LANG", "LANGUAGE", "NO_COLOR", "TERM", "TZ"];

/// The programs that every system has.
const SYSTEM_PATH: &[&str] = &[
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
];

/// Where, as the run sees it, its way out is.
#[derive(Debug, Clone)]
pub(crate) struct WayOut {
    /// TCP port of the gateway on 127.0.0.1.
    pub(crate) port: u16,
    /// The run's CA, PEM.
    pub(crate) ca_pem: PathBuf,
    /// The same as a Java key store.
    pub(crate) ca_jks: PathBuf,
    /// The socket for `countersign ask`, if there is one.
    pub(crate) ask: Option<PathBuf>,
}

/// Proxy and CA settings of curl, Python, Node, Deno, Go, Rust, Java, git, AWS,
/// Google and GitHub tools.
pub(crate) fn settings(way_out: &WayOut, git: &git::Settings) -> Environment {
    let mut set = Environment::new();
    let mut put = |names: &[&str], value: &OsStr| {
        for name in names {
            set.insert(name.into(), value.to_owned());
        }
    };
    let proxy = format!("http://127.0.0.1:{}", way_out.port);
    put(
        &[
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
            "YARN_HTTP_PROXY",
            "YARN_HTTPS_PROXY",
        ],
        proxy.as_ref(),
    );
    // In a run, loopback is its own: a server that the agent starts is reached
    // directly, and nothing of the host's is.
    put(
        &["NO_PROXY", "no_proxy"],
        "localhost,127.0.0.1,::1".as_ref(),
    );
    put(&["NODE_USE_ENV_PROXY"], "1".as_ref());
    put(
        &[
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "HTTPLIB2_CA_CERTS",
            "AWS_CA_BUNDLE",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_cafile",
            "YARN_HTTPS_CA_FILE_PATH",
            "DENO_CERT",
            "CARGO_HTTP_CAINFO",
            "GIT_SSL_CAINFO",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "NIX_SSL_CERT_FILE",
        ],
        way_out.ca_pem.as_os_str(),
    );
    let mut java = OsString::new();
    for scheme in ["http", "https"] {
        java.push(format!(
            "-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={} ",
            way_out.port
        ));
    }
    java.push("-Djavax.net.ssl.trustStoreType=jks -Djavax.net.ssl.trustStore=");
    java.push(&way_out.ca_jks);
    put(&["JAVA_TOOL_OPTIONS"], &java);
    // With an audit, each install sends what it installs to the registry by POST,
    // about which the human would be asked.
    put(&["npm_config_audit"], "false".as_ref());
    put(&["npm_config_update_notifier"], "false".as_ref());
    // Credentials of the machine itself are never an agent's.
    put(&["AWS_EC2_METADATA_DISABLED"], "true".as_ref());
    put(&["NO_GCE_CHECK"], "true".as_ref());
    if let Some(ask) = &way_out.ask {
        put(&["COUNTERSIGN_ASK"], ask.as_os_str());
    }
    for (name, value) in git.variables() {
        put(&[name.as_str()], value.as_ref());
    }
    set
}

/// The whole environment of a contained run.
pub(crate) fn contained(
    caller: impl Iterator<Item = (OsString, OsString)>,
    owner: &Owner,
    path: &[PathBuf],
    placeholders: &[(String, String)],
    settings: Environment,
) -> Environment {
    let mut environment: Environment = caller
        .filter(|(name, _)| {
            name.to_str()
                .is_some_and(|name| KEPT.contains(&name) || name.starts_with("LC_"))
        })
        .collect();
    environment.extend(
        placeholders
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    // What containment sets comes last: a placeholder cannot replace it.
    environment.extend(settings);
    let own: [(&str, &OsStr); 5] = [
        ("HOME", owner.home.as_os_str()),
        ("USER", owner.name.as_ref()),
        ("LOGNAME", owner.name.as_ref()),
        ("SHELL", owner.shell.as_os_str()),
        ("COUNTERSIGN_RUN", "contained".as_ref()),
    ];
    environment.extend(own.map(|(name, value)| (name.into(), value.to_owned())));
    if let Ok(path) = std::env::join_paths(path) {
        environment.insert("PATH".into(), path);
    }
    environment
}

/// The caller's `PATH` without what a run cannot see or should not search:
/// relative entries, and folders outside the system, the tool chains, the
/// folder and `also`. The system's own folders are always at its end.
pub(crate) fn search_path(
    caller: Option<&OsStr>,
    places: &Places,
    folder: &Path,
    also: &[PathBuf],
) -> Vec<PathBuf> {
    let visible = |entry: &Path| {
        entry.is_absolute()
            && (entry.starts_with("/usr")
                || entry.starts_with(folder)
                || also.iter().any(|place| entry.starts_with(place))
                || places
                    .tool_chains
                    .iter()
                    .any(|(seen, _)| entry.starts_with(seen)))
    };
    let mut path: Vec<PathBuf> = std::env::split_paths(caller.unwrap_or_default())
        .filter(|entry| visible(entry))
        .collect();
    for entry in SYSTEM_PATH.iter().map(PathBuf::from) {
        if !path.contains(&entry) {
            path.push(entry);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_cannot_replace_what_containment_sets() {
        let way_out = WayOut {
            port: 3128,
            ca_pem: "/ca.pem".into(),
            ca_jks: "/ca.jks".into(),
            ask: None,
        };
        let settings = settings(&way_out, &git::Settings::default());
        let owner = Owner::of_this_process().unwrap();
        let placeholders = [
            (
                "HTTPS_PROXY".to_owned(),
                "http://elsewhere.example".to_owned(),
            ),
            ("HOME".to_owned(), "/elsewhere".to_owned()),
            ("GH_TOKEN".to_owned(), "placeholder".to_owned()),
        ];
        let caller = [("SECRET_OF_THE_CALLER".into(), "x".into())];
        let environment = contained(
            caller.into_iter(),
            &owner,
            &["/usr/bin".into()],
            &placeholders,
            settings,
        );
        let get = |name: &str| environment.get(OsStr::new(name)).and_then(|v| v.to_str());
        assert_eq!(get("HTTPS_PROXY"), Some("http://127.0.0.1:3128"));
        assert_eq!(get("HOME"), owner.home.to_str());
        assert_eq!(get("GH_TOKEN"), Some("placeholder"));
        assert_eq!(get("SECRET_OF_THE_CALLER"), None);
    }

    #[test]
    fn the_search_path_keeps_only_what_a_run_can_see() {
        let owner = Owner::of_this_process().unwrap();
        let places = Places::of(&owner, |_| None, &[]);
        let caller =
            OsStr::new("relative:.::/work/node_modules/.bin:/elsewhere/bin:/usr/bin:/opt/tool/bin");
        let path = search_path(
            Some(caller),
            &places,
            Path::new("/work"),
            &["/opt/tool".into()],
        );
        let path: Vec<&str> = path.iter().filter_map(|p| p.to_str()).collect();
        assert_eq!(
            path,
            [
                "/work/node_modules/.bin",
                "/usr/bin",
                "/opt/tool/bin",
                "/usr/local/bin",
                "/bin",
                "/usr/local/sbin",
                "/usr/sbin",
                "/sbin"
            ]
        );
    }
}
