//! Contracts: compared for plans, releases and people, and what was compared is remembered.
//!
//! Equal digests give equal answers, so an answer that came from comparing is good for as long as the program runs.

use std::collections::HashMap;
use std::sync::Mutex;

use lockstep_contract::{
    Change, Fit, InputError, NotChecked, Options, Parsed, Snapshot, fit_parsed, operations_parsed, sql,
};
use lockstep_domain::contract::{
    Answer, ContractKind, Contracts, DatabaseWay, MAX_REASONS, MessageRole, OfferedContract, UsedContract,
    Verdict,
};
use lockstep_domain::seen_use::SeenUse;
use lockstep_domain::{Digest, ServiceName, VersionRef};
use lockstep_store::Blobs;

use crate::call_book::CallBook;
use crate::instances::with_sources;
use crate::lock;

/// Most answers that are remembered: a matrix of some hundred versions on both sides.
const MAX_REMEMBERED: usize = 200_000;

/// Most contracts whose operations are remembered: a contract has some hundred.
const MAX_LISTED: usize = 2_000;
/// Largest snapshot that is read: it was bounded when it was taken, by what the server of that time was told to take at most, and as
/// JSON it may take several times its size.
pub(crate) const MAX_SNAPSHOT_BYTES: u64 = 8 << 30;

/// Answers that were given.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    answers: Mutex<HashMap<Question, Answer>>,
    /// The operations of contracts; `None` of one that cannot be read.
    operations: Mutex<HashMap<Digest, Option<Vec<String>>>>,
    /// Held while many contracts are in memory at once.
    turn: Mutex<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Fit { used: Digest, operations: Vec<String>, offered: Digest },
    Messages { written: Digest, read: Digest },
    Database { older: Digest, newer: Digest, way: DatabaseWay },
}

impl Memory {
    /// Returns what is known, or finds it out. What keeps contracts from being read may pass, so it is not remembered.
    fn answer(&self, question: Question, make: impl FnOnce() -> Result<Answer, String>) -> Answer {
        if let Some(known) = lock(&self.answers).get(&question) {
            return known.clone();
        }
        match make() {
            Ok(answer) => {
                self.learn(question, answer.clone());
                answer
            }
            Err(why) => Answer::not_checked(why),
        }
    }

    fn learn(&self, question: Question, answer: Answer) {
        let mut known = lock(&self.answers);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(question, answer);
    }

    fn knows(&self, question: &Question) -> bool {
        lock(&self.answers).contains_key(question)
    }
}

/// Contracts in the blob store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredContracts<'a> {
    pub(crate) blobs: &'a Blobs,
    pub(crate) memory: &'a Memory,
    pub(crate) calls: &'a CallBook,
}

impl Contracts for StoredContracts<'_> {
    fn fit(&self, used: &UsedContract, operations: &[String], offered: &OfferedContract) -> Answer {
        if used.digest == offered.digest {
            return Answer::compatible();
        }
        let question = fit_question(used, operations, offered);
        self.memory.answer(question, || {
            self.both(used.digest, offered.digest, |used, offered| fit(used, operations, offered))
        })
    }

    fn messages(&self, written: &OfferedContract, read: &OfferedContract) -> Answer {
        if written.digest == read.digest {
            return Answer::compatible();
        }
        let question = Question::Messages { written: written.digest, read: read.digest };
        self.memory.answer(question, || self.both(written.digest, read.digest, messages))
    }

    fn database(&self, older: &OfferedContract, newer: &OfferedContract, way: DatabaseWay) -> Answer {
        if older.digest == newer.digest {
            return Answer::compatible();
        }
        let question = Question::Database { older: older.digest, newer: newer.digest, way };
        self.memory.answer(question, || {
            self.both(older.digest, newer.digest, |older, newer| database(older, newer, way))
        })
    }

    fn operations(&self, offered: &OfferedContract) -> Option<Vec<String>> {
        if let Some(known) = lock(&self.memory.operations).get(&offered.digest) {
            return known.clone();
        }
        // What keeps a contract from being found may pass, so it is not remembered.
        let snapshot = self.snapshot(&offered.digest).ok()?;
        let parsed = Parsed::read(&snapshot.source, snapshot.kind).ok();
        let named = parsed.map(|parsed| operations_parsed(&parsed));
        let mut known = lock(&self.memory.operations);
        if known.len() >= MAX_LISTED {
            known.clear();
        }
        known.insert(offered.digest, named.clone());
        named
    }

    fn seen(&self, consumer: &VersionRef, provider: &ServiceName) -> Vec<SeenUse> {
        self.calls.seen(consumer, provider)
    }

    fn seen_of_clients(&self, provider: &ServiceName) -> Vec<SeenUse> {
        self.calls.seen_of_clients(provider)
    }
}

