//! Where spans go and which: what is said on the command line, and the standard variables of OpenTelemetry.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use lockstep_reach::{AddressError, PlainHttp, Reach, ReachError, ServerAddress, Trust};
use thiserror::Error;

use super::sampling::{Ratio, RatioError, Sampling};

/// Where collectors take spans, below the endpoint for everything.
const TRACES: &str = "/v1/traces";
/// How long a collector may take for a batch, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest value and most pairs of a list in a variable.
const MAX_PAIRS: usize = 64;

/// What is said on the command line; it comes before variables.
#[derive(Debug, Clone, Default)]
pub struct SpanOptions {
    /// The collector's address; `/v1/traces` is added to it.
    pub endpoint: Option<String>,
    /// The share of requests that is recorded where nobody who is believed decided.
    pub ratio: Option<Ratio>,
    /// Whether requests that failed are recorded in any case.
    pub failures: bool,
    /// From how long on requests are recorded in any case.
    pub slower_than: Option<Duration>,
    /// Whether spans have the query.
    pub queries: bool,
}

/// How a gateway exports spans.
#[derive(Debug, Clone)]
pub struct SpansConfig {
    /// Where they go.
    pub collector: Collector,
    /// Which are recorded.
    pub sampling: Sampling,
    /// Whether they have the query, in which clients send what is nobody's business.
    pub queries: bool,
    /// What is said of this program, beside and before what it says itself.
    pub resource: Vec<(String, String)>,
}

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Collector {
    pub(super) reach: Reach,
    pub(super) path: String,
    pub(super) fields: Fields,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
}

/// Fields that a collector is sent, among them keys.
#[derive(Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(HeaderName, String)>);

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never their values.
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What is wrong with a setting.
#[derive(Debug, Error)]
pub enum SpanSettingsError {
    /// It is not an address.
    #[error("`{setting}` is `{value}`, which is no address of a collector: {why}")]
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
    /// Something is said about spans, and not where they go.
    #[error("nothing says where spans go: --otlp-endpoint URL, or OTEL_EXPORTER_OTLP_ENDPOINT")]
    Nowhere,
}

/// All that is wrong.
#[derive(Debug, Error)]
#[error("spans cannot be exported: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct SpanSettingsErrors(pub Vec<SpanSettingsError>);

/// Reads variables, those for traces before those for everything.
struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<SpanSettingsError>,
}

impl Variables<'_> {
    /// Returns a variable that is not empty, as the specification has it.
    fn one(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the setting of the exporter for traces, or for everything, with the name of the variable.
    fn exporter(&self, what: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| self.one(&name).map(|value| (name, value)))
    }

    fn refuse(&mut self, setting: &str, value: &str, expected: &str) {
        let (setting, expected) = (setting.to_owned(), expected.to_owned());
        let value = value.chars().take(100).collect();
        self.wrong.push(SpanSettingsError::Value { setting, value, expected });
    }

    /// Refuses it without showing it.
    fn refuse_secret(&mut self, setting: &str, expected: &str) {
        self.refuse(setting, "…", expected);
    }

    /// Returns a value that is one of the known ones; what is not known is refused.
    fn known<T: Copy>(&mut self, (name, value): &(String, String), known: &[(&str, T)]) -> Option<T> {
        let found = known.iter().find(|(word, _)| *word == value.trim()).map(|(_, it)| *it);
        if found.is_none() {
            let words: Vec<_> = known.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.refuse(name, value, &format!("expected {}", words.join(" or ")));
        }
        found
    }
}

impl SpansConfig {
    /// Reads what is said; nothing where spans are not to be exported. `get` returns a variable of the environment.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(
        options: &SpanOptions,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SpanSettingsErrors> {
        let mut variables = Variables { get, wrong: Vec::new() };
        let read = read(options, &mut variables);
        if variables.wrong.is_empty() { Ok(read) } else { Err(SpanSettingsErrors(variables.wrong)) }
    }
}

