//! How a Prometheus is asked for the figures, in PromQL, by the names that stand in the guide on monitoring. Pure.
//!
//! Everything is of the metrics of the server, which are summed over all gateways already: those of gateways are asked for nothing, so that none
//! is counted twice, or not at all where nobody collects from it. Each series is there once at a time ([`Asking::copies`]), so sums over
//! series add up what one server said before it moved and what it says now. Averages are sums of samples, divided by how often was collected:
//! an instance that was there for half of the time counts for half.

use lockstep_domain::metrics_text::{ENVIRONMENT, SERVICE, VERSION, escaped};

use super::Asked;
use super::figures::{FAILURES, HEALTHY, INSTANCES, LATENCIES, MEMORY, PROCESSORS, REQUESTS};

/// Rates are of four intervals at least: two of them may fail.
const INTERVALS_OF_RATE: u64 = 4;
/// Into how many pieces a point is cut at most to find the largest, and all points together.
const PIECES: u64 = 60;
const ALL_PIECES: u64 = 20_000;
/// How long there must have been two to be two: a server that moves is two for five minutes.
const TWO_AT_ONCE: &str = "6m:1m";
/// A sample of the environment, each time that the server is collected from.
const COLLECTED: &str = "lockstep_baseline";

/// What is asked for, and of which series.
pub(super) struct Asking<'a> {
    pub(super) asked: &'a Asked<'a>,
    /// Labels that the series of this server have besides.
    pub(super) labels: &'a [(String, String)],
}

/// How fine it can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// The width of a point in milliseconds.
    pub(super) step_ms: u64,
    /// What one point is an average of.
    pub(super) window_ms: u64,
    /// What the largest of a point is found among, where that is finer: how often, and what each is an average of.
    pub(super) pieces: Option<(u64, u64)>,
}

impl Pace {
    /// Returns how a Prometheus that collects each `interval_ms` is asked for points of at least `step_ms` over a time.
    pub(super) fn new(step_ms: u64, interval_ms: u64, within_ms: u64) -> Self {
        let step_ms = step_ms.max(interval_ms.next_multiple_of(1_000));
        let rate_ms = interval_ms.saturating_mul(INTERVALS_OF_RATE);
        let piece_ms = interval_ms.max(step_ms / PIECES).max(within_ms / ALL_PIECES);
        let of_piece_ms = piece_ms.max(rate_ms);
        let pieces = (of_piece_ms.saturating_mul(2) <= step_ms).then_some((piece_ms, of_piece_ms));
        Self { step_ms, window_ms: step_ms.max(rate_ms), pieces }
    }
}

impl Asking<'_> {
    /// How many series there are of what each server has one of, for longer than a move takes: two servers, one that is collected from twice, and
    /// two Prometheus that collect from one are all the same.
    pub(super) fn copies(&self) -> String {
        let collected = self.of_environment();
        format!("min_over_time(count({collected})[{TWO_AT_ONCE}])")
    }

    /// How many seconds are between two samples.
    pub(super) fn interval(&self) -> String {
        let it = self.of_environment();
        format!(
            "min((timestamp({it}) - min_over_time(timestamp({it})[10m:5s])) / (count_over_time({it}[10m]) - 1))"
        )
    }

    /// How often was collected within a window.
    pub(super) fn collected(&self, window_ms: u64) -> String {
        format!("sum(count_over_time({}[{window_ms}ms]))", self.of_environment())
    }

    /// The average of a figure in each point, of the service and of each version; nothing where there is no such figure.
    pub(super) fn average(&self, figure: &str, pace: Pace) -> Option<String> {
        self.figure(figure, pace.window_ms)
    }

    /// The largest value in each point, where that is another question.
    pub(super) fn largest(&self, figure: &str, pace: Pace) -> Option<String> {
        let (piece_ms, of_piece_ms) = pace.pieces?;
        let of_piece = self.figure(figure, of_piece_ms)?;
        Some(format!("max_over_time(({of_piece})[{}ms:{piece_ms}ms])", pace.step_ms))
    }

    fn figure(&self, figure: &str, window_ms: u64) -> Option<String> {
        let rate = |metric, more| each(&self.over("rate", metric, more, window_ms));
        let average = |metric, more| each(&self.over("sum_over_time", metric, more, window_ms));
        let collected = self.collected(window_ms);
        let per_collected = |sums: String| format!("({sums}) / scalar({collected})");
        let exist = || average("lockstep_instances", "state!~\"stopped|completed|failed\"");
        let quantile = LATENCIES.iter().find(|(name, _)| *name == figure);
        Some(match figure {
            REQUESTS => rate("lockstep_service_requests_total", ""),
            FAILURES => rate("lockstep_service_failures_total", ""),
            // Where no instance is healthy there is no sample that says so.
            HEALTHY => per_collected(format!(
                "({}) or 0 * ({})",
                average("lockstep_instances", "state=\"healthy\""),
                exist()
            )),
            INSTANCES => per_collected(exist()),
            MEMORY => per_collected(average("lockstep_instance_memory_bytes", NO_JOB)),
            PROCESSORS => rate("lockstep_instance_cpu_seconds_total", NO_JOB),
            _ => self.quantile(quantile?.1, window_ms),
        })
    }

    fn quantile(&self, part: f64, window_ms: u64) -> String {
        let rate = self.over("rate", "lockstep_service_response_begin_seconds_bucket", "", window_ms);
        format!("1000 * histogram_quantile({part}, sum by ({VERSION}, le) ({rate}) or sum by (le) ({rate}))")
    }

    fn over(&self, function: &str, metric: &str, more: &str, window_ms: u64) -> String {
        let names: Vec<&str> = self.asked.names.iter().map(|name| name.as_str()).collect();
        let (service, of_server) = (names.join("|"), self.of_server());
        let more = if more.is_empty() { String::new() } else { format!(",{more}") };
        format!("{function}({metric}{{{of_server},{SERVICE}=~\"{service}\"{more}}}[{window_ms}ms])")
    }

    fn of_environment(&self) -> String {
        format!("{COLLECTED}{{{}}}", self.of_server())
    }

    fn of_server(&self) -> String {
        let given = self.labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value)));
        format!("{ENVIRONMENT}=\"{}\"{}", self.asked.environment, given.collect::<String>())
    }
}

