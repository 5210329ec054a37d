//! What was found of a host, and what to do about one that cannot be used: words for people, which the server and the command line share.
//! Pure.

use std::path::Path;

use lockstep_domain::HostName;
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::ssh_target::SshTarget;

use crate::remote::{ConnectFault, HostLook};

/// Clocks that differ by more make logs and certificates hard to follow.
const MAX_CLOCK_DIFFERENCE_MS: u64 = 5_000;
/// A disk with less room is full after the first artifacts.
const MIN_FREE_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;

/// What a host that was looked at lacks for instances, and what is worth knowing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// What keeps instances from running there, each with what to do about it.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

impl Findings {
    /// Tells whether instances can run there.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Who looks at a host: what there is to do about a thing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looker<'a> {
    /// A person, from the machine that they work on, by `lockstep host check TARGET`.
    Person,
    /// The server, before the host is added.
    Adding {
        /// What the host is going to be called.
        host: &'a HostName,
    },
    /// The server that the host belongs to.
    Owner {
        /// What the host is called.
        host: &'a HostName,
        /// What the server is called in leases.
        server: &'a str,
    },
}

/// Says what was found. `ports` are those that instances would get.
#[must_use]
pub fn findings(look: &HostLook, ports: PortRange, looker: Looker<'_>) -> Findings {
    let facts = &look.looked.facts;
    let problems = [
        clock(look.clock_ahead_ms, looker),
        room(facts.free_bytes, &facts.folder, looker),
        no_ports(look.looked.free_ports, ports, looker),
        look.looked.no_listening.as_ref().map(|why| {
            format!("instances cannot listen at the address that was named: {why}; name one of the host with --address")
        }),
        look.looked.ends_at_logout.clone(),
    ];
    let boot = facts.not_after_boot.iter().map(|why| format!("after a boot without a server: {why}"));
    let owner = look.looked.owner.as_deref().and_then(|owner| owned(owner, looker));
    let open = facts.unprotected.iter().map(|what| format!("on this host {what}"));
    let limits = facts.means.what_is_open().map(|open| format!("limits that it does not hold: {open}"));
    Findings {
        problems: problems.into_iter().flatten().collect(),
        notes: boot.chain(owner).chain(open).chain(limits).collect(),
    }
}

fn clock(ahead_ms: i64, looker: Looker<'_>) -> Option<String> {
    let difference = ahead_ms.unsigned_abs();
    (difference > MAX_CLOCK_DIFFERENCE_MS).then(|| {
        let which = if ahead_ms > 0 { "ahead of" } else { "behind" };
        let ours = if looker == Looker::Person { "this machine" } else { "the server" };
        format!(
            "its clock is {} s {which} that of {ours}; on the host: timedatectl set-ntp true",
            difference / 1000
        )
    })
}

fn room(free: u64, folder: &str, looker: Looker<'_>) -> Option<String> {
    let next = match looker {
        Looker::Person | Looker::Adding { .. } => "name another folder with --folder",
        Looker::Owner { .. } => "make room there",
    };
    (free < MIN_FREE_BYTES).then(|| {
        format!("{} MiB are free in {folder}, and {} are wanted; {next}", free / MIB, MIN_FREE_BYTES / MIB)
    })
}

fn no_ports(free: u32, ports: PortRange, looker: Looker<'_>) -> Option<String> {
    let next = match looker {
        Looker::Person => "name others with --ports FIRST-LAST",
        Looker::Adding { .. } | Looker::Owner { .. } => {
            "give instances others: lockstep environment set ENV --instance-ports FIRST-LAST"
        }
    };
    (free == 0).then(|| format!("no port of {ports} is free there; {next}"))
}

fn owned(owner: &str, looker: Looker<'_>) -> Option<String> {
    let has = format!("the server `{owner}` has the host");
    match looker {
        Looker::Person => Some(format!("{has} already")),
        Looker::Adding { host } => Some(format!(
            "{has}, and lets nobody else work there; once it is added here: lockstep host take-over {host}"
        )),
        Looker::Owner { server, .. } if server == owner => None,
        Looker::Owner { host, .. } => {
            Some(format!("{has}; take it from there: lockstep host take-over {host}"))
        }
    }
}

/// How a host is reached, as what is said about that names it.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Where `ssh` connects to.
    pub target: &'a SshTarget,
    /// The key that it logs in with, where one was named.
    pub key: Option<&'a Path>,
    /// Who looks.
    pub looker: Looker<'a>,
}

impl Way<'_> {
    /// The command by which a person tries the same.
    fn by_hand(&self) -> String {
        let key = self.key.map(|key| format!(" -i {}", key.display())).unwrap_or_default();
        let port = self.target.port.map(|port| format!(" -p {port}")).unwrap_or_default();
        let user = self.target.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let command = format!("ssh{key}{port} {user}{} true", self.target.host);
        match self.looker {
            Looker::Person => command,
            Looker::Adding { .. } | Looker::Owner { .. } => {
                format!("{command} (as the user of the server, on its machine)")
            }
        }
    }
}

