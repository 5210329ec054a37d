//! What the trial of a service says about its manifest and its program: pure, of what was seen.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lockstep_domain::run::{Port, RunSpec};
use serde::Serialize;

use crate::output::times::exact;

/// Names that a trial names at most of a kind.
const MOST: usize = 5;

/// What was seen of one process of a service.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Seen {
    /// What it is called: the process, or the service.
    pub(crate) name: String,
    /// How long it took to become healthy; `None` where it did not.
    pub(crate) healthy_after_ms: Option<u64>,
    /// Why it did not.
    pub(crate) failure: Option<String>,
    /// The port that it was given, or always has.
    pub(crate) port: Option<u16>,
    /// Where it listened.
    pub(crate) listens: BTreeSet<SocketAddr>,
    /// What it made in its working folder.
    pub(crate) made: Vec<PathBuf>,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// How long it took to end; `None` where it did not end by itself, or had not run.
    pub(crate) ended_after_ms: Option<u64>,
    /// What it said of its version, where somebody else runs it and it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<Said>,
    /// The variables that it had.
    #[serde(skip)]
    pub(crate) variables: BTreeSet<String>,
    /// The last lines that it wrote.
    pub(crate) log: Vec<String>,
}

/// What was answered to the question for a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// One.
    Version(String),
    /// None, and why.
    Nothing(String),
}

/// Something that a person should know of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Of which process.
    pub(crate) process: String,
    /// Whether it must be mended before it runs anywhere.
    pub(crate) is_problem: bool,
    /// What was seen.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) hint: String,
}

/// Says what is worth knowing of a process.
pub(crate) fn findings(seen: &Seen, run: &RunSpec) -> Vec<Finding> {
    let finding = |is_problem, text: String, hint: String| Finding {
        process: seen.name.clone(),
        is_problem,
        text,
        hint,
    };
    let problem = |text, hint| finding(true, text, hint);
    let advice = |text, hint| finding(false, text, hint);
    let mut all = Vec::new();
    let port = other_port(seen, run);
    if let Some(failure) = seen.failure.as_ref().filter(|_| port.is_none()) {
        all.push(problem(format!("it did not become healthy: {failure}"), String::new()));
    }
    let is_elsewhere = port.is_some();
    all.extend(port.map(|(text, hint)| problem(text, hint)));
    if let Some(Said::Nothing(why)) = &seen.says {
        let hint =
            "say in `version` where it says it, or remove it: then the number of the release is what counts";
        all.push(problem(format!("it does not say its version: {why}"), hint.to_owned()));
    }
    all.extend(missing_variables(seen).map(|(text, hint)| finding(seen.failure.is_some(), text, hint)));
    all.extend(not_written(seen).map(|(text, hint)| finding(seen.failure.is_some(), text, hint)));
    all.extend(exposed(seen).map(|(text, hint)| advice(text, hint)));
    let others = other_listeners(seen).filter(|_| !is_elsewhere);
    all.extend(others.map(|(text, hint)| advice(text, hint)));
    all.extend(left_behind(seen).map(|(text, hint)| advice(text, hint)));
    if seen.healthy_after_ms.is_some() && seen.ended_after_ms.is_none() {
        all.push(problem(
            format!(
                "it did not end within {} of {}, and was killed: what it had begun is lost at each update",
                exact(run.stop.timeout_ms),
                format!("SIG{:?}", run.stop.signal).to_uppercase()
            ),
            "let it end on that signal; a shell does not pass it on: begin its last command with `exec`"
                .to_owned(),
        ));
    }
    all
}

type Words = (String, String);

