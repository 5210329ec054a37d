//! The shapes of which real systems are made, each through the same story on real processes: deployed, changed, made bad, taken
//! back, rolled back under load, and moved once more while its server is killed.
//!
//! What a shape asks and what must hold of it is in the file of its name; how the story goes is in `story`.

mod callers;
mod chat;
mod image;
mod nginx;
mod notes;
mod port;
mod queue;
mod scheduler;
mod shop;
mod story;

use story::tell;

#[test]
fn a_worker_with_a_broker() {
    tell::<queue::Mailer>();
}

#[test]
fn a_scheduler() {
    tell::<scheduler::Clock>();
}

#[test]
fn programs_in_three_languages_that_know_host_and_port_and_keep_one_connection() {
    tell::<callers::Callers>();
}

#[test]
fn nginx_with_a_template() {
    tell::<nginx::Front>();
}

#[test]
fn a_file_of_sqlite() {
    tell::<notes::Notes>();
}

#[test]
fn migrations_before_the_switch() {
    tell::<shop::Shop>();
}

#[test]
fn sessions_that_are_polled() {
    tell::<chat::Chat>();
}

#[test]
fn a_fixed_port() {
    tell::<port::Fixed>();
}

#[test]
fn an_image() {
    tell::<image::Store>();
}
