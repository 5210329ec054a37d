//! What the demonstration came to, in words and as a verdict.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::load::Totals;

use super::wires::{Answers, WIRES, counted};

/// The fewest versions that must have been built.
const VERSIONS: usize = 12;
/// The fewest rollbacks that must have been timed: a service warm and cold, the environment, the way back, and a chain.
const ROLLBACKS: usize = 5;

/// The fewest answers that must have been given: may a version go, and may one come back, with yes and no.
const ANSWERS: usize = 4;

/// The faults that a chat must have been told of: a full disk, a killed instance, a bad version.
const TOLD: usize = 3;

/// One way back and how long it took.
#[derive(Debug, Clone)]
pub(super) struct Rollback {
    /// What went back.
    pub(super) what: String,
    /// Whether everything it needed still ran.
    pub(super) readiness: String,
    /// From typing the command to its end.
    pub(super) command: Duration,
    /// From the moment the server took the call to the last answer of a version that was left.
    pub(super) last_old_answer: Option<Duration>,
}

/// Versions of a consumer with versions of its provider.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairs {
    /// All that were judged by their contracts.
    pub(super) all: usize,
    /// Those that work together.
    pub(super) works: usize,
}

/// What came of what was bought while a chain of services went forward and back.
#[derive(Debug, Clone, Default)]
pub(super) struct Baskets {
    /// Who takes part on the old side and on the new one, and how many baskets each of them sold as a whole.
    pub(super) sides: [(String, usize); 2],
    /// Baskets that were asked for.
    pub(super) requests: usize,
    /// Those that were not sold.
    pub(super) failed: usize,
}

impl Baskets {
    /// Returns how many baskets were sold by neither side as a whole.
    pub(super) fn mixed(&self) -> usize {
        let whole: usize = self.sides.iter().map(|(_, count)| count).sum();
        self.requests.saturating_sub(self.failed + whole)
    }

    fn verdict(&self) -> Result<()> {
        let Self { sides, requests, failed } = self;
        ensure!(*failed == 0, "{failed} of {requests} baskets were not sold");
        ensure!(
            self.mixed() == 0,
            "{} of {requests} baskets were sold by a mixture of two sides",
            self.mixed()
        );
        let idle = sides.iter().find(|(_, count)| *count == 0);
        ensure!(idle.is_none(), "nothing was bought from a side of the chain: {idle:?}");
        Ok(())
    }
}

impl fmt::Display for Baskets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sides, requests, failed } = self;
        writeln!(
            f,
            "chain there, back   {requests} baskets were asked for: {failed} failed, {} met a mixture",
            self.mixed()
        )?;
        for (trail, count) in sides {
            writeln!(f, "  sold by           {trail}: {count}")?;
        }
        Ok(())
    }
}

/// What the demonstration came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    /// Services that were registered.
    pub(super) services: usize,
    /// Versions that were built.
    pub(super) versions: usize,
    /// The number that was refused, and why.
    pub(super) refused: Option<String>,
    /// What contracts say about orders and payments.
    pub(super) pairs: Pairs,
    /// What was answered to the question whether a version may go or come back.
    pub(super) answers: Vec<String>,
    /// What the client saw.
    pub(super) totals: Totals,
    /// Ways back.
    pub(super) rollbacks: Vec<Rollback>,
    /// What customers over TLS were answered, by wire; none of their requests failed.
    pub(super) over_tls: Answers,
    /// How long bad versions had a share of the requests before they went back by themselves.
    pub(super) bad_versions: Vec<(String, Duration)>,
    /// What was bought from a chain that went forward and back.
    pub(super) baskets: Baskets,
    /// What a chat was told of each fault, once; or why it could not be.
    pub(super) told: Vec<String>,
    /// How long everything took.
    pub(super) elapsed: Duration,
}

