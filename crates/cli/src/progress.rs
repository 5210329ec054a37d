//! Messages on standard error while something is awaited: lines that stay, and on a terminal one line that is redrawn.
//!
//! Invariant: when it is dropped, the redrawn line is gone and the cursor stands at the beginning of a line.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::output::style::printable;
use crate::output::{Format, Output};

/// How often the line is drawn again: often enough for its clock.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Width of a terminal that does not tell.
const DEFAULT_WIDTH: usize = 80;
/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\u{1b}[2K";

/// Messages while something is awaited.
pub(crate) struct Progress {
    mode: Mode,
}

enum Mode {
    /// JSON: nobody reads along.
    Quiet,
    /// Lines only.
    Plain,
    /// Lines, and one that is redrawn.
    Live(Live),
}

struct Live {
    shared: Arc<Shared>,
    drawer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    status: Option<(String, Instant)>,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn redraw_until_over(&self) {
        let mut state = self.lock();
        while !state.is_over {
            state.draw();
            let waited = self.ended.wait_timeout(state, REDRAW_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn draw(&self) {
        if let Some((status, since)) = &self.status {
            let elapsed = since.elapsed().as_secs();
            let line = format!("  … {status} ({elapsed} s)");
            let line: String = line.chars().take(terminal_width().saturating_sub(1)).collect();
            write_error(&format!("{CLEAR}{line}"));
        }
    }
}

fn write_error(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|&width| width > 0).unwrap_or(DEFAULT_WIDTH)
}

impl Progress {
    /// Begins, as standard error and the format of the output allow.
    pub(crate) fn begin(out: &Output) -> Self {
        let is_plain =
            !io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let mode = match out.format {
            Format::Json => Mode::Quiet,
            Format::Text if is_plain => Mode::Plain,
            Format::Text => Live::begin().map_or(Mode::Plain, Mode::Live),
        };
        Self { mode }
    }

    /// Writes a line that stays.
    pub(crate) fn line(&self, text: &str) {
        let text = printable(text);
        match &self.mode {
            Mode::Quiet => {}
            Mode::Plain => write_error(&format!("{text}\n")),
            Mode::Live(live) => {
                let state = live.shared.lock();
                write_error(&format!("{CLEAR}{text}\n"));
                state.draw();
            }
        }
    }

    /// Says what is waited for: in the line that is redrawn, or in one that stays where there is none.
    pub(crate) fn says(&self, text: &str) {
        match &self.mode {
            Mode::Plain => self.line(text),
            Mode::Quiet | Mode::Live(_) => self.status(text),
        }
    }

    /// Changes the line that is redrawn; its clock starts anew.
    pub(crate) fn status(&self, text: &str) {
        if let Mode::Live(live) = &self.mode {
            let mut state = live.shared.lock();
            let text = printable(text).replace('\n', " ");
            if state.status.as_ref().is_none_or(|(shown, _)| *shown != text) {
                state.status = Some((text, Instant::now()));
                state.draw();
            }
        }
    }
}

impl Live {
    fn begin() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let for_drawer = Arc::clone(&shared);
        let drawer =
            thread::Builder::new().name("progress".into()).spawn(move || for_drawer.redraw_until_over());
        Some(Self { shared, drawer: Some(drawer.ok()?) })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.ended.notify_all();
        if let Some(drawer) = self.drawer.take() {
            let _ = drawer.join();
        }
        write_error(CLEAR);
    }
}
