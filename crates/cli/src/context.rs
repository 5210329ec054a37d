//! What every command is given: the options that all of them know, the server, and where to write.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use lockstep_api::{Client, Token};
use lockstep_domain::Actor;
use lockstep_reach::{AddressError, PlainHttp, Reach, ServerAddress, Trust};

use crate::failure::Failure;
use crate::output::{ColorChoice, Format, Output};
use crate::own_token;
use crate::secret;

/// Names the actor instead of `user@host`.
const ACTOR_VARIABLE: &str = "LOCKSTEP_ACTOR";

/// Options that every command knows.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The server to ask; unix:PATH is a socket by which a gateway of a host reaches the server of that host.
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8470",
        value_parser = server_address
    )]
    pub(crate) server: ServerAddress,
    /// Trust the authorities in this file (PEM, one or more certificates), and none of the system's, when the server is
    /// asked by https.
    #[arg(long, global = true, env = "LOCKSTEP_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token or key by http to other machines as well, where everybody on the way can read it.
    #[arg(long, global = true, env = "LOCKSTEP_PLAIN_HTTP", value_parser = FalseyValueParser::new())]
    pub(crate) plain_http: bool,
    /// The file with the token of the server, where it wants one; `-` is standard input. Without it, the variable
    /// LOCKSTEP_TOKEN and then the systemd credential `lockstep-token` are taken.
    #[arg(long, global = true, env = "LOCKSTEP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Write JSON to standard output: one document, or one a line for streams.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// Say more: the server that is asked, and by whom.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

impl Globals {
    /// Makes the way to the server, with a token or key.
    pub(crate) fn reach(&self, token: Option<&Token>) -> Result<Reach, Failure> {
        let plain = if self.plain_http { PlainHttp::Everywhere } else { PlainHttp::LoopbackOnly };
        let trust = Trust::new(self.ca.clone());
        Ok(Reach::new(self.server.clone(), trust, token.map(Token::reveal), plain)?)
    }

    /// Makes the output of the command.
    pub(crate) fn output(&self) -> Output {
        Output::new(if self.json { Format::Json } else { Format::Text }, self.color)
    }
}

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The server.
    pub(crate) client: Client,
    /// Who acts.
    pub(crate) actor: Actor,
    /// Where to write.
    pub(crate) out: Output,
    /// The options that every command knows.
    pub(crate) globals: Globals,
}

impl Context {
    /// Makes the context of a command. Nothing is asked of the server yet.
    pub(crate) fn new(globals: Globals) -> Result<Self, Failure> {
        let actor = actor()?;
        let out = globals.output();
        if globals.verbose {
            out.message(&format!("asking {} as {actor}", globals.server));
        }
        let token = secret::token(globals.token_file.as_deref(), &out)?;
        let token = token.or_else(|| own_token::find(&globals.server));
        let client = Client::new(globals.reach(token.as_ref())?, actor.as_str())?;
        Ok(Self { client, actor, out, globals })
    }
}

/// Reads where a server is; the path of a socket may be any.
fn server_address(text: &str) -> Result<ServerAddress, AddressError> {
    match text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        Some(path) => Ok(ServerAddress::at_socket(path.to_owned())),
        None => text.parse(),
    }
}

/// Returns who acts: what the variable says, or else `user@host`.
fn actor() -> Result<Actor, Failure> {
    let text = match std::env::var(ACTOR_VARIABLE) {
        Ok(text) if !text.is_empty() => text,
        _ => user_at_host(),
    };
    let actor: Actor = text.parse().map_err(|error| {
        Failure::usage(format!("{error}"))
            .hint(format!("set {ACTOR_VARIABLE} to a name such as ann@example.org"))
    })?;
    if actor.as_str().is_ascii() {
        Ok(actor)
    } else {
        Err(Failure::usage(format!("the actor `{actor}` has characters beyond ASCII"))
            .hint(format!("set {ACTOR_VARIABLE} to a name such as ann@example.org")))
    }
}

fn user_at_host() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    let system = rustix::system::uname();
    format!("{user}@{}", system.nodename().to_string_lossy())
}
