use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::code::{PEAK_PRECISION, PRECISION};
use crate::query::{Extent, MAX_POINTS, Point};

/// A quarter past eleven in the evening, so that an hour and a day end soon.
const BEGIN_MS: u64 = 20_000 * 86_400_000 + 83_700_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

type Values = Vec<(SeriesKey, f64)>;

/// What was taken, by time.
#[derive(Default, Clone)]
struct Model(BTreeMap<u64, BTreeMap<SeriesKey, f64>>);

impl Model {
    fn take(&mut self, at_ms: u64, values: &Values) {
        self.0.insert(at_ms, values.iter().filter(|(_, value)| value.is_finite()).cloned().collect());
    }

    /// What should be read, by key and the time of the point: each row where the step is 0.
    fn curves(&self, step_ms: u64) -> BTreeMap<SeriesKey, BTreeMap<u64, Vec<f64>>> {
        let mut curves: BTreeMap<SeriesKey, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
        for (at_ms, row) in &self.0 {
            let point_ms = at_ms - at_ms.checked_rem(step_ms).unwrap_or_default();
            for (key, value) in row {
                curves.entry(key.clone()).or_default().entry(point_ms).or_default().push(*value);
            }
        }
        curves
    }

    fn first_ms(&self) -> u64 {
        *self.0.first_key_value().unwrap().0
    }
}

fn key(name: &str) -> SeriesKey {
    SeriesKey::new("production", name, None, "requests").unwrap()
}

fn values(number: u64) -> Values {
    vec![
        (key("orders"), 100.0 + (number * 37 % 100) as f64),
        (key("stock"), 3.0),
        (key("users"), number as f64 * 0.37),
    ]
}

fn open(folder: &TempDir) -> Store {
    let (store, problems) = Store::open(folder.path(), Bounds::default()).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    store
}

fn everything(points: usize) -> Query {
    Query { prefix: String::new(), figures: vec![], from_ms: 0, until_ms: u64::MAX, points }
}

/// All rows as they are.
fn rows_from(from_ms: u64) -> Query {
    Query { from_ms, until_ms: from_ms + 9 * HOUR_MS, ..everything(MAX_POINTS) }
}

/// Points of 5 minutes.
fn steps_from(from_ms: u64) -> Query {
    let from_ms = from_ms - from_ms % 300_000;
    Query { from_ms, until_ms: from_ms + 300_000 * MAX_POINTS as u64, ..everything(MAX_POINTS) }
}

fn is_right(point: &Point, values: &[f64]) -> bool {
    let average = values.iter().sum::<f64>() / values.len() as f64;
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let off = values.iter().fold(1e-30, |off: f64, value| off.max(value.abs() * 2.0 * PRECISION));
    let above = if values.len() == 1 { 0.0 } else { largest.abs() * PEAK_PRECISION };
    (point.average - average).abs() <= off && (-off..=above + off).contains(&(point.largest - largest))
}

fn check(store: &Store, query: &Query, model: &Model, step_ms: u64) {
    let answer = store.read(query);
    assert!(answer.problems.is_empty() && answer.extent == Extent::Whole, "{:?}", answer.problems);
    let expected = model.curves(step_ms);
    assert_eq!(
        answer.series.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (key, curve) in &answer.series {
        let expected = &expected[key];
        let times: Vec<_> = curve.iter().map(|point| point.at_ms).collect();
        assert_eq!(times, expected.keys().copied().collect::<Vec<_>>(), "{key}");
        for point in curve {
            assert!(is_right(point, &expected[&point.at_ms]), "{key} {point:?} {:?}", expected[&point.at_ms]);
        }
    }
}

fn check_both(store: &Store, model: &Model) {
    check(store, &rows_from(model.first_ms()), model, 0);
    check(store, &steps_from(model.first_ms()), model, 300_000);
}

/// Points of the first nine hours.
fn count(store: &Store) -> usize {
    store.read(&rows_from(BEGIN_MS)).series.iter().map(|(_, curve)| curve.len()).sum()
}

fn parts(store: &Store) -> usize {
    store.fine.parts().len() + store.coarse.parts().len()
}

#[test]
fn an_empty_world_is_kept_and_read() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    assert_eq!((store.bytes(), count(&store)), (0, 0));
    (0..90).for_each(|minute| drop(store.append(BEGIN_MS + minute * MINUTE_MS, &[]).unwrap()));
    drop(store);
    assert_eq!(count(&open(&folder)), 0);
}