/// It has a port of Lockstep's choosing, and listens on others alone.
fn other_port(seen: &Seen, run: &RunSpec) -> Option<Words> {
    let wanted = seen.port.filter(|_| run.kind.is_web())?;
    // The gateway calls it on HOST; who listens on all addresses is reached there too.
    let answers = |address: &&SocketAddr| {
        let ip = address.ip().to_canonical();
        address.port() == wanted && (ip == Ipv4Addr::LOCALHOST || ip.is_unspecified())
    };
    if seen.listens.iter().any(|address| answers(&address)) {
        return None;
    }
    if let Some(elsewhere) = seen.listens.iter().find(|address| address.port() == wanted) {
        return Some((
            format!("it listens on {elsewhere}, and not on HOST, which is 127.0.0.1"),
            "let it listen on HOST, for example by an argument with ${self.host}".to_owned(),
        ));
    }
    let others: Vec<_> = seen.listens.iter().map(ToString::to_string).collect();
    let fixed = seen.listens.iter().map(SocketAddr::port).next();
    let of = match run.port {
        Port::Assigned => format!("the port in PORT, which was {wanted}"),
        Port::Fixed(_) => format!("port {wanted}, as `port` in [run] says"),
    };
    match fixed {
        Some(fixed) => Some((
            format!("it listens on {}, and not on {of}", others.join(", ")),
            format!(
                "let it listen on PORT, for example by an argument with ${{self.port}}; where it cannot: port = {fixed} in [run]"
            ),
        )),
        None if seen.failure.is_some() => None,
        None => Some((format!("it does not listen on {of}"), "let it listen on PORT".to_owned())),
    }
}

fn exposed(seen: &Seen) -> Option<Words> {
    let open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    let open: Vec<_> = seen.listens.iter().filter(open).map(ToString::to_string).collect();
    (!open.is_empty()).then(|| {
        (
            format!(
                "it listens on {}: who reaches the machine can call it past the gateway",
                open.join(", ")
            ),
            "let it listen on HOST, for example by an argument with ${self.host}".to_owned(),
        )
    })
}

/// Listeners that every instance wants, so that a second one cannot start.
fn other_listeners(seen: &Seen) -> Option<Words> {
    let others = seen.listens.iter().filter(|address| Some(address.port()) != seen.port);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    (!others.is_empty()).then(|| {
        let text = format!(
            "it listens on {} as well: where that port is always the same, two instances of it cannot run at the same time, nor two versions",
            others.join(", ")
        );
        (text, "give each instance a port of its own, or say replace = \"old-first\" in [run]".to_owned())
    })
}

fn left_behind(seen: &Seen) -> Option<Words> {
    let first = seen.made.first()?;
    let shown: Vec<_> = seen.made.iter().take(MOST).map(|path| format!("`{}`", path.display())).collect();
    let more = seen.made.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let name = first.display();
    Some((
        format!("it made {}{more} in its working folder, which goes with the instance", shown.join(", ")),
        format!(
            "what must stay: data = [\"{name}\"] in [run], where that is a folder; what need not: write it to TMPDIR"
        ),
    ))
}

/// Lines that say that something could not be written.
fn not_written(seen: &Seen) -> Option<Words> {
    const WORDS: [&str; 4] = ["permission denied", "read-only file system", "eacces", "erofs"];
    let lower = |line: &&String| {
        let line = line.to_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    };
    let line = seen.log.iter().find(lower)?;
    Some((
        format!("it was kept from something: {}", text_of(line)),
        "its code is read-only, and the rest of the machine hidden or read-only: let it write to its working folder, to TMPDIR, or to a folder in `data`".to_owned(),
    ))
}

/// Variables that its log names and that it did not have.
fn missing_variables(seen: &Seen) -> Option<Words> {
    let named: BTreeSet<&str> = seen.log.iter().flat_map(|line| names_in(line)).collect();
    let missing: Vec<_> = named.into_iter().filter(|name| !seen.variables.contains(*name)).collect();
    let first = *missing.first()?;
    let shown: Vec<_> = missing.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    Some((
        format!("its log names {}, which it was not given", shown.join(", ")),
        format!(
            "try it with --set {first}=VALUE; for good: env = {{ {first} = \"...\" }} in [run], or lockstep config set SERVICE {first}=VALUE --env ENV"
        ),
    ))
}

