//! Reads the text form of Prometheus as far as somebody asks for it: the values of some series. What a program writes is untrusted.
//!
//! Invariant: whatever the text is, reading it takes one pass, and what it returns is bounded.

use std::collections::BTreeMap;

use super::signs::{Metrics, Series};

/// Most bytes of metrics that are read: real ones have some hundred kilobytes at most.
pub const MAX_METRICS_BYTES: u64 = 4 * 1024 * 1024;
/// Most series that are added up: more label sets are a defect of the program.
const MAX_SERIES: usize = 1_000;
/// Up to here whole numbers are exact in the form that they are written in.
const MAX_VALUE: f64 = 9_007_199_254_740_991.0;
/// How much of what is wrong is shown.
const SHOWN: usize = 60;

/// The values of series, each by its name and labels as they were written.
pub type Values = BTreeMap<String, u64>;

/// What was read of a worker's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Read {
    /// Of what was done.
    pub done: Values,
    /// Of what failed.
    pub failed: Values,
}

/// Reads what metrics say of a worker's jobs.
///
/// # Errors
/// Says why they say nothing that could be true.
pub fn read(text: &str, metrics: &Metrics) -> Result<Read, String> {
    let mut read = Read::default();
    let mut is_declared = false;
    for line in text.lines() {
        let line = line.trim_start();
        let may_be = |series: &Series| series.is_named(name_of(line).0);
        if line.starts_with('#') {
            is_declared |= declares(line, &metrics.done) || declares(line, &metrics.failed);
            continue;
        }
        if !(may_be(&metrics.done) || may_be(&metrics.failed)) {
            continue;
        }
        let Some((name, labels, rest)) = name_and_labels(line) else {
            return Err(format!("`{}` is no line of metrics", shown(line)));
        };
        let series = line[..line.len() - rest.len()].trim_end();
        if metrics.done.takes(name, &labels) {
            note(&mut read.done, series, rest)?;
        } else if metrics.failed.takes(name, &labels) {
            note(&mut read.failed, series, rest)?;
        }
    }
    if read.done.is_empty() && read.failed.is_empty() && !is_declared {
        return Err(format!("neither `{}` nor `{}` is there", metrics.done, metrics.failed));
    }
    Ok(read)
}

/// Tells whether a line says that there is such a counter: with labels it has no series before the first job. Its name may be written
/// without the `_total` of its series.
fn declares(line: &str, series: &Series) -> bool {
    let mut words = line.split_ascii_whitespace();
    let (Some("#"), Some("TYPE"), Some(family), Some("counter")) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    series.is_named(family) || series.is_named(&format!("{family}_total"))
}

fn note(values: &mut Values, series: &str, rest: &str) -> Result<(), String> {
    let value = value(rest).map_err(|why| format!("`{}` {why}", shown(series)))?;
    if values.insert(series.to_owned(), value).is_some() {
        return Err(format!("`{}` is there twice", shown(series)));
    }
    if values.len() > MAX_SERIES {
        return Err(format!("there are more than {MAX_SERIES} series of `{}`", shown(name_of(series).0)));
    }
    Ok(())
}

/// Reads the value after a name; a time or an exemplar may follow it.
fn value(rest: &str) -> Result<u64, String> {
    let text = rest.split_whitespace().next().unwrap_or_default();
    let number: f64 = text.parse().map_err(|_| format!("has no number but `{}`", shown(text)))?;
    if !(0.0..=MAX_VALUE).contains(&number) {
        return Err(format!("is {}, which no counter can be", shown(text)));
    }
    // A part of a job is none yet.
    Ok(number as u64)
}

/// Reads the number that a command prints of a queue.
///
/// # Errors
/// Says what it is instead.
pub fn depth(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("printed nothing".to_owned());
    }
    text.parse().map_err(|_| format!("printed `{}`, which is not one whole number from 0 on", shown(text)))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

/// Splits a line into the name that it begins with and the rest.
fn name_of(line: &str) -> (&str, &str) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    line.split_at(line.find(|c| !is_of_name(c)).unwrap_or(line.len()))
}

/// Reads a name with labels; returns them with what follows.
pub(super) fn name_and_labels(line: &str) -> Option<(&str, BTreeMap<String, String>, &str)> {
    let (name, rest) = name_of(line);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let Some(inner) = rest.trim_start_matches([' ', '\t']).strip_prefix('{') else {
        return (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| (name, BTreeMap::new(), rest));
    };
    let (labels, rest) = labels(inner)?;
    Some((name, labels, rest))
}