/// Runs of jobs are no instances that serve.
const NO_JOB: &str = "job_name=\"\"";

/// Sums by version and over all of them, which have no version then.
fn each(series: &str) -> String {
    format!("sum by ({VERSION}) ({series}) or sum({series})")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};

    use super::*;
    use crate::charts::figures::wanted;

    fn asked<R>(labels: &[(String, String)], with: impl FnOnce(&Asking<'_>) -> R) -> R {
        let environment: EnvironmentName = "production".parse().unwrap();
        let names: [ServiceName; 2] = ["orders".parse().unwrap(), "bills".parse().unwrap()];
        let asked = Asked {
            environment: &environment,
            names: names.iter().collect(),
            figures: wanted(&[]),
            within_ms: 86_400_000,
            points: 300,
            now: Timestamp(86_400_000),
        };
        with(&Asking { asked: &asked, labels })
    }

    #[test]
    fn a_figure_is_asked_for_under_all_names_of_its_service_with_the_labels_of_the_server() {
        let labels = [("cluster".to_owned(), "e\"u".to_owned())];
        let pace = Pace::new(10_000, 15_000, 600_000);
        let said = asked(&labels, |it| it.average(REQUESTS, pace).unwrap());
        let series = "rate(lockstep_service_requests_total{deployment_environment_name=\"production\",cluster=\"e\\\"u\",service_name=~\"orders|bills\"}[60000ms])";
        assert_eq!(said, format!("sum by (service_version) ({series}) or sum({series})"));
        assert_eq!(asked(&[], |it| it.average("tempers", pace)), None);
    }

    #[test]
    fn a_point_is_as_wide_as_is_collected_and_the_largest_is_found_in_bounded_pieces() {
        let pace = Pace::new(10_000, 60_000, 3_600_000);
        assert_eq!(pace, Pace { step_ms: 60_000, window_ms: 240_000, pieces: None });
        let day = Pace::new(290_000, 15_000, 86_400_000);
        assert_eq!(day.pieces, Some((15_000, 60_000)));
        let month = Pace::new(9_000_000, 15_000, 31 * 86_400_000);
        assert_eq!((month.window_ms, month.pieces), (9_000_000, Some((150_000, 150_000))));
        for within_ms in [60_000, 86_400_000, u64::MAX] {
            let (piece_ms, of_piece_ms) =
                Pace::new(within_ms / 300, 1_000, within_ms).pieces.unwrap_or((within_ms, 0));
            assert!(within_ms / piece_ms.max(1) <= ALL_PIECES && of_piece_ms.checked_mul(2).is_some());
        }
    }

    #[test]
    fn promtool_reads_every_question() {
        let labels = [("job".to_owned(), "lock\\step".to_owned())];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.yml");
        let pace = Pace::new(290_000, 15_000, 86_400_000);
        let questions = asked(&labels, |it| {
            let figures = it
                .asked
                .figures
                .iter()
                .flat_map(|figure| [it.average(figure, pace), it.largest(figure, pace)]);
            let figures: Vec<String> = figures.map(Option::unwrap).collect();
            [vec![it.copies(), it.interval(), it.collected(60_000)], figures].concat()
        });
        assert_eq!(questions.len(), 3 + 2 * 9);
        let rules = questions
            .iter()
            .enumerate()
            .map(|(at, it)| format!("  - record: q{at}\n    expr: {}\n", serde_json::json!(it)));
        std::fs::write(&file, format!("groups:\n- name: charts\n  rules:\n{}", rules.collect::<String>()))
            .unwrap();
        let checked = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }

    /// What a real Prometheus says at some minute, rounded: `(minutes, question, labels and values)`.
    type Said<'a> = (u64, String, &'a [(&'a str, f64)]);

    fn tested(series: &[(&str, &str)], said: &[Said<'_>]) -> Result<(), String> {
        let inputs = series.iter().map(|(series, values)| {
            serde_json::json!({ "series": series.replace('{', "{deployment_environment_name=\"production\","), "values": values })
        });
        let tests = said.iter().map(|(minutes, question, samples)| {
            let samples = samples.iter().map(|(labels, value)| serde_json::json!({ "labels": labels, "value": value }));
            let (expr, eval_time) = (format!("round({question}, 0.001)"), format!("{minutes}m"));
            serde_json::json!({ "expr": expr, "eval_time": eval_time, "exp_samples": samples.collect::<Vec<_>>() })
        });
        let test = serde_json::json!({
            "interval": "15s",
            "input_series": inputs.collect::<Vec<_>>(),
            "promql_expr_test": tests.collect::<Vec<_>>(),
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.yml");
        // What is JSON is YAML.
        std::fs::write(
            &file,
            serde_json::json!({ "evaluation_interval": "15s", "tests": [test] }).to_string(),
        )
        .unwrap();
        let tested = Command::new("promtool").args(["test", "rules"]).arg(&file).output().unwrap();
        let words = String::from_utf8_lossy(&tested.stdout) + String::from_utf8_lossy(&tested.stderr);
        tested.status.success().then_some(()).ok_or_else(|| words.into_owned())
    }

    #[test]
    fn a_real_prometheus_answers_with_the_figures_of_the_service() {
        let pace = Pace::new(600_000, 15_000, 3_600_000);
        let short = Pace::new(60_000, 15_000, 3_600_000);
        let asks = |figure: &str, pace| asked(&[], |it| it.average(figure, pace).unwrap());
        // An instance is replaced after five minutes; then all are down; the service was called otherwise before.
        let series = [
            ("lockstep_baseline{job=\"one\"}", "1x100"),
            (
                "lockstep_instances{service_name=\"orders\",service_version=\"1.0.0\",state=\"healthy\"}",
                "2x40 _x60",
            ),
            (
                "lockstep_instances{service_name=\"orders\",service_version=\"1.0.0\",state=\"unhealthy\"}",
                "_x40 2x60",
            ),
            (
                "lockstep_instances{service_name=\"orders\",service_version=\"1.0.0\",state=\"stopped\"}",
                "9x100",
            ),
            (
                "lockstep_instance_memory_bytes{service_name=\"orders\",service_version=\"1.0.0\",service_instance_id=\"a\"}",
                "100x20 _x80",
            ),
            (
                "lockstep_instance_memory_bytes{service_name=\"orders\",service_version=\"1.0.0\",service_instance_id=\"b\"}",
                "_x21 100x79",
            ),
            (
                "lockstep_instance_memory_bytes{service_name=\"orders\",service_version=\"1.0.0\",service_instance_id=\"c\",job_name=\"j\"}",
                "7x100",
            ),
            (
                "lockstep_service_requests_total{service_name=\"bills\",service_version=\"1.0.0\",config=\"0\"}",
                "0+15x100",
            ),
            (
                "lockstep_service_requests_total{service_name=\"orders\",service_version=\"1.1.0\",config=\"0\"}",
                "0+30x100",
            ),
            (
                "lockstep_service_requests_total{service_name=\"other\",service_version=\"1.1.0\",config=\"0\"}",
                "0+45x100",
            ),
            (
                "lockstep_service_response_begin_seconds_bucket{service_name=\"orders\",service_version=\"1.0.0\",le=\"0.004\"}",
                "0+0x100",
            ),
            (
                "lockstep_service_response_begin_seconds_bucket{service_name=\"orders\",service_version=\"1.0.0\",le=\"0.008\"}",
                "0+10x100",
            ),
            (
                "lockstep_service_response_begin_seconds_bucket{service_name=\"orders\",service_version=\"1.0.0\",le=\"+Inf\"}",
                "0+10x100",
            ),
        ];
        let one = "{service_version=\"1.0.0\"}";
        let [copies, interval] = asked(&[], |it| [it.copies(), it.interval()]);
        let said: [Said<'_>; 7] = [
            (20, copies.clone(), &[("{}", 1.0)]),
            (20, interval, &[("{}", 15.0)]),
            (9, asks(HEALTHY, short), &[(one, 2.0), ("{}", 2.0)]),
            (20, asks(HEALTHY, short), &[(one, 0.0), ("{}", 0.0)]),
            (20, asks(INSTANCES, short), &[(one, 2.0), ("{}", 2.0)]),
            (10, asks(MEMORY, pace), &[(one, 100.0), ("{}", 100.0)]),
            (20, asks("latency-p50", short), &[(one, 6.0), ("{}", 6.0)]),
        ];
        tested(&series, &said).unwrap();
        let requests = [(one, 1.0), ("{service_version=\"1.1.0\"}", 2.0), ("{}", 3.0)];
        tested(&series, &[(20, asks(REQUESTS, short), &requests)]).unwrap();
        let twice = [series.as_slice(), &[("lockstep_baseline{job=\"two\"}", "_x20 1x80")]].concat();
        tested(&twice, &[(5, copies.clone(), &[("{}", 1.0)]), (20, copies, &[("{}", 2.0)])]).unwrap();
        assert!(tested(&series, &[(20, asks(REQUESTS, short), &requests[..2])]).is_err(), "it can fail");
    }
}
