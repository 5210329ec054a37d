//! Limits of an instance, with what a host holds them, and what it does not.
//!
//! Control groups limit an instance as a whole. Where there is none, a process can be limited by itself, which is less: what
//! that is less stands in [`Held::open`]. Invariant: each limit of a version is in [`Held::held`], in [`Held::open`], or in both.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an instance may use at most. What is not said has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processors, in thousandths of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_thousandths: Option<u32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Files and sockets that each process has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
}

impl Limits {
    /// Tells whether nothing is limited. What an older release recorded meant this.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns these limits, and others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.or(others.memory_bytes),
            cpu_thousandths: self.cpu_thousandths.or(others.cpu_thousandths),
            processes: self.processes.or(others.processes),
            open_files: self.open_files.or(others.open_files),
        }
    }

    /// Goes through what is limited.
    pub fn each(&self) -> impl Iterator<Item = Limit> {
        let all = [
            self.memory_bytes.map(Limit::Memory),
            self.cpu_thousandths.map(Limit::Processors),
            self.processes.map(Limit::Processes),
            self.open_files.map(Limit::OpenFiles),
        ];
        all.into_iter().flatten()
    }

    /// Says how a host holds them, and what it does not.
    #[must_use]
    pub fn held(&self, means: &Means) -> Held {
        let mut said = Held::default();
        for limit in self.each() {
            let (held, open) = limit.held(means);
            said.held.extend(held);
            said.open.extend(open);
        }
        if !said.open.is_empty() {
            said.why.clone_from(&means.why);
        }
        said
    }
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of memory.
    Memory(u64),
    /// Thousandths of a processor.
    Processors(u32),
    /// Processes and threads.
    Processes(u32),
    /// Open files of each process.
    OpenFiles(u32),
}

/// With what a host holds limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Means {
    /// Whether a control group holds memory.
    pub group_memory: bool,
    /// Whether a control group holds processors.
    pub group_cpu: bool,
    /// Whether a control group holds processes.
    pub group_processes: bool,
    /// Whether the kernel counts the processes of the service apart: its user has no others, and is not root.
    pub counts_processes: bool,
    /// The most open files that can be allowed; `None` where any number can.
    pub most_open_files: Option<u64>,
    /// Why a control group does not hold something.
    pub why: String,
}

/// How the limits of an instance are held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Held {
    /// What is limited, and by what.
    #[serde(default)]
    pub held: Vec<String>,
    /// What is not limited although it should be, or not as a whole.
    #[serde(default)]
    pub open: Vec<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Held {
    /// Tells whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.open.is_empty()
    }

    /// Says in a line what is not held, and why; `None` where everything is.
    #[must_use]
    pub fn what_is_open(&self) -> Option<String> {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        (!self.open.is_empty()).then(|| format!("{}{why}", self.open.join(", ")))
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.what_is_open().map(|open| format!("not held: {open}"));
        let all: Vec<&str> = self.held.iter().map(String::as_str).chain(open.as_deref()).collect();
        f.write_str(&all.join("; "))
    }
}

impl Means {
    /// Says which limits of an instance as a whole are not held, and why; `None` where all are.
    #[must_use]
    pub fn what_is_open(&self) -> Option<String> {
        let all = [
            ("memory of an instance as a whole", self.group_memory),
            ("cpu", self.group_cpu),
            ("processes", self.group_processes),
        ];
        let open: Vec<_> = all.into_iter().filter(|(_, held)| !held).map(|(name, _)| name).collect();
        (!open.is_empty()).then(|| format!("{} ({})", open.join(", "), self.why))
    }
}

