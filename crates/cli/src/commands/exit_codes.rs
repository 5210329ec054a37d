//! `lockstep exit-codes`: what the exit codes mean.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::table::Table;

/// Lists the exit codes.
///
/// 0: done. 1: carried out, and it ended badly. 2: not understood. 3: refused by a rule. 4: not found. 5: the server
/// cannot be reached. 6: conflict. 7: not authorised. 70: a fault of Lockstep. 130: stopped waiting after Ctrl-C.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep exit-codes\n  lockstep exit-codes --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let list: Vec<_> = Exit::ALL
            .iter()
            .map(|exit| serde_json::json!({ "code": exit.code(), "meaning": exit.meaning() }))
            .collect();
        out.show(&list, |_, style| {
            let mut table = Table::new(["CODE", "MEANING"]);
            Exit::ALL.iter().for_each(|exit| table.row([exit.code().to_string(), exit.meaning().to_owned()]));
            table.render(style)
        })
    }
}