#[test]
fn rows_are_read_over_hours_and_days_and_after_opening_again() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut model) = (open(&folder), Model::default());
    for number in 0..800 {
        let at_ms = BEGIN_MS + number * 10_000;
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
    }
    check_both(&store, &model);
    drop(store);
    check_both(&open(&folder), &model);
}

#[test]
fn what_is_older_than_a_day_is_read_from_points_of_five_minutes_with_their_peaks() {
    let folder = TempDir::new().unwrap();
    let bounds = Bounds { fine_ms: HOUR_MS, ..Bounds::default() };
    let (mut store, mut model) = (Store::open(folder.path(), bounds).unwrap().0, Model::default());
    for number in 0..5 * 360 {
        let at_ms = BEGIN_MS + number * 10_000;
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
    }
    assert!(store.fine.parts().len() <= 2, "{:?}", store.fine.parts());
    check(&store, &steps_from(BEGIN_MS), &model, 300_000);
    let old = Query { until_ms: BEGIN_MS + HOUR_MS, ..rows_from(BEGIN_MS) };
    let curve = &store.read(&old).series[0].1;
    assert_eq!(curve.len(), 12);
    assert!(curve.iter().all(|point| point.largest > point.average));
}

#[test]
fn steps_that_are_late_keep_their_own_times() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut model) = (open(&folder), Model::default());
    let mut at_ms = BEGIN_MS;
    for (number, step_ms) in
        [10_000, 13_000, 7_000, 70_000, 1_000, 9_999, 10_001, 610_000, 10_000].into_iter().enumerate()
    {
        at_ms += step_ms;
        store.append(at_ms, &values(number as u64)).unwrap();
        model.take(at_ms, &values(number as u64));
    }
    check_both(&store, &model);
    assert!(matches!(store.append(at_ms + 999, &[]), Err(AppendError::TooSoon { .. })));
    assert!(matches!(store.append(u64::MAX, &[]), Err(AppendError::NoTime(u64::MAX))));
    check_both(&store, &model);
}

#[test]
fn a_clock_that_goes_back_a_little_costs_rows_that_are_refused_and_one_that_goes_back_far_none() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut model) = (open(&folder), Model::default());
    let later = BEGIN_MS + 30 * MINUTE_MS;
    let mut take = |store: &mut Store, at_ms: u64, number: u64| {
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
    };
    (0..60).for_each(|number| take(&mut store, later + number * 10_000, number));
    let last_ms = later + 590_000;
    for back_ms in [0, 1, 3_000, MAX_STEP_BACK_MS] {
        let error = store.append(last_ms - back_ms, &values(7)).unwrap_err();
        assert!(matches!(error, AppendError::NotLater { .. }), "{error}");
    }
    (0..60).for_each(|number| take(&mut store, BEGIN_MS + number * 10_000 + 1, number + 100));
    (60..400).for_each(|number| take(&mut store, BEGIN_MS + number * 10_000 + 1, number + 100));
    check(&store, &rows_from(BEGIN_MS), &model, 0);
    drop(store);
    check(&open(&folder), &rows_from(BEGIN_MS), &model, 0);
}

#[test]
fn a_clock_that_was_wrong_for_a_moment_costs_no_history() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut model) = (open(&folder), Model::default());
    let mut at_ms = BEGIN_MS;
    for number in 0..400 {
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
        at_ms += 10_000;
    }
    (0..30).for_each(|row| drop(store.append(at_ms + 400 * DAY_MS + row * 10_000, &values(1)).unwrap()));
    (0..30).for_each(|row| drop(store.append(row * 10_000, &values(1)).unwrap()));
    check(&store, &rows_from(BEGIN_MS), &model, 0);
    for number in 0..800 {
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
        at_ms += 10_000;
    }
    check(&store, &rows_from(BEGIN_MS), &model, 0);
    drop(store);
    check(&open(&folder), &rows_from(BEGIN_MS), &model, 0);
}

