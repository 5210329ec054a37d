//! `cargo xtask demo --hosts N`: the shop on hosts of its own. It goes forward, goes back while a host is switched off, and goes on without a server.
//!
//! A request may fail for one reason: it, or a call on its way, was at the host that was switched off. Each that failed is looked up.

mod failures;
mod places;
mod report;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use crate::hosts::{self, Fleet, Host, SetName};
use crate::http::Answer;
use crate::installation::{Installation, Show, Talk};
use crate::lifeline::Lifeline;
use crate::load::{self, Kind, Load, Pace, Target};

use super::checks::{self, expect_versions, wait_until};
use super::rollbacks::timed;
use super::shop::{Repository, SERVICES};
use super::story::SHOPPING;
use super::{Args, check_programs, program};

use failures::Judged;
use places::Placed;
use report::Report;

const ENVIRONMENT: &str = "production";
/// What runs first, and what all of it goes back to.
const FIRST: [(&str, &str); 4] =
    [("catalog", "1.0.0"), ("orders", "1.0.0"), ("payments", "1.0.0"), ("storefront", "1.1.0")];
/// What goes ahead by a canary.
const CANARY: (&str, &str) = ("catalog", "1.1.1");
/// What all of it goes forward to. These payments do not understand the first orders, so there is an order in which it goes.
const SECOND: [(&str, &str); 4] =
    [("catalog", "1.2.0"), ("orders", "1.2.0"), ("payments", "2.0.0"), ("storefront", "1.1.2")];
/// How many commits of each history that takes.
const COMMITS: usize = 4;
/// How busy the shop is.
const PACE: Pace = Pace { kept: 6, fresh: 2, requests_per_second: 60 };
/// What customers ask who come to a shop window past the gateway.
const WINDOW: &[Kind] = &[Kind { weight: 1, method: "GET", path: "/", body: "", expected: 200 }];
/// How many requests are waited for where things are to be seen to go on.
const SOME_REQUESTS: usize = 200;

/// Boots hosts, tells the story on them, and takes all of it down.
pub(super) fn demonstrate(args: &Args, count: u8, folder: PathBuf) -> Result<()> {
    let set: SetName = format!("demo{}", std::process::id()).parse().map_err(|why: String| anyhow!(why))?;
    let at_last = set.clone();
    let lifeline = Lifeline::watch_and(folder.clone(), move || hosts::take_down_after_us(&at_last));
    // Not as a test that is skipped: whoever typed this wants to see it.
    Fleet::check().map_err(|why| anyhow!("{why:#}"))?;
    check_programs()?;
    println!("\n{count} hosts boot (set {set} of `cargo xtask hosts`)");
    let fleet = Fleet::boot(set, count)?;
    let log = folder.join("access.log").display().to_string();
    let installation = Installation::new(program(args)?, folder, Talk::Aloud)?;
    let installation = installation.with_server_options(&["--gateway-access-log", &log]);
    let mut story = Story::begin(installation, fleet)?;
    story.tell()?;
    print!("{}", story.report);
    if !args.once {
        story.invite();
        lifeline.wait_for_the_end();
    }
    story.end()
}

/// Everything that the demonstration has in hand.
struct Story {
    installation: Installation,
    fleet: Fleet,
    gateway: SocketAddr,
    load: Option<Load>,
    report: Report,
    chapter: u32,
    began: Instant,
}

/// Returns who serves by its own word, where no gateway says it.
fn by_its_own_word(answer: &Answer) -> Option<String> {
    answer.header("x-served-by").map(str::to_owned)
}

fn labels(versions: &[(&str, &str)]) -> Vec<String> {
    versions.iter().map(|(service, version)| format!("{service}@{version}")).collect()
}

impl Story {
    fn begin(mut installation: Installation, fleet: Fleet) -> Result<Self> {
        let began = Instant::now();
        println!("\nA server in {}", installation.folder().display());
        installation.start_server()?;
        let gateway = checks::gateway(&installation, ENVIRONMENT)?;
        let report = Report { hosts: fleet.hosts().len(), ..Report::default() };
        Ok(Self { installation, fleet, gateway, load: None, report, chapter: 0, began })
    }

