//! The semantic oracle: an independent validator looks for documents that contradict a verdict.
//!
//! `LOCKSTEP_CONTRACT_CASES` sets how many pairs of schemas are tried (the default keeps a test run short) and
//! `LOCKSTEP_CONTRACT_SEED` where to start.

#[path = "support/documents.rs"]
mod documents;
#[path = "support/schemas.rs"]
mod schemas;

use documents::document;
use lockstep_contract::{Change, Kind, Level, Options, Report, Source, UnknownFields, Verdict, diff_as};
use schemas::{Dice, changed, schema};
use serde_json::Value;

/// Documents tried for every pair of schemas.
const DOCUMENTS: usize = 40;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn compare(old: &Value, new: &Value) -> Report {
    let source = |value: &Value| Source::file("schema.json", value.to_string().into_bytes());
    let options = Options { unknown_fields: UnknownFields::Validated, ..Options::default() };
    diff_as(Kind::JsonSchema, &source(old), &source(new), &options).expect("valid input")
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(schema).expect("valid schema")
}

fn pair(seed: u64) -> (Dice, Value, Value) {
    let mut dice = Dice::new(seed);
    let depth = 1 + dice.below(3);
    let old = schema(&mut dice, depth);
    let mut new = old.clone();
    for _ in 0..=dice.below(2) {
        new = changed(&mut dice, &new);
    }
    if dice.chance(10) {
        new = schema(&mut dice, depth);
    }
    (dice, old, new)
}

/// Checks one direction: no document may contradict the verdict, and every witness must hold.
fn check(seed: u64, dice: &mut Dice, (old, new): (&Value, &Value), verdict: Verdict, changes: &[Change]) {
    let (before, after) = (validator(old), validator(new));
    for change in changes.iter().filter(|change| change.level == Level::Error) {
        if let Some(witness) = &change.witness {
            let shows = before.is_valid(witness) && !after.is_valid(witness);
            assert!(shows, "seed {seed}: witness {witness} of {} between\n{old}\n{new}", change.message);
        }
    }
    for round in 0..DOCUMENTS {
        let candidate = document(dice, if round % 3 == 0 { new } else { old }, 4);
        if before.is_valid(&candidate) && !after.is_valid(&candidate) {
            let flagged = verdict != Verdict::Compatible;
            assert!(
                flagged,
                "seed {seed}: {candidate} was allowed and is not, but nothing was found between\n{old}\n{new}"
            );
        }
    }
}

#[test]
fn no_document_contradicts_a_verdict() {
    let (start, cases) = (setting("LOCKSTEP_CONTRACT_SEED", 0), setting("LOCKSTEP_CONTRACT_CASES", 1500));
    let mut tally = [0_usize; 3];
    let mut silent = 0;
    for seed in start..start + cases {
        let (mut dice, old, new) = pair(seed);
        let report = compare(&old, &new);
        tally[report.verdict as usize] += 1;
        silent += report
            .changes
            .iter()
            .filter(|change| change.level == Level::Error && change.witness.is_none())
            .count();
        check(seed, &mut dice, (&old, &new), report.verdict, &report.changes);
        check(seed, &mut dice, (&new, &old), report.roll_back.verdict(), &report.roll_back.changes);
    }
    let [compatible, breaking, undecided] = tally;
    // Read by `cargo xtask fuzz contract`.
    println!(
        "{cases} pairs, {} documents: {compatible} compatible, {breaking} breaking ({silent} errors without a witness), {undecided} not decided",
        cases * 2 * DOCUMENTS as u64
    );
    assert!(undecided * 4 < tally.iter().sum::<usize>(), "most pairs are decided: {undecided} are not");
}

#[test]
fn a_schema_is_the_same_as_itself() {
    for seed in 0..setting("LOCKSTEP_CONTRACT_CASES", 500) {
        let (_, old, _) = pair(seed);
        let report = compare(&old, &old);
        assert!(report.changes.is_empty() && report.not_checked.is_empty(), "seed {seed}: {old}");
        assert!(report.may_deploy && report.may_roll_back);
    }
}
