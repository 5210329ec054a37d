//! A web service with PostgreSQL, whose versions change the schema before anything switches: by adding, so that the older
//! version goes on.

use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::{Repository, manifest, python};

use super::notes::{is_all_there, program};
use super::story::{Shape, Version, answer, post};

const DATABASE: &str = include_str!("../../../../../examples/compose/jobs/database.py");

const ONE: &str = "
CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY);
CREATE TABLE IF NOT EXISTS migrations (version text NOT NULL);
INSERT INTO migrations VALUES ('one');";
const TWO: &str = "
ALTER TABLE orders ADD COLUMN IF NOT EXISTS state text;
INSERT INTO migrations VALUES ('two');";
/// Fails when half of it is done.
const BAD: &str = "
BEGIN;
ALTER TABLE orders RENAME TO things;
INSERT INTO migrations VALUES ('bad');
INSERT INTO nothing VALUES (1);
COMMIT;";

const AT_REQUEST: &str = "
        what, answer = self.path.split('/')[2:], ['WORDS']
        if self.command == 'POST': sql(\"INSERT INTO orders (COLUMNS) VALUES (VALUES_OF);\", id=what[0])
        elif what: answer += sql(f'SELECT {what[1]} FROM {what[0]};')
        answer = '\\n'.join(answer).encode()";

pub(super) struct Shop {
    gateway: String,
}

impl Shape for Shop {
    const SERVICES: &'static [&'static str] = &["shop"];

    fn begin(place: &Place, gateway: &str) -> Self {
        place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
        Self { gateway: gateway.to_owned() }
    }

    fn write(&self, name: &str, repository: &Repository, version: Version) {
        let job = format!(
            "[resource.db]\nkind = \"postgresql\"\n[[job]]\nname = \"migrate\"\nwhen = \"before-switch\"\n\
             command = \"{} migrate.py\"\n",
            python()
        );
        let env = "env = { DATABASE_URL = \"${resource.db.url}\" }";
        repository.write("lockstep.toml", &manifest(name, env, &job));
        repository.write("database.py", DATABASE);
        let (migration, columns, values) = match version {
            Version::One => (ONE, "id", ":'id'"),
            Version::Two => (TWO, "id, state", ":'id', 'new'"),
            Version::Bad => (BAD, "id", ":'id'"),
        };
        repository.write("migrate.py", &format!("from database import sql\nsql('''{migration}''')\n"));
        let asks = AT_REQUEST.replace("COLUMNS", columns).replace("VALUES_OF", values);
        repository.write("service.py", &program("from database import sql", &asks, version));
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        post(&self.gateway, &format!("/shop/{number}"), number)
    }

    fn at_work(&self) -> Option<String> {
        answer(&self.gateway, "/shop", 0).ok()
    }

    fn judge(&self, _: &Place, asked: u64) {
        let all = |what| answer(&self.gateway, &format!("/shop/{what}"), 0).unwrap();
        is_all_there(&all("orders/id"), asked);
        // Once in each operation that went forward, whoever was killed, and never on a way back.
        let migrations = all("migrations/version");
        let of = |version| migrations.lines().skip(1).filter(|line| *line == version).count();
        assert_eq!((of("one"), of("two"), of("bad")), (1, 3, 0), "{migrations}");
    }
}
