//! A small service that behaves well or badly on purpose, for the tests of drivers.
//!
//! `lockstep-test-service MODE...` serves HTTP on `PORT`; each mode changes one thing:
//!
//! | mode | what |
//! | --- | --- |
//! | `unhealthy` | answers 503 |
//! | `deaf` | listens on nothing |
//! | `garbage` | answers with bytes that are not HTTP |
//! | `moody` | is healthy as long as the file named by `MOOD_FILE` exists |
//! | `die=MS` | ends with exit code 3 after so many milliseconds |
//! | `stubborn` | passes SIGTERM by, together with what it starts |
//! | `fork` | starts a process that starts a process in a session of its own |
//! | `flood` | writes to its log as fast as it can |
//! | `count=N` | writes so many numbered lines to its log before it listens |
//! | `say=NAME` | writes to its log, and removes, what appears in the file that this variable names |
//! | `hang` | does nothing but live |

use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

/// How the service answers.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Well,
    Unhealthy,
    Garbage,
    Moody,
}

fn main() -> ExitCode {
    let modes: Vec<String> = env::args().skip(1).collect();
    let has = |mode: &str| modes.iter().any(|given| given == mode);
    println!("begins as {}", std::process::id());
    if has("stubborn") && env::var_os("SHIELDED").is_none() {
        return shield(&modes);
    }
    let death = modes.iter().find_map(|mode| mode.strip_prefix("die=")?.parse().ok());
    if let Some(ms) = death {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(ms));
            eprintln!("dies as it was told");
            std::process::exit(3);
        });
    }
    if has("fork") {
        fork();
    }
    if has("flood") {
        thread::spawn(|| {
            loop {
                println!("flood flood flood flood flood flood flood flood flood flood");
            }
        });
    }
    if let Some(count) = modes.iter().find_map(|mode| mode.strip_prefix("count=")?.parse::<u64>().ok()) {
        (0..count).for_each(|number| println!("line {number}"));
    }
    if let Some(path) = modes.iter().find_map(|mode| env::var(mode.strip_prefix("say=")?).ok()) {
        thread::spawn(move || say(Path::new(&path)));
    }
    if has("hang") || has("deaf") {
        hang();
    }
    let answer = if has("unhealthy") {
        Answer::Unhealthy
    } else if has("garbage") {
        Answer::Garbage
    } else if has("moody") {
        Answer::Moody
    } else {
        Answer::Well
    };
    serve(answer)
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3_600));
    }
}

/// Becomes the same program with SIGTERM ignored, which only a shell can arrange without unsafe code.
fn shield(modes: &[String]) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    let Ok(me) = env::current_exe() else { return ExitCode::FAILURE };
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' TERM; exec \"$0\" \"$@\""]).arg(me).args(modes).env("SHIELDED", "1");
    eprintln!("no shell: {}", shell.exec());
    ExitCode::FAILURE
}

/// Leaves a process behind that is in no group or session of this one, and whose parent is gone.
fn fork() {
    let Ok(me) = env::current_exe() else { return };
    let mut shell = Command::new("setsid");
    shell.arg("sh").args(["-c", "\"$0\" hang & exit 0"]).arg(me).stdin(Stdio::null());
    if let Ok(mut child) = shell.spawn() {
        let _ = child.wait();
    }
}

fn say(path: &Path) {
    loop {
        if let Ok(text) = std::fs::read_to_string(path)
            && !text.is_empty()
        {
            println!("{text}");
            let _ = std::fs::remove_file(path);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn serve(answer: Answer) -> ExitCode {
    let port = env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    let Some(listener) = port.and_then(|port| TcpListener::bind((host(), port)).ok()) else {
        eprintln!("cannot listen on PORT {port:?}");
        return ExitCode::from(2);
    };
    println!("listens");
    for stream in listener.incoming() {
        // A failed accept says that something is wrong with this host: the test had better see it.
        let Ok(stream) = stream else { return ExitCode::FAILURE };
        thread::spawn(move || answer_one(stream, answer));
    }
    ExitCode::SUCCESS
}

/// Reads the head of a request and answers with what a test may want to know of the process.
fn answer_one(mut stream: TcpStream, answer: Answer) {
    let Ok(reading) = stream.try_clone() else { return };
    for line in BufReader::new(reading.take(16 * 1024)).lines() {
        if line.map_or(true, |line| line.is_empty()) {
            break;
        }
    }
    let is_well = match answer {
        Answer::Garbage => {
            let _ = stream.write_all(b"\x16\x03\x01\x02 this is not HTTP at all\r\n\r\n");
            return;
        }
        Answer::Well => true,
        Answer::Unhealthy => false,
        Answer::Moody => env::var_os("MOOD_FILE").is_some_and(|path| Path::new(&path).exists()),
    };
    let status = if is_well { "200 OK" } else { "503 Service Unavailable" };
    let variables: Vec<String> = env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let folder = env::current_dir().unwrap_or_default();
    let body = format!("pid={}\ncwd={}\n{}\n", std::process::id(), folder.display(), variables.join("\n"));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes());
}

/// The address that it is told to listen on.
fn host() -> IpAddr {
    let told = env::var("HOST").ok().and_then(|host| host.parse().ok());
    told.unwrap_or(Ipv4Addr::LOCALHOST.into())
}