impl Limit {
    /// Says what is held of it, and what is not.
    fn held(self, means: &Means) -> (Option<String>, Option<String>) {
        let by_group = || (Some(format!("{self}, by control group")), None);
        match self {
            Self::Memory(_) if means.group_memory => by_group(),
            Self::Processors(_) if means.group_cpu => by_group(),
            Self::Processes(_) if means.group_processes => by_group(),
            Self::Memory(_) => (
                Some(format!("{self} for each process, by its data segment")),
                Some("memory of the instance as a whole".to_owned()),
            ),
            Self::Processes(_) if means.counts_processes => (
                Some(format!("{self} for all instances in the environment together, by user")),
                Some("processes of each instance".to_owned()),
            ),
            Self::Processors(_) | Self::Processes(_) => (None, Some(self.to_string())),
            Self::OpenFiles(files) => match means.most_open_files.filter(|most| *most < u64::from(files)) {
                None => (Some(format!("{self} of each process")), None),
                Some(most) => (
                    Some(format!("open files {most} of each process")),
                    Some(format!("{self}, because the server itself may have {most}")),
                ),
            },
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory(bytes) => write!(f, "memory {}", size(bytes)),
            Self::Processors(thousandths) => write!(f, "cpu {}", processors(thousandths)),
            Self::Processes(most) => write!(f, "processes {most}"),
            Self::OpenFiles(most) => write!(f, "open files {most}"),
        }
    }
}

/// Writes thousandths as a number with what decimals it needs.
#[must_use]
pub fn processors(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes bytes with the largest unit that divides them.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1_000, "kB"),
    ];
    let unit = UNITS.iter().find(|(factor, _)| bytes.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{bytes} bytes"), |(factor, unit)| format!("{} {unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_bytes: Some(512_000_000),
            cpu_thousandths: Some(1_500),
            processes: Some(200),
            open_files: Some(1_024),
        }
    }

    #[test]
    fn a_control_group_holds_everything() {
        let means = Means { group_memory: true, group_cpu: true, group_processes: true, ..Means::default() };
        let held = limits().held(&means);
        assert_eq!(
            held.held,
            [
                "memory 512 MB, by control group",
                "cpu 1.5, by control group",
                "processes 200, by control group",
                "open files 1024 of each process"
            ]
        );
        assert!(held.open.is_empty());
    }

    #[test]
    fn without_one_it_is_said_what_is_held_less_and_what_not_at_all() {
        let means = Means { why: "no control groups".into(), most_open_files: Some(512), ..Means::default() };
        let held = limits().held(&means);
        assert_eq!(
            held.held,
            ["memory 512 MB for each process, by its data segment", "open files 512 of each process"]
        );
        assert_eq!(
            held.open,
            [
                "memory of the instance as a whole",
                "cpu 1.5",
                "processes 200",
                "open files 1024, because the server itself may have 512"
            ]
        );
        assert!(held.what_is_open().is_some_and(|open| open.ends_with("may have 512 (no control groups)")));
        let counted = Limits { processes: Some(5), ..Limits::default() }
            .held(&Means { counts_processes: true, ..means });
        assert_eq!(counted.held, ["processes 5 for all instances in the environment together, by user"]);
    }

    #[test]
    fn a_job_that_says_less_takes_the_rest_from_its_service() {
        let own = Limits { memory_bytes: Some(1 << 30), ..Limits::default() };
        assert_eq!(own.or(limits()), Limits { memory_bytes: Some(1 << 30), ..limits() });
        assert_eq!(serde_json::to_string(&Limits::default()).unwrap(), "{}");
    }

    proptest! {
        #[test]
        fn every_limit_is_said_to_be_held_or_open(
            memory in any::<Option<u64>>(), cpu in any::<Option<u32>>(), processes in any::<Option<u32>>(), files in any::<Option<u32>>(),
            means in any::<[bool; 4]>(), most in any::<Option<u64>>(),
        ) {
            let limits = Limits { memory_bytes: memory, cpu_thousandths: cpu, processes, open_files: files };
            let [group_memory, group_cpu, group_processes, counts_processes] = means;
            let means = Means { group_memory, group_cpu, group_processes, counts_processes, most_open_files: most, why: String::new() };
            let Held { held, open, .. } = limits.held(&means);
            for word in limits.each().map(|limit| limit.to_string()) {
                let word = word.split_once(char::is_numeric).map_or(word.as_str(), |(word, _)| word);
                prop_assert!(held.iter().chain(&open).any(|said| said.starts_with(word)), "{word}: {held:?} {open:?}");
            }
            prop_assert!(held.len() + open.len() >= limits.each().count());
        }
    }
}
