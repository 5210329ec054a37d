//! Asking before something that takes a lot along: on a terminal by a question, elsewhere by demanding `--yes`.

use std::io::{self, IsTerminal as _, Write as _};

use crate::exit::Exit;
use crate::failure::Failure;

/// The option of every command that asks first.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct ConfirmOption {
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

impl ConfirmOption {
    /// Goes on only if somebody has said yes to what would be taken along.
    pub(crate) fn ask(self, takes_along: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if somebody_is_there() {
            return if says_yes(&format!("{takes_along}\ngo on?")) {
                Ok(())
            } else {
                Err(Failure::new(Exit::Refused, "nothing was changed"))
            };
        }
        Err(Failure::new(Exit::Refused, format!("nothing was changed: {takes_along}"))
            .hint("when that is what you want, run the command again with --yes"))
    }
}

/// Tells whether a person can be asked.
pub(crate) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a person.
pub(crate) fn says_yes(question: &str) -> bool {
    let mut err = io::stderr().lock();
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    matches!((read, answer.trim()), (Ok(_), "y" | "Y" | "yes"))
}
