//! `kill -9` on the way of a chain of three services and their database, there and back: of the server after every record, once and
//! twice, and of a migration in the middle of its work.
//!
//! No order of single moves works. Clients call through a gateway of its own meanwhile: none of their requests fails, and no
//! answer names versions of two sides.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde_json::Value;

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, python};
use super::support::{eventually, get, processes};

/// Passes the request on to the next service, and puts its own name before the answer.
const HOP: &str = "
        import http.client, urllib.parse
        trail = b'NAME'
        if self.path != '/health' and 'NEXT':
            at = urllib.parse.urlsplit(os.environ['LOCKSTEP_URL_NEXT'])
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
            passed = {name: self.headers[name] for name in ('baggage',) if name in self.headers}
            connection.request('GET', at.path + '/', headers=passed)
            reply = connection.getresponse()
            status = reply.status
            trail += b' ' + reply.read()";
/// The last one reads what its version needs of the database.
const READS: &str = "
        import sqlite3
        trail = b'NAME'
        if self.path != '/health':
            with sqlite3.connect('DATABASE', timeout=20) as database:
                database.execute('SELECT COLUMNS FROM orders').fetchall()";

const SIDES: [&str; 2] = ["web1 desk1 store1", "web2 desk2 store2"];
const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";
const FIRST: (&str, &str) = (
    "0001_orders.sql",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);\nINSERT INTO orders (note) VALUES ('a');\n\
     CREATE TABLE pace (rounds INTEGER);\nINSERT INTO pace VALUES (1);",
);
/// Writes more than SQLite keeps in memory, and then takes as many rounds as it is told.
const SECOND: (&str, &str) = (
    "0002_state.sql",
    "CREATE TABLE half (rounds INTEGER, much BLOB);\n\
     INSERT INTO half (much) VALUES (randomblob(8000000));\n\
     INSERT INTO half (rounds) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < (SELECT rounds FROM pace))\n\
     SELECT count(*) FROM n;\n\
     ALTER TABLE orders ADD COLUMN state TEXT;",
);
/// Rounds that nobody waits for.
const ENDLESS: &str = "1000000000000";
/// Rounds that take a second or more.
const LONG: &str = "1000000";
/// The database is larger than this only while a migration is in the middle of its work, and after it.
const WRITTEN_BYTES: u64 = 4_000_000;
/// Requests that must be served while the server is dead.
const SERVED_MEANWHILE: u64 = 5;
/// Makes the choices of which pairs of deaths are tried.
const SEED: u64 = 0x5eed_c4a1;
const PAIRS: usize = 3;

/// The chain with two versions of each service; the first ones are deployed.
struct Chain {
    place: Place,
    _gateway: StandaloneGateway,
    callers: Callers,
}

fn write(repository: &Repository, name: &str, number: u32, next: Option<&str>, database: &str) {
    let (more, after, answer) = match next {
        Some(next) => {
            let upper = next.to_uppercase();
            (String::new(), format!("[requires]\n{next} = \"^{number}\""), HOP.replace("NEXT", &upper))
        }
        None => {
            let columns = if number == 1 { "note" } else { "note, state" };
            let env = format!("env = {{ DATABASE_URL = \"sqlite:{database}\" }}");
            let reads = READS.replace("DATABASE", database).replace("COLUMNS", columns);
            (env, "[database.main]\nmigrations = \"db\"".to_owned(), reads)
        }
    };
    repository.write("lockstep.toml", &manifest(name, &more, &after));
    let answer = answer.replace("NAME", &format!("{name}{number}"));
    repository.write("service.py", &misbehaving("TEXT", "pass", &answer).replace("b'TEXT'", "trail"));
}

