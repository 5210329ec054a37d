//! The chapters about versions that only traffic shows to be bad: one by what HTTP says, one by what gRPC says.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::installation::Show;

use super::super::checks;
use super::super::summary::time;
use super::super::wires::Unavailable;
use super::{Story, UPGRADED, with_catalog};

/// A promotion of the catalog that customers are to judge.
const CANARY: [&str; 12] = [
    "promote",
    "staging",
    "production",
    "catalog",
    "--strategy",
    "canary",
    "--steps",
    "10,50,100",
    "--bake",
    "3s",
    "--min-requests",
    "20",
];

impl Story {
    pub(super) fn meet_a_bad_version(&mut self) -> Result<()> {
        self.heading("catalog 1.3.0 is bad, and neither its tests nor its health check know");
        self.expect_taken_back("1.3.0", &["catalog@1.3.0"])?;
        self.expect_told_of_bad_version("catalog@1.3.0")?;
        println!("It does not come again by itself:");
        self.installation.run_refused(&CANARY, &[3])?;
        println!("Where it failed, the gateway asked the version before it again, and no customer noticed:");
        self.expect_production(&UPGRADED)?;
        self.expect_no_failures()?;
        println!("The next version mends it:");
        self.deploy_to_staging(&[("catalog", "1.3.1")])?;
        let canary = ["promote", "staging", "production", "catalog", "--steps", "50,100"];
        let canary = [&canary[..], &["--bake", "1s", "--min-requests", "20"]].concat();
        self.installation.run(&canary, Show::All)?;
        self.expect_production(&with_catalog("1.3.1"))?;
        self.expect_no_failures()
    }

    pub(super) fn meet_a_version_whose_calls_fail(&mut self) -> Result<()> {
        self.heading("catalog 1.4.0 ends gRPC calls with UNAVAILABLE, and HTTP says 200 to each of them");
        self.expect_taken_back("1.4.0", &["catalog@1.3.0", "catalog@1.4.0"])?;
        let seen = self.wires()?.look(Unavailable::Expected)?;
        let unavailable = seen.on("gRPC").unavailable;
        let all: usize = unavailable.values().sum();
        ensure!(
            unavailable.keys().eq(["catalog@1.4.0"]),
            "not catalog@1.4.0 alone ended calls: {unavailable:?}"
        );
        println!("  callers over TLS heard it {all} times, from catalog@1.4.0 alone");
        self.expect_production(&with_catalog("1.3.1"))?;
        self.expect_no_failures()
    }

    /// Promotes a version of the catalog that goes back by itself, and leaves the baseline as it was.
    fn expect_taken_back(&mut self, version: &'static str, holds: &[&str]) -> Result<()> {
        self.deploy_to_staging(&[("catalog", version)])?;
        let before = checks::baseline(&self.installation, "production")?;
        let begin = Instant::now();
        let refused = self.installation.run_refused(&CANARY, &[1])?;
        let reason = format!("catalog {version} fails");
        ensure!(refused.says(&reason), "it went back for another reason than its requests");
        let elapsed = begin.elapsed();
        println!("  it went back by itself after {}", time(elapsed));
        self.summary.bad_versions.push((format!("catalog {version}"), elapsed));
        let after = checks::baseline(&self.installation, "production")?;
        ensure!(before == after, "the bad version made baseline {after} out of {before}");
        self.installation.run(&["hold", "list", "production"], Show::All)?;
        let held = checks::held(&self.installation, "production")?;
        ensure!(held == holds, "held is {held:?}, not {holds:?}");
        Ok(())
    }
}
