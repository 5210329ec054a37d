//! Where telemetry goes: what is said on the command line, and the standard variables of OpenTelemetry.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use lockstep_reach::{PlainHttp, Reach, ReachError, ServerAddress, Trust};
use thiserror::Error;

use crate::collector::{Collector, Fields};
use crate::named::Named;

/// How long a collector may take for a batch, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest value and most pairs of a list in a variable.
const MAX_PAIRS: usize = 64;
/// How often metrics are sent, unless it is said: as the specification has it.
const METRICS_EVERY: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans of requests.
    Traces,
    /// Metrics.
    Metrics,
    /// Lines of logs.
    Logs,
}

impl Signal {
    const fn variable(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// Where collectors take it, below the endpoint for everything.
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// What is sent, for people.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// What is wrong with a setting.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// It is not an address.
    #[error("`{setting}` is `{value}`, which is no address of one that can be asked: {why}")]
    Address {
        /// The option or variable.
        setting: String,
        /// What it is; without a password.
        value: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// It is not what it should be.
    #[error("`{setting}` is `{value}`: {expected}")]
    Value {
        /// The variable.
        setting: String,
        /// What it is.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// A secret would be sent in the clear.
    #[error(
        "`{setting}` has what only the collector should see, and `{address}` is neither https nor this machine: write https://"
    )]
    Plain {
        /// The variable.
        setting: String,
        /// Where it would be sent.
        address: String,
    },
    /// There is nobody to trust.
    #[error("the collector cannot be asked")]
    Reach(#[source] ReachError),
    /// Something is said about what is sent, and not where it goes.
    #[error("nothing says where {0} go: --otlp-endpoint URL, or OTEL_EXPORTER_OTLP_ENDPOINT")]
    Nowhere(&'static str),
}

/// All that is wrong.
#[derive(Debug, Error)]
#[error("telemetry is not set up: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct SettingsErrors(pub Vec<SettingsError>);

/// Reads variables, those for a signal before those for everything, and notes what is wrong with them.
pub struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    signal: Signal,
    /// What is wrong.
    pub wrong: Vec<SettingsError>,
}

impl<'a> Variables<'a> {
    /// Reads with `get`, which returns a variable of the environment.
    pub fn new(signal: Signal, get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get, signal, wrong: Vec::new() }
    }

    /// Returns what was read, unless something is wrong.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish<T>(self, read: T) -> Result<T, SettingsErrors> {
        if self.wrong.is_empty() { Ok(read) } else { Err(SettingsErrors(self.wrong)) }
    }

    /// Returns a variable that is not empty, as the specification has it.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the setting of the exporter for the signal, or for everything, with the name of the variable.
    fn exporter(&self, what: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", self.signal.variable());
        let names = [own, format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| self.one(&name).map(|value| (name, value)))
    }

    /// Notes that a variable is not what it should be.
    pub fn refuse(&mut self, setting: &str, value: &str, expected: &str) {
        let (setting, expected) = (setting.to_owned(), expected.to_owned());
        let value = value.chars().take(100).collect();
        self.wrong.push(SettingsError::Value { setting, value, expected });
    }

    /// Refuses it without showing it.
    fn refuse_secret(&mut self, setting: &str, expected: &str) {
        self.refuse(setting, "…", expected);
    }

    /// Returns a value that is one of the known ones; what is not known is refused.
    pub fn known<T: Copy>(&mut self, (name, value): &(String, String), known: &[(&str, T)]) -> Option<T> {
        let found = known.iter().find(|(word, _)| *word == value.trim()).map(|(_, it)| *it);
        if found.is_none() {
            let words: Vec<_> = known.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.refuse(name, value, &format!("expected {}", words.join(" or ")));
        }
        found
    }

    /// Tells whether a variable says where the signal goes.
    #[must_use]
    pub fn says_where(&self) -> bool {
        self.exporter("ENDPOINT").is_some()
    }

    /// Returns where a signal goes: to what is said on the command line, else to what variables say; nothing where nobody says it.
    pub fn collector(&mut self, endpoint: Option<&str>) -> Option<Collector> {
        let said = endpoint.map(|endpoint| ("--otlp-endpoint".to_owned(), endpoint.to_owned()));
        let (setting, endpoint) = said.or_else(|| self.exporter("ENDPOINT"))?;
        let address = endpoint.trim().parse::<ServerAddress>();
        let address = address.map_err(|error| {
            let (value, why) = OTLP.no_address(&endpoint, &error);
            self.wrong.push(SettingsError::Address { setting: setting.clone(), value, why });
        });
        let fields = fields(self);
        let timeout = timeout(self);
        let gzip = gzip(self);
        protocol(self);
        let address = address.ok()?;
        let trust = Trust::new(self.exporter("CERTIFICATE").map(|(_, file)| PathBuf::from(file)));
        // The address for one signal is taken as it is.
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", self.signal.variable());
        let (address, path) = if setting == own {
            let path = if address.base().is_empty() { "/" } else { address.base() }.to_owned();
            (address.without_base(), path)
        } else {
            (address, self.signal.path().to_owned())
        };
        if is_plain(&fields, &address) {
            let setting = OTLP.headers.to_owned();
            self.wrong.push(SettingsError::Plain { setting, address: address.to_string() });
            return None;
        }
        let reach = Reach::new(address, trust, None, PlainHttp::default());
        let reach = reach.map_err(|error| self.wrong.push(SettingsError::Reach(error))).ok()?;
        Some(Collector { reach, path, fields, timeout, gzip, what: self.signal.word() })
    }