    fn tell(&mut self) -> Result<()> {
        self.add_hosts()?;
        self.release()?;
        self.open_the_shop()?;
        self.go_forward()?;
        let lost = self.last_host()?;
        self.go_back_and_lose(lost)?;
        let before = places::all(&self.installation, ENVIRONMENT)?;
        self.go_on_without_server(&before)?;
        self.begin_again(lost, &before)?;
        self.close_the_shop()
    }

    fn heading(&mut self, title: &str) {
        self.chapter += 1;
        println!("\n== {}. {title} ==", self.chapter);
    }

    fn load(&self) -> Result<&Load> {
        self.load.as_ref().context("the customers have not come yet")
    }

    fn last_host(&self) -> Result<Host> {
        self.fleet.hosts().pop().context("there is no host")
    }

    fn target(&self) -> Target {
        Target { address: self.gateway, kinds: SHOPPING, served_by: load::version }
    }

    /// Checks that nothing has failed that was not looked up, and says how many requests there were.
    fn expect_no_other_failures(&self) -> Result<()> {
        let (load, known) = (self.load()?, self.report.failures.all());
        load.settle()?;
        let totals = load.totals();
        println!(
            "  the customers so far: {} requests, {} failed that were not at a dead host",
            totals.requests,
            totals.failed.saturating_sub(known)
        );
        let words = load.failures().join("\n  ");
        ensure!(
            totals.failed == known,
            "{} requests failed, {known} of them explained:\n  {words}",
            totals.failed
        );
        Ok(())
    }

    fn add_hosts(&mut self) -> Result<()> {
        self.heading("The hosts are added: a login by SSH is all that they have");
        let key = self.fleet.key().display().to_string();
        for host in self.fleet.hosts() {
            let (name, login) = (host.to_string(), self.fleet.login(host)?);
            // The demo asks instances past their gateways, and the network is its own.
            let network = ["--network", "trusted"];
            let add = ["host", "add", &name, "--ssh", &login, "--key", &key, "--env", ENVIRONMENT];
            let add = [&add[..], &network].concat();
            self.installation.run(&add, Show::Result(1))?;
        }
        self.installation.run(&["hosts"], Show::All)?;
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        self.heading("Four services are released from their git repositories");
        let below = self.installation.folder().join("repositories");
        for (name, versions) in SERVICES {
            let mut repository = Repository::begin(name, &below)?;
            self.installation.run(&["service", "add", &format!("repositories/{name}")], Show::Result(1))?;
            self.installation.run(&["release", name], Show::Result(1))?;
            for _ in 1..COMMITS {
                repository.grow()?;
                self.installation.run(&["release", name], Show::Result(1))?;
            }
            let mut found = checks::released(&self.installation, name)?;
            found.sort();
            ensure!(found == versions[..COMMITS], "`{name}` has versions {found:?}");
            self.report.versions += found.len();
        }
        Ok(())
    }

    fn open_the_shop(&mut self) -> Result<()> {
        self.heading("They are deployed, and scaled to an instance on each host");
        println!("There is no staging here, which production otherwise wants versions to come from:");
        let accepts = ["environment", "set", ENVIRONMENT, "--accepts-from", "testing"];
        self.installation.run(&accepts, Show::Result(1))?;
        self.deploy(&FIRST, &[])?;
        let count = self.report.hosts.to_string();
        for (service, _) in FIRST {
            self.installation.run(&["scale", service, &count, "--env", ENVIRONMENT], Show::Result(1))?;
        }
        self.expect_spread(&FIRST)?;
        self.installation.run(&["status", ENVIRONMENT], Show::All)?;
        expect_versions(&self.installation, ENVIRONMENT, self.gateway, &FIRST)?;
        let Pace { kept, fresh, requests_per_second } = PACE;
        println!("Customers come: {requests_per_second} requests a second, from {} at once", kept + fresh);
        self.load = Some(Load::start(self.target(), PACE));
        self.expect_no_other_failures()
    }

    fn deploy(&self, versions: &[(&str, &str)], how: &[&str]) -> Result<()> {
        let labels = labels(versions);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.installation
            .run(&[&["deploy"], &labels[..], &["--env", ENVIRONMENT], how].concat(), Show::All)?;
        Ok(())
    }