/// Reads labels up to the closing brace.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([' ', '\t']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, rest) = name_of(text);
        let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?;
        let (value, rest) = quoted(rest.trim_start_matches([' ', '\t']).strip_prefix('"')?)?;
        if key.is_empty() || labels.insert(key.to_owned(), value).is_some() {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        text = match rest.strip_prefix(',') {
            Some(more) => more,
            None if rest.starts_with('}') => rest,
            None => return None,
        };
    }
}

/// Reads a quoted value after its opening quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::work::signs::MetricsPlace;

    fn metrics(done: &str, failed: &str) -> Metrics {
        let place = MetricsPlace::Http { path: "/metrics".to_owned() };
        Metrics { place, done: done.parse().unwrap(), failed: failed.parse().unwrap() }
    }

    fn sums(text: &str, metrics: &Metrics) -> Result<(u64, u64), String> {
        let read = read(text, metrics)?;
        Ok((read.done.values().sum(), read.failed.values().sum()))
    }

    #[test]
    fn what_common_libraries_write_is_read() {
        let text = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n\
             jobs_total{queue=\"mail\",result=\"ok\"} 1.2e+03\n\
             jobs_total{queue=\"sms\", result=\"ok\",} 3.0 1395066363000\n\
             jobs_total{queue=\"sms\",result=\"failed\"} 4 # {trace_id=\"a}b\"} 1.0\n\
             jobs_created{queue=\"sms\"} NaN\n  other 1\n\n# EOF\n";
        let by_result = metrics("jobs_total{result=\"ok\"}", "jobs_total{result=\"failed\"}");
        assert_eq!(sums(text, &by_result), Ok((1_203, 4)));
        let of_queue = metrics("jobs_total{result=\"ok\",queue=\"sms\"}", "errors_total");
        assert_eq!(sums(text, &of_queue), Ok((3, 0)), "a failure that never happened has no series yet");
        let text = "jobs_done_total 7\r\njobs_failed_total\t0\r\n";
        assert_eq!(sums(text, &metrics("jobs_done_total", "jobs_failed_total")), Ok((7, 0)));
    }

    #[test]
    fn what_cannot_be_true_is_said_and_counts_nothing() {
        let of = |text: &str| sums(text, &metrics("done", "failed")).unwrap_err();
        assert_eq!(of("other 1\n"), "neither `done` nor `failed` is there");
        assert_eq!(of("done NaN\n"), "`done` is NaN, which no counter can be");
        assert_eq!(of("done -1\n"), "`done` is -1, which no counter can be");
        assert_eq!(of("done +Inf\n"), "`done` is +Inf, which no counter can be");
        assert_eq!(of("done 1e300\n"), "`done` is 1e300, which no counter can be");
        assert_eq!(of("done\n"), "`done` has no number but ``");
        assert_eq!(of("done 1\ndone 2\n"), "`done` is there twice");
        assert_eq!(of("done{a=\"1\" 2\n"), "`done{a=\"1\" 2` is no line of metrics");
        let many: String = (0..1_500).map(|i| format!("done{{id=\"{i}\"}} 1\n")).collect();
        assert_eq!(of(&many), "there are more than 1000 series of `done`");
    }

    #[test]
    fn a_counter_that_has_no_series_yet_has_counted_nothing() {
        let by_result = metrics("jobs_total{result=\"ok\"}", "jobs_total{result=\"failed\"}");
        let none = Ok((0, 0));
        assert_eq!(sums("# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n", &by_result), none);
        assert_eq!(sums("# TYPE jobs counter\n# EOF\n", &by_result), none);
        assert_eq!(sums("# TYPE jobs_total counter\njobs_total{result=\"skipped\"} 4\n", &by_result), none);
        assert_eq!(sums("# TYPE lost counter\n", &metrics("done", "lost")), none);
        for other in
            ["# TYPE jobs_total gauge\n", "# TYPE job counter\n", "# HELP jobs_total counter\n", "#\n"]
        {
            assert!(sums(other, &by_result).is_err(), "{other}");
        }
    }

    #[test]
    fn a_queue_is_one_whole_number() {
        assert_eq!(depth("42\n"), Ok(42));
        assert_eq!(depth(" 0 "), Ok(0));
        for bad in ["", "-1", "1.5", "NaN", "12 13", "1e3", "99999999999999999999", "(integer) 3"] {
            assert!(depth(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(done|failed|[a-z{}=\",\\\\# 0-9\n.+-]|é){0,60}") {
            let _ = read(&text, &metrics("done", "failed{a=\"b\"}"));
            let _ = depth(&text);
        }

        #[test]
        fn every_number_is_found(done in 0_u64..1_000_000_000, failed in 0_u64..1_000_000_000) {
            let text = format!("x 1\ndone{{a=\"}}\\\"\"}} {done}\nfailed {failed}\n");
            prop_assert_eq!(sums(&text, &metrics("done", "failed")), Ok((done, failed)));
        }
    }
}
