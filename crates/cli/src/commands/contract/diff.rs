//! `lockstep contract diff`: what differs between two contracts, and whom it breaks.

use lockstep_api::problem::ProblemPart;
use lockstep_contract::render::{self, View};
use lockstep_contract::{Kind, Options, Parsed, Report, Verdict, detect, diff_parsed};

use super::budget::{Budget, LARGEST_MIB};
use super::location::{Loaded, Location, Origin, show_places};
use super::policy::PolicyOptions;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::style::printable;

/// Compares two contracts in both directions.
///
/// Says what breaks consumers of the old contract, with the place and a request, answer, message or statement that was fine
/// and now fails; which part of the version number must rise; and whether the new version may be deployed, and the old one
/// come back. OLD and NEW are files, folders (a tree of .proto files, SQL migrations, an OpenAPI document in several
/// files), either of a git revision, as in main:api/openapi.yaml, or the contract of a released version, as in orders@1.4.0.
/// Files that a contract refers to come along.
///
/// Ends with code 0 when the contracts are compatible, 1 when something breaks, 2 when one of them cannot be read, and 3 when
/// something could not be checked.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep contract diff main:api/openapi.yaml api/openapi.yaml
  lockstep contract diff orders@1.4.0 api/openapi.yaml
  lockstep contract diff v1.4.0:proto proto --policy source
  lockstep contract diff old/schema.graphql new/schema.graphql --operations clients/
  lockstep contract diff HEAD~1:migrations migrations --dialect postgresql --json
  lockstep contract diff main:api/openapi.yaml api/openapi.yaml --only breaking
  lockstep contract diff main:api/openapi.yaml api/openapi.yaml --format html > contract.html
  lockstep contract diff main:api/openapi.yaml api/openapi.yaml --format sarif > contract.sarif")]
pub(super) struct Args {
    /// The contract that consumers know.
    #[arg(value_name = "OLD")]
    old: String,
    /// The contract that is to take its place.
    #[arg(value_name = "NEW")]
    new: String,
    /// The format of both: openapi, protobuf, graphql, sql, json_schema, avro or asyncapi; found by itself when not given.
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,
    /// Which contract is meant, where a released version has several of the format; `lockstep show` lists them.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How the report is written.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ReportFormat,
    /// Show only what breaks, and what could not be checked.
    #[arg(long, value_name = "WHAT")]
    only: Option<Only>,
    /// Show every change and every place, where text counts what is more than a screen; Markdown ends where forges cut it.
    #[arg(long)]
    all: bool,
    /// Read contracts of up to this many MiB: one takes some 20 times its size in memory.
    #[arg(long, value_name = "MIB", default_value_t = LARGEST_MIB, value_parser = clap::value_parser!(u16).range(1..=1024))]
    largest: u16,
    #[command(flatten)]
    policy: PolicyOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// For a person at a terminal.
    Text,
    /// For a review: less than 60,000 characters.
    Markdown,
    /// For a browser: one page with every change.
    Html,
    /// For code hosts and editors.
    Sarif,
}

/// What of a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// What breaks.
    Breaking,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { old, new, kind, name, format, only, all, largest, policy } = self;
        let view = View { only_breaking: only == Some(Only::Breaking), all };
        if ctx.out.format == Format::Json && format != ReportFormat::Text {
            return Err(Failure::usage("--json and --format exclude each other"));
        }
        let (old, new) = (Location::of(&old), Location::of(&new));
        let (before, after) = load_both(ctx, [&old, &new], kind, name.as_deref(), &Budget::of_mib(largest))?;
        let released = after.settings.with_older(before.settings);
        let options = policy.options(released).map_err(|problem| unreadable(vec![problem]))?;
        let mut report = compare(&before, &after, kind, &options)?;
        show_places(&mut report, &before.origin, &after.origin);
        write(ctx, &report, format, view)?;
        judge(&report, &old, &new)
    }
}

fn load_both(
    ctx: &Context,
    locations: [&Location; 2],
    kind: Option<Kind>,
    name: Option<&str>,
    budget: &Budget,
) -> Result<(Loaded, Loaded), Failure> {
    let [old, new] = locations.map(|location| location.load(&ctx.client, kind, name, budget));
    match (old, new) {
        (Ok(old), Ok(new)) => Ok((old, new)),
        (old, new) => Err(unreadable([old.err(), new.err()].into_iter().flatten().collect())),
    }
}