impl StoredContracts<'_> {
    /// Reads a snapshot.
    pub(crate) fn snapshot(&self, digest: &Digest) -> Result<Snapshot, String> {
        let bytes =
            self.blobs.read_to_vec(digest, MAX_SNAPSHOT_BYTES).map_err(|error| with_sources(&error))?;
        Snapshot::from_bytes(&bytes).map_err(|error| with_sources(&error))
    }

    fn both(
        &self,
        one: Digest,
        other: Digest,
        compare: impl FnOnce(&Snapshot, &Snapshot) -> Result<Answer, Vec<InputError>>,
    ) -> Result<Answer, String> {
        let (one, other) = (self.snapshot(&one)?, self.snapshot(&other)?);
        Ok(compare(&one, &other).unwrap_or_else(|errors| unreadable(&errors)))
    }

    /// Finds the answers for all pairs at once, reading each contract once and not once a pair.
    pub(crate) fn learn(&self, used: &[(&UsedContract, &[String])], offered: &[&OfferedContract]) {
        let _turn = lock(&self.memory.turn);
        let open: Vec<_> = used
            .iter()
            .flat_map(|(used, operations)| offered.iter().map(move |offered| (*used, *operations, *offered)))
            .filter(|(used, operations, offered)| {
                used.kind == offered.kind
                    && used.digest != offered.digest
                    && !self.memory.knows(&fit_question(used, operations, offered))
            })
            .collect();
        let digests = open.iter().flat_map(|(used, _, offered)| [used.digest, offered.digest]);
        let mut snapshots: HashMap<Digest, Snapshot> = HashMap::new();
        for digest in digests {
            if let std::collections::hash_map::Entry::Vacant(place) = snapshots.entry(digest)
                && let Ok(snapshot) = self.snapshot(&digest)
            {
                place.insert(snapshot);
            }
        }
        let parsed: HashMap<&Digest, Parsed<'_>> = snapshots
            .iter()
            .filter_map(|(digest, snapshot)| {
                Some((digest, Parsed::read(&snapshot.source, snapshot.kind).ok()?))
            })
            .collect();
        for (used, operations, offered) in open {
            let (Some(one), Some(other)) = (parsed.get(&used.digest), parsed.get(&offered.digest)) else {
                continue;
            };
            let options = Options::from(snapshots[&offered.digest].settings);
            let answer = fit_parsed(one, operations, other, &options);
            let answer = answer.map_or_else(|errors| unreadable(&errors), |fit| answer_of(&fit));
            self.memory.learn(fit_question(used, operations, offered), answer);
        }
    }
}

fn fit_question(used: &UsedContract, operations: &[String], offered: &OfferedContract) -> Question {
    Question::Fit { used: used.digest, operations: operations.to_vec(), offered: offered.digest }
}

fn fit(used: &Snapshot, operations: &[String], offered: &Snapshot) -> Result<Answer, Vec<InputError>> {
    let options = Options::from(offered.settings);
    lockstep_contract::fit_as(offered.kind, &used.source, operations, &offered.source, &options)
        .map(|fit| answer_of(&fit))
}

/// Whether what was written to a reader of one contract is read by a reader of another.
fn messages(written: &Snapshot, read: &Snapshot) -> Result<Answer, Vec<InputError>> {
    let settings = read.settings.with_older(written.settings);
    let options = Options { message_role: MessageRole::Reader, ..Options::from(settings) };
    let received = lockstep_contract::received(&written.source, written.kind)?;
    // An application that only sends has nothing of its own to read.
    if written.kind == ContractKind::AsyncApi && received.is_empty() {
        return Ok(Answer::compatible());
    }
    lockstep_contract::fit_as(written.kind, &written.source, &received, &read.source, &options)
        .map(|fit| answer_of(&fit))
}

fn database(older: &Snapshot, newer: &Snapshot, way: DatabaseWay) -> Result<Answer, Vec<InputError>> {
    let options = Options::from(newer.settings.with_older(older.settings));
    let report = lockstep_contract::diff_as(newer.kind, &older.source, &newer.source, &options)?;
    let one_way = report.roll_back.changes.iter().filter_map(sql::one_way).take(MAX_REASONS).collect();
    let (verdict, reasons) = match way {
        DatabaseWay::Beside => (report.verdict, reasons(&report.changes, &report.not_checked)),
        DatabaseWay::After => {
            (report.roll_back.verdict(), reasons(&report.roll_back.changes, &report.roll_back.not_checked))
        }
    };
    Ok(Answer { verdict, reasons, one_way })
}

fn answer_of(fit: &Fit) -> Answer {
    Answer { verdict: fit.verdict, reasons: reasons(&fit.changes, &fit.not_checked), one_way: Vec::new() }
}

/// What breaks and what could not be decided, in words.
pub(crate) fn reasons(changes: &[Change], not_checked: &[NotChecked]) -> Vec<String> {
    let breaks = changes.iter().filter(|change| change.breaks()).map(|change| change.message.clone());
    let open = not_checked.iter().map(|open| format!("{}: {}", open.place, open.reason));
    breaks.chain(open).take(MAX_REASONS).collect()
}

/// A contract that was read when its version was recorded and is not any more: nothing can be said.
fn unreadable(errors: &[InputError]) -> Answer {
    Answer {
        verdict: Verdict::NotChecked,
        reasons: errors.iter().take(MAX_REASONS).map(ToString::to_string).collect(),
        one_way: Vec::new(),
    }
}

impl crate::Control {
    /// The contracts in the blob store.
    pub(crate) const fn stored_contracts(&self) -> StoredContracts<'_> {
        StoredContracts { blobs: &self.blobs, memory: &self.compared, calls: &self.call_book }
    }
}