impl Summary {
    /// Says whether everything is as it must be.
    pub(super) fn verdict(&self) -> Result<()> {
        let Totals { requests, failed, .. } = self.totals;
        ensure!(failed == 0, "{failed} of {requests} requests failed");
        ensure!(requests > 0, "the client made no request");
        let silent =
            WIRES.iter().find(|(wire, _)| self.over_tls.get(wire).is_none_or(|answers| *answers == 0));
        ensure!(silent.is_none(), "nothing was answered over TLS by {silent:?}");
        ensure!(self.versions >= VERSIONS, "only {} versions were built", self.versions);
        ensure!(self.refused.is_some(), "no number was refused");
        let Pairs { all, works } = self.pairs;
        ensure!(0 < works && works < all, "{works} of {all} pairs of versions work together");
        ensure!(self.answers.len() >= ANSWERS, "only {} questions were answered", self.answers.len());
        ensure!(self.rollbacks.len() >= ROLLBACKS, "only {} rollbacks were made", self.rollbacks.len());
        ensure!(self.told.len() == TOLD, "a chat was told of {} faults instead of {TOLD}", self.told.len());
        self.baskets.verdict()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { requests, failed, shielded } = self.totals;
        writeln!(f, "\n== Summary ==")?;
        writeln!(f, "services            {}", self.services)?;
        writeln!(f, "versions built      {}", self.versions)?;
        let Pairs { all, works } = self.pairs;
        writeln!(f, "number refused      {}", self.refused.as_deref().unwrap_or("none"))?;
        writeln!(
            f,
            "pairs by contract   {all} of orders and payments: {works} work, {} do not",
            all - works
        )?;
        for answer in &self.answers {
            writeln!(f, "answered            {answer}")?;
        }
        writeln!(f, "requests made       {requests}")?;
        writeln!(f, "requests failed     {failed}")?;
        writeln!(f, "answers replaced    {shielded} bad answers of a version on trial")?;
        writeln!(f, "answered over TLS   {}, and 0 failed", counted(&self.over_tls))?;
        write!(f, "{}", self.baskets)?;
        for (version, elapsed) in &self.bad_versions {
            writeln!(f, "bad version         {version} went back by itself after {}", time(*elapsed))?;
        }
        for line in &self.told {
            writeln!(f, "a chat was told     {line}")?;
        }
        writeln!(
            f,
            "\n{:<34} {:<8} {:>12} {:>22}",
            "rollback", "target", "command", "last old answer after"
        )?;
        for rollback in &self.rollbacks {
            let Rollback { what, readiness, command, last_old_answer } = rollback;
            let last = last_old_answer.map_or_else(|| "none came".to_owned(), time);
            writeln!(f, "{what:<34} {readiness:<8} {:>12} {last:>22}", time(*command))?;
        }
        writeln!(
            f,
            "\n\"command\" is from typing it to its end; \"last old answer\" is from the moment the server took the"
        )?;
        writeln!(f, "call until the client had the last answer of a version that was left.")?;
        writeln!(f, "everything took {}", time(self.elapsed))
    }
}

/// Writes a duration as people say it.
pub(super) fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baskets([old, new]: [usize; 2], requests: usize, failed: usize) -> Baskets {
        let side = |number: u32, count| (format!("storefront@{number} -> orders@{number}"), count);
        Baskets { sides: [side(1, old), side(2, new)], requests, failed }
    }

    fn good() -> Summary {
        let rollback = Rollback {
            what: "catalog to 1.0.0".into(),
            readiness: "warm".into(),
            command: Duration::from_millis(40),
            last_old_answer: None,
        };
        Summary {
            services: 4,
            versions: 20,
            refused: Some("payments 1.2.0: its contract owes a major step".into()),
            pairs: Pairs { all: 16, works: 13 },
            answers: vec!["can-i-deploy payments@2.0.0: no".into(); 4],
            totals: Totals { requests: 9_000, failed: 0, shielded: 3 },
            rollbacks: vec![rollback; 5],
            over_tls: WIRES.map(|(wire, _)| (wire, 70)).into(),
            bad_versions: vec![("catalog 1.3.0".into(), Duration::from_millis(1_250))],
            baskets: baskets([60, 90], 150, 0),
            told: vec![
                "catalog@1.3.0 failed; before it operation 9: promote; over 1 min 1 s later".into();
                3
            ],
            elapsed: Duration::from_secs(125),
        }
    }

    #[test]
    fn one_failed_request_or_one_missing_step_is_a_bad_end() {
        assert!(good().verdict().is_ok());
        let failed = Summary { totals: Totals { requests: 9_000, failed: 1, shielded: 0 }, ..good() };
        assert!(failed.verdict().is_err());
        assert!(Summary { versions: 11, ..good() }.verdict().is_err());
        assert!(Summary { rollbacks: Vec::new(), ..good() }.verdict().is_err());
        assert!(Summary { totals: Totals::default(), ..good() }.verdict().is_err());
        assert!(Summary { answers: Vec::new(), ..good() }.verdict().is_err());
        assert!(Summary { over_tls: Answers::from([("gRPC", 70)]), ..good() }.verdict().is_err());
        assert!(Summary { refused: None, ..good() }.verdict().is_err());
        assert!(Summary { told: Vec::new(), ..good() }.verdict().is_err());
        assert!(Summary { pairs: Pairs { all: 16, works: 16 }, ..good() }.verdict().is_err());
    }

    #[test]
    fn one_basket_that_failed_or_met_two_sides_and_a_side_that_sold_nothing_are_a_bad_end() {
        let mixed = baskets([60, 90], 151, 0);
        assert_eq!((mixed.mixed(), good().baskets.mixed()), (1, 0));
        for bad in [mixed, baskets([60, 90], 151, 1), baskets([0, 150], 150, 0), Baskets::default()] {
            assert!(Summary { baskets: bad.clone(), ..good() }.verdict().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn everything_that_counts_is_said() {
        let text = good().to_string();
        for part in [
            "versions built      20",
            "requests failed     0",
            "13 work, 3 do not",
            "gRPC 70",
            "150 baskets were asked for: 0 failed, 0 met a mixture",
            "storefront@2 -> orders@2: 90",
            "catalog 1.3.0 went back by itself after 1.2 s",
            "a chat was told     catalog@1.3.0 failed",
            "40 ms",
            "2 min 5 s",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }
}
