//! Metrics: as they are written for Prometheus, under the same names, so that a query finds them whichever way they came.
//!
//! Labels that OpenTelemetry's conventions name get their names back (`service_name` is `service.name`). They stand at the points and not at the
//! resource, because the resource is who says it: this server or gateway.

use prost::Message;

use super::{KeyValue, Resource, Scope, scope, text};
use crate::families::{Families, Family, Kind, Sample};

/// Most points of one request: with the longest labels some megabyte.
const MAX_POINTS: usize = 5_000;
/// Counts go on from where they began.
const CUMULATIVE: i32 = 2;
/// Labels whose name has dots in the conventions.
const DOTTED: [(&str, &str); 5] = [
    ("service_name", "service.name"),
    ("service_version", "service.version"),
    ("service_instance_id", "service.instance.id"),
    ("deployment_environment_name", "deployment.environment.name"),
    ("host_name", "host.name"),
];

/// A request.
#[derive(Clone, PartialEq, Message)]
pub struct ExportMetrics {
    /// Of one resource.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// Metrics of a resource.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceMetrics {
    /// Who says them.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// By what.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

/// Metrics of a scope.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeMetrics {
    /// By what.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Which.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// A metric.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it means.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its points.
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    pub data: Option<Data>,
}

/// Points.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Data {
    /// What it is.
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    /// What only grows.
    #[prost(message, tag = "7")]
    Sum(Sum),
    /// What is counted by bounds.
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

/// Points of what it is.
#[derive(Clone, PartialEq, Message)]
pub struct Gauge {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<NumberPoint>,
}

/// Points of what only grows.
#[derive(Clone, PartialEq, Message)]
pub struct Sum {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<NumberPoint>,
    /// Since when they count.
    #[prost(int32, tag = "2")]
    pub temporality: i32,
    /// Whether they only grow.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// Points that are counted by bounds.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// The points.
    #[prost(message, repeated, tag = "1")]
    pub points: Vec<HistogramPoint>,
    /// Since when they count.
    #[prost(int32, tag = "2")]
    pub temporality: i32,
}

/// A number.
#[derive(Clone, PartialEq, Message)]
pub struct NumberPoint {
    /// Since when it counts, in nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start: u64,
    /// When it was so, likewise.
    #[prost(fixed64, tag = "3")]
    pub time: u64,
    /// The number.
    #[prost(oneof = "Number", tags = "4")]
    pub value: Option<Number>,
    /// Its labels.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// A number.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub enum Number {
    /// Of any kind.
    #[prost(double, tag = "4")]
    Double(f64),
}

/// Numbers by bounds.
#[derive(Clone, PartialEq, Message)]
pub struct HistogramPoint {
    /// Since when it counts, in nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start: u64,
    /// When it was so, likewise.
    #[prost(fixed64, tag = "3")]
    pub time: u64,
    /// How many.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// How many between bounds, one more than these.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// The bounds, growing.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    /// Its labels.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

/// When points were so: since when they count, and now, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Since when they count.
    pub start: u64,
    /// Now.
    pub now: u64,
}

/// Makes requests of what was measured, each of a size that collectors take.
#[must_use]
pub fn requests(families: &Families, resource: &Resource, times: Times) -> Vec<Vec<u8>> {
    let (mut requests, mut metrics, mut points) = (Vec::new(), Vec::new(), 0);
    for family in &families.0 {
        for (metric, count) in metrics_of(family, times) {
            if points > 0 && points + count > MAX_POINTS {
                requests.push(request(resource, std::mem::take(&mut metrics)));
                points = 0;
            }
            points += count;
            metrics.push(metric);
        }
    }
    if !metrics.is_empty() {
        requests.push(request(resource, metrics));
    }
    requests
}

fn request(resource: &Resource, metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics }];
    ExportMetrics { resource_metrics }.encode_to_vec()
}

/// Makes metrics of a family, each with no more points than a request has, and how many it has.
fn metrics_of(family: &Family, times: Times) -> Vec<(Metric, usize)> {
    let named = |data, count| {
        (Metric { name: family.name.clone(), description: family.help.clone(), data: Some(data) }, count)
    };
    if family.kind == Kind::Histogram {
        let points = histograms(&family.samples, times);
        let parts = points.chunks(MAX_POINTS).map(<[HistogramPoint]>::to_vec);
        return parts
            .map(|points| {
                let count = points.len();
                named(Data::Histogram(Histogram { points, temporality: CUMULATIVE }), count)
            })
            .collect();
    }
    let parts = family.samples.chunks(MAX_POINTS).map(|samples| {
        let points: Vec<_> = samples.iter().map(|sample| number(sample, family.kind, times)).collect();
        let count = points.len();
        let data = match family.kind {
            Kind::Counter => Data::Sum(Sum { points, temporality: CUMULATIVE, is_monotonic: true }),
            _ => Data::Gauge(Gauge { points }),
        };
        named(data, count)
    });
    parts.collect()
}