/// The names of variables in a line that speaks of something that is missing.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    const WORDS: [&str; 10] = [
        "not set",
        "unset",
        "undefined",
        "missing",
        "required",
        "keyerror",
        "must be",
        "not found",
        "no such",
        "not defined",
    ];
    let line = text_of(line);
    let lower = line.to_lowercase();
    let speaks = WORDS.iter().any(|word| lower.contains(word));
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(move |_| speaks);
    words.filter(|word| {
        word.contains('_')
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

/// A line of a log without its time and its source.
pub(crate) fn text_of(line: &str) -> &str {
    line.splitn(3, ' ').nth(2).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use lockstep_manifest::parse;

    use super::*;

    fn run(more: &str) -> RunSpec {
        parse(&format!("name = \"shop\"\n[run]\ncommand = \"./shop\"\n{more}"), "lockstep.toml").unwrap().run
    }

    fn good() -> Seen {
        Seen {
            name: "shop".into(),
            healthy_after_ms: Some(120),
            port: Some(20_001),
            listens: ["127.0.0.1:20001".parse().unwrap()].into(),
            ended_after_ms: Some(30),
            ..Seen::default()
        }
    }

    fn told(seen: &Seen, run: &RunSpec) -> Vec<(bool, String)> {
        findings(seen, run).into_iter().map(|it| (it.is_problem, it.text)).collect()
    }

    #[test]
    fn what_is_as_it_should_be_is_not_told() {
        assert_eq!(told(&good(), &run("")), []);
        let fixed = Seen { port: Some(8_080), listens: ["127.0.0.1:8080".parse().unwrap()].into(), ..good() };
        assert_eq!(told(&fixed, &run("port = 8080")), []);
    }

    #[test]
    fn another_port_than_the_given_one_is_told_in_the_place_of_the_failed_health_check() {
        let seen = Seen {
            healthy_after_ms: None,
            failure: Some("connection refused".into()),
            listens: ["0.0.0.0:8080".parse().unwrap()].into(),
            ..good()
        };
        let all = findings(&seen, &run(""));
        assert_eq!(all[0].text, "it listens on 0.0.0.0:8080, and not on the port in PORT, which was 20001");
        assert!(all[0].hint.contains("port = 8080"), "{}", all[0].hint);
        assert!(all[1].text.starts_with("it listens on 0.0.0.0:8080: who reaches the machine"));
        assert_eq!(all.len(), 2, "{all:?}");
    }

    #[test]
    fn an_address_that_the_gateway_does_not_call_is_told() {
        for elsewhere in ["[::1]:20001", "127.0.0.2:20001"] {
            let seen = Seen { listens: [elsewhere.parse().unwrap()].into(), ..good() };
            let all = told(&seen, &run(""));
            assert_eq!(
                all,
                [(true, format!("it listens on {elsewhere}, and not on HOST, which is 127.0.0.1"))]
            );
        }
        for reached in ["127.0.0.1:20001", "[::ffff:127.0.0.1]:20001"] {
            let seen = Seen { listens: [reached.parse().unwrap()].into(), ..good() };
            assert_eq!(told(&seen, &run("")), [], "{reached}");
        }
        let seen = Seen { listens: ["[::]:20001".parse().unwrap()].into(), ..good() };
        assert_eq!(told(&seen, &run("")).len(), 1, "open to others, and reached");
    }

    #[test]
    fn a_variable_that_the_log_misses_is_named_and_one_that_is_there_is_not() {
        let line = |text: &str| format!("2026-01-31T12:00:00.000Z err {text}");
        let log = vec![line("KeyError: 'DATABASE_URL'"), line("LOG_LEVEL must be set"), line("HTTP_OK")];
        let seen = Seen {
            log,
            variables: ["LOG_LEVEL".to_owned()].into(),
            healthy_after_ms: None,
            failure: Some("it ended with 1".into()),
            ..good()
        };
        let all = told(&seen, &run(""));
        assert_eq!(all[1], (true, "its log names `DATABASE_URL`, which it was not given".to_owned()));
    }

    #[test]
    fn what_it_leaves_in_its_folder_and_how_it_ends_is_told() {
        let seen = Seen { made: vec!["app.db".into()], ended_after_ms: None, ..good() };
        let all = told(&seen, &run(""));
        assert!(!all[0].0 && all[0].1.starts_with("it made `app.db` in its working folder"), "{all:?}");
        assert!(all[1].0 && all[1].1.starts_with("it did not end within 10s"), "{all:?}");
    }
}
