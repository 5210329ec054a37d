//! The demonstration, chapter by chapter. Each chapter does something, shows it, and checks that it is so.

mod bad_versions;
mod chain;
mod contracts;
mod going_back;
mod mails;
mod over_tls;
mod telling;
mod without_server;

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::installation::{Installation, Show};
use crate::load::{self, Kind, Load, Pace, Target};

use super::checks::{self, expect_greeting, expect_versions, wait_until};
use super::shop::{MAILER, Repository, SERVICES, kept_for_the_chain};
use super::summary::Summary;
use super::wires::{Unavailable, Wires, counted};
use telling::Telling;

/// What customers do in the shop.
pub(super) const SHOPPING: &[Kind] = &[
    Kind { weight: 8, method: "GET", path: "/items", body: "", expected: 200 },
    Kind { weight: 4, method: "GET", path: "/", body: "", expected: 200 },
    Kind { weight: 4, method: "GET", path: "/items/tea", body: "", expected: 200 },
    Kind { weight: 2, method: "GET", path: "/orders?limit=5", body: "", expected: 200 },
    Kind { weight: 2, method: "POST", path: "/orders", body: r#"{"item":"tea"}"#, expected: 201 },
];
/// How busy the shop is: most customers keep their connection, some come anew each time.
const PACE: Pace = Pace { kept: 6, fresh: 2, requests_per_second: 160 };
/// How many requests the shop serves at the end, with everything as it is.
const LAST_REQUESTS: usize = 200;
/// The lines of a release that are shown: its number, its tests, its changes.
const OF_A_RELEASE: Show = Show::Result(4);

/// The service whose last commit breaks its contract: it is released when there is somebody whom it would hurt.
const BREAKING: &str = "payments";

/// What runs in production at the three points of the story.
const OPENING: [(&str, &str); 4] =
    [("catalog", "1.0.0"), ("orders", "1.0.0"), ("payments", "1.0.0"), ("storefront", "1.1.0")];
const UPGRADED: [(&str, &str); 4] =
    [("catalog", "1.2.0"), ("orders", "1.2.0"), ("payments", "2.0.0"), ("storefront", "1.1.2")];

/// Everything that the demonstration has in hand.
pub(super) struct Story {
    installation: Installation,
    repositories: Vec<Repository>,
    gateway: SocketAddr,
    load: Option<Load>,
    wires: Option<Wires>,
    telling: Option<Telling>,
    summary: Summary,
    chapter: u32,
    began: Instant,
}

impl Story {
    /// Starts the server.
    pub(super) fn begin(mut installation: Installation) -> Result<Self> {
        println!("\nA server in {}", installation.folder().display());
        installation.start_server()?;
        let gateway = checks::gateway(&installation, "production")?;
        Ok(Self {
            installation,
            repositories: Vec::new(),
            gateway,
            load: None,
            wires: None,
            telling: None,
            summary: Summary::default(),
            chapter: 0,
            began: Instant::now(),
        })
    }

    /// Tells all chapters.
    pub(super) fn tell(&mut self) -> Result<()> {
        self.register()?;
        self.release()?;
        self.release_from_branches()?;
        self.open_the_shop()?;
        self.refuse_a_number()?;
        self.ask_what_works_together()?;
        self.upgrade()?;
        self.ask_whether_one_can_go_back()?;
        self.configure()?;
        self.have_somebody_told()?;
        self.meet_a_bad_version()?;
        self.meet_a_version_whose_calls_fail()?;
        self.roll_back_services()?;
        self.roll_back_the_environment()?;
        self.look_back()?;
        self.lose_the_server()?;
        self.send_mails()?;
        self.move_a_chain()?;
        self.expect_all_told()?;
        self.close_the_shop()
    }

    /// Returns what it came to.
    pub(super) fn summary(&self) -> Summary {
        Summary { elapsed: self.began.elapsed(), ..self.summary.clone() }
    }

    /// Says what a person can try while everything runs.
    pub(super) fn invite(&self) -> Result<()> {
        println!("\n== The shop stays open until Ctrl-C or Enter ==");
        println!("  the shop window   http://{}/", self.gateway);
        println!("  over TLS          {}", self.ask_over_tls());
        println!("  the server        http://{}", self.installation.server());
        println!("  to try: export LOCKSTEP_SERVER=http://{}", self.installation.server());
        for command in ["status", "history production", "rollback production --to 2", "undo production"] {
            println!("    {} {command}", self.installation.program().display());
        }
        Ok(())
    }

    /// Takes everything down and removes it.
    pub(super) fn end(mut self) -> Result<()> {
        self.load = None;
        self.wires = None;
        self.telling = None;
        println!("\n== The end ==");
        for environment in ["production", "staging"] {
            let services = SERVICES.map(|(service, _)| service);
            let arguments = [&["remove", MAILER.0], &services[..], &["--env", environment]].concat();
            self.installation.run(&arguments, Show::Result(1))?;
        }
        self.installation.remove()?;
        println!("  everything is stopped and removed");
        Ok(())
    }

    fn heading(&mut self, title: &str) {
        self.chapter += 1;
        println!("\n== {}. {title} ==", self.chapter);
    }

    fn load(&self) -> Result<&Load> {
        self.load.as_ref().context("the client has not begun yet")
    }

    /// Checks that no customer has seen a failure, on whatever wire, and says how many there were.
    fn expect_no_failures(&mut self) -> Result<()> {
        let load = self.load()?;
        load.settle()?;
        let totals = load.totals();
        println!("  the client so far: {} requests, {} failed", totals.requests, totals.failed);
        ensure!(totals.failed == 0, "{} requests failed:\n  {}", totals.failed, load.failures().join("\n  "));
        let wires = self.wires()?;
        wires.look(Unavailable::Failure)?;
        println!("  over TLS so far: {}, 0 failed", counted(wires.total()));
        Ok(())
    }

    /// Checks that production runs exactly these versions, and that it is them who answer on every wire.
    fn expect_production(&mut self, versions: &[(&str, &str)]) -> Result<()> {
        expect_versions(&self.installation, "production", self.gateway, versions)?;
        self.expect_over_tls(versions)
    }

    fn register(&mut self) -> Result<()> {
        self.heading("Four services from four git repositories");
        let below = self.installation.folder().join("repositories");
        for (name, _) in SERVICES {
            let repository = Repository::begin(name, &below)?;
            let path = format!("repositories/{name}");
            self.installation.run(&["service", "add", &path], Show::Result(1))?;
            self.repositories.push(repository);
        }
        self.summary.services = self.repositories.len();
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.heading("Every commit of their histories becomes a version");
        for repository in &mut self.repositories {
            let left = usize::from(repository.name == BREAKING) + kept_for_the_chain(repository.name);
            self.installation.run(&["release", repository.name], OF_A_RELEASE)?;
            while repository.commits_left() > left {
                println!("$ git am {}", repository.grow()?);
                self.installation.run(&["release", repository.name], OF_A_RELEASE)?;
            }
        }
        for (name, expected) in SERVICES {
            let left = usize::from(name == BREAKING);
            self.expect_versions(name, &expected[..expected.len() - left])?;
            self.summary.versions += expected.len() - left;
        }
        println!("The same commit is not released twice:");
        let again = self.installation.run_refused(&["release", "catalog"], &[1, 3])?;
        ensure!(again.says("nothing to release"), "a second release was refused for another reason");
        Ok(())
    }

    fn expect_versions(&self, service: &str, expected: &[&str]) -> Result<()> {
        let mut found = checks::released(&self.installation, service)?;
        found.sort();
        ensure!(found == expected, "`{service}` has versions {found:?} instead of {expected:?}");
        Ok(())
    }

    fn release_from_branches(&mut self) -> Result<()> {
        self.heading("The branch decides what kind of version it is");
        let storefront = self.repositories.iter().find(|repository| repository.name == "storefront");
        let storefront = storefront.context("there is no storefront")?;
        println!("$ git branch release/1.2");
        storefront.git(["branch", "release/1.2"])?;
        let arguments = ["release", "storefront", "--ref", "release/1.2"];
        let candidate = self.installation.run(&arguments, OF_A_RELEASE)?;
        ensure!(candidate.says("storefront@1.2.0-rc.1"), "the release branch cut no candidate");
        ensure!(candidate.says("same content"), "the build of the same content was not used again");
        println!(
            "$ git switch --create feature/wish-list && git commit --allow-empty --message 'feat: a wish list'"
        );
        storefront.git(["switch", "--quiet", "--create", "feature/wish-list"])?;
        storefront.git(["commit", "--quiet", "--allow-empty", "--message", "feat: a wish list"])?;
        let arguments = ["release", "storefront", "--ref", "feature/wish-list"];
        let feature = self.installation.run(&arguments, OF_A_RELEASE)?;
        ensure!(feature.says("storefront@1.2.0-wish-list.1"), "the feature branch cut no feature version");
        storefront.git(["switch", "--quiet", "main"])?;
        self.summary.versions += 2;
        println!("A feature version does not get beyond development:");
        let arguments = ["deploy", "storefront@1.2.0-wish-list.1", "--env", "staging"];
        self.installation.run_refused(&arguments, &[3])?;
        Ok(())
    }

    fn open_the_shop(&mut self) -> Result<()> {
        self.heading("The first versions go to staging, and from there to production");
        println!("Payments of all versions and instances share a database in each environment:");
        for environment in ["staging", "production"] {
            self.give_database("payments", environment)?;
        }
        println!(
            "The shop window signs its sessions with a secret, which is read from a file and shown to nobody:"
        );
        self.set_session_key("the first key")?;
        println!(
            "To count as having run in staging a version has to stay there for a minute; here for no time:"
        );
        self.installation.run(&["environment", "set", "staging", "--stay", "0s"], Show::Result(1))?;
        self.deploy_to_staging(&OPENING)?;
        self.installation.run(&["promote", "staging", "production", "--dry-run"], Show::All)?;
        let arguments = ["promote", "staging", "production", "--strategy", "all-at-once"];
        self.installation.run(&arguments, Show::All)?;
        self.expect_production(&OPENING)?;
        self.heading("Customers come, and from now on no request may fail");
        self.load = Some(Load::start(
            Target { address: self.gateway, kinds: SHOPPING, served_by: load::version },
            PACE,
        ));
        let Pace { kept, fresh, requests_per_second } = PACE;
        println!(
            "  {requests_per_second} requests a second to http://{}: {kept} customers keep their",
            self.gateway
        );
        println!("  connection, {fresh} open a new one for each request");
        self.open_over_tls()?;
        self.expect_no_failures()
    }

    fn give_database(&self, service: &str, environment: &str) -> Result<()> {
        // A folder of its own: an instance can make nothing new in the one that the data folder lies in.
        let databases = self.installation.folder().join("databases");
        std::fs::create_dir_all(&databases)?;
        // Where the server is root, each service makes its database as a user of its own.
        std::fs::set_permissions(&databases, Permissions::from_mode(0o1777))?;
        let file = databases.join(format!("{service}-{environment}.db"));
        let database = format!("DATABASE={}", file.display());
        let arguments = ["config", "set", service, &database, "--env", environment];
        self.installation.run(&arguments, Show::Result(1))?;
        Ok(())
    }

    /// Sets the key that the shop window signs sessions with; while it does not run, that is a revision and nothing else.
    fn set_session_key(&self, key: &str) -> Result<()> {
        let arguments = ["config", "set", "storefront", "--secret", "SESSION_KEY", "--env", "production"];
        let written = self.installation.run_given(&arguments, key, Show::Result(2))?;
        ensure!(!written.says(key), "the secret itself was written");
        Ok(())
    }

    fn deploy_to_staging(&self, versions: &[(&str, &str)]) -> Result<()> {
        let versions: Vec<_> =
            versions.iter().map(|(service, version)| format!("{service}@{version}")).collect();
        let mut arguments = vec!["deploy"];
        arguments.extend(versions.iter().map(String::as_str));
        arguments.extend(["--env", "staging"]);
        self.installation.run(&arguments, Show::Result(6))?;
        Ok(())
    }

    fn upgrade(&mut self) -> Result<()> {
        self.heading(
            "All four move up: a canary of 10, 50 and 100 % of the customers, in an order that always works",
        );
        // Old instances end at once, so that later there is something that is not warm any more.
        self.installation.run(&["environment", "set", "production", "--warm", "0s"], Show::Result(1))?;
        self.deploy_to_staging(&UPGRADED)?;
        self.wires()?.look(Unavailable::Failure)?;
        let begin = Instant::now();
        let arguments = ["promote", "staging", "production", "--strategy", "canary"];
        self.installation.run(
            &[&arguments[..], &["--steps", "10,50,100", "--bake", "2s", "--min-requests", "3"]].concat(),
            Show::All,
        )?;
        println!("  who answered meanwhile:");
        for (version, count) in self.load()?.answers_after(begin) {
            println!("    {version:<20} {count:>6}");
        }
        self.expect_both_over_tls()?;
        self.expect_production(&UPGRADED)?;
        println!("Going back alone would break a requirement, so it is refused with the reason:");
        let arguments = ["rollback", "orders", "--to", "1.1.1", "--env", "production"];
        self.installation.run_refused(&arguments, &[3])?;
        self.expect_no_failures()
    }

    fn configure(&mut self) -> Result<()> {
        self.heading("A change of configuration is a change like any other");
        self.installation.run(&["environment", "set", "production", "--warm", "30m"], Show::Result(1))?;
        expect_greeting(self.gateway, "Welcome")?;
        println!("The key of the sessions is replaced with it:");
        let arguments = ["config", "set", "storefront", "GREETING=Good morning", "--secret", "SESSION_KEY"];
        let arguments = [&arguments[..], &["--env", "production", "--strategy", "all-at-once"]].concat();
        self.installation.run_given(&arguments, "the second key", Show::All)?;
        expect_greeting(self.gateway, "Good morning")?;
        println!("From now on whoever goes back keeps the newer key, unless the old one is asked for:");
        let arguments = ["rollback", "production", "--to", "2", "--dry-run"];
        self.shows(&arguments, "SESSION_KEY of storefront: the newer value stays")?;
        let asking = [&arguments[..], &["--old-secrets"]].concat();
        self.shows(&asking, "SESSION_KEY of storefront: an OLDER secret")?;
        self.expect_no_failures()
    }

    /// Shows a plan, which must say something.
    fn shows(&self, arguments: &[&str], text: &str) -> Result<()> {
        let plan = self.installation.run(arguments, Show::All)?;
        ensure!(plan.says(text), "the plan does not say `{text}`");
        Ok(())
    }

    fn look_back(&mut self) -> Result<()> {
        self.heading("What happened, and that the record of it is whole");
        for arguments in [
            &["history", "production"][..],
            &["diff", "production", "1", "4"],
            &["status", "production"],
            &["show", "catalog@1.3.1"],
            &["journal", "verify"],
        ] {
            self.installation.run(arguments, Show::All)?;
        }
        let baseline = checks::baseline(&self.installation, "production")?;
        ensure!(baseline == 9, "production is at baseline {baseline} instead of 9");
        Ok(())
    }

    fn close_the_shop(&mut self) -> Result<()> {
        // Some time with everything as it is, so that what comes late is seen.
        let since = Instant::now();
        let load = self.load()?;
        wait_until("requests after the last change", || {
            Ok(load.totals_after(since).requests >= LAST_REQUESTS
                || since.elapsed() > Duration::from_secs(10))
        })?;
        self.expect_no_failures()?;
        self.summary.totals = self.load()?.totals();
        self.summary.over_tls = self.wires()?.total().clone();
        Ok(())
    }
}

/// What runs in production with another version of the catalog.
fn with_catalog(version: &'static str) -> [(&'static str, &'static str); 4] {
    UPGRADED.map(|(service, upgraded)| (service, if service == "catalog" { version } else { upgraded }))
}
