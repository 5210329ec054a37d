//! A connection by the system's `ssh`: whatever its configuration says of hosts, jumps, agents and keys holds. The keys of hosts do not
//! come from there: each is pinned when the host is seen first, in a file of ours.
//!
//! The alternative is a client of our own (`russh`): it would be one program less to be there, and each of jump hosts, hardware keys,
//! certificates, `Match` and `ProxyCommand` would work otherwise than what the operator has tried by hand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use lockstep_domain::ssh_target::SshTarget;
use lockstep_runtime::Answer;
use rustix::process::{Pid, Signal};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::program::Program;
use crate::remote::{Connect, ConnectError, ConnectFault, Connection};

/// Most of what `ssh` says about itself that is kept.
const MAX_SAID: usize = 4 * 1024;

/// Connects to a host by `ssh`.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// Where to.
    pub target: SshTarget,
    /// A key of ours; what the configuration and an agent have otherwise.
    pub key: Option<PathBuf>,
    /// The file with the pinned keys of hosts.
    pub known_hosts: PathBuf,
    /// Under which name the key of this host stands there.
    pub alias: String,
    /// The folder on the host; one in the home of the user otherwise.
    pub folder: Option<String>,
    /// The program of the other side.
    pub program: Arc<Program>,
    /// A configuration of `ssh` instead of the user's, for tests.
    pub configuration: Option<PathBuf>,
}

impl Ssh {
    /// The arguments of `ssh`, apart from the command for the other side.
    fn arguments(&self) -> Vec<String> {
        let options = [
            // What a configuration may say of these would keep our command from running, or decide whom we trust.
            "IgnoreUnknown=SessionType,StdinNull,ForkAfterAuthentication,KnownHostsCommand",
            "SessionType=default",
            "StdinNull=no",
            "ForkAfterAuthentication=no",
            "KnownHostsCommand=none",
            "RemoteCommand=none",
            "Tunnel=no",
            "NoHostAuthenticationForLocalhost=no",
            "BatchMode=yes",
            "ConnectTimeout=15",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
            // Seen first it is pinned; changed it is refused.
            "StrictHostKeyChecking=accept-new",
            "UpdateHostKeys=no",
            "CheckHostIP=no",
            "HashKnownHosts=no",
            "VerifyHostKeyDNS=no",
            "GlobalKnownHostsFile=/dev/null",
            "ControlMaster=no",
            "ControlPath=none",
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "PermitLocalCommand=no",
            "RequestTTY=no",
            "EscapeChar=none",
            "LogLevel=ERROR",
        ];
        let mut arguments: Vec<String> = vec!["-T".into()];
        if let Some(configuration) = &self.configuration {
            arguments.extend(["-F".into(), configuration.display().to_string()]);
        }
        arguments.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        // Within the value `%` stands for something.
        let file = self.known_hosts.display().to_string().replace('%', "%%");
        for option in [format!("UserKnownHostsFile=\"{file}\""), format!("HostKeyAlias={}", self.alias)] {
            arguments.extend(["-o".to_owned(), option]);
        }
        if let Some(key) = &self.key {
            arguments.extend([
                "-i".into(),
                key.display().to_string().replace('%', "%%"),
                "-o".into(),
                "IdentitiesOnly=yes".into(),
            ]);
        }
        if let Some(port) = self.target.port {
            arguments.extend(["-p".into(), port.to_string()]);
        }
        if let Some(user) = &self.target.user {
            arguments.extend(["-l".into(), user.clone()]);
        }
        arguments.extend(["--".into(), self.target.host.clone()]);
        arguments
    }

    /// Names a path that `ssh` would read otherwise than it is.
    fn unreadable(&self) -> Option<&Path> {
        let paths = self.key.as_deref().into_iter().chain([self.known_hosts.as_path()]);
        let is_read_otherwise = |path: &&Path| {
            let text = path.display().to_string();
            text.contains('"') || text.contains("${")
        };
        paths.into_iter().find(is_read_otherwise)
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        if let Some(path) = self.unreadable() {
            let text = format!(
                "`{}` has a quote or `${{` in it, which `ssh` reads otherwise; move it",
                path.display()
            );
            return Err(ConnectError::new(ConnectFault::NoSsh, text));
        }
        let mark = mark().map_err(|error| ConnectError::new(ConnectFault::Broken, error.to_string()))?;
        let mut command = Command::new("ssh");
        command.args(self.arguments()).arg(self.program.command(&mark, self.folder.as_deref()));
        command.env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.kill_on_drop(true).process_group(0).spawn().map_err(|error| {
            let text =
                format!("`ssh` cannot be started here: {error}; install the client (Debian: openssh-client)");
            ConnectError::new(ConnectFault::NoSsh, text)
        })?;
        self.speak(child, &mark).await
    }

    async fn speak(&self, mut child: Child, mark: &str) -> Result<Connection, ConnectError> {
        let no_pipe = || ConnectError::new(ConnectFault::Broken, "no pipe to `ssh`".to_owned());
        let mut to = child.stdin.take().ok_or_else(no_pipe)?;
        let mut from = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let errors = child.stderr.take().ok_or_else(no_pipe)?;
        let said = Said::follow(errors);
        match self.program.bring(mark, &mut from, &mut to).await {
            Ok(()) => Ok(Connection::new(tokio::io::join(from, to), Box::new(Held { child, said }))),
            Err(error) => {
                // What it says is whole when it has ended; one that hangs is ended.
                end_all(&child);
                let _ = child.wait().await;
                Err(explained(error, &said.text().await))
            }
        }
    }
}

