//! Decisions that meet: every pair of what people and accidents do, between any two parts of what the server does.

mod commands;
mod explore;
mod host;
mod journal;
mod model;
mod promises;
mod replacement;
mod twice;

use explore::{Counts, carry_out, pairs, random_run};
use model::Rules;
use replacement::killed;
use twice::twice;

fn random_runs(rules: Rules, seeds: std::ops::Range<u64>) -> Result<Counts, explore::Broken> {
    let mut counts = Counts::default();
    seeds.map(random_run).try_for_each(|run| carry_out(rules, &run, &mut counts))?;
    Ok(counts)
}

#[test]
fn every_pair_of_decisions_keeps_every_promise() {
    let mut counts = Counts::default();
    if let Err(broken) = pairs(1).try_for_each(|run| carry_out(Rules::TODAY, &run, &mut counts)) {
        panic!("{}", broken.words);
    }
    println!("{} runs, {} steps", counts.runs, counts.steps);
}

#[test]
fn who_wishes_what_is_under_way_changes_nothing() {
    let mut counts = Counts::default();
    if let Err(broken) = twice().try_for_each(|run| run.carry_out(&mut counts)) {
        panic!("{}", broken.words);
    }
    println!("{} runs, {} steps", counts.runs, counts.steps);
}

#[test]
fn decisions_at_random_moments_keep_every_promise() {
    match random_runs(Rules::TODAY, 1..1_000) {
        Ok(counts) => println!("{} runs, {} steps", counts.runs, counts.steps),
        Err(broken) => panic!("{}", broken.words),
    }
}

#[test]
fn a_worker_is_replaced_as_it_asks_whatever_is_killed_at_whatever_step() {
    let mut counts = Counts::default();
    if let Err(broken) = killed(1).try_for_each(|run| carry_out(Rules::TODAY, &run, &mut counts)) {
        panic!("{}", broken.words);
    }
    println!("{} runs, {} steps", counts.runs, counts.steps);
}

#[test]
fn it_finds_instances_that_count_although_they_were_told_to_end() {
    let broken = random_runs(Rules::TOLD_WHEN_REPORTED, 1..5_000).unwrap_err();
    println!("{}", broken.words);
    assert!(broken.words.contains("told to end"), "{}", broken.words);
}

#[test]
fn it_finds_decisions_that_are_carried_out_after_the_world_has_moved() {
    let broken = random_runs(Rules::CARRIED_OUT_REGARDLESS, 1..5_000).unwrap_err();
    println!("{}", broken.words);
}

#[test]
fn it_finds_workers_that_the_next_server_does_not_find() {
    let mut counts = Counts::default();
    let broken = killed(1).try_for_each(|run| carry_out(Rules::FOUND_WHEN_HEALTHY, &run, &mut counts));
    let words = broken.unwrap_err().words;
    println!("{words}");
    assert!(words.contains("at work at once"), "{words}");
}
