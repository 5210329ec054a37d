//! How fast contracts are read and compared: one large document, pairs of small ones, and a matrix of versions.
//!
//! `cargo xtask bench contract` runs it in release. Each figure of the large document comes from a process of its own, because
//! the peak of memory is that of a whole process.

mod large;
mod matrix;
mod small;

use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            large::table();
            small::table();
            matrix::table();
        }
        ["large", work, old, new] => large::measure(work, old, new),
        _ => eprintln!("usage: bench_contract"),
    }
}

/// The fastest of some rounds: what the work takes when nothing else is in its way.
fn fastest(rounds: usize, mut work: impl FnMut()) -> Duration {
    let each = (0..rounds).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    each.min().unwrap_or_default()
}