/// Says what to do about a host that cannot be used; `None` where what was found says it.
#[must_use]
pub fn hint(fault: ConnectFault, way: Way<'_>) -> Option<String> {
    let by_hand = way.by_hand();
    Some(match fault {
        ConnectFault::Unreachable | ConnectFault::Broken => format!("try it by hand: {by_hand}"),
        ConnectFault::Login => format!(
            "put the public key into ~/.ssh/authorized_keys of the user there, or name a key{}; by hand: {by_hand}",
            another_key(way.looker)
        ),
        ConnectFault::HostKey => other_host_key(way.looker, &by_hand),
        ConnectFault::NoShell => {
            "give the user a shell; as root on the host: usermod --shell /bin/sh USER".to_owned()
        }
        ConnectFault::Garbage => format!("nothing may be printed by: {by_hand}"),
        ConnectFault::Folder => no_folder(way.looker).to_owned(),
        ConnectFault::Write => {
            let next = no_folder(way.looker);
            format!("{next}; if another command sends the program there at this moment, try again")
        }
        ConnectFault::Architecture => other_kind(way.looker).to_owned(),
        ConnectFault::Program => no_program(way.looker),
        ConnectFault::Refused => return refused(way.looker),
        ConnectFault::NoSsh => return None,
    })
}

fn another_key(looker: Looker<'_>) -> String {
    match looker {
        Looker::Person => " with --key".to_owned(),
        Looker::Adding { .. } => " on the machine of the server with --key".to_owned(),
        Looker::Owner { host, .. } => {
            format!(" on the machine of the server: lockstep host set {host} --key FILE")
        }
    }
}

fn other_host_key(looker: Looker<'_>, by_hand: &str) -> String {
    let jump = "where the way leads over a jump host, its key is not known yet: log in there once by hand";
    match looker {
        Looker::Person | Looker::Adding { .. } => {
            format!("{jump}; else find out why the key changed: {by_hand}")
        }
        Looker::Owner { host, .. } => format!(
            "find out why the key changed; if the host was set up anew: lockstep host set {host} --fingerprint SHA256:... \
             with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there; {jump}: {by_hand}"
        ),
    }
}