#[test]
fn a_clock_that_goes_to_and_fro_makes_a_bounded_number_of_files() {
    let folder = TempDir::new().unwrap();
    let bounds = Bounds { bytes: 60_000, ..Bounds::default() };
    let mut store = Store::open(folder.path(), bounds).unwrap().0;
    let mut told = 0;
    for number in 0..300_u64 {
        let at_ms = BEGIN_MS + if number % 2 == 0 { 0 } else { 10 * DAY_MS } + number * 10_000;
        told += store.append(at_ms, &values(number)).unwrap().problems.len();
        assert!(store.bytes() <= bounds.bytes);
    }
    assert!(told > 0 && parts(&store) < 400);
}

#[test]
fn two_stores_do_not_share_a_folder_and_the_second_says_who_has_it() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let error = Store::open(folder.path(), Bounds::default()).unwrap_err();
    let expected = format!("process {}", std::process::id());
    assert!(matches!(&error, OpenError::Taken { by, .. } if *by == expected), "{error}");
    drop(store);
    open(&folder);
}

#[test]
fn a_folder_that_is_lost_is_said_and_not_made_anew() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history");
    let mut store = Store::open(&path, Bounds::default()).unwrap().0;
    store.append(BEGIN_MS, &values(1)).unwrap();
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(store.append(BEGIN_MS + 10_000, &values(2)), Err(AppendError::Lost(_))));
    assert!(!path.exists());
    drop(store);
    let mut store = Store::open(&path, Bounds::default()).unwrap().0;
    store.append(BEGIN_MS + 20_000, &values(2)).unwrap();
    fs::remove_file(path.join(store.fine.present_file())).unwrap();
    assert!(matches!(store.append(BEGIN_MS + 30_000, &values(2)), Err(AppendError::Lost(_))));
    assert_eq!(count(&store), 3, "what is in memory is still read");
}

#[test]
fn files_of_others_are_left_alone_and_garbage_under_our_names_is_told() {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("notes.txt", b"mine");
    put("fine-1-1.log", b"garbage that is longer than a head");
    put("fine-1-2.seg", &[0; 5_000]);
    put("coarse-1-3.seg", b"");
    put("fine-2-4.log", &crate::log::head(LOG_FORM, Level::Coarse));
    put("fine-2-5.seg.new", b"half");
    put("fine-2-6.log", b"LSTP");
    fs::create_dir(folder.path().join("coarse-1-7.log")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("coarse-1-8.seg")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fine-9-9.seg"), 0o600.into()).unwrap();
    let (mut store, problems) = Store::open(folder.path(), Bounds::default()).unwrap();
    let unreadable = problems.iter().filter(|problem| matches!(problem, Problem::Unreadable { .. })).count();
    assert_eq!((unreadable, problems.len()), (7, 8), "{problems:?}");
    assert!(folder.path().join("notes.txt").exists() && folder.path().join("fine-1-1.log").exists());
    assert!(!folder.path().join("fine-2-5.seg.new").exists() && !folder.path().join("fine-2-6.log").exists());
    let mut model = Model::default();
    for number in 0..400 {
        let at_ms = BEGIN_MS + number * 10_000;
        store.append(at_ms, &values(number)).unwrap();
        model.take(at_ms, &values(number));
    }
    check_both(&store, &model);
}

#[test]
fn a_segment_that_is_damaged_while_it_is_used_is_told_and_the_coarser_level_fills_in() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    (0..400).for_each(|number| drop(store.append(BEGIN_MS + number * 10_000, &values(number)).unwrap()));
    let path = folder.path().join(store.fine.parts()[0].file());
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, bytes).unwrap();
    let answer = store.read(&rows_from(BEGIN_MS));
    assert!(matches!(answer.problems[..], [Problem::Unreadable { .. }]));
    assert_eq!(answer.series[0].1.len(), 9 + 400 - 270);
}

