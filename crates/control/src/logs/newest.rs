//! The newest of many lines, in the order of their times, within bounds.

use std::collections::BTreeMap;

use lockstep_api::types::LogEntry;
use lockstep_domain::{InstanceId, Timestamp};

/// Most bytes of text that are held.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// How far a log was read: the time of its last line, and how many of its lines have that time.
pub(crate) type Last = (Timestamp, usize);

/// Holds the newest lines that it was given. Lines of one time stay in the order in which they were given.
#[derive(Debug)]
pub(super) struct Newest {
    lines: BTreeMap<(Timestamp, u64), LogEntry>,
    given: u64,
    bytes: usize,
    most: usize,
}

impl Newest {
    pub(super) const fn new(most: usize) -> Self {
        Self { lines: BTreeMap::new(), given: 0, bytes: 0, most }
    }

    pub(super) fn take(&mut self, entry: LogEntry) {
        self.given += 1;
        self.bytes += entry.text.len();
        self.lines.insert((entry.at, self.given), entry);
        while self.lines.len() > self.most || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.lines.pop_first() else { return };
            self.bytes -= oldest.text.len();
        }
    }

    /// Says how far each log was read.
    pub(super) fn last_of_each(&self) -> BTreeMap<InstanceId, Last> {
        let mut last: BTreeMap<InstanceId, Last> = BTreeMap::new();
        for entry in self.lines.values() {
            let (at, count) = last.entry(entry.instance.clone()).or_insert((entry.at, 0));
            *count = if *at == entry.at { *count + 1 } else { 1 };
            *at = entry.at;
        }
        last
    }

    pub(super) fn into_entries(self) -> Vec<LogEntry> {
        self.lines.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: u64, instance: &str, text: &str) -> LogEntry {
        LogEntry {
            at: Timestamp(at),
            service: "orders".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            instance: instance.parse().unwrap(),
            job: None,
            host: None,
            source: "out".to_owned(),
            text: text.to_owned(),
            level: None,
            message: None,
            trace: None,
        }
    }

    #[test]
    fn the_newest_stay_in_the_order_of_their_times() {
        let mut newest = Newest::new(3);
        for (at, instance, text) in
            [(5, "a", "1"), (5, "a", "2"), (9, "a", "3"), (7, "b", "4"), (1, "b", "5")]
        {
            newest.take(entry(at, instance, text));
        }
        let last = [("a".parse().unwrap(), (Timestamp(9), 1)), ("b".parse().unwrap(), (Timestamp(7), 1))];
        assert_eq!(newest.last_of_each(), BTreeMap::from(last));
        let texts: Vec<_> = newest.into_entries().into_iter().map(|entry| entry.text).collect();
        assert_eq!(texts, ["2", "4", "3"]);
    }

    #[test]
    fn long_lines_are_held_within_a_bound() {
        let mut newest = Newest::new(100);
        let long = "x".repeat(MAX_BYTES / 4);
        (0..20).for_each(|at| newest.take(entry(at, "a", &long)));
        assert!(newest.bytes <= MAX_BYTES);
        assert_eq!(newest.into_entries().len(), 4);
    }
}
