//! The matrix of 100 versions of a consumer and 100 of a provider. Most releases do not change a contract, so versions have
//! few distinct ones, and each pair of distinct contracts is judged once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::hint::black_box;

use lockstep_contract::{Kind, Options, Parsed, Source, Verdict, fit_parsed};

use crate::fastest;
use crate::small::OPENAPI_JSON;

const VERSIONS: usize = 100;
/// Versions between two changes of the contract.
const UNCHANGED: usize = 10;
const ROUNDS: usize = 5;

/// Prints what the whole matrix takes, and for comparison without fingerprints.
pub(crate) fn table() {
    let provider: Vec<Source> = (0..VERSIONS).map(contract).collect();
    let consumer = provider.clone();
    let with = fastest(ROUNDS, || drop(black_box(by_fingerprint(&consumer, &provider))));
    let without = fastest(1, || drop(black_box(cell_by_cell(&consumer, &provider))));
    assert_eq!(by_fingerprint(&consumer, &provider), cell_by_cell(&consumer, &provider), "the same answers");
    let distinct = VERSIONS / UNCHANGED;
    println!("\nmatrix: {VERSIONS} x {VERSIONS} versions, {distinct} distinct contracts on each side");
    println!("{:<36} {:>10.1} ms", "a pair of distinct contracts once", with.as_secs_f64() * 1e3);
    println!("{:<36} {:>10.1} ms", "every cell by itself, read once", without.as_secs_f64() * 1e3);
}

fn contract(version: usize) -> Source {
    let maximum = format!("\"maximum\":{}", 100 - version / UNCHANGED);
    Source::file("payments.json", OPENAPI_JSON.replace("\"maximum\":100", &maximum).into_bytes())
}

fn fingerprint(source: &Source) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.files().for_each(|file| file.hash(&mut hasher));
    hasher.finish()
}

/// Fingerprints all, reads each distinct contract once and judges each pair of them once.
fn by_fingerprint(consumer: &[Source], provider: &[Source]) -> Vec<Verdict> {
    let keys = |side: &[Source]| -> Vec<u64> { side.iter().map(fingerprint).collect() };
    let (consumer_keys, provider_keys) = (keys(consumer), keys(provider));
    let mut parsed: BTreeMap<u64, Parsed<'_>> = BTreeMap::new();
    for (key, source) in consumer_keys.iter().zip(consumer).chain(provider_keys.iter().zip(provider)) {
        parsed.entry(*key).or_insert_with(|| read(source));
    }
    let mut known: HashMap<(u64, u64), Verdict> = HashMap::new();
    let mut cells = Vec::with_capacity(VERSIONS * VERSIONS);
    for used in &consumer_keys {
        for offered in &provider_keys {
            let verdict = known.entry((*used, *offered));
            cells.push(*verdict.or_insert_with(|| judge(&parsed[used], &parsed[offered])));
        }
    }
    cells
}

fn cell_by_cell(consumer: &[Source], provider: &[Source]) -> Vec<Verdict> {
    let used: Vec<Parsed<'_>> = consumer.iter().map(read).collect();
    let offered: Vec<Parsed<'_>> = provider.iter().map(read).collect();
    used.iter().flat_map(|used| offered.iter().map(move |offered| judge(used, offered))).collect()
}

fn read(source: &Source) -> Parsed<'_> {
    Parsed::read(source, Kind::OpenApi).expect("valid")
}

fn judge(used: &Parsed<'_>, offered: &Parsed<'_>) -> Verdict {
    fit_parsed(used, &["POST /charges".to_owned()], offered, &Options::default()).expect("valid").verdict
}