#[test]
fn what_a_newer_release_wrote_is_refused_before_anything_is_changed() {
    let folder = TempDir::new().unwrap();
    let mut head = crate::log::head(segment::FORM, Level::Fine);
    head[7] = FORMAT + 1;
    fs::write(folder.path().join("fine-1-1.seg"), head).unwrap();
    fs::write(folder.path().join("fine-1-2.log"), b"LSTP").unwrap();
    let error = Store::open(folder.path(), Bounds::default()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(folder.path().join("fine-1-2.log").exists());
}

#[test]
fn the_bound_of_bytes_removes_the_oldest_and_says_so() {
    let folder = TempDir::new().unwrap();
    let bounds = Bounds { bytes: 22_000, ..Bounds::default() };
    let (mut store, mut dropped) = (Store::open(folder.path(), bounds).unwrap().0, Vec::new());
    for number in 0..6_000 {
        let appended = store.append(BEGIN_MS + number * 10_000, &values(number)).unwrap();
        assert!(store.bytes() <= bounds.bytes);
        dropped.extend(appended.problems);
    }
    assert!(dropped.iter().all(|problem| matches!(problem, Problem::Dropped { .. })) && !dropped.is_empty());
    let bytes = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(bytes.sum::<u64>() <= bounds.bytes + 20, "but for the lock");
    let lately = store.read(&rows_from(BEGIN_MS + 8 * HOUR_MS));
    assert!(lately.series[0].1.len() > 300 && lately.problems.is_empty());
}

#[test]
fn a_bound_that_not_even_an_hour_fits_in_is_kept_too() {
    let folder = TempDir::new().unwrap();
    let bounds = Bounds { bytes: 1_500, ..Bounds::default() };
    let mut store = Store::open(folder.path(), bounds).unwrap().0;
    let taken = (0..1_500).filter(|number| {
        let appended = store.append(BEGIN_MS + number * 10_000, &values(*number));
        assert!(store.bytes() <= bounds.bytes);
        match appended {
            Ok(_) => true,
            Err(AppendError::Bound { bound: 1_500, .. }) => false,
            Err(error) => panic!("{error}"),
        }
    });
    assert!(taken.count() > 20);
}

#[test]
fn series_beyond_the_bound_are_dropped_and_counted() {
    let folder = TempDir::new().unwrap();
    let bounds = Bounds { series: 10, ..Bounds::default() };
    let mut store = Store::open(folder.path(), bounds).unwrap().0;
    let many: Values = (0..25).map(|number| (key(&format!("s{number}")), 1.0)).collect();
    assert_eq!(store.append(BEGIN_MS, &many).unwrap().dropped, 15);
    assert_eq!(store.append(BEGIN_MS + 10_000, &many).unwrap().dropped, 15);
    assert_eq!((store.series(), count(&store)), (10, 20));
}

#[test]
fn versions_that_come_and_go_leave_nothing_behind_in_memory() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    let version = |number: u64| {
        SeriesKey::new("production", "orders", Some(&format!("1.{number}.0")), "requests").unwrap()
    };
    for number in 0..10_000_u64 {
        let appended =
            store.append(BEGIN_MS + number * 260_000, &[(version(number), 1.0), (version(number + 1), 2.0)]);
        assert_eq!(appended.unwrap().dropped, 0);
        assert!(store.series() <= 16 && store.coarse.rows().keys().len() <= 336);
    }
    let of_one = Query { prefix: "production/orders/1.9000.0/".into(), ..everything(MAX_POINTS) };
    let Answer { series, problems, .. } = store.read(&of_one);
    assert!(problems.is_empty() && series.len() == 1 && series[0].0.version() == Some("1.9000.0"));
}

