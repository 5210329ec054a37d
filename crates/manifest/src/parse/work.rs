//! `[run.metrics]` and `[run.queue]`: by what a worker shows how its work goes.

use lockstep_domain::reference::Scope;
use lockstep_domain::run::Kind;
use lockstep_domain::work::signs::{USUAL_QUEUE_INTERVAL_MS, USUAL_QUEUE_TIMEOUT_MS};
use lockstep_domain::work::{Metrics, MetricsPlace, Queue, Series, WorkSigns};
use lockstep_domain::work_path::WorkPath;

use super::field::duration;
use super::reference::filled_command;
use crate::reader::{Field, Table};
use crate::value;

const METRICS_EXAMPLE: &str =
    "metrics = { file = \"metrics.prom\", done = \"jobs_done_total\", failed = \"jobs_failed_total\" }";
const FILE_EXAMPLE: &str = "file = \"metrics.prom\"";
const HTTP_EXAMPLE: &str = "http = \"/metrics\"";
const DONE_EXAMPLE: &str = "done = \"jobs_done_total\"";
const FAILED_EXAMPLE: &str = "failed = 'jobs_total{result=\"failed\"}'";
const QUEUE_EXAMPLE: &str = "queue = { command = \"./depth\" }";
/// A queue is not asked more often: each time a program is started.
const SHORTEST_INTERVAL_MS: u64 = 1_000;
/// No answer is waited for longer.
const LONGEST_TIMEOUT_MS: u64 = 60_000;

/// What else is known of what it belongs to.
pub(super) struct Around<'a> {
    pub(super) kind: Kind,
    pub(super) data: &'a [WorkPath],
    pub(super) is_image: bool,
}

/// Reads by what a worker shows how its work goes.
pub(super) fn of(table: &Table<'_>, scope: &Scope<'_>, around: &Around<'_>) -> WorkSigns {
    let fields = [table.get("metrics", METRICS_EXAMPLE), table.get("queue", QUEUE_EXAMPLE)];
    for field in fields.iter().flatten().filter(|_| around.kind != Kind::Worker) {
        let hint = "remove it: a `web` service is judged by its requests, and a job by how it ends";
        field.wrong_because("only a worker is judged by what it says of its work", hint);
    }
    WorkSigns {
        metrics: table.table("metrics", METRICS_EXAMPLE).and_then(|table| metrics(table, around)),
        queue: table.table("queue", QUEUE_EXAMPLE).and_then(|table| queue(table, scope)),
    }
}

fn metrics(table: Table<'_>, around: &Around<'_>) -> Option<Metrics> {
    let place = place(&table, around);
    let done = table.require("done", DONE_EXAMPLE);
    let failed = table.require("failed", FAILED_EXAMPLE);
    let read = |field: &Option<Field<'_>>| field.as_ref().and_then(Field::parse::<Series>);
    let both = read(&done).zip(read(&failed));
    if let (Some((one, other)), Some(field)) = (&both, &failed)
        && one.overlaps(other)
    {
        let hint = "tell them apart by a label: done = 'jobs_total{result=\"ok\"}'";
        field.wrong_because(format_args!("a series could be of `{one}` and of `{other}`"), hint);
    }
    table.finish();
    let (done, failed) = both?;
    Some(Metrics { place: place?, done, failed })
}

fn place(table: &Table<'_>, around: &Around<'_>) -> Option<MetricsPlace> {
    match (table.get("file", FILE_EXAMPLE), table.get("http", HTTP_EXAMPLE)) {
        (Some(field), None) => file(&field, around),
        (None, Some(field)) => {
            let path = value::url_path(field.text()?).map_err(|error| field.wrong(error)).ok()?;
            Some(MetricsPlace::Http { path: path.to_owned() })
        }
        (Some(_), Some(field)) => {
            field.wrong_because("metrics are in one place", "remove `file` or `http`");
            None
        }
        (None, None) => {
            table.missing("file", "one of file and http says where they are", FILE_EXAMPLE);
            None
        }
    }
}

fn file(field: &Field<'_>, around: &Around<'_>) -> Option<MetricsPlace> {
    let path = field.parse::<WorkPath>()?;
    if around.is_image {
        field.wrong_because("a file of an image cannot be looked at from outside", "ask by `http`");
    }
    if around.data.iter().any(|folder| folder.overlaps(&path)) {
        field.wrong_because(
            format_args!("`{path}` lies in a data folder, which all instances of all versions share"),
            "name a file beside it: what one instance says is not what another does",
        );
    }
    Some(MetricsPlace::File { path })
}

