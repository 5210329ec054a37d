//! A worker that sends mails: nobody calls it, a job makes its table, and two versions of it never work at once.

use anyhow::{Context as _, Result, ensure};

use crate::installation::Show;

use super::super::shop::{MAILER, Repository};
use super::{OF_A_RELEASE, Story};

impl Story {
    pub(super) fn send_mails(&mut self) -> Result<()> {
        let (name, [first, second]) = MAILER;
        self.heading("A worker sends the mails, and jobs make and fill its table");
        self.release_mailer()?;
        for environment in ["staging", "production"] {
            self.give_database(name, environment)?;
        }
        self.bring_mailer(first)?;
        println!("Its next version takes over while there are mails to send, and each is sent once:");
        self.deploy_to_staging(&[(name, second)])?;
        self.installation.run(&["job", "run", name, "fill", "--env", "production"], Show::Result(2))?;
        self.promote_mailer()?;
        self.installation.run(&["job", "run", name, "report", "--env", "production"], Show::Result(2))?;
        self.expect_mails_sent_once([first, second])?;
        self.expect_no_failures()
    }

    fn release_mailer(&mut self) -> Result<()> {
        let (name, versions) = MAILER;
        let below = self.installation.folder().join("repositories");
        let mut repository = Repository::begin(name, &below)?;
        self.installation.run(&["service", "add", &format!("repositories/{name}")], Show::Result(1))?;
        self.installation.run(&["release", name], OF_A_RELEASE)?;
        println!("$ git am {}", repository.grow()?);
        self.installation.run(&["release", name], OF_A_RELEASE)?;
        self.expect_versions(name, &versions)?;
        self.summary.services += 1;
        self.summary.versions += versions.len();
        Ok(())
    }

    fn bring_mailer(&self, version: &str) -> Result<()> {
        self.deploy_to_staging(&[(MAILER.0, version)])?;
        self.promote_mailer()
    }

    fn promote_mailer(&self) -> Result<()> {
        let promote = ["promote", "staging", "production", MAILER.0, "--strategy", "all-at-once"];
        self.installation.run(&promote, Show::All)?;
        Ok(())
    }

    /// Reads what the last report says.
    fn expect_mails_sent_once(&self, versions: [&str; 2]) -> Result<()> {
        let jobs = self.installation.json(&["job", "list", "--env", "production"])?;
        let mut all = jobs.as_array().into_iter().flatten();
        let report = all.find(|job| job["job"]["name"] == "report").context("there is no report")?;
        let run = report["last_run"]["run"]["instance"].as_str().context("no report was made")?;
        let log = self.installation.run(&["logs", run, "--env", "production"], Show::All)?;
        ensure!(log.says("0 mails sent twice"), "mails were sent twice");
        for version in versions {
            ensure!(log.says(&format!("sent by {version}")), "mailer {version} sent no mail");
        }
        Ok(())
    }
}
