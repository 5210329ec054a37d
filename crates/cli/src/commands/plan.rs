//! `lockstep plan`: what would have to move, asked of a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lockstep_api::problem::ProblemPart;
use lockstep_domain::EnvironmentName;
use lockstep_what_if::{Alternative, Answer, Fleet, Mistake, Move, Unanswered, answer};
use serde_json::Value;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Says what would have to move for a wish, in which steps and why; or why it cannot be.
///
/// The fleet and the wish are in a file of JSON, and no server is asked. What is found is the cheapest way: no other one that keeps all
/// features has a smaller sum of criticalities of what moves, and of those of that cost none goes fewer versions. Between
/// two steps everything works that works at the start.
///
///     {"services": [{"name": "orders", "criticality": 2, "versions": ["1.5.0", "1.6.0"], "current": "1.5.0", "pinned": false}, ...],
///      "features": [{"name": "charges", "provider": "payments", "offered": ["2.1.0", null], "consumer": "orders", "used": ["1.6.0", null]}],
///      "intent": [{"service": "orders", "to": "1.6.0"}]}
///
/// Versions are listed with the oldest first. `offered` and `used` name the first version and the first one that is not in it any more;
/// `null` is open. A version that uses a feature needs one that offers it. A wish says `to`, `at_most`, `at_least` or `not`; a
/// pinned service moves only when a wish names it.
///
/// `--export ENV` writes such a file for an environment: what runs there and what it could require, with what each version requires of others,
/// and holds, stages, resources, artifacts, databases, rules and lanes that keep versions from coming. A service that does not run there is at `none`.
///
/// A file has at most 20,000 services and 200,000 features.
///
/// Ends with code 0 when there is a way, 1 when there is none (the answer, with what contradicts itself, is on standard output in both
/// cases), 2 when the file has mistakes, all of which are named, and 3 when neither was found within the steps that a search may take.
#[derive(Debug, Clone, clap::Args)]
#[command(
    verbatim_doc_comment,
    about = "Says what would have to move for a wish, in which steps and why; or why it cannot be"
)]
#[command(after_help = "Examples:
  lockstep plan --world examples/worlds/shop.json
  lockstep plan --world fleet.json --json
  lockstep plan --export production > fleet.json")]
#[command(group = clap::ArgGroup::new("about").required(true).args(["world", "export"]))]
pub(crate) struct Args {
    /// The file with the fleet and the wish.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Write this environment as a fleet, without a wish.
    #[arg(long, value_name = "ENV")]
    export: Option<EnvironmentName>,
}

/// The command that shows what a file looks like.
const EXAMPLE: &str = "lockstep plan --help";

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if let Some(environment) = self.export {
            return ctx.out.document(&ctx.client.fleet(&environment)?);
        }
        let Some(world) = self.world else { return Ok(()) };
        let text = input::text(&world)?;
        check_shape(&world, &input::parsed(&world, &text, EXAMPLE)?)?;
        let fleet: Fleet = input::parsed(&world, &text, EXAMPLE)?;
        let answer = answer(&fleet).map_err(|why| unanswered(&world, why))?;
        ctx.out.show(&answer, render)?;
        if answer.solvable {
            Ok(())
        } else {
            Err(Failure::new(Exit::EndedBadly, "there is no way to what is wanted"))
        }
    }
}

/// A list would be read as the fields of an object in their order, which nobody means who writes one.
fn check_shape(file: &Path, fleet: &Value) -> Result<(), Failure> {
    let lists = ["services", "features", "intent"];
    let parts = lists.iter().flat_map(|list| {
        let all = fleet.get(list).and_then(Value::as_array).into_iter().flatten();
        all.enumerate().map(move |(at, part)| (format!("{list}[{at}]"), part))
    });
    let whole = std::iter::once((String::from("the whole of it"), fleet));
    match whole.chain(parts).find(|(_, part)| !part.is_object()) {
        None => Ok(()),
        Some((place, _)) => {
            let part =
                ProblemPart { field: Some(place), ..part_of_file(file, "it has to be an object".to_owned()) };
            Err(Failure::usage("the fleet has mistakes")
                .problems(vec![part])
                .hint("lockstep plan --help describes the file"))
        }
    }
}

