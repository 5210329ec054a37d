//! What is measured, as text: the format of Prometheus (version 0.0.4), and OpenMetrics 1.0 made of it.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
//! Names of metrics begin with `lockstep_`, in base units. Labels of services are those of OpenTelemetry (`service.name`,
//! `service.version`, `deployment.environment.name`, `service.instance.id`, `host.name`), written with `_` for `.` as its exporters do.

use std::fmt::Write as _;

/// The media type of [`MetricsText::text`].
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The media type of [`open_metrics`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The environment that a sample is of.
pub const ENVIRONMENT: &str = "deployment_environment_name";
/// The service that a sample is of.
pub const SERVICE: &str = "service_name";
/// The version that a sample is of.
pub const VERSION: &str = "service_version";
/// The instance that a sample is of.
pub const INSTANCE: &str = "service_instance_id";
/// The host that a sample is of.
pub const HOST: &str = "host_name";

/// What the samples of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and begins again at 0 with whoever counts. Its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds, in samples of the names `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The name and value of a label.
pub type Label<'a> = (&'a str, &'a str);

/// Metrics that are being written, one family after the other: the samples of one stand together.
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
    /// The name and kind of the family whose samples come.
    family: Option<(&'static str, Kind)>,
}

impl MetricsText {
    /// Begins a family. `help` is one sentence.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
        self.family = Some((name, kind));
    }

    /// Writes a sample of the family that was begun last; none where none was.
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl std::fmt::Display) {
        let Some((name, _)) = self.family else { return };
        self.text.push_str(name);
        self.labels(labels);
        self.write(format_args!(" {value}\n"));
    }

    /// Writes a line as it is given.
    pub fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.write(format_args!("{line}\n"));
    }

    fn labels(&mut self, labels: &[Label<'_>]) {
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{name}=\"{}\"", escaped(value)));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes all that is written to it");
    }

    /// Returns what was written.
    #[must_use]
    pub fn text(self) -> String {
        self.text
    }
}

/// Escapes the value of a label that may have any characters.
#[must_use]
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Makes OpenMetrics of the text format of Prometheus, as Lockstep writes that: a counter is called without the `_total` of its
/// samples, and the end is said.
#[must_use]
pub fn open_metrics(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 16);
    let counters: Vec<&str> = text.lines().filter_map(counter).collect();
    for line in text.lines() {
        match line.strip_prefix("# ").and_then(|line| declared(line, &counters)) {
            Some(declared) => written.push_str(&declared),
            None => written.push_str(line),
        }
        written.push('\n');
    }
    written.push_str("# EOF\n");
    written
}

fn counter(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

/// Writes `HELP NAME TEXT` or `TYPE NAME KIND` of OpenMetrics.
fn declared(line: &str, counters: &[&str]) -> Option<String> {
    let (what, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let family = if counters.contains(&name) { name.strip_suffix("_total").unwrap_or(name) } else { name };
    match what {
        "HELP" => Some(format!("# HELP {family} {}", rest.replace('"', "\\\""))),
        "TYPE" => Some(format!("# TYPE {family} {rest}")),
        _ => None,
    }
}

/// Tells whether who says this in `accept` would rather have OpenMetrics: Prometheus names it with a weight above that of the text.
#[must_use]
pub fn wants_open_metrics(accept: &str) -> bool {
    let weight = |part: &str| {
        let given = part.split(';').find_map(|it| it.trim().strip_prefix("q=")?.trim().parse::<f32>().ok());
        given.unwrap_or(1.0)
    };
    let of = |kind: &str| {
        let named =
            accept.split(',').filter(|part| part.trim().split(';').next().map(str::trim) == Some(kind));
        named.map(weight).fold(0.0_f32, f32::max)
    };
    of("application/openmetrics-text") > of("text/plain")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> String {
        let mut text = MetricsText::default();
        text.family("lockstep_requests_total", Kind::Counter, "Requests, \"all\" of them.");
        text.sample(&[(SERVICE, "orders"), (VERSION, "1.2.3")], 7);
        text.family("lockstep_journal_records", Kind::Gauge, "Records.");
        text.sample(&[], 3);
        text.text()
    }

    #[test]
    fn the_text_of_prometheus() {
        assert_eq!(
            example(),
            "# HELP lockstep_requests_total Requests, \"all\" of them.\n\
             # TYPE lockstep_requests_total counter\n\
             lockstep_requests_total{service_name=\"orders\",service_version=\"1.2.3\"} 7\n\
             # HELP lockstep_journal_records Records.\n\
             # TYPE lockstep_journal_records gauge\n\
             lockstep_journal_records 3\n"
        );
    }

    #[test]
    fn open_metrics_names_a_counter_without_total_and_says_its_end() {
        assert_eq!(
            open_metrics(&example()),
            "# HELP lockstep_requests Requests, \\\"all\\\" of them.\n\
             # TYPE lockstep_requests counter\n\
             lockstep_requests_total{service_name=\"orders\",service_version=\"1.2.3\"} 7\n\
             # HELP lockstep_journal_records Records.\n\
             # TYPE lockstep_journal_records gauge\n\
             lockstep_journal_records 3\n# EOF\n"
        );
    }

    #[test]
    fn what_prometheus_asks_for() {
        let of_prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert!(wants_open_metrics(of_prometheus));
        assert!(!wants_open_metrics("text/plain"));
        assert!(!wants_open_metrics("*/*"));
        assert!(!wants_open_metrics(""));
        assert!(!wants_open_metrics("application/openmetrics-text;q=0.2, text/plain"));
    }

    proptest! {
        #[test]
        fn no_value_of_a_label_ends_its_line_or_its_quotes(value in any::<String>()) {
            let mut text = MetricsText::default();
            text.family("lockstep_x", Kind::Gauge, "X.");
            text.sample(&[("a", &value)], 1);
            let text = text.text();
            let line = text.split('\n').nth(2).unwrap();
            let inner = line.strip_prefix("lockstep_x{a=\"").and_then(|it| it.strip_suffix("\"} 1")).unwrap();
            let mut read = String::new();
            let mut all = inner.chars();
            while let Some(c) = all.next() {
                prop_assert_ne!(c, '"');
                read.push(match c {
                    '\\' => match all.next() { Some('n') => '\n', Some(c) => c, None => return Err(TestCaseError::fail("a lone backslash")) },
                    c => c,
                });
            }
            prop_assert_eq!(read, value);
        }
    }
}
