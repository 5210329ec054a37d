//! The chapters about going back: with one service, and with the whole environment.

use anyhow::{Result, ensure};

use crate::installation::Show;

use super::super::checks::expect_greeting;
use super::super::rollbacks::timed;
use super::{OPENING, Story, UPGRADED, with_catalog};

impl Story {
    /// Goes back, and keeps how long it took.
    pub(super) fn go_back(&mut self, what: &str, arguments: &[&str], old: &[&str]) -> Result<()> {
        let rollback = timed(&self.installation, self.load()?, what, arguments, old)?;
        self.summary.rollbacks.push(rollback);
        Ok(())
    }

    pub(super) fn roll_back_services(&mut self) -> Result<()> {
        self.heading(
            "One service goes back: to a version that is still warm, and to one that has to be started",
        );
        let to = |version| ["rollback", "catalog", "--to", version, "--env", "production"];
        self.go_back("catalog 1.3.1 to 1.2.0", &to("1.2.0"), &["catalog@1.3.1"])?;
        self.expect_production(&UPGRADED)?;
        self.go_back("catalog 1.2.0 to 1.0.0", &to("1.0.0"), &["catalog@1.2.0"])?;
        self.expect_production(&with_catalog("1.0.0"))?;
        let ways: Vec<_> = self.summary.rollbacks.iter().map(|way| way.readiness.as_str()).collect();
        ensure!(ways == ["warm", "cold"], "the targets were {ways:?}, not warm and cold");
        self.expect_no_failures()
    }

    pub(super) fn roll_back_the_environment(&mut self) -> Result<()> {
        self.heading("The whole environment goes back, with its configuration");
        self.installation.run(&["history", "production"], Show::All)?;
        let old = ["orders@1.2.0", "storefront@1.1.2"];
        self.go_back("production to baseline 1", &["rollback", "production", "--to", "1"], &old)?;
        self.expect_production(&OPENING)?;
        expect_greeting(self.gateway, "Welcome")?;
        println!("Undone, it is as before:");
        let old = ["orders@1.0.0", "storefront@1.1.0"];
        self.go_back("undo", &["undo", "production"], &old)?;
        self.expect_production(&with_catalog("1.0.0"))?;
        expect_greeting(self.gateway, "Good morning")?;
        println!("And on to the best state there was:");
        self.go_back(
            "production to baseline 4",
            &["rollback", "production", "--to", "4"],
            &["catalog@1.0.0"],
        )?;
        self.expect_production(&with_catalog("1.3.1"))?;
        expect_greeting(self.gateway, "Good morning")?;
        self.expect_no_failures()
    }
}
