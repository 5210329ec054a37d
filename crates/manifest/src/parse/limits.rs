//! `limits` of `[run]` and `[[job]]`: what an instance may use at most, and `user`: whom it runs as.

use lockstep_domain::limits::{Limit, Limits, processors};
use lockstep_domain::run::RunUser;

use crate::reader::{Field, Table};
use crate::value::{self, write_size};

const EXAMPLE: &str = "limits = { memory = \"512 MB\", cpu = 1.5, processes = 200, open_files = 1024 }";
const MEMORY: &str = "memory = \"512 MB\"";
const USER: &str = "user = \"root\"; without it each service has a user of its own where the server is root";
/// Longest name of a user.
const MAX_USER: usize = 32;
const CPU: &str = "cpu = 1.5";

/// With less no program gets as far as to say what it lacks.
const LEAST_MEMORY_BYTES: u64 = 8_000_000;
/// The kernel gives time in slices, and a smaller share is none.
const LEAST_CPU_THOUSANDTHS: u32 = 10;
/// More processors than any host has.
const MOST_CPU_THOUSANDTHS: u32 = 1_024_000;
/// Linux has no larger numbers of processes.
const MOST_PROCESSES: u32 = 4_194_304;
/// A program that cannot open its libraries does not start.
const LEAST_OPEN_FILES: u32 = 16;
/// The most that Linux allows where nobody has raised `fs.nr_open`.
const MOST_OPEN_FILES: u32 = 1_048_576;

/// Reads the limits of a table.
pub(super) fn of(table: &Table<'_>) -> Limits {
    let Some(table) = table.table("limits", EXAMPLE) else { return Limits::default() };
    let limits = Limits {
        memory_bytes: table.get("memory", MEMORY).and_then(|field| memory(&field)),
        cpu_thousandths: table.get("cpu", CPU).and_then(|field| cpu(&field)),
        processes: table
            .get("processes", "processes = 200")
            .and_then(|field| field.integer(1..=MOST_PROCESSES)),
        open_files: table
            .get("open_files", "open_files = 1024")
            .and_then(|field| field.integer(LEAST_OPEN_FILES..=MOST_OPEN_FILES)),
    };
    table.finish();
    limits
}

/// Reads whom the processes of a table run as.
pub(super) fn user(table: &Table<'_>, of_image: bool) -> Option<RunUser> {
    let field = table.get("user", USER)?;
    if of_image {
        field.wrong_because("an image says itself whom it runs as", "remove it, or say USER in the image");
        return None;
    }
    let name = field.text()?;
    let is_start = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let allowed = |b: u8| is_start(b) || b.is_ascii_digit() || b == b'-';
    let is_name =
        name.len() <= MAX_USER && name.bytes().next().is_some_and(is_start) && name.bytes().all(allowed);
    if !is_name {
        let hint = "write a user of the host, such as root or www-data, or leave it out: each service has a user of its own";
        field.wrong_because("it is not the name of a user", hint);
        return None;
    }
    Some(RunUser::Named(name.to_owned()))
}

/// Tells whether a limit is one that a manifest can have.
pub(crate) fn fits(limit: Limit) -> bool {
    match limit {
        Limit::Memory(bytes) => bytes >= LEAST_MEMORY_BYTES,
        Limit::Processors(found) => (LEAST_CPU_THOUSANDTHS..=MOST_CPU_THOUSANDTHS).contains(&found),
        Limit::Processes(found) => (1..=MOST_PROCESSES).contains(&found),
        Limit::OpenFiles(found) => (LEAST_OPEN_FILES..=MOST_OPEN_FILES).contains(&found),
    }
}

fn memory(field: &Field<'_>) -> Option<u64> {
    let bytes = value::size_bytes(field.text()?).map_err(|error| field.wrong_because(error, MEMORY)).ok()?;
    if !fits(Limit::Memory(bytes)) {
        field.wrong(format_args!("no program starts with less than {}", write_size(LEAST_MEMORY_BYTES)));
        return None;
    }
    Some(bytes)
}

