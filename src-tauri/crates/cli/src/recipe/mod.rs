//! Recipes: what a coding agent that people really use needs in a run. The table
//! below is all that is known of them; nothing else names one of them.
//!
//! A recipe opens nothing. It says which accounts an agent is proposed (the
//! human accepts that as any change), which folders it keeps between its runs,
//! and which settings would get in a run's way.

mod kept;
mod seed;

pub(crate) use kept::{folders, lay_out};

use countersign_model::Recipe;

/// What is known of one agent.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The kinds of account of which it needs one: its model's.
    pub(crate) models: &'static [&'static str],
    /// The kinds of site that its work commonly needs; proposed with it.
    pub(crate) sites: &'static [&'static str],
    /// The folders that it keeps, below the home folder.
    pub(crate) folders: &'static [Folder],
    /// Files that its runs find, read-only, so that no agent changes them: the
    /// machine's settings, which outrank the user's. Path and content.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Environment variables; a value that begins with `~/` is below the home
    /// folder. They replace nothing that containment sets.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// How it goes on where a stop ended it.
    pub(crate) go_on: &'static str,
}

/// A folder that an agent keeps.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Below the home folder, of the run as of the user.
    pub(crate) place: &'static str,
    /// What is taken over once from the user's folder of the same place. All
    /// else, credentials first of all, is not.
    pub(crate) seeds: &'static [Seed],
    /// Files that it begins with: name and content.
    pub(crate) first: &'static [(&'static str, &'static str)],
}

