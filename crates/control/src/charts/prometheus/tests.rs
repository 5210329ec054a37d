//! When a Prometheus is the answer, and when it is not.

use super::*;

const STEP: u64 = 60_000;

fn curve(version: Option<&str>, points: &[(u64, f64)]) -> Curve {
    let labels = version.iter().map(|version| (VERSION.to_owned(), (*version).to_owned())).collect();
    Curve { labels, points: points.to_vec() }
}

fn series(version: Option<&str>, figure: &str, points: &[(u64, f64)]) -> ChartSeries {
    let point = |&(at, average): &(u64, f64)| ChartPoint { at: Timestamp(at), average, largest: average };
    figures::series(version.map(str::to_owned), figure, points.iter().map(point).collect())
}

fn history(series: Vec<ChartSeries>) -> Curves {
    Curves { step_ms: STEP, whole: true, series }
}

/// A service that was there from one minute to another.
fn there_from(minutes: std::ops::Range<u64>) -> ChartSeries {
    let points: Vec<_> = minutes.map(|minute| (minute * STEP, 1.0)).collect();
    series(None, INSTANCES, &points)
}

#[test]
fn a_prometheus_that_has_all_is_the_answer_and_one_that_lacks_something_says_what() {
    let own = history(vec![there_from(0..60), series(None, REQUESTS, &[(0, 1.0)])]);
    let requests = || series(None, REQUESTS, &[(0, 1.0)]);
    let lacks = |of: Vec<ChartSeries>| lacks(&history(of), Some(&own));
    assert_eq!(lacks(vec![there_from(0..60), requests()]), None);
    assert_eq!(lacks(vec![there_from(2..59), requests()]), None, "a point or two at the ends are nothing");
    assert!(lacks(vec![]).unwrap().contains("nothing of this service"));
    assert!(lacks(vec![there_from(0..60)]).unwrap().contains("no `requests`"));
    assert!(
        lacks(vec![there_from(20..60), requests()]).unwrap().contains("18 of 60 points"),
        "it began later"
    );
    assert!(lacks(vec![there_from(0..50), requests()]).is_some(), "it collects no more");
    let nearly = history(vec![there_from(0..1_000)]);
    let stopped = history(vec![there_from(0..990)]);
    assert!(super::lacks(&stopped, Some(&nearly)).is_some(), "what is newest counts by itself");
    assert_eq!(super::lacks(&own, None), None, "there is no own history");
    assert!(super::lacks(&history(vec![]), None).is_some());
}

#[test]
fn two_servers_are_not_added_up_nor_one_that_is_collected_from_twice() {
    assert!(only_once(&[]).is_ok());
    assert!(only_once(&[curve(None, &[(1, 1.0), (2, 1.0)])]).is_ok());
    let said = only_once(&[curve(None, &[(1, 1.0), (2, 2.0)])]).unwrap_err();
    assert!(said.contains("2 copies") && said.contains("LOCKSTEP_PROMETHEUS_LABELS"), "{said}");
}

#[test]
fn how_often_is_collected_is_what_it_mostly_was() {
    let said = |values: &[f64]| {
        let points: Vec<_> = values.iter().enumerate().map(|(at, value)| (at as u64, *value)).collect();
        interval(&[curve(None, &points)])
    };
    assert_eq!(said(&[]), None);
    assert_eq!(said(&[0.0]), None, "one sample has no distance");
    assert_eq!(said(&[15.0; 20]), Some(15_000));
    let with_a_gap: Vec<f64> = [15.0; 19].into_iter().chain([540.0]).collect();
    assert_eq!(said(&with_a_gap), Some(15_000));
    assert_eq!((said(&[0.001]), said(&[4_000.0])), (Some(1_000), Some(MAX_INTERVAL_MS)));
}

#[test]
fn a_point_needs_most_of_what_should_have_been_collected_in_it() {
    let collected = [curve(None, &[(1, 4.0), (2, 1.0), (3, 3.0)])];
    assert_eq!(known(&collected, 60_000, 15_000), BTreeSet::from([1, 3]));
    let averages = [curve(Some("1.0.0"), &[(70_000, 2.0), (80_000, 3.0)])];
    let largest = [curve(Some("1.0.0"), &[(70_000, 9.0)]), curve(None, &[(70_000, 50.0)])];
    let at = BTreeSet::from([70_000]);
    let read = of_figure(REQUESTS, &averages, &largest, (&at, STEP)).unwrap();
    let point = ChartPoint { at: Timestamp(10_000), average: 2.0, largest: 9.0 };
    assert_eq!(read[0].points, [point], "of the time before it, with the largest of its own version");
    assert!(of_figure(REQUESTS, &[curve(None, &[(70_000, -1.0)])], &[], (&at, STEP)).is_err());
}

#[test]
fn counters_of_versions_that_are_gone_are_nothing_but_what_still_came_is_kept() {
    let kept = without_gone(vec![
        series(Some("1.0.0"), INSTANCES, &[(1, 1.0)]),
        series(Some("1.0.0"), REQUESTS, &[(1, 0.0), (2, 0.0), (3, 0.5)]),
        series(Some("0.9.0"), FAILURES, &[(1, 0.0)]),
        series(None, REQUESTS, &[(2, 0.0)]),
    ]);
    assert_eq!(
        kept,
        [
            series(Some("1.0.0"), INSTANCES, &[(1, 1.0)]),
            series(Some("1.0.0"), REQUESTS, &[(1, 0.0), (3, 0.5)]),
            series(None, REQUESTS, &[(2, 0.0)]),
        ]
    );
}
