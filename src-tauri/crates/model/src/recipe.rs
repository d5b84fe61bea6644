use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A coding agent whose ways are known: which accounts it needs, where its
/// configuration lies, and which of its settings get in the way of a run. What
/// each stands for is a table of the command's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// OpenCode.
    Opencode,
    /// OpenClaw.
    Openclaw,
}

impl Recipe {
    /// Every recipe.
    pub const ALL: [Self; 5] = [
        Self::Claude,
        Self::Codex,
        Self::Gemini,
        Self::Opencode,
        Self::Openclaw,
    ];

    /// The word of `recipe = "…"`, which is also the name of the program.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Openclaw => "openclaw",
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Recipe {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|recipe| recipe.word() == s)
            .ok_or_else(|| {
                let all: Vec<_> = Self::ALL.iter().map(|recipe| recipe.word()).collect();
                format!("expected one of {}", all.join(", "))
            })
    }
}