    /// Waits until each service has a healthy instance of its version on each host.
    fn expect_spread(&self, versions: &[(&str, &str)]) -> Result<()> {
        wait_until("an instance of each service on each host", || {
            let placed = places::all(&self.installation, ENVIRONMENT)?;
            Ok(versions.iter().all(|(service, version)| self.is_spread(&placed, service, version)))
        })
    }

    fn is_spread(&self, placed: &[Placed], service: &str, version: &str) -> bool {
        let healthy = placed.iter().filter(|it| it.is_healthy && it.is_of(service, version));
        let on: BTreeSet<&str> = healthy.map(|it| it.host.as_str()).collect();
        on.len() == self.report.hosts
    }

    fn go_forward(&mut self) -> Result<()> {
        self.heading("One service goes forward by a canary, then the whole chain");
        let canary = ["--strategy", "canary", "--steps", "20,100", "--bake", "2s", "--min-requests", "3"];
        let since = Instant::now();
        self.deploy(&[CANARY], &canary)?;
        self.say_who_answered(since)?;
        self.expect_no_other_failures()?;
        self.deploy(&SECOND, &["--strategy", "all-at-once"])?;
        self.expect_spread(&SECOND)?;
        expect_versions(&self.installation, ENVIRONMENT, self.gateway, &SECOND)?;
        self.expect_no_other_failures()
    }

    fn say_who_answered(&self, since: Instant) -> Result<()> {
        println!("  who answered meanwhile:");
        for (version, count) in self.load()?.answers_after(since) {
            println!("    {version:<20} {count:>6}");
        }
        Ok(())
    }

    fn go_back_and_lose(&mut self, lost: Host) -> Result<()> {
        self.heading("The whole chain goes back, and in the middle a host is switched off");
        let (before, mut running) = (self.newest_operation()?, places::on_hosts(&self.installation)?);
        let back = ["rollback", ENVIRONMENT, "--to", "1"];
        let old = labels(&SECOND);
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let (load, installation) = (self.load()?, &self.installation);
        let (rollback, in_the_middle) = thread::scope(|scope| {
            let switched_off = scope.spawn(|| self.lose_when_begun(lost, &before));
            let what = format!("{ENVIRONMENT} to baseline 1");
            let rollback = timed(installation, load, &what, &back, &old);
            let in_the_middle = switched_off.join().map_err(|_| anyhow!("{lost} was not switched off"))??;
            rollback.map(|rollback| (rollback, in_the_middle))
        })?;
        let when = if in_the_middle { "in the middle of it" } else { "when it was over already" };
        println!("  {lost} was switched off {when}");
        (self.report.rollback, self.report.in_the_middle) = (Some(rollback), in_the_middle);
        self.wait_for_calm(lost)?;
        running.extend(places::on_hosts(&self.installation)?);
        self.explain_failures(lost, &running)?;
        expect_versions(&self.installation, ENVIRONMENT, self.gateway, &FIRST)?;
        self.installation.run(&["status", ENVIRONMENT], Show::All)?;
        self.expect_no_other_failures()
    }

    fn newest_operation(&self) -> Result<Value> {
        Ok(self.installation.ask("GET", "/operations", "")?[0].clone())
    }

    /// Switches a host off in the middle of what is begun next, and says whether it was in time: a quick machine may be over with it.
    fn lose_when_begun(&self, host: Host, before: &Value) -> Result<bool> {
        wait_until("the way back to begin", || Ok(self.newest_operation()?["id"] != before["id"]))?;
        self.fleet.stop(host)?;
        Ok(self.newest_operation()?["phase"]["phase"] != "done")
    }

    /// Waits until the host counts as away, and customers see nothing of it any more.
    fn wait_for_calm(&self, lost: Host) -> Result<()> {
        wait_until("the server to know that the host is away", || Ok(!self.is_here(lost)?))?;
        let (load, mut since) = (self.load()?, Instant::now());
        wait_until("requests without a failure", || {
            let totals = load.totals_after(since);
            if totals.failed > 0 {
                since = Instant::now();
            }
            Ok(totals.failed == 0 && totals.requests >= SOME_REQUESTS)
        })
    }

    fn is_here(&self, host: Host) -> Result<bool> {
        Ok(self.installation.json(&["host", "show", &host.to_string()])?["connection"] == "here")
    }

