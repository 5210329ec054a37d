//! What a container may use at most: `mem_limit` and the like, and `deploy.resources.limits`.

use lockstep_domain::limits::{Limit, Limits};

use super::Remarks;
use crate::parse::limits::{fits, thousandths};
use crate::yaml::Node;

/// Fields of a service that are read here.
pub(super) const KEYS: [&str; 4] = ["mem_limit", "cpus", "pids_limit", "ulimits"];
/// Units of the Compose Specification: each is 1,024 of the one before.
const UNITS: [(&str, u32); 10] = [
    ("kb", 1),
    ("k", 1),
    ("mb", 2),
    ("m", 2),
    ("gb", 3),
    ("g", 3),
    ("tb", 4),
    ("t", 4),
    ("bytes", 0),
    ("b", 0),
];

/// Reads what limits a service. What cannot be held, or says nothing that is known, is said.
pub(super) fn of(node: &Node, remarks: &mut Remarks) -> Limits {
    let mut own = Reading { remarks, around: "" };
    let mut limits = Limits {
        memory_bytes: own.field(node, "mem_limit", bytes, Limit::Memory),
        cpu_thousandths: own.field(node, "cpus", thousandths, Limit::Processors),
        processes: own.field(node, "pids_limit", number, Limit::Processes),
        open_files: None,
    };
    if let Some(ulimits) = node.get("ulimits") {
        limits.open_files = own.ulimits(ulimits);
    }
    let resources = node.get("deploy").and_then(|deploy| deploy.get("resources"));
    resources.map_or(limits, |resources| limits.or(deployed(resources, remarks)))
}

fn deployed(resources: &Node, remarks: &mut Remarks) -> Limits {
    let mut reading = Reading { remarks, around: "deploy.resources." };
    // What is reserved is not needed where nobody shares out hosts.
    reading.others(resources, &["limits", "reservations"]);
    let Some(node) = resources.get("limits") else { return Limits::default() };
    let mut reading = Reading { remarks, around: "deploy.resources.limits." };
    reading.others(node, &["memory", "cpus", "pids"]);
    Limits {
        memory_bytes: reading.field(node, "memory", bytes, Limit::Memory),
        cpu_thousandths: reading.field(node, "cpus", thousandths, Limit::Processors),
        processes: reading.field(node, "pids", number, Limit::Processes),
        open_files: None,
    }
}

struct Reading<'a> {
    remarks: &'a mut Remarks,
    /// What the fields lie in, with a dot at the end.
    around: &'static str,
}

impl Reading<'_> {
    /// Reads a field; `0` and less is no limit.
    fn field<T: Copy>(
        &mut self,
        node: &Node,
        key: &str,
        read: fn(&str) -> Option<T>,
        limit: fn(T) -> Limit,
    ) -> Option<T> {
        let field = node.get(key)?;
        let text = field.text().unwrap_or_default().trim();
        let is_zero = !text.is_empty() && text.trim_matches(['0', '.']).is_empty();
        if is_zero || text.starts_with('-') {
            return None;
        }
        let found = read(text).filter(|found| fits(limit(*found)));
        if found.is_none() {
            self.not_taken(field, key, &format!(" of {text:?}"));
        }
        found
    }

    fn ulimits(&mut self, ulimits: &Node) -> Option<u32> {
        for (key, node) in ulimits.entries().iter().filter(|(key, _)| key != "nofile") {
            self.not_taken(node, &format!("ulimits.{key}"), "");
        }
        // As there, the soft limit is what a program has that does not ask for more.
        match ulimits.get("nofile")? {
            files if files.text().is_some() => self.field(ulimits, "nofile", number, Limit::OpenFiles),
            files => self.field(files, "soft", number, Limit::OpenFiles),
        }
    }

    fn others(&mut self, node: &Node, known: &[&str]) {
        for (key, value) in node.entries().iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            self.not_taken(value, key, "");
        }
    }

    fn not_taken(&mut self, node: &Node, key: &str, of: &str) {
        let text = format!("`{}{key}`{of} is not taken", self.around);
        self.remarks.not_taken(
            node.line,
            text,
            "what can be limited: memory, cpu, processes and open_files in [run.limits]",
        );
    }
}

/// Reads `512m` or a number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power)));
    let (number, power) = unit.unwrap_or((&text, 0));
    let factor = 1_024_u64.checked_pow(power)?;
    let number = number.trim();
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let part = match (part, u32::try_from(part.len()).ok()?) {
        ("", _) => 0,
        (part, length) => part.parse::<u64>().ok()?.checked_mul(factor)? / 10_u64.checked_pow(length)?,
    };
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_compose() {
        for (text, expected) in [
            ("64m", Some(64 << 20)),
            ("1.5G", Some(3 << 29)),
            ("1.+5G", None),
            ("18446744073709551615t", None),
            ("2 gb", Some(2 << 30)),
            ("300000k", Some(300_000 << 10)),
            ("1073741", Some(1_073_741)),
            ("1x", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
