//! The command line.

use crate::command;
use crate::serve;
use clap::{Args, Parser, Subcommand};
use countersign_model::{AccountId, AgentId, Decision, Effect, Recipe, RequestId, RunId};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds your credentials and countersigns what AI agents do with them.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the authority; it asks on this terminal
    Serve {
        /// Start the tray app too
        #[arg(long)]
        desktop: bool,
        /// With vault = "file": the passphrase is the first line of this file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Open the window; start the authority with the tray app if none runs
    Desktop,
    /// Start an agent
    Run(Run),
    /// Agents in countersign.toml
    Agent {
        #[command(subcommand)]
        what: Agent,
    },
    /// Accounts in countersign.toml
    Account {
        #[command(subcommand)]
        what: Account,
    },
    /// Credentials in the keyring; there is no "get"
    Credential {
        #[command(subcommand)]
        what: Credential,
    },
    /// The configuration and what was accepted of it
    Config {
        #[command(subcommand)]
        what: Config,
    },
    /// What runs changed that your other programs would execute; not in force
    Kept {
        #[command(subcommand)]
        what: Option<Kept>,
    },
    /// How things stand
    #[command(alias = "ps")]
    Status,
    /// Stop every agent, now
    Stop {
        /// Why, for the record
        #[arg(long, value_name = "WHY")]
        reason: Option<String>,
        /// Only this agent's runs
        #[arg(long)]
        agent: Option<AgentId>,
    },
    /// Ask to lift the stop
    Resume {
        /// Not the stop, but what is denied by itself to this agent
        #[arg(long)]
        agent: Option<AgentId>,
    },
    /// What waits for your answer
    Requests,
    /// What happened
    #[command(alias = "log")]
    Timeline(Timeline),
    /// Say no to a request that waits
    Deny {
        /// Its id
        id: String,
        /// A sentence to the agent
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
    },
    /// The audit trail
    Ledger {
        #[command(subcommand)]
        what: Ledger,
    },
    /// Rules
    Policy {
        #[command(subcommand)]
        what: Policy,
    },
    /// What would be recognised
    Catalogue {
        #[command(subcommand)]
        what: Catalogue,
    },
    /// Prove each boundary, live; a test question asks you to answer
    Doctor {
        /// Without the question
        #[arg(long)]
        unattended: bool,
    },
    /// What `doctor` lets loose in a throw-away run
    #[command(hide = true)]
    Canary {
        #[command(subcommand)]
        what: Canary,
    },
    /// Have a program contained whenever it is typed
    Wrap {
        /// Its name: claude, codex, …
        program: String,
        /// Put the folder of launchers first in PATH, in your shell's start-up
        /// file, without asking
        #[arg(long)]
        path: bool,
        /// No longer
        #[arg(long)]
        undo: bool,
    },
    /// End the authority in order
    Shutdown,
}