    /// Looks up every request that failed.
    fn explain_failures(&mut self, lost: Host, running: &[Placed]) -> Result<()> {
        let addresses = running.iter().map(|it| (it.id.clone(), it.address)).collect();
        // Whatever was under way when the host was found to be away is over then.
        self.load()?.settle()?;
        let failed = self.load()?.totals().failed;
        let log = self.installation.folder().join("access.log");
        wait_until("the access log to have every failed request", || {
            Ok(failures::of_access_log(&log, &addresses)?.len() >= failed)
        })?;
        let mut on_the_way = Vec::new();
        for host in self.fleet.hosts().into_iter().filter(|host| *host != lost) {
            on_the_way.extend(self.failed_calls(host)?);
        }
        let judged = failures::judge(
            failures::of_access_log(&log, &addresses)?,
            on_the_way,
            self.fleet.address(lost)?,
        );
        self.say_judged(lost, failed, &judged)?;
        self.report.lost = lost.to_string();
        self.report.failures = judged;
        Ok(())
    }

    /// What failed at the gateway that a host has for its own instances; at both, while one takes over from another.
    fn failed_calls(&self, host: Host) -> Result<Vec<failures::Failure>> {
        let addresses = self.fleet.given(host, "--admin-address")?;
        ensure!(!addresses.is_empty(), "{host} has no gateway of its own");
        let mut failed = Vec::new();
        for address in addresses {
            let recent =
                ["gateway", "recent", "--admin-address", &address, "--failed", "--limit", "10000", "--json"];
            let written = self.fleet.ask_on_loopback(host, self.installation.program(), &recent)?;
            failed.extend(failures::of_gateway(&written)?);
        }
        Ok(failed)
    }

    fn say_judged(&self, lost: Host, failed: usize, judged: &Judged) -> Result<()> {
        let Judged { there, on_the_way, unexplained } = judged;
        println!(
            "  {failed} requests failed: {there} were at {lost}, {on_the_way} called something there on their way"
        );
        let words = self.load()?.failures().join("\n  ");
        ensure!(unexplained.is_empty(), "no dead host explains {unexplained:#?}, among\n  {words}");
        ensure!(
            judged.all() == failed,
            "{} failures are in the access log, {failed} were seen:\n  {words}",
            judged.all()
        );
        Ok(())
    }

    fn go_on_without_server(&mut self, all: &[Placed]) -> Result<()> {
        self.heading("The server is killed: hosts go on by themselves");
        let mut left = self.fleet.hosts();
        left.pop();
        let stays = places::on(all, left[0], "storefront")?;
        println!("Customers go straight to the shop window of {}, {stays}:", left[0]);
        let target = Target { address: stays, kinds: WINDOW, served_by: by_its_own_word };
        self.load()?.redirect(target)?;
        self.installation.kill_server()?;
        let killed = Instant::now();
        for host in &left {
            self.expect_chain(all, *host)?;
        }
        match left.get(1) {
            Some(host) => self.reboot_without_server(all, *host)?,
            None => println!("  with two hosts none is left that could boot while the other one serves"),
        }
        self.wait_for_requests(killed)?;
        self.report.without_server = self.load()?.totals_after(killed).requests;
        self.expect_no_other_failures()
    }

    fn wait_for_requests(&self, since: Instant) -> Result<()> {
        let load = self.load()?;
        wait_until("requests", || Ok(load.totals_after(since).requests >= SOME_REQUESTS))
    }