#[test]
fn a_value_that_is_named_twice_counts_once() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    store.append(BEGIN_MS, &[(key("a"), 1.0), (key("b"), 2.0), (key("a"), 3.0)]).unwrap();
    store.append(BEGIN_MS + 300_000, &[(key("a"), f64::NAN)]).unwrap();
    let mut model = Model::default();
    model.take(BEGIN_MS, &vec![(key("a"), 3.0), (key("b"), 2.0)]);
    check_both(&store, &model);
    assert_eq!(store.coarse.rows().rows()[0].codes[..], [code_of(3.0), code_of(2.0)].repeat(2));
}

#[test]
fn an_answer_has_a_bound_and_the_newest_is_in_it() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    let many: Values = (0..5_000).map(|number| (key(&format!("s{number}")), 1.0)).collect();
    (0..400).for_each(|number| drop(store.append(BEGIN_MS + number * 10_000, &many).unwrap()));
    let answer = store.read(&rows_from(BEGIN_MS));
    let points: usize = answer.series.iter().map(|(_, curve)| curve.len()).sum();
    assert_eq!((answer.extent, points), (Extent::Cut, crate::query::MAX_READ));
    assert_eq!(answer.series[0].1.last().unwrap().at_ms, BEGIN_MS + 3_990_000);
}

/// Appends rows of a minute over the ends of an hour and a day; errors only, where the disk says that it is full.
fn fill(store: &mut Store, model: &mut Model, rows: std::ops::Range<u64>) -> usize {
    let mut refused = 0;
    for number in rows {
        let at_ms = BEGIN_MS + number * MINUTE_MS;
        match store.append(at_ms, &values(number)) {
            Ok(_) => model.take(at_ms, &values(number)),
            Err(AppendError::Write { .. } | AppendError::Waiting(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    refused
}

fn disk(bytes: u64) -> (Disk, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(bytes));
    (Disk { left: Some(Arc::clone(&left)) }, left)
}

/// Bytes and deeds that [`fill`] costs.
fn cost(rows: u64) -> u64 {
    let folder = TempDir::new().unwrap();
    let (disk, left) = disk(u64::MAX / 2);
    let mut store = Store::open_on(folder.path(), Bounds::default(), disk).unwrap().0;
    fill(&mut store, &mut Model::default(), 0..rows);
    u64::MAX / 2 - left.load(Ordering::SeqCst)
}

#[test]
fn a_process_that_is_killed_after_any_byte_loses_no_row_that_was_taken() {
    let cost = cost(60);
    for bytes in (0..cost).step_by(19) {
        let folder = TempDir::new().unwrap();
        let (disk, _) = disk(bytes);
        let (mut store, mut model) =
            (Store::open_on(folder.path(), Bounds::default(), disk).unwrap().0, Model::default());
        fill(&mut store, &mut model, 0..60);
        drop(store);
        let (mut store, problems) = Store::open(folder.path(), Bounds::default()).unwrap();
        assert!(
            problems.iter().all(|problem| matches!(problem, Problem::TornEnd { .. })),
            "{bytes} {problems:?}"
        );
        if !model.0.is_empty() {
            check_both(&store, &model);
        }
        fill(&mut store, &mut model, 60..130);
        check_both(&store, &model);
    }
}

#[test]
fn a_disk_that_was_full_refuses_rows_and_takes_later_ones() {
    let cost = cost(60);
    for bytes in (0..cost).step_by(61) {
        let folder = TempDir::new().unwrap();
        let (disk, left) = disk(bytes);
        let (mut store, mut model) =
            (Store::open_on(folder.path(), Bounds::default(), disk).unwrap().0, Model::default());
        let refused = fill(&mut store, &mut model, 0..75);
        assert!(refused > 0 && store.fine.rows().rows().len() <= 60, "memory does not grow");
        left.store(u64::MAX / 2, Ordering::SeqCst);
        let refused = fill(&mut store, &mut model, 75..140);
        assert!(refused <= ROWS_TO_WAIT as usize, "{refused}");
        check_both(&store, &model);
        drop(store);
        check_both(&Store::open(folder.path(), Bounds::default()).unwrap().0, &model);
    }
}

#[test]
fn a_log_that_is_cut_anywhere_opens_as_the_rows_before() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    (0..12).for_each(|number| drop(store.append(BEGIN_MS + number * 10_000, &values(number)).unwrap()));
    let name = store.fine.present_file();
    drop(store);
    let bytes = fs::read(folder.path().join(&name)).unwrap();
    let mut seen = BTreeSet::new();
    for cut in 0..=bytes.len() {
        let other = TempDir::new().unwrap();
        fs::write(other.path().join(&name), &bytes[..cut]).unwrap();
        let (store, problems) = Store::open(other.path(), Bounds::default()).unwrap();
        assert!(problems.len() <= 1);
        let rows = count(&store);
        let mut model = Model::default();
        (0..rows as u64 / 3).for_each(|number| model.take(BEGIN_MS + number * 10_000, &values(number)));
        if rows > 0 {
            check(&store, &rows_from(BEGIN_MS), &model, 0);
        }
        seen.insert(rows);
    }
    assert_eq!(seen.len(), 13);
}

#[test]
fn a_segment_whose_log_is_still_there_is_read_once() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut model) = (open(&folder), Model::default());
    fill(&mut store, &mut model, 0..40);
    let log = folder.path().join(store.fine.present_file());
    let copy = fs::read(&log).unwrap();
    fill(&mut store, &mut model, 40..60);
    drop(store);
    assert!(!log.exists());
    fs::write(&log, copy).unwrap();
    check_both(&open(&folder), &model);
    assert!(!log.exists());
}

