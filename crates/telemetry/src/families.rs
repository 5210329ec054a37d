//! Metrics in the text format of Prometheus, version 0.0.4, read again: what is measured is written once, and sent as it is written.

use thiserror::Error;

/// Most samples that are read: more than a server of a thousand services writes.
const MAX_SAMPLES: usize = 2_000_000;

/// All metrics of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Families(pub Vec<Family>);

/// The samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it means.
    pub help: String,
    /// How it is counted.
    pub kind: Kind,
    /// Its samples, in their order.
    pub samples: Vec<Sample>,
}

/// How a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is.
    Gauge,
    /// It counts by bounds: `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A number with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name, with what is behind that of the family: `_bucket`, `_sum`, `_count`.
    pub name: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A line is none.
    #[error("line {line} is no sample: {what}")]
    Line {
        /// Which, from 1 on.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// There are too many.
    #[error("there are more than {MAX_SAMPLES} samples")]
    TooMany,
}

impl Families {
    /// Reads a text. Samples without a `# TYPE` before them are gauges.
    ///
    /// # Errors
    /// At the first line that is none.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (mut families, mut help, mut count) = (Self::default(), None, 0);
        for (at, line) in text.lines().enumerate() {
            let wrong = |what| ParseError::Line { line: at + 1, what };
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map(|(name, text)| (name.to_owned(), unescaped(text)));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("a type is missing"))?;
                families.begin(name, kind_of(kind), help.take());
            } else if !line.is_empty() && !line.starts_with('#') {
                count += 1;
                if count > MAX_SAMPLES {
                    return Err(ParseError::TooMany);
                }
                families.add(sample(line).map_err(wrong)?);
            }
        }
        Ok(families)
    }

    fn begin(&mut self, name: &str, kind: Kind, help: Option<(String, String)>) {
        let help = help.filter(|(of, _)| of == name).map(|(_, text)| text).unwrap_or_default();
        self.0.push(Family { name: name.to_owned(), help, kind, samples: Vec::new() });
    }

    fn add(&mut self, sample: Sample) {
        match self.0.last_mut() {
            Some(family) if family.has(&sample.name) => family.samples.push(sample),
            _ => {
                let (name, help) = (sample.name.clone(), String::new());
                self.0.push(Family { name, help, kind: Kind::Gauge, samples: vec![sample] });
            }
        }
    }
}

impl Family {
    fn has(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.name);
        match self.kind {
            Kind::Histogram => matches!(rest, Some("_bucket" | "_sum" | "_count")),
            Kind::Counter | Kind::Gauge => rest == Some(""),
        }
    }
}

fn kind_of(word: &str) -> Kind {
    match word {
        "counter" => Kind::Counter,
        "histogram" => Kind::Histogram,
        _ => Kind::Gauge,
    }
}

fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(['{', ' ']).ok_or("there is no value")?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() {
        return Err("there is no name");
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A time may stand behind it; ours have none.
    let value = rest.split_ascii_whitespace().next().ok_or("there is no value")?;
    let value = value.parse().map_err(|_| "its value is no number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the brace that ends them, and what stands behind it.
type Labels<'a> = (Vec<(String, String)>, &'a str);

fn labels(mut rest: &str) -> Result<Labels<'_>, &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        let (name, behind) = rest.split_once("=\"").ok_or("a label has no value")?;
        let end = end_of(behind).ok_or("a value has no end")?;
        labels.push((name.to_owned(), unescaped(&behind[..end])));
        rest = &behind[end + 1..];
    }
}

/// Finds the quote that ends a value.
fn end_of(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                other => out.extend(other),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_read_as_it_was_meant() {
        let text = "# HELP a_total Requests \\\\ of\\n all.\n# TYPE a_total counter\na_total{x=\"1\",y=\"a \\\"b\\\" } \\\\\"} 5\na_total 7\n\
                    # TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.5\nh_count 2\nalone 3 1700000000000\n";
        let Families(all) = Families::parse(text).unwrap();
        let names: Vec<_> = all.iter().map(|it| (it.name.as_str(), it.kind, it.samples.len())).collect();
        assert_eq!(
            names,
            [("a_total", Kind::Counter, 2), ("h", Kind::Histogram, 4), ("alone", Kind::Gauge, 1)]
        );
        assert_eq!(all[0].help, "Requests \\ of\n all.");
        assert_eq!(all[0].samples[0].labels[1], ("y".into(), "a \"b\" } \\".into()));
        assert_eq!(all[2].samples[0].value, 3.0);
    }

    #[test]
    fn what_is_none_is_said_with_its_line() {
        for (text, line) in [("a 1\nb", 2), ("a{x=\"1} 2", 1), ("a{x} 2", 1), ("a x", 1), (" 1", 1)] {
            assert!(
                matches!(Families::parse(text), Err(ParseError::Line { line: at, .. }) if at == line),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_any_value_comes_back(text in ".{0,200}", value in ".{0,30}") {
            let _ = Families::parse(&text);
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assume!(!value.contains('\r'));
            let parsed = Families::parse(&format!("a{{x=\"{escaped}\"}} 1")).unwrap();
            prop_assert_eq!(&parsed.0[0].samples[0].labels[0].1, &value);
        }
    }
}
