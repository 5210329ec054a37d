//! What a command says: data on standard output as text or JSON, messages on standard error.
//!
//! Invariant: with `--json`, standard output carries exactly one JSON document, or one a line for streams.

pub(crate) mod counted;
pub(crate) mod hosts;
pub(crate) mod instances;
pub(crate) mod json;
pub(crate) mod runs;
pub(crate) mod sizes;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod times;
pub(crate) mod work;

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use self::style::Style;
use crate::exit::Exit;
use crate::failure::Failure;

/// For whom data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// Where a command writes to.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// For whom.
    pub(crate) format: Format,
    /// How text on standard output looks.
    pub(crate) style: Style,
    /// How messages on standard error look.
    pub(crate) message_style: Style,
}

impl Output {
    /// Makes the output of this process.
    pub(crate) fn new(format: Format, color: ColorChoice) -> Self {
        let colored = |is_terminal: bool| {
            is_terminal
                && color == ColorChoice::Auto
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        };
        Self {
            format,
            style: Style::new(colored(io::stdout().is_terminal())),
            message_style: Style::new(colored(io::stderr().is_terminal())),
        }
    }

    /// Writes a value: as JSON, or as the text that `render` makes of it.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        render: impl FnOnce(&T, &Style) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.document(value),
            Format::Text => self.text(&render(value, &self.style)),
        }
    }

    /// Writes a value of a stream: one line of JSON, or the text that `render` makes of it.
    pub(crate) fn show_in_stream<T: Serialize>(
        &self,
        value: &T,
        render: impl FnOnce(&T, &Style) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                self.write(&format!("{}\n", json::readable(value).map_err(|error| not_json(&error))?))
            }
            Format::Text => self.text(&render(value, &self.style)),
        }
    }

    /// Writes a value as a JSON document, whatever the format.
    pub(crate) fn document<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let value = json::readable(value).map_err(|error| not_json(&error))?;
        self.write(&format!("{value:#}\n"))
    }

    /// Writes text; a line break is added where it does not end with one.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        self.write(&format!("{}{end}", style::safe(text)))
    }

    /// Copies a stream of foreign text as it comes, with what could change a terminal escaped.
    pub(crate) fn copy_text(&self, from: impl io::Read) -> Result<(), Failure> {
        let mut rest = Vec::new();
        self.copy_through(from, |bytes| {
            rest.extend_from_slice(bytes);
            let text = style::take_text(&mut rest);
            style::printable(&text).into_owned().into_bytes()
        })?;
        self.write(&style::printable(&String::from_utf8_lossy(&rest)))
    }

    /// Copies a stream of bytes as it comes.
    pub(crate) fn copy(&self, from: impl io::Read) -> Result<(), Failure> {
        self.copy_through(from, <[u8]>::to_vec)
    }

    fn copy_through(
        &self,
        mut from: impl io::Read,
        mut through: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(cut_off(&error)),
            };
            self.write_bytes(&through(&buffer[..count]))?;
        }
    }

    /// Writes a message for people to standard error. It is lost where nobody can read it.
    pub(crate) fn message(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", style::safe(text));
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        self.write_bytes(text.as_bytes())
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            // Whoever read has seen enough (`lockstep history | head`): end quietly, as every Unix tool does.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::new(Exit::Internal, format!("cannot write the output: {error}"))),
        }
    }
}

/// Makes the failure of a stream that ended in the middle.
pub(crate) fn cut_off(error: &io::Error) -> Failure {
    Failure::new(Exit::Unreachable, "the server stopped in the middle of its answer").caused_by(error)
}

fn not_json(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Internal, format!("the answer cannot be written as JSON: {error}"))
}