impl Connect for Ssh {
    fn connect(&self) -> Answer<'_, Result<Connection, ConnectError>> {
        Box::pin(self.open())
    }
}

/// Held as long as a connection is.
#[derive(Debug)]
struct Held {
    child: Child,
    said: Said,
}

impl Drop for Held {
    fn drop(&mut self) {
        end_all(&self.child);
    }
}

/// Ends `ssh` and what it has started, such as a jump host's.
fn end_all(child: &Child) {
    // Its number is its own as long as nobody has waited for it; its group has the same.
    let number = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let _ = number.map(|number| rustix::process::kill_process_group(number, Signal::KILL));
}

impl crate::remote::Holds for Held {
    fn said(&self) -> String {
        self.said.now()
    }
}

/// What a program says about itself, the end of it.
#[derive(Debug)]
struct Said {
    text: Arc<Mutex<String>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Said {
    fn follow(from: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(from);
            let mut line = Vec::new();
            while (&mut lines)
                .take(MAX_SAID as u64)
                .read_until(b'\n', &mut line)
                .await
                .is_ok_and(|read| read > 0)
            {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&String::from_utf8_lossy(&std::mem::take(&mut line)));
                let surplus = kept.len().saturating_sub(MAX_SAID);
                let cut = kept.ceil_char_boundary(surplus);
                kept.drain(..cut);
            }
        });
        Self { text, reader }
    }

    fn now(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }

    /// Returns all that was said, once the program has ended.
    async fn text(mut self) -> String {
        // A grandchild may hold the pipe: then what came until now is all.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), &mut self.reader).await;
        self.now()
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Says what `ssh` meant, by its own words; they are English because it is started so.
fn explained(error: ConnectError, said: &str) -> ConnectError {
    if error.fault != ConnectFault::Broken {
        return error;
    }
    // What the host printed says nothing of the connection, but for this.
    if error.text.contains("account is currently not available") {
        return ConnectError::new(ConnectFault::NoShell, error.text);
    }
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let fault = if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed"]) {
        ConnectFault::HostKey
    } else if has(&["Permission denied (", "Too many authentication failures", "no mutual signature"]) {
        ConnectFault::Login
    } else if has(&[
        "Connection refused",
        "timed out",
        "No route to host",
        "Could not resolve",
        "Network is unreachable",
        "Name or service not known",
    ]) {
        ConnectFault::Unreachable
    } else {
        ConnectFault::Broken
    };
    let said = said.replace('\r', "");
    // The rest of it warns in capitals, and names a file of ours to be changed by hand.
    if let Some(key) = shown_key(&said).filter(|_| fault == ConnectFault::HostKey) {
        return ConnectError::new(fault, format!("it shows {key}"));
    }
    let text = if said.is_empty() { error.text } else { format!("{}; `ssh` said: {said}", error.text) };
    ConnectError::new(fault, text)
}

/// Finds the fingerprint of the key that a host has shown instead of the pinned one.
fn shown_key(said: &str) -> Option<&str> {
    let (_, after) = said.split_once("key sent by the remote host is")?;
    let word = after.split_whitespace().next()?;
    word.starts_with("SHA256:").then(|| word.trim_end_matches('.'))
}

/// Makes a word that nobody can guess, so that nobody else says it.
fn mark() -> io::Result<String> {
    Ok(format!("lockstep-{}", crate::claim::random()?))
}

/// Reads the pinned key of a host as it stands in the file, `TYPE KEY`.
///
/// # Errors
/// When the file cannot be read.
pub fn pinned(known_hosts: &Path, alias: &str) -> io::Result<Option<String>> {
    let text = match std::fs::read_to_string(known_hosts) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let of_host = |line: &str| line.strip_prefix(alias)?.strip_prefix(' ').map(str::to_owned);
    Ok(text.lines().find_map(of_host))
}

/// Returns the kind and the fingerprint of a key, `TYPE KEY`, as `ssh-keygen -l` shows it; `None` for what is no key.
#[must_use]
pub fn fingerprint(key: &str) -> Option<String> {
    let (kind, text) = key.trim().split_once(' ')?;
    let bytes = STANDARD.decode(text.split_whitespace().next()?).ok()?;
    Some(format!("{kind} SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_is_told_by_its_fingerprint_and_not_by_a_page_of_warnings() {
        let said = "@@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nThe fingerprint for the ED25519 key sent by the remote host is\r\n\
                    SHA256:Wn85w.\r\nAdd correct host key in /x to get rid of this message.\r\nHost key verification failed.";
        let broken = || ConnectError::new(ConnectFault::Broken, "the connection ended".to_owned());
        let error = explained(broken(), said);
        assert_eq!(error, ConnectError::new(ConnectFault::HostKey, "it shows SHA256:Wn85w".to_owned()));
        let error = explained(broken(), "Host key verification failed.");
        assert_eq!(error.text, "the connection ended; `ssh` said: Host key verification failed.");
    }
}
