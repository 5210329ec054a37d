//! What a service and a build may touch, as data: the tables, and the rules that follow from them on a host. Pure.
//!
//! The kernel's rules only allow, and each holds for everything below its folder. "All but the data folder" is
//! therefore written as the siblings of every folder on the way to it. Invariant: no rule lies above a hidden path, and
//! none lies at or below one except those that are given by name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where every program may leave temporary files.
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Hidden, because a program of root would find every file of the host in a device there.
const DEVICES: &str = "/dev";
/// Folders of devices that ordinary programs use: terminals, queues, graphics, sound, network tunnels.
const DEVICE_FOLDERS: [&str; 7] = ["pts", "shm", "mqueue", "dri", "snd", "net", "nvidia-caps"];
/// Devices that show or change the memory of the host.
const FORBIDDEN_DEVICES: [&str; 3] = ["mem", "kmem", "port"];
/// Where the tools of builds keep what they fetched, for a home folder that lies in the data folder.
const CACHES: [&str; 22] = [
    ".cache",
    ".cargo",
    ".rustup",
    ".npm",
    ".npmrc",
    ".yarn",
    ".local",
    ".config",
    ".m2",
    ".gradle",
    ".ivy2",
    ".sbt",
    "go",
    ".nuget",
    ".dotnet",
    ".gem",
    ".bundle",
    ".composer",
    ".hex",
    ".mix",
    ".bun",
    ".gitconfig",
];

/// What may be touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What is neither readable nor writable, whatever lies above it.
    pub hidden: Vec<PathBuf>,
    /// Folders that are writable, except for what is hidden in them.
    pub shared: Vec<PathBuf>,
    /// Folders and files that are readable although they are hidden.
    pub readable: Vec<PathBuf>,
    /// Folders and files that are writable although they are hidden.
    pub writable: Vec<PathBuf>,
    /// Who is reached otherwise.
    #[serde(default)]
    pub reached: Reached,
}

/// Whom signals may go to, and whose abstract sockets may be connected to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Only what was started by itself.
    #[default]
    Own,
    /// Everybody of the user: for a program of ours, which takes over from another one of its kind.
    Everybody,
}

impl Policy {
    /// What a service may touch: it reads the host and its `release`, and writes its own folders and pipes (`own`).
    #[must_use]
    pub fn of_service(data: &Path, release: &Path, own: Vec<PathBuf>) -> Self {
        Self { readable: vec![release.to_owned()], writable: own, ..Self::around(data) }
    }

    /// What a command of a build may touch: it reads the host, and writes its own folders and the user's home.
    #[must_use]
    pub fn of_build(data: &Path, home: Option<&Path>, own: Vec<PathBuf>) -> Self {
        let mut policy = Self { writable: own, ..Self::around(data) };
        match home.filter(|home| home.is_absolute() && *home != Path::new("/")) {
            Some(home) if home.starts_with(data) => {
                policy.writable.extend(CACHES.iter().map(|cache| home.join(cache)));
            }
            Some(home) => policy.shared.push(home.to_owned()),
            None => {}
        }
        policy
    }

    fn around(data: &Path) -> Self {
        let shared = TEMPORARY.iter().map(PathBuf::from).collect();
        Self { hidden: vec![data.to_owned()], shared, ..Self::default() }
    }

    /// Returns the rules on a host whose folders `list` shows.
    #[must_use]
    pub fn rules(&self, list: &dyn Fn(&Path) -> Vec<Entry>) -> Vec<Rule> {
        let hidden: Vec<&Path> =
            self.hidden.iter().map(PathBuf::as_path).chain([Path::new(DEVICES)]).collect();
        let around = Around { hidden: &hidden, list };
        let mut rules = Vec::new();
        around.open(Path::new("/"), Access::Read, &mut rules);
        for shared in &self.shared {
            // A folder for everybody below `/dev` is given by name, with the devices.
            around.open(shared, Access::Write, &mut rules);
        }
        rules.extend(devices(list));
        let named = |paths: &[PathBuf], access| {
            paths.iter().map(move |path| Rule { path: path.clone(), access }).collect::<Vec<_>>()
        };
        rules.extend(named(&self.readable, Access::Read));
        rules.extend(named(&self.writable, Access::Write));
        rules
    }
}

/// What a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Only to list a folder and the folders below it.
    List,
    /// To read, list and execute.
    Read,
    /// To read, list, execute, write, make and remove.
    Write,
}

/// One rule: for a file, or for a folder and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file or folder.
    pub path: PathBuf,
    /// What is allowed.
    pub access: Access,
}

/// What stands under a name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A symbolic link. It gets no rule: what it leads to has one of its own, or is hidden.
    Link,
    /// A block device: the bytes of a disk.
    Disk,
    /// Anything else.
    File,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: std::ffi::OsString,
    /// What stands there.
    pub kind: Kind,
}

struct Around<'a> {
    hidden: &'a [&'a Path],
    list: &'a dyn Fn(&Path) -> Vec<Entry>,
}

impl Around<'_> {
    /// Allows everything below a folder except for what is hidden.
    fn open(&self, path: &Path, access: Access, rules: &mut Vec<Rule>) {
        if self.hidden.iter().any(|hidden| path.starts_with(hidden)) {
            return;
        }
        if !self.hidden.iter().any(|hidden| hidden.starts_with(path)) {
            rules.push(Rule { path: path.to_owned(), access });
            return;
        }
        for entry in (self.list)(path) {
            if matches!(entry.kind, Kind::Folder | Kind::File) {
                self.open(&path.join(entry.name), access, rules);
            }
        }
    }
}

