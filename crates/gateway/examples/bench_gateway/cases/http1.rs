//! HTTP/1.1, kept alive on both sides.

use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::{self, Backend, CONNECTIONS};
use crate::measure::{Amount, compare};
use crate::peers::{Setup, start_all};

pub(super) fn small(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    answers(runtime, amount, 100)
}

pub(super) fn medium(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    answers(runtime, amount, 16 * 1_024)
}

pub(super) fn large(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    answers(runtime, amount, 1_024 * 1_024)
}

fn answers(runtime: &Runtime, amount: Amount, size: usize) -> Outcome<()> {
    let proxies = start_all(&Setup::http1(Backend::pair(runtime, size)?))?;
    let what = format!("HTTP/1.1, answers of {size} bytes on {CONNECTIONS} connections");
    compare(runtime, &proxies, amount, &what, load::run)
}