fn number(sample: &Sample, kind: Kind, times: Times) -> NumberPoint {
    NumberPoint {
        start: if kind == Kind::Counter { times.start } else { 0 },
        time: times.now,
        value: Some(Number::Double(sample.value)),
        attributes: attributes(&sample.labels),
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    let named = |name: &str| DOTTED.iter().find(|(label, _)| *label == name).map(|(_, dotted)| *dotted);
    let kept = labels.iter().filter(|(name, value)| name != "le" && !value.is_empty());
    kept.map(|(name, value)| text(named(name).unwrap_or(name), value.as_str())).collect()
}

/// Makes points of samples that stand together: buckets with growing bounds, the sum, and the count, which ends one.
fn histograms(samples: &[Sample], times: Times) -> Vec<HistogramPoint> {
    let (mut points, mut below, mut sum) = (Vec::new(), Vec::new(), None);
    for sample in samples {
        if sample.name.ends_with("_bucket") {
            let bound = sample.labels.iter().find(|(name, _)| name == "le");
            let bound = bound.and_then(|(_, bound)| bound.parse::<f64>().ok()).unwrap_or(f64::INFINITY);
            below.push((bound, whole(sample.value)));
        } else if sample.name.ends_with("_sum") {
            sum = Some(sample.value);
        } else {
            let count = whole(sample.value);
            points.push(histogram(std::mem::take(&mut below), (count, sum.take()), &sample.labels, times));
        }
    }
    points
}

fn histogram(
    below: Vec<(f64, u64)>,
    (count, sum): (u64, Option<f64>),
    labels: &[(String, String)],
    times: Times,
) -> HistogramPoint {
    let finite: Vec<_> = below.into_iter().filter(|(bound, _)| bound.is_finite()).collect();
    let mut before = 0;
    let mut bucket_counts: Vec<u64> = finite
        .iter()
        .map(|(_, below)| below.saturating_sub(std::mem::replace(&mut before, *below)))
        .collect();
    bucket_counts.push(count.saturating_sub(before));
    HistogramPoint {
        start: times.start,
        time: times.now,
        count,
        sum,
        bucket_counts,
        explicit_bounds: finite.into_iter().map(|(bound, _)| bound).collect(),
        attributes: attributes(labels),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is a whole number, and what is none is 0"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::resource;

    const TIMES: Times = Times { start: 5, now: 9 };

    fn decoded(text: &str) -> Vec<Metric> {
        let families = Families::parse(text).unwrap();
        let requests = requests(&families, &resource(&[("service.name", "lockstep")], &[]), TIMES);
        let decoded = requests.iter().map(|bytes| ExportMetrics::decode(&bytes[..]).unwrap());
        decoded
            .flat_map(|it| it.resource_metrics)
            .flat_map(|it| it.scope_metrics)
            .flat_map(|it| it.metrics)
            .collect()
    }

    #[test]
    fn counters_gauges_and_histograms_go_as_what_they_are() {
        let metrics = decoded(
            "# HELP a_total All.\n# TYPE a_total counter\na_total{service_name=\"orders\",class=\"5xx\",x=\"\"} 3\n\
             # TYPE g gauge\ng 1.5\n# TYPE h histogram\nh_bucket{v=\"1\",le=\"0.1\"} 2\nh_bucket{v=\"1\",le=\"1\"} 5\n\
             h_bucket{v=\"1\",le=\"+Inf\"} 6\nh_sum{v=\"1\"} 4.5\nh_count{v=\"1\"} 6\n",
        );
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert_eq!((sum.is_monotonic, sum.temporality, sum.points[0].start), (true, 2, 5));
        let keys: Vec<_> = sum.points[0].attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["service.name", "class"], "an empty label is none");
        let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("{metrics:?}") };
        assert_eq!((gauge.points[0].value, gauge.points[0].start), (Some(Number::Double(1.5)), 0));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("{metrics:?}") };
        let point = &histogram.points[0];
        assert_eq!((point.count, point.sum), (6, Some(4.5)));
        assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[2, 3, 1][..], &[0.1, 1.0][..]));
    }

    #[test]
    fn what_is_much_goes_in_parts_and_nothing_is_lost() {
        let lines: String = (0..12_345).map(|at| format!("g{{at=\"{at}\"}} {at}\n")).collect();
        let families = Families::parse(&format!("# TYPE g gauge\n{lines}")).unwrap();
        let requests = requests(&families, &Resource::default(), TIMES);
        assert_eq!(requests.len(), 3);
        let all = decoded(&format!("# TYPE g gauge\n{lines}"));
        let count: usize = all
            .iter()
            .map(|metric| match &metric.data {
                Some(Data::Gauge(gauge)) => gauge.points.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(count, 12_345);
    }
}