const fn no_folder(looker: Looker<'_>) -> &'static str {
    match looker {
        Looker::Person | Looker::Adding { .. } => {
            "name a folder that the user may write, with room, with --folder"
        }
        Looker::Owner { .. } => "make room there, and let the user write the folder",
    }
}

const fn other_kind(looker: Looker<'_>) -> &'static str {
    match looker {
        Looker::Person => "give a program that is built for it, with --program FILE",
        Looker::Adding { .. } | Looker::Owner { .. } => {
            "the server brings the program that it is itself: hosts are of its kind"
        }
    }
}

fn no_program(looker: Looker<'_>) -> String {
    let older = match looker {
        Looker::Person => {
            "the host is older than this program: give one that is built on a system as old, with --program FILE"
        }
        Looker::Adding { .. } | Looker::Owner { .. } => {
            "the host is older than the program of the server: run a server that is built on a system as old"
        }
    };
    let elsewhere = match looker {
        Looker::Person | Looker::Adding { .. } => "name another with --folder",
        Looker::Owner { .. } => "mount it otherwise",
    };
    format!(
        "where it says `GLIBC`, {older}; where it says `Permission denied`, the folder may be mounted noexec: {elsewhere}"
    )
}

fn refused(looker: Looker<'_>) -> Option<String> {
    match looker {
        Looker::Person | Looker::Adding { .. } => None,
        Looker::Owner { host, .. } => {
            Some(format!("if the other server is gone, or is not to have it: lockstep host take-over {host}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockstep_domain::limits::Means;

    use super::*;
    use crate::protocol::{HostFacts, Looked};

    const PORTS: PortRange = PortRange::USUAL;

    fn good() -> HostLook {
        let facts = HostFacts {
            name: "web1".into(),
            kernel: "6.1.0".into(),
            architecture: "x86_64".into(),
            boot: "1".into(),
            clock_ms: 0,
            user: 1000,
            folder: "/srv/lockstep".into(),
            free_bytes: 5 * MIN_FREE_BYTES,
            processors: 2,
            memory_bytes: MIN_FREE_BYTES,
            address: Some("10.0.0.5".parse().unwrap()),
            not_after_boot: None,
            unprotected: Vec::new(),
            means: Means { group_memory: true, group_cpu: true, group_processes: true, ..Means::default() },
        };
        let looked =
            Looked { facts, owner: None, free_ports: 10_000, no_listening: None, ends_at_logout: None };
        HostLook { looked, round_trip: Duration::from_millis(3), clock_ahead_ms: 40 }
    }

    fn web1() -> HostName {
        "web1".parse().unwrap()
    }

    #[test]
    fn nothing_is_said_of_a_host_that_has_all() {
        let (host, server) = (web1(), "here:/data");
        for looker in [Looker::Person, Looker::Adding { host: &host }, Looker::Owner { host: &host, server }]
        {
            assert_eq!(findings(&good(), PORTS, looker), Findings::default());
        }
    }

    #[test]
    fn everything_that_is_missing_is_told_at_once_in_words_of_who_looks() {
        let mut look = good();
        look.clock_ahead_ms = -7_400;
        look.looked.facts.free_bytes = 300 * MIB;
        look.looked.free_ports = 0;
        look.looked.ends_at_logout = Some("a logout ends it".into());
        look.looked.facts.not_after_boot = Some("no lingering".into());
        look.looked.facts.unprotected = vec!["limits are not held".into()];
        let found = findings(&look, PORTS, Looker::Person);
        assert!(!found.is_usable());
        assert_eq!(
            found.problems,
            [
                "its clock is 7 s behind that of this machine; on the host: timedatectl set-ntp true"
                    .to_owned(),
                "300 MiB are free in /srv/lockstep, and 1024 are wanted; name another folder with --folder"
                    .into(),
                format!("no port of {PORTS} is free there; name others with --ports FIRST-LAST"),
                "a logout ends it".into(),
            ]
        );
        assert_eq!(
            found.notes,
            ["after a boot without a server: no lingering", "on this host limits are not held"]
        );
        let host = web1();
        let found = findings(&look, PORTS, Looker::Owner { host: &host, server: "here" });
        let text = found.problems.join("\n");
        assert!(text.contains("behind that of the server") && text.contains("make room there"), "{text}");
        assert!(
            text.contains("environment set ENV --instance-ports") && !text.contains("--folder"),
            "{text}"
        );
    }

    #[test]
    fn a_difference_of_clocks_that_every_network_has_is_none() {
        let mut look = good();
        for (ahead, is_usable) in [(5_999, false), (5_000, true), (-5_000, true), (i64::MIN, false)] {
            look.clock_ahead_ms = ahead;
            assert_eq!(findings(&look, PORTS, Looker::Person).is_usable(), is_usable, "{ahead}");
        }
    }

    #[test]
    fn another_server_is_told_of_and_the_own_one_is_not() {
        let (mut look, host) = (good(), web1());
        look.looked.owner = Some("here:/data".into());
        let notes = |looker| findings(&look, PORTS, looker).notes.join("\n");
        assert_eq!(notes(Looker::Person), "the server `here:/data` has the host already");
        assert_eq!(notes(Looker::Owner { host: &host, server: "here:/data" }), "");
        let take_over = "lockstep host take-over web1";
        assert!(notes(Looker::Owner { host: &host, server: "there:/data" }).contains(take_over));
        assert!(notes(Looker::Adding { host: &host }).contains(take_over));
    }

    #[test]
    fn each_fault_has_its_next_command_and_none_that_the_reader_does_not_have() {
        let (host, target) = (web1(), "deploy@10.0.0.5:2222".parse().unwrap());
        let key = Path::new("/keys/deploy");
        let said = |fault, looker| hint(fault, Way { target: &target, key: Some(key), looker });
        let owner = Looker::Owner { host: &host, server: "here" };
        let unreachable = said(ConnectFault::Unreachable, Looker::Person);
        assert_eq!(
            unreachable.as_deref(),
            Some("try it by hand: ssh -i /keys/deploy -p 2222 deploy@10.0.0.5 true")
        );
        let login = said(ConnectFault::Login, owner).unwrap();
        assert!(login.contains("lockstep host set web1 --key FILE"), "{login}");
        let key = said(ConnectFault::HostKey, owner).unwrap();
        assert!(key.contains("lockstep host set web1 --fingerprint SHA256:"), "{key}");
        assert_eq!(said(ConnectFault::Refused, Looker::Adding { host: &host }), None);
        assert!(said(ConnectFault::Refused, owner).unwrap().contains("lockstep host take-over web1"));
        for fault in [
            ConnectFault::Unreachable,
            ConnectFault::HostKey,
            ConnectFault::Login,
            ConnectFault::NoShell,
            ConnectFault::Garbage,
            ConnectFault::Folder,
            ConnectFault::Write,
            ConnectFault::Architecture,
            ConnectFault::Program,
            ConnectFault::Broken,
        ] {
            let text = said(fault, owner).unwrap();
            assert!(!text.contains("--program") && !text.contains("--folder"), "{fault:?}: {text}");
            assert!(said(fault, Looker::Person).is_some_and(|text| !text.contains("server")), "{fault:?}");
        }
    }
}
