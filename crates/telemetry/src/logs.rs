//! Lines on their way: what one batch holds, and what becomes of it.

use std::time::Duration;

use crate::collector::Collector;
use crate::named::Named;
use crate::otlp::PartialSuccess;
use crate::refusal::SendError;
use crate::settings::{SettingsError, Signal, Variables};
use crate::{loki, otlp};

/// Most lines of a batch, and most bytes of their texts: Loki and collectors take 4 MiB.
const MAX_LINES: usize = 1_000;
const MAX_BYTES: usize = 1_024 * 1_024;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a Loki is named.
const LOKI: Named = Named {
    setting: "--loki",
    headers: "LOCKSTEP_LOKI_HEADERS",
    certificate: "LOCKSTEP_LOKI_CERTIFICATE",
    port: 3100,
    about_ports: "",
};

/// A line, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// The environment.
    pub environment: String,
    /// The service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// The instance.
    pub instance: String,
    /// The host that it runs on, where that is one of ours.
    pub host: Option<String>,
    /// `out`, `err`, or `lockstep` for what was said of the instance.
    pub source: String,
    /// What was written.
    pub text: String,
    /// Its level in capitals, where it has one.
    pub level: Option<String>,
    /// The trace that it belongs to, where it says one.
    pub trace: Option<String>,
}

/// Returns how many of the first lines are one batch, of a size that is taken.
#[must_use]
pub fn first_batch(lines: &[Line]) -> usize {
    let mut bytes = 0;
    let fits = |line: &&Line| {
        bytes += line.text.len() + 256;
        bytes <= MAX_BYTES
    };
    lines.iter().take(MAX_LINES).take_while(fits).count().max(usize::from(!lines.is_empty()))
}

/// Where lines go.
#[derive(Debug, Clone)]
pub enum LogCollector {
    /// A collector of OTLP, and what is said of this program.
    Otlp(Collector, Vec<(String, String)>),
    /// Loki.
    Loki(Collector),
}

/// What became of a batch.
#[derive(Debug)]
pub enum Outcome {
    /// It was taken, but for so many lines, for a reason.
    Taken {
        /// Lines that were not taken.
        rejected: u64,
        /// Why.
        why: String,
    },
    /// It may be taken later, after a time if it was said.
    Later(SendError),
    /// It is not taken: trying again changes nothing.
    Never(SendError),
    /// It is too large: half of it may be taken.
    TooLarge(SendError),
}

impl LogCollector {
    /// Reads where lines go by OTLP; nothing where nobody wants them sent. `is_wanted` is what the command line says.
    pub fn otlp(variables: &mut Variables<'_>, endpoint: Option<&str>, is_wanted: bool) -> Option<Self> {
        if !is_wanted && variables.named_exporter() != Some(true) {
            return None;
        }
        let Some(collector) = variables.collector(endpoint) else {
            if variables.wrong.is_empty() {
                variables.wrong.push(SettingsError::Nowhere(Signal::Logs.word()));
            }
            return None;
        };
        let resource = variables.resource();
        Some(Self::Otlp(collector, resource))
    }

    /// Reads where Loki is. Its fields (`X-Scope-OrgID`, `Authorization`) are those of `LOCKSTEP_LOKI_HEADERS`, its authority that of
    /// `LOCKSTEP_LOKI_CERTIFICATE`.
    pub fn loki(variables: &mut Variables<'_>, endpoint: &str) -> Option<Self> {
        let (reach, fields) = LOKI.read(variables, endpoint)?;
        let path = loki::PATH.to_owned();
        Some(Self::Loki(Collector { reach, path, fields, timeout: TIMEOUT, gzip: true, what: "logs" }))
    }

    /// Returns the collector.
    #[must_use]
    pub const fn collector(&self) -> &Collector {
        match self {
            Self::Otlp(collector, _) | Self::Loki(collector) => collector,
        }
    }

