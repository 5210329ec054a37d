//! What instances use of memory and processors, looked at when somebody asks: nothing is measured for nobody.
//!
//! Where an instance has a control group the kernel says it of the whole, exactly. Elsewhere it is the sum over its processes, found as
//! descendants of the main one or in its process group: memory that several share counts for each, and what a process used that ended
//! and nobody waited for is lost.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::process::{Stat, descendants_of};

/// What an instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Microseconds of one processor, since its process started.
    pub cpu_us: u64,
    /// Processes.
    pub processes: u64,
}

/// Says what the processes of an instance use, of all that there are.
pub(crate) fn of_processes(main: i32, all: &[Stat]) -> Usage {
    let descendants = descendants_of(main, all);
    let is_of = |stat: &&Stat| stat.runs() && (descendants.contains(&stat.pid) || stat.group == main);
    let page = rustix::param::page_size() as u64;
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    all.iter().filter(is_of).fold(Usage::default(), |sum, stat| Usage {
        memory_bytes: sum.memory_bytes.saturating_add(stat.pages.saturating_mul(page)),
        cpu_us: sum.cpu_us.saturating_add(stat.ticks.saturating_mul(tick_us)),
        processes: sum.processes + 1,
    })
}

/// Says what the kernel counted of a control group, beside what was found of processes; that stands where a controller is not there.
pub(crate) fn of_group(group: &Path, processes: Usage) -> Usage {
    let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
    let number = |file: &str| read(file).trim().parse().ok();
    let cpu = read("cpu.stat").lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
    Usage {
        memory_bytes: number("memory.current").unwrap_or(processes.memory_bytes),
        cpu_us: cpu.unwrap_or(processes.cpu_us),
        processes: number("pids.current").unwrap_or(processes.processes),
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use rustix::process::getpid;

    use super::*;
    use crate::process::every_process;

    #[test]
    fn a_process_uses_what_it_took() {
        let main = getpid().as_raw_nonzero().get();
        let before = of_processes(main, &every_process());
        let much = black_box(vec![1_u8; 64 << 20]);
        let after = of_processes(main, &every_process());
        assert!(after.memory_bytes >= before.memory_bytes.max(much.len() as u64));
        assert!(after.processes >= 1);
        assert!(after.cpu_us >= before.cpu_us);
    }

    #[test]
    fn who_has_ended_uses_nothing() {
        assert_eq!(of_processes(i32::MAX, &every_process()), Usage::default());
    }

    #[test]
    fn a_group_says_it_where_it_has_the_controllers() {
        let folder = tempfile::tempdir().unwrap();
        let processes = Usage { memory_bytes: 1, cpu_us: 2, processes: 3 };
        assert_eq!(of_group(folder.path(), processes), processes);
        fs::write(folder.path().join("memory.current"), "4096\n").unwrap();
        fs::write(folder.path().join("cpu.stat"), "usage_usec 70\nuser_usec 50\nsystem_usec 20\n").unwrap();
        assert_eq!(
            of_group(folder.path(), processes),
            Usage { memory_bytes: 4_096, cpu_us: 70, processes: 3 }
        );
    }
}
