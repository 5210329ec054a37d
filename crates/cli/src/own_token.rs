//! The token that a server on this machine made for itself, as commands of the same user find it.
//!
//! The server notes where its data folder is, by its port; the token stays in the data folder. Invariant: a token that was found is
//! sent only where nobody but this user listens.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lockstep_api::Token;
use lockstep_files::{foreign, whole};
use lockstep_reach::ServerAddress;

/// Where a server keeps the token that it made, below its data folder.
const FILE: &str = "secrets/api.token";
/// Names a data folder whose server is asked, where its note is not found.
const DATA_VARIABLE: &str = "LOCKSTEP_DATA";
/// Longest file that is read here: a token, or a path.
const MAX_BYTES: u64 = 8_192;
/// The listening sockets of this machine.
const SOCKETS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a socket that listens, as the system writes it.
const LISTENS: &str = "0A";

/// Notes where the server on a port has its data. Without a home folder, commands need to be told.
pub(crate) fn note(data: &Path, address: SocketAddr) {
    let Some(path) = note_path(address.port()) else { return };
    let Ok(data) = data.canonicalize() else { return };
    let noted = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| whole::put_unsynced(&path, data.as_os_str().as_encoded_bytes(), 0o600));
    if let Err(error) = noted {
        let path = path.display();
        tracing::warn!(%path, %error, "commands will not find the token by themselves: it cannot be noted where it is");
    }
}

/// Finds the token of the server at an address, if it is one of this user on this machine.
pub(crate) fn find(server: &ServerAddress) -> Option<Token> {
    let port = server.loopback_port()?;
    let me = rustix::process::geteuid().as_raw();
    let token = noted(port).into_iter().chain(named()).find_map(|data| read(&data.join(FILE), me))?;
    only_i_listen(&SOCKETS.map(|file| fs::read_to_string(file).unwrap_or_default()), port, me)
        .then_some(token)
}

fn note_path(port: u16) -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("lockstep/servers").join(port.to_string()))
}

fn noted(port: u16) -> Option<PathBuf> {
    let text = foreign::read_text(foreign::open_no_link(&note_path(port)?).ok()?, MAX_BYTES).ok()?;
    Some(PathBuf::from(text)).filter(|data| data.is_absolute())
}

fn named() -> Option<PathBuf> {
    std::env::var_os(DATA_VARIABLE).map(PathBuf::from).filter(|data| data.is_absolute())
}

fn read(path: &Path, me: u32) -> Option<Token> {
    let file = foreign::open_no_link(path).ok()?;
    if file.metadata().ok()?.uid() != me {
        return None;
    }
    Token::of_word(foreign::read_text(file, MAX_BYTES).ok()?.trim_end())
}

/// Tells whether somebody listens on a port, and nobody but this user, on whatever address.
fn only_i_listen(tables: &[String], port: u16, me: u32) -> bool {
    let listeners = || tables.iter().flat_map(|table| table.lines()).filter_map(|line| listener(line, port));
    listeners().next().is_some() && listeners().all(|user| user == me)
}

/// Returns whose the socket of a line is, when it listens on the port.
fn listener(line: &str, port: u16) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTENS);
    is_it.then(|| fields.get(7)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn table(lines: &[(&str, &str, u32)]) -> String {
        let line = |(local, state, user): &(&str, &str, u32)| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {user}        0 77 1 0 100 0 0 10 0\n"
            )
        };
        HEAD.to_owned() + &lines.iter().map(line).collect::<String>()
    }

    #[test]
    fn a_token_goes_where_this_user_alone_listens() {
        let mine = ("0100007F:2116", "0A", 1000);
        let listen = |lines: &[(&str, &str, u32)]| only_i_listen(&[table(lines), table(&[])], 8_470, 1_000);
        assert!(listen(&[mine]));
        assert!(listen(&[("00000000:2116", "0A", 1000), ("0100007F:2117", "0A", 33)]));
        assert!(!listen(&[]), "nobody listens");
        assert!(!listen(&[("0100007F:2116", "0A", 33)]), "somebody else does");
        assert!(!listen(&[mine, ("00000000:2116", "0A", 33)]), "or does as well");
        assert!(!listen(&[("0100007F:2116", "01", 1000)]), "a connection is no listener");
        let other = table(&[("00000000000000000000000001000000:2116", "0A", 33)]);
        assert!(!only_i_listen(&[table(&[mine]), other], 8_470, 1_000), "nor on the other kind of address");
        assert!(!only_i_listen(&["nonsense\n: :\n".to_owned()], 8_470, 1_000));
    }
}