    /// Tells whether variables say that nothing is exported, whatever else they say.
    pub fn is_off(&mut self) -> bool {
        let is_disabled =
            self.one("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        is_disabled || self.named_exporter() == Some(false)
    }

    /// Tells whether the exporter of the signal is said to be OTLP, or none; nothing where it is not said.
    pub fn named_exporter(&mut self) -> Option<bool> {
        let name = format!("OTEL_{}_EXPORTER", self.signal.variable());
        let value = self.one(&name)?;
        self.known(&(name, value), &[("otlp", true), ("none", false)])
    }

    /// Returns what is said of this program.
    pub fn resource(&mut self) -> Vec<(String, String)> {
        resource(self)
    }

    /// Returns how often metrics are sent.
    pub fn metrics_every(&mut self) -> Duration {
        let name = "OTEL_METRIC_EXPORT_INTERVAL";
        let Some(value) = self.one(name) else { return METRICS_EVERY };
        let ms = value.trim().parse::<u64>().ok().filter(|ms| (1_000..=3_600_000).contains(ms));
        if ms.is_none() {
            self.refuse(name, &value, "write milliseconds from 1000 to 3600000");
        }
        ms.map_or(METRICS_EVERY, Duration::from_millis)
    }
}

/// Tells whether what only the collector should see would be sent in the clear.
pub(crate) fn is_plain(fields: &Fields, address: &ServerAddress) -> bool {
    !fields.0.is_empty() && !address.is_tls() && address.loopback_port().is_none()
}

/// How collectors of OTLP are named.
const OTLP: Named = Named {
    setting: "--otlp-endpoint",
    headers: "OTEL_EXPORTER_OTLP_HEADERS",
    certificate: "OTEL_EXPORTER_OTLP_CERTIFICATE",
    port: 4318,
    about_ports: "; OTLP over HTTP usually has port 4318, and 4317 is that of gRPC, which is not spoken here",
};

fn protocol(variables: &mut Variables<'_>) {
    if let Some(found) = variables.exporter("PROTOCOL") {
        variables.known(&found, &[("http/protobuf", ())]);
    }
}

fn gzip(variables: &mut Variables<'_>) -> bool {
    let found = variables.exporter("COMPRESSION");
    found.and_then(|found| variables.known(&found, &[("gzip", true), ("none", false)])).unwrap_or(false)
}

fn timeout(variables: &mut Variables<'_>) -> Duration {
    let Some((name, value)) = variables.exporter("TIMEOUT") else { return TIMEOUT };
    let ms = value.trim().parse::<u64>().ok().filter(|ms| (1..=600_000).contains(ms));
    if ms.is_none() {
        variables.refuse(&name, &value, "write milliseconds from 1 to 600000");
    }
    ms.map_or(TIMEOUT, Duration::from_millis)
}

fn fields(variables: &mut Variables<'_>) -> Fields {
    let Some((name, value)) = variables.exporter("HEADERS") else { return Fields::default() };
    fields_of(variables, &name, &value)
}

/// Reads fields of a variable.
pub(crate) fn fields_of(variables: &mut Variables<'_>, name: &str, value: &str) -> Fields {
    let field = |(name, value): (String, String)| {
        let name = HeaderName::from_str(&name).ok()?;
        HeaderValue::from_str(&value).is_ok().then_some((name, value))
    };
    let fields = pairs(value).and_then(|pairs| pairs.into_iter().map(field).collect::<Option<Vec<_>>>());
    if fields.is_none() {
        variables.refuse_secret(name, "write NAME=VALUE,NAME=VALUE, values percent-encoded");
    }
    Fields(fields.unwrap_or_default())
}

fn resource(variables: &mut Variables<'_>) -> Vec<(String, String)> {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let given = variables.one(name).map(|value| (pairs(&value), value));
    let mut resource = match given {
        Some((None, value)) => {
            variables.refuse(name, &value, "write NAME=VALUE,NAME=VALUE, values percent-encoded");
            Vec::new()
        }
        Some((Some(pairs), _)) => pairs,
        None => Vec::new(),
    };
    if let Some(service) = variables.one("OTEL_SERVICE_NAME") {
        resource.retain(|(name, _)| name != "service.name");
        resource.push(("service.name".to_owned(), service));
    }
    resource
}

/// Reads `a=1,b=2`, whose values are percent-encoded.
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let pair = |member: &str| {
        let (name, value) = member.split_once('=')?;
        let (name, value) = (name.trim(), decoded(value.trim())?);
        (!name.is_empty()).then(|| (name.to_owned(), value))
    };
    let pairs: Option<Vec<_>> = members.map(pair).collect();
    pairs.filter(|pairs| pairs.len() <= MAX_PAIRS)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = behind;
            continue;
        }
        let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).ok()
}