    /// Asks the instances of a host past the gateway; what they call goes through the gateway of their own host.
    fn expect_chain(&self, placed: &[Placed], host: Host) -> Result<()> {
        let window = checks::visit(places::on(placed, host, "storefront")?, "/")?;
        ensure!(window.status == 200, "the shop window of {host} answers {}", window.status);
        let document = window.json()?;
        let chain: Vec<&str> =
            document["chain"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(
            chain == ["storefront@1.1.0", "catalog@1.0.0", "orders@1.0.0"],
            "a visit on {host} went {chain:?}"
        );
        let order = checks::order(places::on(placed, host, "orders")?)?;
        ensure!(
            order.contains("payments@1.0.0") && order.contains("catalog@1.0.0"),
            "an order on {host} went {order}"
        );
        println!("  on {host}: a visit takes the way {}, an order {order}", chain.join(" -> "));
        Ok(())
    }

    fn reboot_without_server(&mut self, placed: &[Placed], host: Host) -> Result<()> {
        println!("A host boots again, with no server in sight:");
        let begin = Instant::now();
        self.fleet.reboot(host)?;
        let mut last = None;
        let served = wait_until(&format!("{host} to serve again"), || {
            last =
                places::expect_listening(placed, host).and_then(|()| self.expect_chain(placed, host)).err();
            Ok(last.is_none())
        });
        served
            .map_err(|why| last.map_or(why, |last| last.context(format!("{host} does not serve again"))))?;
        println!("  {host} serves again {:.1} s after it was told to boot", begin.elapsed().as_secs_f64());
        self.report.rebooted = Some((host.to_string(), begin.elapsed()));
        Ok(())
    }

    fn begin_again(&mut self, lost: Host, before: &[Placed]) -> Result<()> {
        self.heading("The server starts again, and so does the host that was lost");
        self.installation.start_server()?;
        self.wait_for_hosts(|host| host != lost)?;
        self.expect_adopted(lost, before)?;
        self.fleet.start(lost)?;
        self.wait_for_hosts(|_| true)?;
        self.expect_whole()?;
        self.installation.run(&["hosts"], Show::All)?;
        self.installation.run(&["status", ENVIRONMENT], Show::All)?;
        self.load()?.redirect(self.target())?;
        expect_versions(&self.installation, ENVIRONMENT, self.gateway, &FIRST)?;
        self.expect_no_other_failures()
    }

    fn wait_for_hosts(&self, which: impl Fn(Host) -> bool) -> Result<()> {
        let hosts: Vec<Host> = self.fleet.hosts().into_iter().filter(|host| which(*host)).collect();
        wait_until("hosts to be here", || Ok(hosts.iter().all(|host| self.is_here(*host).unwrap_or(false))))
    }

    /// Waits until the instances that ran before are known again as the same: but for the lost host none has another address.
    fn expect_adopted(&mut self, lost: Host, before: &[Placed]) -> Result<()> {
        let lost = lost.to_string();
        let expected: BTreeSet<_> =
            before.iter().filter(|it| it.is_healthy && it.host != lost).map(Placed::place).collect();
        ensure!(!expected.is_empty(), "nothing ran that could be adopted");
        wait_until("the instances to be adopted", || {
            let now = places::all(&self.installation, ENVIRONMENT)?;
            let healthy: BTreeSet<_> = now.iter().filter(|it| it.is_healthy).map(Placed::place).collect();
            Ok(expected.is_subset(&healthy))
        })?;
        println!("  {} instances were adopted where they were", expected.len());
        self.report.adopted = expected.len();
        Ok(())
    }

    /// Waits until each service has its instances, and nothing is left on any host of the versions that were left.
    fn expect_whole(&self) -> Result<()> {
        let mut found = Vec::new();
        let whole = wait_until("each service to be whole", || {
            found = places::on_hosts(&self.installation)?;
            let is_left = |it: &Placed| SECOND.iter().any(|(service, version)| it.is_of(service, version));
            let count = |(service, version): &(&str, &str)| {
                found.iter().filter(|it| it.is_healthy && it.is_of(service, version)).count()
            };
            Ok(!found.iter().any(is_left) && FIRST.iter().all(|each| count(each) == self.report.hosts))
        });
        whole.with_context(|| format!("what runs on all hosts: {found:#?}"))
    }

    fn close_the_shop(&mut self) -> Result<()> {
        self.wait_for_requests(Instant::now())?;
        self.expect_no_other_failures()?;
        self.installation.run(&["journal", "verify"], Show::All)?;
        self.report.totals = self.load()?.totals();
        self.report.elapsed = self.began.elapsed();
        Ok(())
    }

    fn invite(&self) {
        println!("\n== The shop stays open until Ctrl-C or Enter ==");
        println!("  the shop window   http://{}/", self.gateway);
        println!("  to try: export LOCKSTEP_SERVER=http://{}", self.installation.server());
        for command in ["hosts", "status", "host drain web1 --reason try", "undo production"] {
            println!("    {} {command}", self.installation.program().display());
        }
    }

    /// Takes everything down and removes it.
    fn end(self) -> Result<()> {
        println!("\n== The end ==");
        drop(self.load);
        drop(self.fleet);
        self.installation.remove()?;
        println!("  everything is stopped and removed");
        Ok(())
    }
}