fn queue(table: Table<'_>, scope: &Scope<'_>) -> Option<Queue> {
    let command =
        table.require("command", "command = \"./depth\"").and_then(|field| filled_command(&field, scope));
    let interval_ms = duration(&table, "interval", "interval = \"5s\"").unwrap_or(USUAL_QUEUE_INTERVAL_MS);
    let timeout_ms = duration(&table, "timeout", "timeout = \"5s\"").unwrap_or(USUAL_QUEUE_TIMEOUT_MS);
    if let (true, Some(field)) =
        (interval_ms < SHORTEST_INTERVAL_MS, table.get("interval", "interval = \"5s\""))
    {
        field.wrong("a queue is asked once a second at most");
    }
    if let (true, Some(field)) = (timeout_ms > LONGEST_TIMEOUT_MS, table.get("timeout", "timeout = \"5s\"")) {
        field.wrong("an answer is waited for a minute at most");
    }
    table.finish();
    Some(Queue { command: command?, interval_ms, timeout_ms })
}

#[cfg(test)]
mod tests {
    use crate::parse::parse;

    fn problems(more: &str) -> Vec<String> {
        let text = format!("name = \"mailer\"\n\n[run]\ncommand = \"./work\"\n{more}");
        let problems = parse(&text, "lockstep.toml").err().unwrap_or_default();
        problems.into_iter().map(|it| format!("{}: {}", it.field, it.message)).collect()
    }

    const COUNTERS: &str = "done = \"a\"\nfailed = \"b\"\n";

    #[test]
    fn what_a_worker_says_is_read() {
        let both = format!(
            "kind = \"worker\"\nqueue = {{ command = \"./depth\" }}\n[run.metrics]\nfile = \"m\"\n{COUNTERS}"
        );
        assert_eq!(problems(&both), [""; 0]);
        let on_its_port = format!(
            "kind = \"worker\"\nqueue = {{ command = \"./depth ${{self.port}}\" }}\n[run.metrics]\nhttp = \"/metrics\"\n{COUNTERS}"
        );
        assert_eq!(problems(&on_its_port), [""; 0], "it has a port for its metrics");
    }

    #[test]
    fn what_could_say_nothing_or_something_else_is_refused_by_name() {
        let of = |metrics: &str| {
            problems(&format!("kind = \"worker\"\ndata = [\"var\"]\n[run.metrics]\n{metrics}"))
        };
        let one = |metrics: &str, field: &str, why: &str| {
            let all = of(metrics);
            assert!(
                all.len() == 1 && all[0].starts_with(field) && all[0].contains(why),
                "{metrics}: {all:?}"
            );
        };
        one(&format!("file = \"var/m\"\n{COUNTERS}"), "run.metrics.file", "lies in a data folder");
        one(&format!("file = \"../m\"\n{COUNTERS}"), "run.metrics.file", "");
        one(&format!("file = \"m\"\nhttp = \"/m\"\n{COUNTERS}"), "run.metrics.http", "in one place");
        one(COUNTERS, "run.metrics.file", "one of file and http");
        one(
            "file = \"m\"\ndone = \"jobs\"\nfailed = 'jobs{r=\"bad\"}'\n",
            "run.metrics.failed",
            "a series could be of",
        );
        one("file = \"m\"\ndone = \"a b\"\nfailed = \"b\"\n", "run.metrics.done", "names no series");
        one(&format!("file = \"m\"\nevery = \"1s\"\n{COUNTERS}"), "run.metrics.every", "");
        let web = problems(&format!("[run.metrics]\nhttp = \"/metrics\"\n{COUNTERS}"));
        assert!(web.iter().any(|it| it.contains("only a worker")), "{web:?}");
        let often = problems(
            "kind = \"worker\"\nqueue = { command = \"./d\", interval = \"10ms\", timeout = \"2m\" }\n",
        );
        assert_eq!(often.len(), 2, "{often:?}");
        let port = problems("kind = \"worker\"\nqueue = { command = \"./d ${self.port}\" }\n");
        assert!(port.len() == 1 && port[0].starts_with("run.queue"), "{port:?}");
    }
}
