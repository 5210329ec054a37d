//! The chapters about contracts: a number that is too small, which versions work together, and whether one may go or come.

use anyhow::{Context as _, Result, ensure};

use crate::installation::Show;

use super::super::checks;
use super::super::shop::SERVICES;
use super::super::summary::Pairs;
use super::{BREAKING, OF_A_RELEASE, Story};

/// The version of orders that says amounts in both ways, and so works with all payments.
const WITH_BOTH: &str = "1.2.0";
/// The version of payments that takes amounts in cents only.
const CENTS_ONLY: &str = "2.0.0";

impl Story {
    pub(super) fn refuse_a_number(&mut self) -> Result<()> {
        self.heading(
            "A number that is too small for its contract is refused, with a request that would fail",
        );
        let repository = self.repositories.iter_mut().find(|repository| repository.name == BREAKING);
        let commit = repository.context("there is no payments")?.grow()?;
        println!("$ git am {commit}");
        let refused = self.installation.run_refused(&["release", BREAKING, "--bump", "minor"], &[1])?;
        for words in
            ["1.2.0 would be too small", "`amount_cents`", "for example {", "`orders@1.0.0` in production"]
        {
            ensure!(refused.says(words), "the refusal does not say `{words}`");
        }
        self.summary.refused = Some(format!("{BREAKING} 1.2.0: its contract owes a major step"));
        println!("With the number that its contract and its commit owe, it is released:");
        let released = self.installation.run(&["release", BREAKING], OF_A_RELEASE)?;
        ensure!(released.says("payments@2.0.0"), "the breaking commit did not become payments 2.0.0");
        let (_, expected) = SERVICES.iter().find(|(name, _)| *name == BREAKING).context("no payments")?;
        self.expect_versions(BREAKING, expected)?;
        self.summary.versions += 1;
        self.expect_no_failures()
    }

    pub(super) fn ask_what_works_together(&mut self) -> Result<()> {
        self.heading("Which versions work together is computed from what one sends and the other takes");
        self.installation.run(&["compat", "orders", "payments"], Show::All)?;
        let found = checks::pairs(&self.installation, "orders", "payments")?;
        for ((orders, payments), cell) in &found {
            let works = payments != CENTS_ONLY || orders == WITH_BOTH;
            let expected = if works { "compatible" } else { "breaking" };
            ensure!(
                cell == &(expected.to_owned(), "contract".to_owned()),
                "orders {orders} with payments {payments} is {cell:?}"
            );
        }
        let works = found.values().filter(|(verdict, _)| verdict == "compatible").count();
        self.summary.pairs = Pairs { all: found.len(), works };
        println!("So payments 2.0.0 cannot go to production alone:");
        self.expect_no("can-i-deploy", "payments@2.0.0", "is called by orders 1.0.0")?;
        self.expect_no_failures()
    }

    pub(super) fn ask_whether_one_can_go_back(&mut self) -> Result<()> {
        println!(
            "Now that orders moved as well, payments 2.0.0 may be there, and may go back; orders may not:"
        );
        self.expect_yes("can-i-deploy", "payments@2.0.0", "is called by orders 1.2.0")?;
        self.expect_yes("can-i-roll-back", "payments", "shares its database with payments 2.0.0")?;
        self.expect_no("can-i-roll-back", "orders", "calls payments 2.0.0")?;
        self.expect_no_failures()
    }

    fn expect_yes(&mut self, question: &str, version: &str, because: &str) -> Result<()> {
        let answer = self.installation.run(&[question, version, "--env", "production"], Show::All)?;
        ensure!(answer.says(because), "the answer does not say `{because}`");
        self.summary.answers.push(format!("{question} {version}: yes ({because})"));
        Ok(())
    }

    fn expect_no(&mut self, question: &str, version: &str, because: &str) -> Result<()> {
        let arguments = [question, version, "--env", "production"];
        let answer = self.installation.run_refused(&arguments, &[1])?;
        ensure!(answer.says(because), "the answer does not say `{because}`");
        self.summary.answers.push(format!("{question} {version}: no ({because})"));
        Ok(())
    }
}
