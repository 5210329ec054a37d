//! The program of the other side: brought along over the connection that it then speaks on, told apart by its digest.
//!
//! A small script for `sh` does it: it says where it is, takes what is missing of the program, from where the last connection broke off,
//! and becomes the program. Everything that it says stands behind a mark that nobody else knows, so what a login shell prints is
//! passed over. The program checks its own digest before it does anything.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::Digest;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use crate::artifact::digest_of;
use crate::remote::{ConnectError, ConnectFault};

/// Most that a login shell may print before the script says something.
const MAX_NOISE: usize = 64 * 1024;
/// How much of what it printed is shown.
const SHOWN_CHARACTERS: usize = 200;
/// How long it may take to log in and to say what is there; what is sent apart.
const BRINGING: Duration = Duration::from_secs(60);
/// How long a piece of the program may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of the program is sent at a time.
const PIECE: usize = 256 * 1024;

/// Runs on any `sh` of POSIX. It has no single quote, because it is sent in a pair of them, and each line is a statement of its own, because
/// they are sent as one line: `csh` knows no quotes over several. What runs is never the file that was appended to, which a session that
/// hangs may have open still.
const SCRIPT: &[&str] = &[
    r#"mark=$1 digest=$2 bytes=$3 folder=$4 word=$5"#,
    r#"umask 077"#,
    r#"say() { echo "$mark $*"; }"#,
    r#"die() { say fail "$@"; exit 1; }"#,
    r#"[ -n "$folder" ] || [ -n "$HOME" ] || die folder "the user has no home folder""#,
    r#"[ -n "$folder" ] || folder=${XDG_DATA_HOME:-$HOME/.local/share}/lockstep/host"#,
    r#"place=$folder/programs/$digest part=$folder/programs/$digest/part program=$folder/programs/$digest/lockstep"#,
    r#"said=$(mkdir -p "$place" 2>&1) || die folder $said"#,
    r#"{ [ -O "$folder" ] && [ -O "$folder/programs" ] && [ -O "$place" ]; } || die folder "$folder belongs to another user""#,
    r#"size() { wc -c 2>/dev/null < "$1" || echo 0; }"#,
    r#"whole() { [ -x "$program" ] && [ "$(($(size "$program")))" -eq "$bytes" ] || return 1; if command -v sha256sum >/dev/null 2>&1; then case $(sha256sum < "$program") in "$digest"*) return 0;; *) return 1;; esac; fi; return 0; }"#,
    r#"say host "$(uname -s)" "$(uname -m)""#,
    r#"if whole; then :; else rm -f "$program"; say send $(($(size "$part"))); read -r rest || exit 1; if [ "$rest" -eq "$bytes" ]; then said=$( { : > "$part"; } 2>&1 ) || die write $said; fi; said=$( { head -c "$rest" >> "$part"; } 2>&1 ) || die write $said; [ "$(($(size "$part")))" -eq "$bytes" ] || die write "not all of the program came, or more than it has"; new=$place/new.$$; said=$( { cp "$part" "$new" && chmod 700 "$new" && sync && mv "$new" "$program" && rm -f "$part"; } 2>&1 ) || { rm -f "$new"; die write $said; }; fi"#,
    r#"said=$("$program" --version 2>&1) || die start $said"#,
    r#"say run"#,
    r#"exec "$program" "$word" "$digest" "$folder""#,
];

/// A program that can be an agent on another host.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// The file as it was opened: what takes its place later is another program.
    file: Arc<File>,
    bytes: u64,
    digest: Digest,
    /// As `uname -m` says it.
    architecture: String,
}

impl Program {
    /// Takes a program, such as the one that runs.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let architecture = architecture_of(&mut file)?;
        let (bytes, digest) = (file.metadata()?.len(), digest_of(&mut file)?);
        Ok(Self { path: path.to_owned(), file: Arc::new(file), bytes, digest, architecture })
    }

    /// Returns where it is on a host that keeps what it has in a folder.
    #[must_use]
    pub fn on_host(&self, folder: &str) -> String {
        format!("{folder}/programs/{}/lockstep", self.digest)
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns its digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns where it is on this machine.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the command for the shell of the other side.
    pub(crate) fn command(&self, mark: &str, folder: Option<&str>) -> String {
        let mut command = format!("exec sh -c '{}' lockstep", SCRIPT.join("; "));
        let folder = folder.unwrap_or_default();
        for word in [mark, &self.digest.to_string(), &self.bytes.to_string(), folder, crate::agent::WORD] {
            // A text never fails to be written to.
            let _ = write!(command, " {}", quoted(word));
        }
        command
    }

    /// Talks to the script until it is the program. What is read afterwards is the program's.
    ///
    /// # Errors
    /// When the other side cannot be this program, says nothing that is understood, or takes too long over it.
    pub(crate) async fn bring<R, W>(&self, mark: &str, from: &mut R, to: &mut W) -> Result<(), ConnectError>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut noise = Noise { left: MAX_NOISE, last: String::new() };
        let (mut is_sent, mut unsent, mut deadline) = (false, None, Instant::now() + BRINGING);
        loop {
            let line = said(mark, from, &mut noise, deadline).await;
            // What the script says of a program that it could not take is more than that it was not taken.
            let line = line.map_err(|error| unsent.take().unwrap_or(error))?;
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "host" => self.check_host(rest)?,
                "send" if !std::mem::replace(&mut is_sent, true) => {
                    unsent = self.send(rest, to).await.err();
                    // It copies what it took, and writes it to the disk.
                    deadline = Instant::now() + 2 * BRINGING;
                }
                "run" => return Ok(()),
                "fail" => return Err(failed(rest)),
                _ => return Err(ConnectError::new(ConnectFault::Garbage, format!("it said `{line}`"))),
            }
        }
    }

    fn check_host(&self, said: &str) -> Result<(), ConnectError> {
        let (system, machine) = said.split_once(' ').unwrap_or((said, ""));
        if system == "Linux" && machine == self.architecture {
            return Ok(());
        }
        let wanted = &self.architecture;
        Err(ConnectError::new(
            ConnectFault::Architecture,
            format!("it is {system} on {machine}, and this program is for Linux on {wanted}"),
        ))
    }

    async fn send<W: AsyncWrite + Unpin>(&self, have: &str, to: &mut W) -> Result<(), ConnectError> {
        let have: u64 = have.parse().unwrap_or(0);
        // What is too long is no beginning of it: it is begun anew.
        let offset = if have < self.bytes { have } else { 0 };
        let sent = send_rest(&self.file, self.bytes, offset, to).await;
        sent.map_err(|error| {
            ConnectError::new(ConnectFault::Broken, format!("the program was not sent: {error}"))
        })
    }
}

