//! `[run]` of a service whose files Lockstep serves by itself: `kind = "static"`.

use lockstep_domain::static_files::StaticFiles;
use lockstep_domain::work_path::WorkPath;

use super::run::KIND_EXAMPLE;
use crate::reader::{Field, Table};

const ROOT: &str = "root = \"dist\"; the folder of the artifact that is served";
const FALLBACK: &str = "fallback = \"index.html\"; for pages that are no files";
const IMMUTABLE: &str = "immutable = [\"assets\"]; folders whose files have a new name whenever they change";

/// Tells whether it is one whose files Lockstep serves.
pub(super) fn is_one(table: &Table<'_>) -> bool {
    table.get("kind", KIND_EXAMPLE).is_some_and(|kind| kind.as_text() == Some("static"))
}

/// Reads what is served; `None` of a service of another kind, and `Some(None)` where something in it is wrong.
pub(super) fn of(table: &Table<'_>) -> Option<Option<StaticFiles>> {
    let fields =
        [table.get("root", ROOT), table.get("fallback", FALLBACK), table.get("immutable", IMMUTABLE)];
    if !is_one(table) {
        for field in fields.iter().flatten() {
            field.wrong_because("only a `static` service has its files served", "add kind = \"static\"");
        }
        return None;
    }
    if let Some(field) = table.get("command", "") {
        let hint = "remove it, or let it be a `web` service that serves its files itself";
        field.wrong_because("the files are served by Lockstep", hint);
    }
    Some(files(fields))
}

fn files([root, fallback, immutable]: [Option<Field<'_>>; 3]) -> Option<StaticFiles> {
    let path = |field: Option<Field<'_>>| match field {
        None => Some(None),
        Some(field) => field.parse::<WorkPath>().map(Some),
    };
    let folders = |field: Field<'_>| Some(field.list()?.iter().filter_map(Field::parse).collect());
    let immutable = immutable.map_or(Some(Vec::new()), folders);
    Some(StaticFiles { root: path(root)?, fallback: path(fallback)?, immutable: immutable? })
}
