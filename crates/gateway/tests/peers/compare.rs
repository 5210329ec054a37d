//! What the gateway and its peers do with the same cases, and where they differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::case::Case;
use crate::explained::{Way, reason};
use crate::proxies::Proxy;
use crate::run_all;
use crate::trial::{Outcome, Verdict};

/// How often a case is tried before a difference counts: a machine that is busy is none.
const TRIES: usize = 3;
/// Names of cases that are shown of a kind of difference.
const SHOWN: usize = 4;

/// What was found.
#[derive(Default)]
pub(crate) struct Report {
    versions: Vec<String>,
    cases: usize,
    passed: Vec<usize>,
    dangers: Vec<usize>,
    /// What two peers refuse and the gateway passes, and what nginx and HAProxy pass and it refuses.
    against_two: [usize; 2],
    /// By family, what each does, and the reason: the cases.
    kinds: BTreeMap<(String, String, String), Vec<String>>,
    pub(crate) unexplained: Vec<String>,
}

/// A case with what each proxy does with it, ours first.
struct Compared<'a> {
    case: &'a Case,
    outcomes: Vec<Outcome>,
}

/// Sends the cases through all proxies, ours first.
pub(crate) fn compare(proxies: &[Proxy], cases: &[&Case]) -> Report {
    let mut report =
        Report { versions: proxies.iter().map(|it| it.version.clone()).collect(), ..Report::default() };
    let mut left: Vec<&Case> = cases.to_vec();
    for turn in 1..=TRIES {
        let compared = try_all(proxies, &left);
        left.clear();
        for one in compared {
            match one.unexplained() {
                Some(_) if turn < TRIES => left.push(one.case),
                _ => report.note(&one, proxies),
            }
        }
    }
    report
}

fn try_all<'a>(proxies: &[Proxy], cases: &[&'a Case]) -> Vec<Compared<'a>> {
    let by_proxy: Vec<Vec<Outcome>> = std::thread::scope(|scope| {
        let running: Vec<_> = proxies.iter().map(|proxy| scope.spawn(|| run_all(proxy, cases))).collect();
        running.into_iter().map(|it| it.join().expect("a lane panicked")).collect()
    });
    let mut columns: Vec<_> = by_proxy.into_iter().map(Vec::into_iter).collect();
    let row = |case: &&'a Case| Compared {
        case,
        outcomes: columns.iter_mut().filter_map(Iterator::next).collect(),
    };
    cases.iter().map(row).collect()
}

impl Compared<'_> {
    fn ours(&self) -> &Outcome {
        &self.outcomes[0]
    }

    fn peers(&self) -> &[Outcome] {
        &self.outcomes[1..]
    }

    /// How the gateway differs, if it does.
    fn way(&self) -> Option<Way> {
        let others = self.peers().iter().map(|it| &it.verdict);
        let other = others.into_iter().find(|it| **it != self.ours().verdict)?;
        Some(match (&self.ours().verdict, other) {
            (Verdict::Fails, _) => Way::Refuses,
            (Verdict::Passes(_), Verdict::Fails) => Way::Passes,
            (Verdict::Passes(_), Verdict::Passes(_)) => Way::Otherwise,
        })
    }

    /// Tells whether it passes what two peers refuse, and refuses what nginx and HAProxy pass.
    fn against_two(&self, proxies: &[Proxy]) -> [bool; 2] {
        let fails = |it: &&Outcome| it.verdict == Verdict::Fails;
        let passes = self.ours().verdict != Verdict::Fails;
        let others = self.outcomes.iter().zip(proxies);
        let both =
            others.filter(|(it, proxy)| ["nginx", "haproxy"].contains(&proxy.name) && !fails(it)).count();
        [passes && self.peers().iter().filter(fails).count() >= 2, !passes && both == 2]
    }

    fn why(&self) -> Option<&'static str> {
        reason(self.case.family, &self.case.name, self.way()?)
    }

    /// Tells what nobody has given a reason for.
    fn unexplained(&self) -> Option<Way> {
        self.way().filter(|_| self.why().is_none())
    }
}

impl Report {
    fn note(&mut self, one: &Compared<'_>, proxies: &[Proxy]) {
        self.cases += 1;
        self.passed.resize(proxies.len(), 0);
        self.dangers.resize(proxies.len(), 0);
        for (place, outcome) in one.outcomes.iter().enumerate() {
            self.passed[place] += usize::from(outcome.verdict != Verdict::Fails);
            self.dangers[place] += usize::from(outcome.danger.is_some());
        }
        let Some(way) = one.way() else { return };
        for (count, is_so) in self.against_two.iter_mut().zip(one.against_two(proxies)) {
            *count += usize::from(is_so);
        }
        let does: Vec<String> = one
            .outcomes
            .iter()
            .zip(proxies)
            .map(|(it, proxy)| format!("{} {}", proxy.name, does(it)))
            .collect();
        let does = does.join(", ");
        let why = one.why().unwrap_or("NO REASON").to_owned();
        if one.why().is_none() {
            self.unexplained.push(format!("  {}: {}: {way:?}: {does}", one.case.family, one.case.name));
        }
        self.kinds.entry((one.case.family.to_owned(), does, why)).or_default().push(one.case.name.clone());
    }

    /// Returns all of it for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} cases, each through {}\n", self.cases, self.versions.join(", "));
        for (place, version) in self.versions.iter().enumerate() {
            let _ = writeln!(
                text,
                "  {version}: {} pass, {} are dangerous",
                self.passed[place], self.dangers[place]
            );
        }
        let differing: usize = self.kinds.values().map(Vec::len).sum();
        let _ = writeln!(
            text,
            "{differing} are treated otherwise by a peer, {} of them without a reason",
            self.unexplained.len()
        );
        let [laxer, stricter] = self.against_two;
        let _ = writeln!(
            text,
            "  {laxer} that two of them refuse pass, {stricter} that nginx and HAProxy pass are refused"
        );
        for ((family, does, why), names) in &self.kinds {
            let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
            let _ = writeln!(
                text,
                "{family} ({}): {does}\n    {why}\n    such as {}",
                names.len(),
                shown.join(" · ")
            );
        }
        text
    }
}

fn does(outcome: &Outcome) -> String {
    match &outcome.verdict {
        Verdict::Passes(what) => format!("passes {what:?}"),
        Verdict::Fails => format!("refuses ({})", outcome.told),
    }
}