fn cpu(field: &Field<'_>) -> Option<u32> {
    let text = field.decimal()?;
    let found = thousandths(&text).filter(|found| fits(Limit::Processors(*found)));
    if found.is_none() {
        let (least, most) = (processors(LEAST_CPU_THOUSANDTHS), processors(MOST_CPU_THOUSANDTHS));
        field.wrong_because(
            format_args!("`{text}` is not from {least} to {most} processors, with at most three decimals"),
            CPU,
        );
    }
    found
}

/// Reads `1.5` as 1,500.
pub(crate) fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.trim_end_matches('0');
    if digits.len() > 3 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let fraction: u32 = format!("{digits:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn read(limits: &str) -> Result<Limits, Vec<String>> {
        let text = format!("name = \"orders\"\n[run]\ncommand = \"./orders\"\n[run.limits]\n{limits}");
        let shown =
            |problem: crate::Problem| format!("{} {}: {}", problem.line, problem.field, problem.message);
        parse(&text, "lockstep.toml")
            .map(|it| it.run.limits)
            .map_err(|all| all.into_iter().map(shown).collect())
    }

    #[test]
    fn each_limit_is_read_and_whatever_is_wrong_is_named_with_its_line() {
        let all = read("memory = \"512 MB\"\ncpu = 1.5\nprocesses = 200\nopen_files = 1024\n").unwrap();
        let expected = Limits {
            memory_bytes: Some(512_000_000),
            cpu_thousandths: Some(1_500),
            processes: Some(200),
            open_files: Some(1_024),
        };
        assert_eq!(all, expected);
        assert_eq!(read("cpu = 2\n").unwrap().cpu_thousandths, Some(2_000));
        let wrong =
            read("memory = 512\ncpu = \"2\"\nprocesses = 0\nopen_files = 3\nswap = \"1 GB\"\n").unwrap_err();
        assert_eq!(
            wrong,
            [
                "5 run.limits.memory: expected a string, found an integer",
                "6 run.limits.cpu: expected a number, found a string",
                "7 run.limits.processes: `0` is not between 1 and 4194304",
                "8 run.limits.open_files: `3` is not between 16 and 1048576",
                "9 run.limits.swap: unknown field",
            ]
        );
        let wrong = read("memory = \"1 MB\"\ncpu = 0.001\n").unwrap_err();
        assert_eq!(wrong[0], "5 run.limits.memory: no program starts with less than 8MB");
        assert!(
            wrong[1].starts_with("6 run.limits.cpu: `0.001` is not from 0.01 to 1024 processors"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_user_is_named_as_the_host_names_it() {
        let read = |user: &str| {
            let text = format!("name = \"orders\"\n[run]\ncommand = \"./orders\"\nuser = {user}\n");
            parse(&text, "lockstep.toml")
                .map(|it| it.run.user)
                .map_err(|all| (all[0].line, all[0].message.clone()))
        };
        assert_eq!(read("\"www-data\""), Ok(RunUser::Named("www-data".into())));
        for bad in ["\"\"", "\"0\"", "\"Root\"", "\"a b\"", "\"-a\"", "\"a:b\""] {
            assert_eq!(read(bad), Err((4, "it is not the name of a user".to_owned())), "{bad}");
        }
    }

    #[test]
    fn processors_are_read_to_three_decimals() {
        let read =
            ["1.5", "2", "0.25", "0.125", "1.500000", "1.0005", "", ".5", "-1", "1e3", "inf", "9999999999"];
        let found = [
            Some(1_500),
            Some(2_000),
            Some(250),
            Some(125),
            Some(1_500),
            None,
            None,
            None,
            None,
            None,
            None,
            None,
        ];
        assert_eq!(read.map(thousandths), found);
    }
}