/// Something that is taken over from the user's folder.
#[derive(Debug)]
pub(crate) enum Seed {
    /// A file of words to a model.
    Words(&'static str),
    /// The files of words to a model in a folder, by their endings.
    WordsIn(&'static str, &'static [&'static str]),
    /// Of a JSON document, these members where they are a plain string, number
    /// or switch. Whatever else stands there (commands, hooks, servers and their
    /// environment, rules that quote whole commands) may hold a credential.
    Json(&'static str, &'static [&'static str]),
    /// Of a TOML document, the same.
    Toml(&'static str, &'static [&'static str]),
}

const MARKDOWN: &[&str] = &["md"];

/// Longer than a connection is held while a human is asked (100 s): an agent that
/// gives up sooner only asks again. In milliseconds.
const CLAUDE: Facts = Facts {
    models: &["anthropic"],
    sites: &["npm", "pypi"],
    folders: &[Folder {
        place: ".claude",
        seeds: &[
            Seed::Words("CLAUDE.md"),
            Seed::WordsIn("commands", MARKDOWN),
            Seed::WordsIn("agents", MARKDOWN),
            Seed::WordsIn("skills", MARKDOWN),
            Seed::WordsIn("output-styles", MARKDOWN),
            Seed::Json(
                "settings.json",
                &[
                    "alwaysThinkingEnabled",
                    "cleanupPeriodDays",
                    "editorMode",
                    "effortLevel",
                    "includeCoAuthoredBy",
                    "language",
                    "model",
                    "outputStyle",
                    "spinnerTipsEnabled",
                    "theme",
                ],
            ),
        ],
        // It asks once, and remembers by their last characters, whether it may
        // use a key that it finds in its environment.
        first: &[(
            ".claude.json",
            r#"{"hasCompletedOnboarding":true,"customApiKeyResponses":{"approved":["ntersign-placeholder"],"rejected":[]}}"#,
        )],
    }],
    // Its own sandbox would need what a run may not do (user namespaces).
    files: &[(
        "/etc/claude-code/managed-settings.json",
        r#"{"sandbox":{"enabled":false}}"#,
    )],
    environment: &[
        ("CLAUDE_CONFIG_DIR", "~/.claude"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_UPDATES", "1"),
        ("DISABLE_INSTALLATION_CHECKS", "1"),
        ("DISABLE_TELEMETRY", "1"),
        ("DISABLE_ERROR_REPORTING", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("BASH_DEFAULT_TIMEOUT_MS", "600000"),
        ("BASH_MAX_TIMEOUT_MS", "3600000"),
        ("MCP_TIMEOUT", "150000"),
        ("MCP_TOOL_TIMEOUT", "600000"),
    ],
    go_on: "claude --continue",
};

const CODEX: Facts = Facts {
    models: &["openai"],
    sites: &["npm", "pypi"],
    folders: &[Folder {
        place: ".codex",
        seeds: &[
            Seed::Words("AGENTS.md"),
            Seed::WordsIn("prompts", MARKDOWN),
            Seed::WordsIn("skills", MARKDOWN),
            Seed::Toml(
                "config.toml",
                &[
                    "approval_policy",
                    "file_opener",
                    "hide_agent_reasoning",
                    "model",
                    "model_reasoning_effort",
                    "model_reasoning_summary",
                    "model_verbosity",
                    "personality",
                ],
            ),
        ],
        first: &[],
    }],
    // Its own sandbox would need what a run may not do. It would speak to its
    // model in a WebSocket, which nobody can look into, and to its plugin market.
    files: &[(
        "/etc/codex/managed_config.toml",
        "sandbox_mode = \"danger-full-access\"\n\
         check_for_update_on_startup = false\n\
         model_provider = \"openai-by-https\"\n\
         [model_providers.openai-by-https]\n\
         name = \"OpenAI\"\n\
         base_url = \"https://api.openai.com/v1\"\n\
         env_key = \"OPENAI_API_KEY\"\n\
         wire_api = \"responses\"\n\
         supports_websockets = false\n\
         [analytics]\n\
         enabled = false\n\
         [feedback]\n\
         enabled = false\n\
         [features]\n\
         apps = false\n\
         plugins = false\n",
    )],
    environment: &[
        ("CODEX_HOME", "~/.codex"),
        ("CODEX_CA_CERTIFICATE", "/run/countersign/ca.pem"),
    ],
    go_on: "codex resume --last",
};

const GEMINI: Facts = Facts {
    models: &["google-ai"],
    sites: &["npm", "pypi"],
    folders: &[Folder {
        place: ".gemini",
        seeds: &[
            Seed::Words("GEMINI.md"),
            Seed::WordsIn("commands", &["toml"]),
        ],
        // It takes the machine's settings from root alone, and nothing in a run is
        // root's. Whether it may trust the folder is answered by the run.
        first: &[(
            "settings.json",
            r#"{"general":{"enableAutoUpdate":false,"enableAutoUpdateNotification":false},"tools":{"sandbox":false},"telemetry":{"enabled":false},"privacy":{"usageStatisticsEnabled":false},"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}}}"#,
        )],
    }],
    files: &[],
    environment: &[
        ("GEMINI_SANDBOX", "false"),
        ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
    ],
    go_on: "gemini --resume",
};

const OPENCODE: Facts = Facts {
    models: &["anthropic", "openai", "openrouter", "google-ai"],
    sites: &["npm", "pypi"],
    folders: &[
        Folder {
            place: ".config/opencode",
            seeds: &[
                Seed::Words("AGENTS.md"),
                Seed::WordsIn("command", MARKDOWN),
                Seed::WordsIn("agent", MARKDOWN),
                Seed::Json("opencode.json", &["model", "small_model", "theme"]),
            ],
            first: &[],
        },
        Folder {
            place: ".local/share/opencode",
            seeds: &[],
            first: &[],
        },
        Folder {
            place: ".local/state/opencode",
            seeds: &[],
            first: &[],
        },
    ],
    files: &[],
    environment: &[
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
        ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        (
            "OPENCODE_CONFIG_CONTENT",
            r#"{"autoupdate":false,"share":"disabled"}"#,
        ),
    ],
    go_on: "opencode --continue",
};

const OPENCLAW: Facts = Facts {
    models: &["anthropic", "openai", "openrouter", "google-ai"],
    sites: &["npm"],
    folders: &[Folder {
        place: ".openclaw",
        seeds: &[
            Seed::Words("workspace/AGENTS.md"),
            Seed::Words("workspace/SOUL.md"),
            Seed::Words("workspace/USER.md"),
        ],
        // By itself it would ask a model of OpenAI's, whose account it may not have.
        first: &[(
            "openclaw.json",
            r#"{"update":{"checkOnStart":false},"gateway":{"mode":"local","bind":"loopback"},"agents":{"defaults":{"model":{"primary":"anthropic/claude-sonnet-4-6"}}}}"#,
        )],
    }],
    files: &[],
    environment: &[
        ("OPENCLAW_STATE_DIR", "~/.openclaw"),
        ("OPENCLAW_DISABLE_BONJOUR", "1"),
    ],
    go_on: "openclaw gateway",
};

/// What is known of a recipe.
pub(crate) const fn facts(recipe: Recipe) -> &'static Facts {
    match recipe {
        Recipe::Claude => &CLAUDE,
        Recipe::Codex => &CODEX,
        Recipe::Gemini => &GEMINI,
        Recipe::Opencode => &OPENCODE,
        Recipe::Openclaw => &OPENCLAW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_catalogue::kind;

    #[test]
    fn a_recipe_names_kinds_that_there_are_and_settings_that_can_be_read() {
        for recipe in Recipe::ALL {
            let facts = facts(recipe);
            assert!(!facts.models.is_empty() && !facts.folders.is_empty());
            for name in facts.models.iter().chain(facts.sites) {
                assert!(kind(name).is_some(), "{recipe}: {name}");
            }
            let all = facts.folders.iter().flat_map(|folder| folder.first);
            for (name, content) in all.chain(facts.files) {
                if name.ends_with(".json") {
                    assert!(
                        serde_json::from_str::<serde_json::Value>(content).is_ok(),
                        "{name}"
                    );
                } else {
                    assert!(content.parse::<toml_edit::DocumentMut>().is_ok(), "{name}");
                }
            }
        }
    }

    #[test]
    fn what_a_folder_begins_with_holds_no_credential_but_placeholders() {
        for recipe in Recipe::ALL {
            for folder in facts(recipe).folders {
                for (name, content) in folder.first {
                    let keys = content.to_lowercase();
                    let names_a_key = keys.contains("apikey") || keys.contains("token");
                    assert!(
                        !names_a_key
                            || keys.contains("countersign-placeholder")
                            || keys.contains("ntersign-placeholder"),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn claude_is_told_the_end_of_the_key_that_it_will_find() {
        let placeholder = kind("anthropic").unwrap().placeholders[0].value;
        let end = &placeholder[placeholder.len() - 20..];
        assert!(
            CLAUDE.folders[0].first[0]
                .1
                .contains(&format!("[\"{end}\"]"))
        );
    }
}
