//! What is heard, and what is refused.

use super::*;

fn read_with(options: &SpanOptions, variables: &[(&str, &str)]) -> Result<Option<SpansConfig>, String> {
    let get = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    SpansConfig::read(options, &get).map_err(|error| error.to_string())
}

fn read(variables: &[(&str, &str)]) -> Result<Option<SpansConfig>, String> {
    read_with(&SpanOptions::default(), variables)
}

fn to(endpoint: &str) -> SpanOptions {
    SpanOptions { endpoint: Some(endpoint.to_owned()), ..SpanOptions::default() }
}

fn place(config: &SpansConfig) -> String {
    format!("{}{}", config.collector.address(), config.collector.path())
}

const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

#[test]
fn nothing_is_exported_unless_somebody_says_where() {
    assert!(read(&[]).unwrap().is_none());
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
    assert!(read(&[("OTEL_TRACES_EXPORTER", "console")]).unwrap().is_none(), "of no concern then");
    assert!(read(&[BASE, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
    assert!(read(&[BASE, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    let nowhere = read_with(&SpanOptions { failures: true, ..SpanOptions::default() }, &[]);
    assert!(nowhere.unwrap_err().contains("--otlp-endpoint"));
}

#[test]
fn what_is_said_for_traces_comes_before_what_is_said_for_everything_and_the_command_line_before_both() {
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/a/b");
    assert_eq!(place(&read(&[BASE]).unwrap().unwrap()), "http://127.0.0.1:4318/v1/traces");
    assert_eq!(place(&read(&[BASE, traces]).unwrap().unwrap()), "http://127.0.0.1:9/a/b");
    let bare = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9");
    assert_eq!(place(&read(&[bare]).unwrap().unwrap()), "http://127.0.0.1:9/");
    let said = read_with(&to("http://127.0.0.1:1/in"), &[BASE, traces, ("OTEL_SDK_DISABLED", "true")]);
    assert_eq!(place(&said.unwrap().unwrap()), "http://127.0.0.1:1/in/v1/traces");
}

#[test]
fn every_variable_that_is_heard_does_something() {
    let config = read(&[
        BASE,
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, Other=1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,deployment.environment.name=blue%2Cgreen"),
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ]);
    let config = config.unwrap().unwrap();
    let fields: Vec<_> = config.collector.fields().collect();
    assert_eq!(fields, [("x-key", "a b"), ("other", "1")]);
    assert_eq!((config.collector.limit(), config.collector.packs()), (Duration::from_millis(1_500), true));
    let resource: Vec<_> =
        config.resource.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(resource, [("deployment.environment.name", "blue,green"), ("service.name", "edge")]);
    assert_eq!((config.sampling.ratio, config.sampling.follows_parent), ("25%".parse().unwrap(), true));
    assert!(!format!("{config:?}").contains("a b"), "a key is never shown");
    let usual = read(&[BASE]).unwrap().unwrap();
    assert_eq!((usual.sampling.ratio, usual.sampling.follows_parent), (Ratio::EVERY, true));
    let said = read_with(
        &SpanOptions { ratio: Some("1%".parse().unwrap()), ..to("http://127.0.0.1:1") },
        &[("OTEL_TRACES_SAMPLER", "always_on")],
    );
    assert_eq!(said.unwrap().unwrap().sampling.ratio, "1%".parse().unwrap());
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let error = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
    ]);
    let error = error.unwrap_err();
    for said in [
        "ENDPOINT",
        "HEADERS",
        "PROTOCOL",
        "TIMEOUT",
        "COMPRESSION",
        "SAMPLER",
        "RESOURCE",
        "`http/protobuf`",
    ] {
        assert!(error.contains(said), "{said}: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn an_address_that_is_none_is_shown_with_what_to_write() {
    let said = |endpoint: &str| read_with(&to(endpoint), &[]).unwrap_err();
    for (endpoint, words) in [
        ("collector:4317", "`--otlp-endpoint` is `collector:4317`"),
        ("collector:4317", "4317 is that of gRPC"),
        ("grpc://collector:4317", "write http://"),
        ("http://:4318", "http://HOST:4318"),
        ("http://me:secret@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
    ] {
        assert!(said(endpoint).contains(words), "{endpoint}: {}", said(endpoint));
        assert!(!said(endpoint).contains("secret") && !said(endpoint).contains("--token-file"));
    }
}

#[test]
fn what_only_the_collector_should_see_goes_over_no_network_in_the_clear() {
    let keys = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=1");
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.1:4318"), keys]).is_err());
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://10.0.0.1:4318")]).is_ok());
    assert!(read(&[BASE, keys]).is_ok());
}