fn part_of_file(file: &Path, detail: String) -> ProblemPart {
    ProblemPart { detail, file: Some(file.display().to_string()), ..ProblemPart::default() }
}

fn unanswered(file: &Path, why: Unanswered) -> Failure {
    let mistakes = match why {
        Unanswered::Mistakes(mistakes) => mistakes,
        Unanswered::OwnFault(fault) => {
            let detail =
                format!("the plan is wrong, which a check of its own found, and is not shown: {fault:?}");
            return Failure::new(Exit::Internal, detail).hint("please report it, with the file");
        }
        Unanswered::Undecided(steps) => {
            let detail = format!("not decided within {steps} steps of search");
            return Failure::new(Exit::Refused, detail).hint(
                "pin what is to stay, or wish for less: what is to be found has fewer possibilities then",
            );
        }
    };
    let part =
        |mistake: Mistake| ProblemPart { field: Some(mistake.place), ..part_of_file(file, mistake.why) };
    Failure::usage("the fleet has mistakes")
        .problems(mistakes.into_iter().map(part).collect())
        .hint("lockstep plan --help describes the file")
}

fn render(answer: &Answer, style: &Style) -> String {
    let mut text = String::new();
    let Some(cost) = answer.cost else { return printable(&answer.explanation).into_owned() };
    if answer.moves.is_empty() {
        return printable(&answer.explanation).into_owned();
    }
    let moves: BTreeMap<&str, &Move> =
        answer.moves.iter().map(|part| (part.service.as_str(), part)).collect();
    let mut table = Table::new(["STEP", "SERVICE", "FROM", "TO", "BECAUSE"]);
    for (number, step) in (1..).zip(&answer.steps) {
        for it in step.iter().filter_map(|service| moves.get(service.as_str())) {
            let because = it.because.join("; ");
            table.row([format!("{number}"), it.service.clone(), it.from.clone(), it.to.clone(), because]);
        }
    }
    text.push_str(&table.render(style));
    let together = answer.steps.iter().any(|step| step.len() > 1);
    let _ = writeln!(
        text,
        "cost {cost}, in {} step{}{}",
        answer.steps.len(),
        if answer.steps.len() == 1 { "" } else { "s" },
        if together { "; services of one step switch together" } else { "" }
    );
    for it in &answer.order_reasons {
        let _ = writeln!(text, "  {} not after {}: {}", it.before, it.after, printable(&it.why));
    }
    answer.alternatives.iter().for_each(|it| text.push_str(&other(it)));
    if !answer.is_smallest {
        text.push_str("not proved to be the smallest: the search was over before\n");
    }
    text
}

fn other(way: &Alternative) -> String {
    let moves: Vec<String> =
        way.moves.iter().map(|it| format!("{} {} -> {}", it.service, it.from, it.to)).collect();
    format!("or for the same cost: {}\n", moves.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Fleet {
        serde_json::from_str(include_str!("../../../../examples/worlds/shop.json")).unwrap()
    }

    #[test]
    fn steps_are_told_with_what_they_are_for() {
        let text = render(&answer(&shop()).unwrap(), &Style::plain());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("1     payments  2.0.0  2.1.0  orders 1.6.0 uses `charges`"), "{text}");
        assert!(lines[2].ends_with("orders    1.5.0  1.6.0  wanted at 1.6.0"), "{text}");
        assert_eq!(lines[3], "cost 5, in 2 steps");
    }

    #[test]
    fn all_mistakes_are_told_with_their_places() {
        let mut fleet = shop();
        fleet.intent[0].service = "nobody".into();
        fleet.services[0].current = "9".into();
        let failure = unanswered(Path::new("fleet.json"), answer(&fleet).unwrap_err());
        let shown = failure.render(&Style::plain());
        assert_eq!(failure.exit, Exit::Usage);
        assert!(shown.contains("services[0].current") && shown.contains("intent[0].service"), "{shown}");
    }
}
