//! The chapter about a chain: three services and their database go forward by one command and back by one, while customers buy.
//!
//! Both contracts between them break, so no order of single moves works, and every basket must be sold by one side alone.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::http::Answer;
use crate::installation::Show;
use crate::load::{Kind, Load, Pace, Target};

use super::super::checks::wait_until;
use super::super::shop::{CHAIN, MAILER};
use super::super::summary::Baskets;
use super::{OF_A_RELEASE, Story};

/// What is bought: the shop window has orders priced by the catalog and charged by payments.
const BASKETS: &[Kind] =
    &[Kind { weight: 1, method: "POST", path: "/basket", body: r#"{"item":"tea"}"#, expected: 201 }];
/// Beside all other customers.
const BUYERS: Pace = Pace { kept: 2, fresh: 1, requests_per_second: 40 };
/// How many baskets a side sells before it is left.
const BASKETS_OF_A_SIDE: usize = 40;

/// Who takes part in a basket, before and after.
const OLD: [(&str, &str); 4] =
    [("storefront", "1.2.0"), ("orders", "1.2.0"), ("catalog", "1.3.1"), ("payments", "2.0.0")];
const NEW: [(&str, &str); 4] =
    [("storefront", "1.3.0"), ("orders", "2.0.0"), ("catalog", "1.3.1"), ("payments", "3.0.0")];

/// The one command forward. Half of the customers come first, so for a while both sides sell.
const FORWARD: [&str; 5] = ["deploy", "storefront@1.3.0", "--env", "production", "--with-what-it-needs"];
const IN_TWO_STEPS: [&str; 8] =
    ["--strategy", "canary", "--steps", "50,100", "--bake", "1s", "--min-requests", "3"];
/// The one command back.
const BACK: [&str; 7] = ["rollback", "payments", "--to", "2.0.0", "--env", "production", "--chain"];

/// What the plans have to say: why each service moves, what becomes of the database, what is lost.
const SAID_FORWARD: &[&str] = &[
    "orders 1.2.0",
    "payments 2.0.0",
    "comes along: `storefront@1.3.0`",
    "comes along: `orders@2.0.0`",
    "before anything starts: migration of database `ledger` of payments@3.0.0",
    "applies 004-what-was-bought.sql",
    "nothing was changed",
];
const SAID_BACK: &[&str] = &[
    "comes along: `orders@2.0.0`",
    "comes along: `storefront@1.3.0`",
    "nothing of it is undone",
    "lost with payments 2.0.0",
    "lost with orders 1.2.0",
    "lost with storefront 1.2.0",
    "nothing was changed",
];

/// Returns who took part in an answer, by their own word.
fn trail(answer: &Answer) -> Option<String> {
    let document = answer.json().ok()?;
    let chain = document["chain"].as_array()?;
    Some(chain.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" -> "))
}

/// Returns the trail of a side.
fn whole(side: [(&str, &str); 4]) -> String {
    side.map(|(service, version)| format!("{service}@{version}")).join(" -> ")
}

/// Returns what runs in production with a side of the chain.
fn beside_the_mailer(side: [(&'static str, &'static str); 4]) -> Vec<(&'static str, &'static str)> {
    side.into_iter().chain([(MAILER.0, MAILER.1[1])]).collect()
}

/// Counts what was bought since a point in time.
fn counted(buyers: &Load, since: Instant) -> Baskets {
    let (totals, answers) = (buyers.totals_after(since), buyers.answers_after(since));
    let sold = |side| {
        let trail = whole(side);
        let count = answers.get(&trail).copied().unwrap_or_default();
        (trail, count)
    };
    Baskets { sides: [sold(OLD), sold(NEW)], requests: totals.requests, failed: totals.failed }
}

impl Story {
    pub(super) fn move_a_chain(&mut self) -> Result<()> {
        self.heading("A chain of three services and their database goes forward as one, and back as one");
        self.join_the_chain()?;
        self.release_what_breaks()?;
        self.hand_over_the_database()?;
        println!(
            "  {} customers buy, {} baskets a second; each says who took part in it:",
            BUYERS.kept + BUYERS.fresh,
            BUYERS.requests_per_second
        );
        println!("  {}", whole(OLD));
        let target = Target { address: self.gateway, kinds: BASKETS, served_by: trail };
        let (begin, buyers) = (Instant::now(), Load::start(target, BUYERS));
        wait_for_baskets(&buyers, &OLD)?;
        self.chain_forward(&buyers)?;
        self.chain_back(&buyers)?;
        buyers.settle()?;
        self.summary.baskets = counted(&buyers, begin);
        print!("  {}", self.summary.baskets);
        let (failures, answers) = (buyers.failures(), buyers.answers_after(begin));
        let Baskets { failed, .. } = self.summary.baskets;
        ensure!(failed == 0, "{failed} baskets were not sold:\n  {}", failures.join("\n  "));
        ensure!(self.summary.baskets.mixed() == 0, "baskets of more than one side: {answers:#?}");
        self.expect_no_failures()
    }

    /// Brings the version of the shop window that sells.
    fn join_the_chain(&mut self) -> Result<()> {
        self.release_next("storefront", OLD[0].1)?;
        self.deploy_to_staging(&OLD[..1])?;
        let promote = ["promote", "staging", "production", "storefront", "--strategy", "all-at-once"];
        self.installation.run(&promote, Show::Result(1))?;
        Ok(())
    }

    fn release_what_breaks(&mut self) -> Result<()> {
        println!(
            "Payments number receipts, for which their database needs a column; orders and the shop window"
        );
        println!("say so, each in a way that the version before does not understand:");
        for (service, versions) in CHAIN {
            let version = versions.last().context("nothing moves")?;
            self.release_next(service, version)?;
        }
        Ok(())
    }

    /// Releases the next commit of a history, which must become this version.
    fn release_next(&mut self, service: &str, version: &str) -> Result<()> {
        let repository = self.repositories.iter_mut().find(|repository| repository.name == service);
        println!("$ git am {}", repository.with_context(|| format!("there is no {service}"))?.grow()?);
        let released = self.installation.run(&["release", service], OF_A_RELEASE)?;
        ensure!(released.says(&format!("{service}@{version}")), "it did not become {service}@{version}");
        self.summary.versions += 1;
        Ok(())
    }

    /// Payments have applied their migrations themselves so far; says which their databases have. Then staging moves.
    fn hand_over_the_database(&self) -> Result<()> {
        println!("Payments have applied their migrations by themselves so far. Which ones, is said once:");
        let adopt = ["database", "adopt", "ledger", "--through", "003-charges-by-order.sql"];
        let adopt = [&adopt[..], &["--version", "payments@3.0.0", "--env"]].concat();
        self.installation.run(&[&adopt[..], &["staging"]].concat(), Show::Result(1))?;
        let staging = ["deploy", "storefront@1.3.0", "--env", "staging", "--with-what-it-needs"];
        self.installation.run(&staging, Show::Result(5))?;
        self.installation.run(&[&adopt[..], &["production"]].concat(), Show::Result(1))?;
        Ok(())
    }

    fn chain_forward(&mut self, buyers: &Load) -> Result<()> {
        println!("One command forward; first what it would do, and why:");
        self.says_all(&[&FORWARD[..], &IN_TWO_STEPS, &["--dry-run"]].concat(), SAID_FORWARD)?;
        self.installation.run(&[&FORWARD[..], &IN_TWO_STEPS].concat(), Show::All)?;
        wait_for_baskets(buyers, &NEW)?;
        self.expect_production(&beside_the_mailer(NEW))
    }

    fn chain_back(&mut self, buyers: &Load) -> Result<()> {
        println!("One command back; first what it would do, why, and what would be lost:");
        self.says_all(&[&BACK[..], &["--dry-run"]].concat(), SAID_BACK)?;
        self.go_back("chain of payments to 2.0.0", &BACK, &["orders@2.0.0", "storefront@1.3.0"])?;
        wait_for_baskets(buyers, &OLD)?;
        self.expect_production(&beside_the_mailer(OLD))?;
        println!("The database keeps what was added to it:");
        self.says_all(&["database", "show", "ledger", "--env", "production"], &["004-what-was-bought.sql"])
    }

    fn says_all(&self, arguments: &[&str], texts: &[&str]) -> Result<()> {
        let shown = self.installation.run(arguments, Show::All)?;
        let missing = texts.iter().find(|text| !shown.says(text));
        ensure!(missing.is_none(), "it does not say {missing:?}");
        Ok(())
    }
}

/// Waits until a side has sold some baskets from now on.
fn wait_for_baskets(buyers: &Load, side: &[(&str, &str); 4]) -> Result<()> {
    let (since, trail) = (Instant::now(), whole(*side));
    wait_until("baskets", || {
        Ok(buyers.answers_after(since).get(&trail).is_some_and(|count| *count >= BASKETS_OF_A_SIDE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_what_the_histories_lead_to() {
        for (service, versions) in CHAIN {
            let (_, version) = NEW.iter().find(|(name, _)| *name == service).unwrap();
            assert_eq!(versions.last(), Some(version), "{service}");
        }
        assert_eq!(OLD.iter().zip(&NEW).filter(|(old, new)| old != new).count(), CHAIN.len());
    }
}