    /// Sends one batch, once.
    pub async fn send(&self, lines: &[Line]) -> Outcome {
        let collector = self.collector();
        let sent = match self {
            Self::Otlp(_, given) => collector.export(collector.body(otlp::logs::request(lines, given))).await,
            Self::Loki(_) => {
                let sent = collector.push(loki::JSON, collector.body(loki::request(lines))).await;
                sent.map(|()| PartialSuccess::default())
            }
        };
        match sent {
            Ok(partial) => Outcome::Taken { rejected: partial.refused(), why: partial.why() },
            Err(error) => refused(error),
        }
    }
}

fn refused(error: SendError) -> Outcome {
    let SendError::Status(status, ..) = &error else { return Outcome::Later(error) };
    match status.as_u16() {
        413 => Outcome::TooLarge(error),
        // A key that is wrong is mended by a person, and the lines are still there then.
        401 | 403 | 404 | 405 | 408 | 429 => Outcome::Later(error),
        400..500 => Outcome::Never(error),
        _ => Outcome::Later(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn line(text: &str, at_ms: u64) -> Line {
        Line {
            at_ms,
            environment: "production".into(),
            service: "orders".into(),
            version: "1.4.0".into(),
            instance: "a".into(),
            host: None,
            source: "out".into(),
            text: text.into(),
            level: None,
            trace: None,
        }
    }

    #[test]
    fn a_batch_is_bounded_and_never_empty() {
        assert_eq!(first_batch(&[]), 0);
        let short: Vec<_> = (0..2_500).map(|at| line("x", at)).collect();
        assert_eq!(first_batch(&short), 1_000);
        let long: Vec<_> = (0..10).map(|at| line(&"x".repeat(400_000), at)).collect();
        assert_eq!(first_batch(&long), 2);
        assert_eq!(first_batch(&[line(&"x".repeat(3_000_000), 1)]), 1, "what is too long alone goes alone");
    }

    #[test]
    fn what_a_person_must_mend_is_kept_what_is_refused_is_not_sent_for_ever() {
        let status = |code: u16| SendError::Status(code.try_into().unwrap(), String::new(), None);
        for (code, later) in [(429, true), (503, true), (401, true), (500, true), (400, false), (422, false)]
        {
            assert_eq!(matches!(refused(status(code)), Outcome::Later(_)), later, "{code}");
        }
        assert!(matches!(refused(status(413)), Outcome::TooLarge(_)));
        assert!(matches!(refused(SendError::Silent(TIMEOUT)), Outcome::Later(_)));
    }

    #[test]
    fn what_is_said_of_loki_is_read_and_a_key_goes_nowhere_in_the_clear() {
        let key = |name: &str| (name == "LOCKSTEP_LOKI_HEADERS").then(|| "X-Scope-OrgID=shop".to_owned());
        let read = |endpoint: &str| {
            let mut variables = Variables::new(Signal::Logs, &key);
            let read = LogCollector::loki(&mut variables, endpoint);
            variables.finish(read)
        };
        let here = read("http://127.0.0.1:3100").unwrap().unwrap();
        assert_eq!(here.collector().path(), "/loki/api/v1/push");
        assert!(!format!("{here:?}").contains("shop"));
        assert!(read("http://10.0.0.5:3100").unwrap_err().to_string().contains("https://"));
        assert!(read("10.0.0.5").is_err());
    }

    #[tokio::test]
    async fn what_a_program_that_is_no_collector_answers_takes_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answers = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4_096]).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            stream
        };
        let mut variables = Variables::new(Signal::Logs, &|_| None);
        let collector = LogCollector::otlp(&mut variables, Some(&endpoint), true).unwrap();
        let lines = [line("one", 1)];
        let (outcome, _stream) = tokio::join!(collector.send(&lines), answers);
        assert!(matches!(outcome, Outcome::Later(SendError::NoCollector(..))), "{outcome:?}");
    }
}