#[derive(Debug, Clone)]
enum Deed {
    /// Milliseconds after the last row, and values of three series; none is a gap.
    Append(u64, [Option<f64>; 3]),
    /// So many rows of 10 seconds.
    Run(u64),
    Open,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let value = prop::option::of(prop_oneof![Just(0.0), 0.0..1e6_f64, -10.0..10.0_f64]);
    let step = prop_oneof![1_000_u64..30_000, 1_000_u64..4_000_000];
    let deed = prop_oneof![
        6 => (step, [value.clone(), value.clone(), value]).prop_map(|(step_ms, values)| Deed::Append(step_ms, values)),
        1 => (1_u64..200).prop_map(Deed::Run),
        1 => Just(Deed::Open),
    ];
    prop::collection::vec(deed, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn what_was_appended_is_what_is_read(deeds in deeds()) {
        let folder = TempDir::new().unwrap();
        let bounds = Bounds { fine_ms: 40 * DAY_MS, coarse_ms: 40 * DAY_MS, ..Bounds::default() };
        let open = || Store::open(folder.path(), bounds).unwrap().0;
        let (mut store, mut model, mut at_ms) = (open(), Model::default(), BEGIN_MS);
        for deed in deeds {
            match deed {
                Deed::Append(step_ms, numbers) => {
                    at_ms += step_ms;
                    let row = ["a", "b", "c"].map(key).into_iter().zip(numbers);
                    let row: Values = row.filter_map(|(key, value)| Some((key, value?))).collect();
                    store.append(at_ms, &row).unwrap();
                    model.take(at_ms, &row);
                }
                Deed::Run(rows) => for row in 0..rows {
                    at_ms += 10_000;
                    store.append(at_ms, &values(row)).unwrap();
                    model.take(at_ms, &values(row));
                },
                Deed::Open => {
                    drop(store);
                    store = open();
                }
            }
        }
        if !model.0.is_empty() {
            check(&store, &steps_from(BEGIN_MS), &model, 300_000);
            let hours = model.0.keys().last().unwrap() - BEGIN_MS;
            for hour in (0..=hours).step_by(9 * HOUR_MS as usize) {
                let query = rows_from(BEGIN_MS + hour);
                let part = Model(model.0.range(query.from_ms..query.until_ms).map(|(at_ms, row)| (*at_ms, row.clone())).collect());
                check(&store, &query, &part, 0);
            }
            // Without the finer level, the coarser one alone says the same.
            let lost: Vec<_> = store.fine.parts().iter().map(Part::file).collect();
            drop(store);
            lost.iter().for_each(|file| fs::remove_file(folder.path().join(file)).unwrap());
            check(&open(), &steps_from(BEGIN_MS), &model, 300_000);
        }
    }
}