impl Chain {
    fn begin() -> Self {
        let place = Place::begin();
        fs::create_dir(place.path("kept")).unwrap();
        let database = place.path("kept/shop.db");
        let gateway = StandaloneGateway::follow(&place);
        let url = format!("http://{}", gateway.address());
        place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url, "--warm", "300ms"]);
        for (name, next) in [("store", None), ("desk", Some("store")), ("web", Some("desk"))] {
            let repository = place.repository(name);
            write(&repository, name, 1, next, &database);
            if next.is_none() {
                repository.write(&format!("db/{}", FIRST.0), FIRST.1);
            }
            assert_eq!(place.first_release(&repository, name), format!("{name}@{OLD}"));
            write(&repository, name, 2, next, &database);
            if next.is_none() {
                repository.write(&format!("db/{}", SECOND.0), SECOND.1);
            }
            repository.commit("feat!: the second one");
            assert_eq!(place.release(name), format!("{name}@{NEW}"));
        }
        place.run(&["deploy", "store@1.0.0", "desk@1.0.0", "web@1.0.0", "--env", ENVIRONMENT]);
        eventually("the gateway has its first table", || {
            get(gateway.address(), "/web", 0).is_ok_and(|(status, _)| status == 200).then_some(())
        });
        let callers = Callers::begin_expecting(gateway.address(), &["/web"], &SIDES);
        Self { place, _gateway: gateway, callers }
    }

    /// Begins to take all three forward by one command, which would bring nothing along that is held.
    fn forward(&self) -> u64 {
        let holds = self.place.json(&["hold", "list", ENVIRONMENT]);
        for hold in holds.as_array().unwrap() {
            self.place.run(&["hold", "release", hold["version"].as_str().unwrap(), "--env", ENVIRONMENT]);
        }
        let deploy = ["deploy", "web@2.0.0", "--env", ENVIRONMENT, "--with-what-it-needs"];
        self.place.begin_operation(&deploy)
    }

    /// Begins to take all three back by one command.
    fn back(&self) -> u64 {
        self.place.begin_operation(&["rollback", "store", "--to", OLD, "--env", ENVIRONMENT, "--chain"])
    }

    /// Runs statements by hand, past Lockstep.
    fn by_hand(&self, statements: &str) -> String {
        let path = self.place.path("kept/shop.db");
        let program = format!(
            "import sqlite3\ndatabase = sqlite3.connect('{path}', timeout=20)\n\
             for one in \"\"\"{statements}\"\"\".split(';'): last = database.execute(one).fetchall()\n\
             database.commit()\nprint(last)"
        );
        let output = Command::new(python()).args(["-c", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn sets_pace(&self, rounds: &str) {
        self.by_hand(&format!("UPDATE pace SET rounds = {rounds}"));
    }

    /// Makes the database one that the second version needs a migration for again, as from a copy that was restored.
    fn takes_migration_out(&self) {
        self.by_hand(&format!(
            "DROP TABLE half; ALTER TABLE orders DROP COLUMN state; DELETE FROM lockstep_migrations WHERE name = '{}'",
            SECOND.0
        ));
        // A database that lost something is taken as it is only where a person says so.
        self.place.run(&["database", "look", "main", "--accept-loss", "--env", ENVIRONMENT]);
    }

    /// Follows an operation from its first record until so many were seen or there are no more, and returns how many there were.
    fn records(&self, operation: u64, most: usize) -> usize {
        let mut watch = self.place.command(&["watch", &operation.to_string(), "--json"]);
        let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let count = lines.map_while(Result::ok).take(most).count();
        watch.kill().unwrap();
        watch.wait().unwrap();
        count
    }

    fn kill_server_after(&mut self, operation: u64, records: usize) {
        let seen = self.records(operation, records);
        assert_eq!(seen, records, "operation {operation} has no more records");
        self.kill_server();
    }

    fn kill_server(&mut self) {
        self.place.kill_server();
        self.callers.wait_for(SERVED_MEANWHILE);
        self.place.start_server();
    }

    /// Waits until an operation has ended in one way, and everything is as it says.
    fn ends(&self, operation: u64, how: &str, side: usize, point: &str) {
        let phase = self.place.settled(operation);
        assert_eq!(phase["phase"], how, "{point}: {phase}");
        self.stands_at(side, point);
    }

    fn stands_at(&self, side: usize, point: &str) {
        let number = [OLD, NEW][side];
        let status = self.place.status();
        let services = status["services"].as_array().unwrap();
        let is_there = |it: &Value| it["entry"]["version"] == number;
        assert!(services.len() == 3 && services.iter().all(is_there), "{point}: {status:#}");
        eventually("exactly the wanted instances run", || {
            let runs = processes::of_instances(&self.place.data()).into_keys();
            let wanted = ["desk", "store", "web"].map(|name| format!("{name}-{number}"));
            let runs: Vec<_> = runs.collect();
            let fits = |(run, wanted): (&String, &String)| run.starts_with(wanted);
            (runs.len() == wanted.len() && runs.iter().zip(&wanted).all(fits)).then_some(())
        });
        self.callers.wait_for(SERVED_MEANWHILE);
        let failures = self.callers.failures();
        assert!(failures.is_empty(), "{point}: {} bad answers: {failures:#?}", failures.len());
    }

    /// What Lockstep knows of the database: which migrations it has, and why nobody knows.
    fn known(&self) -> (Vec<String>, Option<String>) {
        let shown = self.place.json(&["database", "show", "main", "--env", ENVIRONMENT]);
        let known = &shown["known"];
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        let has = known["told"]["has"].as_array().unwrap().iter().map(name).collect();
        (has, known["doubt"].as_str().map(str::to_owned))
    }

    /// What is recorded in the database itself.
    fn recorded(&self) -> String {
        self.by_hand("SELECT name FROM lockstep_migrations ORDER BY name")
    }

    fn is_whole(&self, point: &str) {
        let both = vec![FIRST.0.to_owned(), SECOND.0.to_owned()];
        assert_eq!(self.known(), (both, None), "{point}");
        assert_eq!(self.recorded(), format!("[('{}',), ('{}',)]", FIRST.0, SECOND.0), "{point}");
    }

    /// Goes there and back, and does something on each way.
    fn there_and_back(&mut self, mut what: impl FnMut(&mut Self, u64, usize), point: &str) {
        for side in [1, 0] {
            let operation = if side == 1 { self.forward() } else { self.back() };
            what(self, operation, side);
            self.ends(operation, "done", side, &format!("{point}, to {}", SIDES[side]));
            // Going back touches nothing of it.
            self.is_whole(point);
        }
        self.takes_migration_out();
    }

    /// Waits until a migration is in the middle of its work, and returns the process that does it.
    fn half_way(&self) -> Pid {
        let database = self.place.path("kept/shop.db");
        eventually("the migration has written something", || {
            (fs::metadata(&database).unwrap().len() > WRITTEN_BYTES).then_some(())
        });
        let is_step = |process: &Pid| {
            let line = fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("database-step")
        };
        eventually("a step is at work", || {
            processes::of_instances(&self.place.data()).into_values().find(is_step)
        })
    }

    fn end(self) {
        assert!(self.place.run(&["journal", "verify"]).contains("as they were written"));
        assert!(self.callers.end() > 0);
    }
}

/// Draws numbers below a bound, the same ones from the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn a_server_killed_once_or_twice_after_any_record_of_a_chain_with_a_migration_brings_it_to_its_end() {
    let mut chain = Chain::begin();
    let mut counts = [0; 2];
    chain.there_and_back(
        |chain, operation, side| counts[side] = chain.records(operation, usize::MAX),
        "unharmed",
    );
    let [back, forward] = counts;
    // Begun, and the step at the database begun and ended before anything switches; on the way back there is none.
    assert!(back >= 3 && forward >= back + 2, "{counts:?} records");
    for records in 1..=forward {
        let on = move |side: usize| if side == 1 { records } else { records.min(back) };
        chain.there_and_back(
            |chain, operation, side| chain.kill_server_after(operation, on(side)),
            &format!("killed after record {records}"),
        );
    }
    let mut draw = Draw(SEED);
    for pair in 0..PAIRS {
        // The second death comes as soon as a server is there again, or after a later record.
        let choices = [back, forward].map(|count| {
            let first = 1 + draw.below(count - 1);
            [first, first + draw.below(count - first + 1)]
        });
        chain.there_and_back(
            |chain, operation, side| {
                let [first, second] = choices[side];
                chain.kill_server_after(operation, first);
                chain.kill_server_after(operation, second);
            },
            &format!("pair {pair} of seed {SEED:#x}: killed after records {choices:?} of back and forward"),
        );
    }
    chain.end();
}

#[test]
fn a_migration_of_a_chain_that_is_killed_half_way_leaves_the_old_side_and_nothing_of_itself() {
    let mut chain = Chain::begin();
    for server in ["lives", "is dead too"] {
        chain.sets_pace(ENDLESS);
        let operation = chain.forward();
        let step = chain.half_way();
        if server == "lives" {
            processes::kill(step);
        } else {
            chain.place.kill_server();
            processes::kill(step);
            chain.callers.wait_for(SERVED_MEANWHILE);
            chain.place.start_server();
        }
        let point = format!("the step is killed and the server {server}");
        chain.ends(operation, "reverted", 0, &point);
        // It was a transaction, so nothing of it is there, and nothing is in doubt.
        assert_eq!(chain.known(), (vec![FIRST.0.to_owned()], None), "{point}");
        assert_eq!(chain.recorded(), format!("[('{}',)]", FIRST.0), "{point}");
        assert_eq!(chain.by_hand("PRAGMA integrity_check"), "[('ok',)]", "{point}");
    }
    chain.sets_pace("1");
    chain.there_and_back(|_, _, _| (), "after two deaths of a step");
    chain.end();
}

#[test]
fn a_migration_of_a_chain_goes_on_without_the_server_and_the_chain_goes_on_after_it() {
    let mut chain = Chain::begin();
    chain.sets_pace(LONG);
    chain.there_and_back(
        |chain, _, side| {
            if side == 1 {
                chain.half_way();
                chain.kill_server();
            }
        },
        "the server is killed while a migration is half-way",
    );
    chain.end();
}