fn read(options: &SpanOptions, variables: &mut Variables<'_>) -> Option<SpansConfig> {
    let said =
        options.endpoint.as_deref().map(|endpoint| ("--otlp-endpoint".to_owned(), endpoint.to_owned()));
    let is_said = said.is_some();
    let Some((setting, endpoint)) = said.or_else(|| variables.exporter("ENDPOINT")) else {
        let says =
            options.ratio.is_some() || options.failures || options.slower_than.is_some() || options.queries;
        if says {
            variables.wrong.push(SpanSettingsError::Nowhere);
        }
        return None;
    };
    if !is_said && is_off(variables) {
        return None;
    }
    let address = endpoint.trim().parse::<ServerAddress>();
    let address = address.map_err(|error| {
        let (value, why) = no_address(&endpoint, &error);
        variables.wrong.push(SpanSettingsError::Address { setting: setting.clone(), value, why });
    });
    let sampling = sampling(options, variables);
    let fields = fields(variables);
    let timeout = timeout(variables);
    let gzip = gzip(variables);
    protocol(variables);
    let resource = resource(variables);
    let address = address.ok()?;
    let trust = Trust::new(variables.exporter("CERTIFICATE").map(|(_, file)| PathBuf::from(file)));
    // The address for traces is taken as it is.
    let (address, path) = if setting == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" {
        let path = if address.base().is_empty() { "/" } else { address.base() }.to_owned();
        (address.without_base(), path)
    } else {
        (address, TRACES.to_owned())
    };
    let is_plain = !fields.0.is_empty() && !address.is_tls() && address.loopback_port().is_none();
    if is_plain {
        let setting = "OTEL_EXPORTER_OTLP_HEADERS".to_owned();
        variables.wrong.push(SpanSettingsError::Plain { setting, address: address.to_string() });
        return None;
    }
    let reach = Reach::new(address, trust, None, PlainHttp::default());
    let reach = reach.map_err(|error| variables.wrong.push(SpanSettingsError::Reach(error))).ok()?;
    let collector = Collector { reach, path, fields, timeout, gzip };
    Some(SpansConfig { collector, sampling, queries: options.queries, resource })
}

/// Says what an address is that is none, and what to write instead.
fn no_address(endpoint: &str, error: &AddressError) -> (String, String) {
    match error {
        AddressError::Scheme { instead } => {
            let why = format!(
                "write http://{instead}, or https:// where it speaks TLS; OTLP over HTTP usually has port 4318, and 4317 is that of gRPC, which is not spoken here"
            );
            (endpoint.trim().chars().take(100).collect(), why)
        }
        AddressError::Secret => {
            let why = "an address has no user and no password: a key is given in OTEL_EXPORTER_OTLP_HEADERS (NAME=VALUE)";
            ("…".to_owned(), why.to_owned())
        }
        AddressError::Part(why) => (
            endpoint.trim().chars().take(100).collect(),
            format!("write http://HOST:4318 or https://HOST: {why}"),
        ),
    }
}

/// Tells whether variables say that nothing is exported, whatever else they say.
fn is_off(variables: &mut Variables<'_>) -> bool {
    let is_disabled =
        variables.one("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let name = "OTEL_TRACES_EXPORTER";
    let exporter = variables.one(name);
    let exporter = exporter
        .and_then(|value| variables.known(&(name.to_owned(), value), &[("otlp", false), ("none", true)]));
    is_disabled || exporter.unwrap_or(false)
}

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
    let field = |(name, value): (String, String)| {
        let name = HeaderName::from_str(&name).ok()?;
        HeaderValue::from_str(&value).is_ok().then_some((name, value))
    };
    let fields = pairs(&value).and_then(|pairs| pairs.into_iter().map(field).collect::<Option<Vec<_>>>());
    if fields.is_none() {
        variables.refuse_secret(&name, "write NAME=VALUE,NAME=VALUE, values percent-encoded");
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

fn sampling(options: &SpanOptions, variables: &mut Variables<'_>) -> Sampling {
    let (failures, slower_than) = (options.failures, options.slower_than);
    let (ratio, follows_parent) = match options.ratio {
        Some(ratio) => (ratio, true),
        None => sampler(variables),
    };
    Sampling { ratio, follows_parent, failures, slower_than }
}

fn sampler(variables: &mut Variables<'_>) -> (Ratio, bool) {
    let usual = (Ratio::EVERY, true);
    let name = "OTEL_TRACES_SAMPLER";
    let Some(value) = variables.one(name) else { return usual };
    let known = [
        ("always_on", (Some(Ratio::EVERY), false)),
        ("always_off", (Some(Ratio::NONE), false)),
        ("traceidratio", (None, false)),
        ("parentbased_always_on", (Some(Ratio::EVERY), true)),
        ("parentbased_always_off", (Some(Ratio::NONE), true)),
        ("parentbased_traceidratio", (None, true)),
    ];
    match variables.known(&(name.to_owned(), value), &known) {
        Some((Some(ratio), follows_parent)) => (ratio, follows_parent),
        Some((None, follows_parent)) => (argument(variables), follows_parent),
        None => usual,
    }
}

fn argument(variables: &mut Variables<'_>) -> Ratio {
    let name = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = variables.one(name) else { return Ratio::EVERY };
    value.trim().parse().unwrap_or_else(|error: RatioError| {
        variables.refuse(name, &value, &error.to_string());
        Ratio::EVERY
    })
}

/// Reads `a=1,b=2`, whose values are percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
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

#[cfg(test)]
mod tests;