fn unreadable(problems: Vec<ProblemPart>) -> Failure {
    Failure::usage("the contracts cannot be read").problems(problems)
}

fn compare(old: &Loaded, new: &Loaded, kind: Option<Kind>, options: &Options) -> Result<Report, Failure> {
    let kind = match kind {
        Some(kind) => kind,
        None => common_kind(old, new)?,
    };
    let parts = |origin: &Origin, errors: Vec<_>| -> Vec<ProblemPart> {
        errors.into_iter().map(|error| origin.part(error)).collect()
    };
    match (Parsed::read(&old.source, kind), Parsed::read(&new.source, kind)) {
        (Ok(before), Ok(after)) => {
            let mut report = diff_parsed(&before, &after, options)
                .map_err(|errors| unreadable(parts(&Origin::AsNamed, errors)))?;
            report.run_witnesses(&before, &after, options);
            Ok(report)
        }
        (before, after) => {
            let before = before.err().map(|errors| parts(&old.origin, errors));
            let after = after.err().map(|errors| parts(&new.origin, errors));
            Err(unreadable(before.into_iter().chain(after).flatten().collect()))
        }
    }
}

fn common_kind(old: &Loaded, new: &Loaded) -> Result<Kind, Failure> {
    match (detect(&old.source), detect(&new.source)) {
        (Some(old), Some(new)) if old == new => Ok(old),
        (Some(old), Some(new)) => Err(Failure::usage(format!("OLD is {old}, NEW is {new}"))
            .hint("compare two contracts of the same format, or name it with --kind")),
        (before, after) => {
            let unknown = [(old, before), (new, after)].into_iter().filter(|(_, kind)| kind.is_none());
            let problems = unknown.map(|(loaded, _)| unknown_kind(loaded)).collect();
            Err(unreadable(problems).hint("name the format with --kind"))
        }
    }
}

fn unknown_kind(loaded: &Loaded) -> ProblemPart {
    let file = loaded.source.files().next().map(|(path, _)| loaded.origin.show(path));
    let detail = "the format cannot be told from its name or content".to_owned();
    ProblemPart { detail, file, line: None, field: None, hint: None }
}

fn write(ctx: &Context, report: &Report, format: ReportFormat, view: View) -> Result<(), Failure> {
    match (ctx.out.format, format) {
        (Format::Json, _) => ctx.out.show(&view.cut(report), |_, _| String::new()),
        (_, ReportFormat::Text) => {
            let text = render::text(report, view);
            let (verdict, rest) = text.split_once(':').unwrap_or((&text, ""));
            let style = &ctx.out.style;
            let verdict = match report.verdict {
                Verdict::Compatible => style.good(verdict),
                Verdict::Breaking => style.bad(verdict),
                Verdict::NotChecked => style.warn(verdict),
            };
            ctx.out.text(&format!("{verdict}:{}", printable(rest)))
        }
        (_, ReportFormat::Markdown) => ctx.out.text(&printable(&render::markdown(report, view))),
        (_, ReportFormat::Html) => ctx.out.text(&printable(&render::html(report, view))),
        (_, ReportFormat::Sarif) => ctx.out.text(&format!("{:#}", render::sarif(&view.cut(report)))),
    }
}

/// What a script is told by the exit code.
fn judge(report: &Report, old: &Location, new: &Location) -> Result<(), Failure> {
    match report.verdict {
        Verdict::Compatible => Ok(()),
        Verdict::Breaking => {
            let first = report.changes.iter().find(|change| change.breaks()).map(|change| change.rule.id);
            Err(Failure::new(Exit::EndedBadly, format!("{new} breaks consumers of {old}"))
                .hint(format!("lockstep contract rules --explain {}", first.unwrap_or_default())))
        }
        Verdict::NotChecked => {
            let detail = format!("it could not be decided whether {new} breaks consumers of {old}");
            Err(Failure::new(Exit::Refused, detail))
        }
    }
}
