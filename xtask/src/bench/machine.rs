//! What a figure was measured on: without it the figure says nothing.

use std::fs;
use std::thread;

/// Names the machine in one line.
pub(super) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (processor, kernel, load) =
        (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let processor = model(&processor);
    let load = load.split(' ').next().unwrap_or_default();
    format!("machine: {cores} cores of {processor}, Linux {}, load {load} before the start", kernel.trim())
}

fn model(cpuinfo: &str) -> &str {
    let named = |line: &'_ &str| line.starts_with("model name") || line.starts_with("Model");
    let line = cpuinfo.lines().find(named).and_then(|line| line.split_once(':'));
    line.map_or("an unnamed processor", |(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_where_the_system_names_it() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Xeon 7\n"), "Xeon 7");
        assert_eq!(model("processor\t: 0\n"), "an unnamed processor");
        assert!(describe().contains("Linux"));
    }
}