async fn send_rest<W: AsyncWrite + Unpin>(
    file: &Arc<File>,
    bytes: u64,
    mut offset: u64,
    to: &mut W,
) -> io::Result<()> {
    to.write_all(format!("{}\n", bytes - offset).as_bytes()).await?;
    while offset < bytes {
        let file = Arc::clone(file);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            file.read_at(&mut piece, offset).map(|read| (piece, read))
        });
        let (piece, read) = read.await.map_err(io::Error::other).flatten()?;
        if read == 0 {
            return Err(io::Error::other("the file of the program has become shorter"));
        }
        timeout(PATIENCE, to.write_all(&piece[..read])).await??;
        offset += read as u64;
    }
    timeout(PATIENCE, to.flush()).await?
}

/// What a login shell prints before the script says something.
struct Noise {
    /// How much more of it is read.
    left: usize,
    /// Its last line, cut to a printable length.
    last: String,
}

impl Noise {
    fn take(&mut self, line: &str) -> Result<(), ConnectError> {
        let shown =
            line.trim().chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS).collect::<String>();
        if !shown.is_empty() {
            self.last = shown;
        }
        self.left = self.left.checked_sub(line.len()).ok_or_else(|| {
            let text =
                format!("the login shell printed more than {MAX_NOISE} bytes, and no program of ours began");
            ConnectError::new(ConnectFault::Garbage, text)
        })?;
        Ok(())
    }
}

/// Reads the next line with the mark, without it.
async fn said<R>(
    mark: &str,
    from: &mut R,
    noise: &mut Noise,
    deadline: Instant,
) -> Result<String, ConnectError>
where
    R: AsyncBufRead + Unpin,
{
    loop {
        let mut line = Vec::new();
        let limit = noise.left as u64 + 1;
        let read = timeout_at(deadline, from.take(limit).read_until(b'\n', &mut line)).await;
        let silent = || {
            ConnectError::new(ConnectFault::Broken, "it has not come to run the program in time".to_owned())
        };
        let read = read.map_err(|_| silent())?.map_err(|error| broken(&error))?;
        if read == 0 {
            let said = if noise.last.is_empty() { String::new() } else { format!(" after `{}`", noise.last) };
            return Err(ConnectError::new(ConnectFault::Broken, format!("the connection ended{said}")));
        }
        let text = String::from_utf8_lossy(&line);
        if let Some((_, after)) = text.trim_end().split_once(mark) {
            return Ok(after.trim_start().to_owned());
        }
        noise.take(&text)?;
    }
}

fn broken(error: &io::Error) -> ConnectError {
    ConnectError::new(ConnectFault::Broken, format!("the connection ended: {error}"))
}

fn failed(said: &str) -> ConnectError {
    let (what, why) = said.split_once(' ').unwrap_or((said, ""));
    let fault = match what {
        "folder" => ConnectFault::Folder,
        "write" => ConnectFault::Write,
        "start" => ConnectFault::Program,
        _ => ConnectFault::Garbage,
    };
    ConnectError::new(fault, why.to_owned())
}

/// Reads for which architecture a program is: ELF's `e_machine`, two bytes at 18, whose order byte 5 says. What is no ELF, such as a
/// script, is for this one.
fn architecture_of(file: &mut File) -> io::Result<String> {
    let mut head = [0; 20];
    let read = file.read(&mut head)?;
    file.rewind()?;
    let here = std::env::consts::ARCH;
    if read < head.len() || head[..4] != *b"\x7fELF" {
        return Ok(here.to_owned());
    }
    let number = if head[5] == 2 { [head[19], head[18]] } else { [head[18], head[19]] };
    Ok(match u16::from_le_bytes(number) {
        40 => "armv7l".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        other => format!("machine {other} of ELF"),
    })
}

/// Quotes a word for `sh`.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the digest of the program that runs. One that is not what its name says is removed, so that it is brought anew.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn digest_of_self() -> io::Result<Digest> {
    let digest = digest_of(&mut File::open("/proc/self/exe")?)?;
    let path = std::env::current_exe()?;
    let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if name.parse::<Digest>().is_ok_and(|named| named != digest) {
        std::fs::remove_file(&path)?;
    }
    Ok(digest)
}