fn devices(list: &dyn Fn(&Path) -> Vec<Entry>) -> Vec<Rule> {
    let folder = Path::new(DEVICES);
    let is_allowed = |entry: &Entry| match entry.kind {
        Kind::Folder => DEVICE_FOLDERS.iter().any(|name| entry.name == *name),
        Kind::File => !FORBIDDEN_DEVICES.iter().any(|name| entry.name == *name),
        Kind::Link | Kind::Disk => false,
    };
    let allowed = list(folder).into_iter().filter(is_allowed);
    let rule = |entry: Entry| Rule { path: folder.join(entry.name), access: Access::Write };
    std::iter::once(Rule { path: folder.to_owned(), access: Access::List }).chain(allowed.map(rule)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A host of folders; a name that ends in `@` is a link, one in `#` a disk.
    fn host(paths: &[&str]) -> impl Fn(&Path) -> Vec<Entry> + use<> {
        let mut folders: BTreeMap<PathBuf, BTreeMap<String, Kind>> = BTreeMap::new();
        for path in paths {
            let mut at = PathBuf::from("/");
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            for (index, part) in parts.iter().enumerate() {
                let (name, kind) = match part.strip_suffix('@').zip(Some(Kind::Link)) {
                    Some(link) => link,
                    None => match part.strip_suffix('#') {
                        Some(name) => (name, Kind::Disk),
                        None if index + 1 == parts.len() && part.contains('.') => (*part, Kind::File),
                        None => (*part, Kind::Folder),
                    },
                };
                folders.entry(at.clone()).or_default().entry(name.to_owned()).or_insert(kind);
                at.push(name);
            }
        }
        move |path| {
            let entries = folders.get(path).cloned().unwrap_or_default();
            entries.into_iter().map(|(name, kind)| Entry { name: name.into(), kind }).collect()
        }
    }

    fn shown(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|rule| format!("{:?} {}", rule.access, rule.path.display())).collect()
    }

    /// Whether a rule allows this, as the kernel would decide.
    fn allows(rules: &[Rule], path: &str, access: Access) -> bool {
        rules.iter().any(|rule| rule.access >= access && Path::new(path).starts_with(&rule.path))
    }

    #[test]
    fn a_service_gets_the_siblings_of_the_data_folder_and_its_own_folders() {
        let host = host(&[
            "/usr/bin",
            "/bin@",
            "/tmp",
            "/var/lib/lockstep/secrets",
            "/var/lib/other",
            "/var/lib/alias@",
            "/var/log",
            "/dev/null.dev",
            "/dev/sda#",
            "/dev/pts",
            "/dev/block",
        ]);
        let data = Path::new("/var/lib/lockstep");
        let own = vec![data.join("runtime/instances/a/work")];
        let policy = Policy::of_service(data, &data.join("runtime/releases/x"), own);
        assert_eq!(
            shown(&policy.rules(&host)),
            [
                "Read /tmp",
                "Read /usr",
                "Read /var/lib/other",
                "Read /var/log",
                "Write /tmp",
                "Write /var/tmp",
                "List /dev",
                "Write /dev/null.dev",
                "Write /dev/pts",
                "Read /var/lib/lockstep/runtime/releases/x",
                "Write /var/lib/lockstep/runtime/instances/a/work",
            ]
        );
    }

    #[test]
    fn a_build_writes_the_home_folder_except_for_the_data_folder_in_it() {
        let host = host(&["/home/u/.cargo", "/home/u/data/secrets", "/home/v"]);
        let rules =
            Policy::of_build(Path::new("/home/u/data"), Some(Path::new("/home/u")), Vec::new()).rules(&host);
        assert!(allows(&rules, "/home/u/.cargo/registry", Access::Write));
        assert!(
            !allows(&rules, "/home/v/file", Access::Write) && allows(&rules, "/home/v/file", Access::Read)
        );
        assert!(!allows(&rules, "/home/u/data/secrets/x", Access::List));
    }

    #[test]
    fn a_home_folder_in_the_data_folder_keeps_its_caches_and_nothing_else() {
        let data = Path::new("/var/lib/lockstep");
        let rules =
            Policy::of_build(data, Some(data), Vec::new()).rules(&host(&["/var/lib/lockstep/secrets"]));
        assert!(allows(&rules, "/var/lib/lockstep/.cargo/registry", Access::Write));
        assert!(!allows(&rules, "/var/lib/lockstep/secrets", Access::List));
    }

    #[test]
    fn a_temporary_folder_that_holds_the_data_folder_is_opened_around_it() {
        let host = host(&["/tmp/t1/data/secrets", "/tmp/t1/repo", "/tmp/t2"]);
        let data = Path::new("/tmp/t1/data");
        let rules = Policy::of_service(data, &data.join("release"), Vec::new()).rules(&host);
        assert!(
            allows(&rules, "/tmp/t2/x", Access::Write) && allows(&rules, "/tmp/t1/repo/x", Access::Write)
        );
        assert!(!allows(&rules, "/tmp/t1/data/secrets", Access::List));
        assert!(!allows(&rules, "/tmp/new", Access::Write));
    }

    proptest! {
        #[test]
        fn no_rule_reaches_what_is_hidden(
            paths in prop::collection::vec("(/[abc]@?){1,5}", 1..20), hidden in "(/[abc]){1,4}", home in "(/[abc]){1,3}",
        ) {
            let paths: Vec<&str> = paths.iter().map(String::as_str).chain([hidden.as_str()]).collect();
            let (hidden, home) = (Path::new(&hidden), Path::new(&home));
            let policy = Policy::of_build(hidden, Some(home), Vec::new());
            for rule in policy.rules(&host(&paths)).iter().filter(|rule| !policy.writable.contains(&rule.path)) {
                prop_assert!(!hidden.starts_with(&rule.path) && !rule.path.starts_with(hidden), "{rule:?}");
            }
        }
    }
}
