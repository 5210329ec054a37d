//! A web service with its data in a file of SQLite, which two versions have open at the same time while one takes over.

use crate::support::place::Place;
use crate::support::repository::{Repository, manifest, misbehaving};

use super::story::{Shape, Version, answer, post};

const AT_START: &str = "
import sqlite3
def open_data():
    data = sqlite3.connect('var/notes.db', timeout=20, isolation_level=None)
    data.execute('pragma journal_mode=wal')
    return data
data = open_data()
data.execute('create table if not exists notes (number integer primary key, author text not null)')
READS";

const AT_REQUEST: &str = "
        data, what = open_data(), self.path.split('/')[2:]
        if self.command == 'POST': data.execute('insert into notes values (?, ?)', (int(what[0]), 'WORDS'))
        all = data.execute('select number from notes order by number').fetchall() if what == ['all'] else []
        answer = '\\n'.join(['WORDS'] + [str(number) for number, in all]).encode()
        data.close()";

pub(super) struct Notes {
    gateway: String,
}

impl Shape for Notes {
    const SERVICES: &'static [&'static str] = &["notes"];

    fn begin(_: &Place, gateway: &str) -> Self {
        Self { gateway: gateway.to_owned() }
    }

    fn write(&self, name: &str, repository: &Repository, version: Version) {
        repository.write("lockstep.toml", &manifest(name, "data = [\"var\"]", ""));
        let reads = if version == Version::Bad { "data.execute('select gone from notes')" } else { "" };
        repository.write("service.py", &program(&AT_START.replace("READS", reads), AT_REQUEST, version));
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        post(&self.gateway, &format!("/notes/{number}"), number)
    }

    fn at_work(&self) -> Option<String> {
        answer(&self.gateway, "/notes", 0).ok()
    }

    fn judge(&self, _: &Place, asked: u64) {
        is_all_there(&answer(&self.gateway, "/notes/all", 0).unwrap(), asked);
    }
}

/// Writes a service that takes POST as well.
pub(super) fn program(at_start: &str, at_request: &str, version: Version) -> String {
    let program = misbehaving("TEXT", at_start, at_request).replace("b'TEXT'", "answer");
    let both = "    do_POST = do_GET\n    def log_message";
    program.replace("    def log_message", both).replace("WORDS", version.words())
}

/// Checks that what was written is there: the numbers of all requests, each once.
pub(super) fn is_all_there(text: &str, asked: u64) {
    let mut numbers: Vec<u64> = text.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers.len() as u64, asked, "{numbers:?}");
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
}