/// Start an agent in a sandbox that holds no credential.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Which agent; by default the one that is named like the command
    #[arg(long)]
    pub(crate) agent: Option<AgentId>,
    /// Why; by default the folder and its git branch
    #[arg(long, value_name = "WHY")]
    pub(crate) task: Option<String>,
    /// Without the sandbox: the agent then has everything you have
    #[arg(long)]
    pub(crate) uncontained: bool,
    /// Start nothing: print how an agent that runs already reaches its gateway
    /// on loopback, and keep that open; not contained
    #[arg(long, conflicts_with_all = ["argv", "explain"])]
    pub(crate) loopback: bool,
    /// Only say what would and would not be reachable
    #[arg(long)]
    pub(crate) explain: bool,
    /// The command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "loopback",
        value_name = "CMD"
    )]
    pub(crate) argv: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Add an agent, then ask to accept it
    Add {
        /// Its name
        name: AgentId,
        /// Accounts it may use
        #[arg(long = "account", value_name = "ACCOUNT")]
        accounts: Vec<AccountId>,
        /// What it is: claude, codex, gemini, opencode or openclaw
        #[arg(long)]
        recipe: Option<Recipe>,
    },
    /// All agents in force
    List,
    /// One agent
    Show {
        /// Its name
        name: AgentId,
    },
    /// Remove an agent, then ask to accept that
    Remove {
        /// Its name
        name: AgentId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Add an account or site, then ask to accept it
    Add(Box<AddAccount>),
    /// All accounts in force
    List,
    /// One account
    Show {
        /// Its name
        name: AccountId,
    },
    /// Remove an account, then ask to accept that
    Remove {
        /// Its name
        name: AccountId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddAccount {
    /// Its name
    pub(crate) name: AccountId,
    /// A kind that the catalogue knows (gmail, github, slack, aws, pypi, npm, …)
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// A host, exact or "*.example.com"
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Your label: production, staging, personal, …
    #[arg(long)]
    pub(crate) environment: Option<String>,
    /// bearer | basic | header:NAME | query:NAME | oauth2 | aws | none
    #[arg(long)]
    pub(crate) credential: Option<String>,
    /// Of AWS: the region of hosts that name none
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Of AWS: the signing name of the service, for hosts that are not AWS's own
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Where the host really is, address:port
    #[arg(long)]
    pub(crate) connect_to: Option<String>,
    /// PEM file of the CA that vouches for it, in the configuration folder
    #[arg(long)]
    pub(crate) ca: Option<String>,
    /// Assign it to this agent
    #[arg(long = "agent", value_name = "AGENT")]
    pub(crate) agents: Vec<AgentId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kept {
    /// Ask to put it in force
    Accept {
        /// The run
        run: String,
    },
    /// Forget it
    Discard {
        /// The run
        run: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    /// Store a credential; it is read from standard input
    Set {
        /// Its account
        account: AccountId,
    },
    /// Names and versions
    List,
    /// Remove a credential
    Remove {
        /// Its account
        account: AccountId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Is what is on disk right?
    Check,
    /// What would change if it were accepted
    Diff,
    /// Ask to accept what is on disk
    Accept,
}

/// Entries of the timeline, newest first.
#[derive(Debug, Args)]
pub(crate) struct Timeline {
    /// Only this agent's
    #[arg(long)]
    pub(crate) agent: Option<AgentId>,
    /// Only on this account
    #[arg(long)]
    pub(crate) account: Option<AccountId>,
    /// Only with this effect
    #[arg(long)]
    pub(crate) effect: Option<Effect>,
    /// Only so decided: allow or deny
    #[arg(long, value_parser = decision)]
    pub(crate) decision: Option<Decision>,
    /// Only since a time (2026-11-22T10:00:00Z) or for so long (90s, 30m, 2h, 7d)
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Only this request
    #[arg(long)]
    pub(crate) request: Option<RequestId>,
    /// Only this run's
    #[arg(long)]
    pub(crate) run: Option<RunId>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
    /// Go on with new ones
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Has anything been changed? Works without the authority, on a copy too
    Verify {
        /// The database; by default this user's
        database: Option<PathBuf>,
        /// Checkpoints that were kept elsewhere
        #[arg(long = "checkpoint", value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
        /// The ledger's public key; by default the one beside the database
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Print a signed checkpoint; keep it elsewhere
    Checkpoint,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Is this rule right?
    Check {
        /// A Cedar file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Catalogue {
    /// What a request would do, and why
    Explain {
        /// GET, POST, …
        method: String,
        /// https://…
        url: String,
        /// A header, "Name: value"
        #[arg(long = "header", value_name = "HEADER")]
        headers: Vec<String>,
        /// The body's file
        #[arg(long)]
        body: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Canary {
    /// Make the attempts of this file
    Try { plan: PathBuf },
    /// Offer what another run must not reach
    Hold { mark: String },
}

fn decision(text: &str) -> Result<Decision, String> {
    match text {
        "allow" => Ok(Decision::Allow),
        "deny" => Ok(Decision::Deny),
        _ => Err("expected allow or deny".into()),
    }
}

/// Parses and runs.
pub(crate) fn main() -> ExitCode {
    let Cli { command, json } = Cli::parse();
    let done = match command {
        Command::Serve {
            desktop,
            passphrase_file,
        } => {
            return serve::serve(&serve::Options {
                desktop,
                passphrase_file,
            });
        }
        Command::Run(run) => return command::run::run(run),
        Command::Desktop => command::desktop::open(),
        Command::Agent { what } => command::configure::agent(what, json),
        Command::Account { what } => command::configure::account(what, json),
        Command::Credential { what } => command::credential::credential(what, json),
        Command::Config { what } => command::configure::config(&what, json),
        Command::Kept { what } => command::kept::kept(what, json),
        Command::Status => command::ask::status(json),
        Command::Stop { reason, agent } => command::ask::stop(reason, agent, json),
        Command::Resume { agent } => command::ask::resume(agent, json),
        Command::Requests => command::ask::requests(json),
        Command::Timeline(wanted) => command::ask::timeline(wanted, json),
        Command::Deny { id, because } => command::ask::deny(id, because, json),
        Command::Ledger { what } => command::ledger::ledger(what, json),
        Command::Policy {
            what: Policy::Check { file },
        } => command::explain::policy(&file, json),
        Command::Catalogue {
            what:
                Catalogue::Explain {
                    method,
                    url,
                    headers,
                    body,
                },
        } => command::explain::catalogue(&method, &url, &headers, body.as_deref(), json),
        Command::Doctor { unattended } => match command::doctor::doctor(unattended, json) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Canary {
            what: Canary::Try { plan },
        } => command::doctor::canary::try_all(&plan),
        Command::Canary {
            what: Canary::Hold { mark },
        } => command::doctor::canary::hold(&mark),
        Command::Wrap {
            program,
            path,
            undo,
        } => command::wrap::wrap(&command::wrap::Wish {
            program,
            path,
            undo,
        }),
        Command::Shutdown => command::ask::shutdown(json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
