//! The server as a process, by the names that every client library of Prometheus gives to it.
//!
//! Source: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fs;

use lockstep_domain::metrics_text::{Kind, MetricsText};

/// Where the fields of `/proc/self/stat` are behind the name, from 0.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const STARTED_TICKS: usize = 19;
const PAGES: usize = 21;

/// Writes it; what the system does not say is left out.
pub(super) fn write(text: &mut MetricsText) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = fields(&stat);
    let per_second = rustix::param::clock_ticks_per_second().max(1) as f64;
    if let (Some(user), Some(system)) = (fields.get(USER_TICKS), fields.get(SYSTEM_TICKS)) {
        text.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Time of processors that the server has used.",
        );
        text.sample(&[], (user + system) as f64 / per_second);
    }
    if let Some(pages) = fields.get(PAGES) {
        text.family("process_resident_memory_bytes", Kind::Gauge, "Memory that the server has.");
        text.sample(&[], pages * rustix::param::page_size() as u64);
    }
    if let (Some(started), Some(booted)) = (fields.get(STARTED_TICKS), booted()) {
        text.family(
            "process_start_time_seconds",
            Kind::Gauge,
            "When the server started, in seconds since 1970.",
        );
        text.sample(&[], booted as f64 + *started as f64 / per_second);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.family("process_open_fds", Kind::Gauge, "Files and connections that the server has open.");
        text.sample(&[], open.count());
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        text.family("process_max_fds", Kind::Gauge, "Files and connections that the server may have open.");
        text.sample(&[], most);
    }
}

/// Reads the numbers behind the name; a field that is none counts as 0, such as the state.
fn fields(stat: &str) -> Vec<u64> {
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect()
}

fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_its_own() {
        let mut text = MetricsText::default();
        write(&mut text);
        let text = text.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        let age = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
            - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_max_fds") > 3.0);
    }
}
