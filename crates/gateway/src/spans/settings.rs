//! Which spans are recorded, and where they go: what is said on the command line, and the standard variables of OpenTelemetry.

use std::time::Duration;

use lockstep_telemetry::{Collector, SettingsError, SettingsErrors, Signal, Variables};

use super::sampling::{Ratio, RatioError, Sampling};

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

impl SpansConfig {
    /// Reads what is said; nothing where spans are not to be exported. `get` returns a variable of the environment.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(
        options: &SpanOptions,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsErrors> {
        let mut variables = Variables::new(Signal::Traces, get);
        let read = read(options, &mut variables);
        variables.finish(read)
    }
}

fn read(options: &SpanOptions, variables: &mut Variables<'_>) -> Option<SpansConfig> {
    if options.endpoint.is_none() && !variables.says_where() {
        let says =
            options.ratio.is_some() || options.failures || options.slower_than.is_some() || options.queries;
        if says {
            variables.wrong.push(SettingsError::Nowhere("spans"));
        }
        return None;
    }
    if options.endpoint.is_none() && variables.is_off() {
        return None;
    }
    let collector = variables.collector(options.endpoint.as_deref());
    let sampling = sampling(options, variables);
    let resource = variables.resource();
    Some(SpansConfig { collector: collector?, sampling, queries: options.queries, resource })
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

#[cfg(test)]
mod tests;
