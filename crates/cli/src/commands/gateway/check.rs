//! `lockstep gateway check`: can a gateway serve this table?

use std::fmt::Write as _;
use std::path::PathBuf;

use lockstep_gateway::check::check_file;
use serde_json::json;

use super::table_file;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::counted::counted;
use crate::output::style::printable;

/// Checks the file of a route table without serving it.
///
/// Names everything at once that a gateway refuses the table for, each with its line and field; what is wrong with one route hides nothing of the
/// others. Of a table that a gateway serves it warns of routes that take nothing or lead nowhere.
/// Ends with code 0 when a gateway serves it, and 2 when not.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep gateway check routes.json")]
pub(super) struct CheckArgs {
    /// The file, as `gateway run --table` reads it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl CheckArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let shown = self.file.display().to_string();
        let checked = check_file(&self.file).map_err(|error| table_file::failure(&error))?;
        let warnings: Vec<_> =
            checked.doubts.iter().map(|doubt| table_file::part(&self.file, doubt)).collect();
        let table = checked.table;
        let (routes, services) = (table.routes.len(), table.services.len());
        let document = json!({ "environment": table.environment, "format": table.format, "revision": table.revision,
            "routes": routes, "services": services, "warnings": warnings });
        out.show(&document, |_, style| {
            let (routes, services) = (counted(routes, "route"), counted(services, "service"));
            let environment = &table.environment;
            let mut text = format!(
                "{}: {shown} is a table of {environment} with {routes} and {services}\n",
                style.good("done")
            );
            for warning in &warnings {
                let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(&warning.to_string()));
            }
            text
        })
    }
}
