//! What all commands that change an environment share: their options, asking the server, waiting, and the last words.

pub(crate) mod database;
pub(crate) mod outcome;
pub(crate) mod plan_text;
pub(crate) mod strategy;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lockstep_api::client::ClientError;
use lockstep_api::problem::Problem;
use lockstep_api::types::{
    HoldHandling, Mode, Needs, OperationAnswer, OperationRequest, UnderWay, WhatItNeeds,
};
use lockstep_domain::intent::Leaving;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::ServiceWish;
use lockstep_domain::{EnvironmentName, Intent, Operation, OperationId, Plan, Strategy, VersionRef};

use crate::confirm;
use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::operation::{asks, awaits, describe, until_over};
use crate::interrupt;
use crate::output::Format;
use crate::progress::Progress;

/// A command waits for what only takes time, but not longer than a person would.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// How often it asks again meanwhile, because it may be over sooner, or not at all.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Options of every command that changes an environment.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChangeOptions {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Show exactly what would be done, and do nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Wait for nothing: neither for what only takes time, nor for the end of the operation once it is recorded.
    #[arg(long)]
    no_wait: bool,
    /// Release holds of the versions that are named.
    #[arg(long)]
    release_holds: bool,
    /// Refuse it when another baseline is current than the one that was looked at; of a promotion, that of FROM.
    #[arg(long, value_name = "BASELINE")]
    expect: Option<u64>,
}

/// The option of every command that goes back.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct LeavingOptions {
    /// Keep what is left running for the warm time, as going forward does; without it, it ends.
    #[arg(long)]
    keep_warm: bool,
}

/// A change of an environment, ready to be asked for.
pub(crate) struct Change {
    environment: EnvironmentName,
    request: OperationRequest,
    no_wait: bool,
}

impl ChangeOptions {
    /// Options of a change that a command makes on its own, with why it does.
    pub(crate) fn because(reason: &str) -> Self {
        Self { reason: reason.to_owned(), dry_run: false, no_wait: false, release_holds: false, expect: None }
    }

    /// Makes a change out of an intent.
    pub(crate) fn change(&self, environment: EnvironmentName, intent: Intent) -> Change {
        let request = OperationRequest {
            intent,
            strategy: None,
            reason: self.reason.clone(),
            mode: if self.dry_run { Mode::DryRun } else { Mode::Execute },
            holds: if self.release_holds { HoldHandling::Release } else { HoldHandling::Respect },
            expect: self.expect,
            operation: None,
            under_way: UnderWay::Respect,
            needs: Needs::Refuse,
            wishes: Vec::new(),
            leaving: None,
            secrets: BTreeMap::new(),
        };
        Change { environment, request, no_wait: self.no_wait }
    }
}

impl Change {
    /// Sets how new instances take over.
    #[must_use]
    pub(crate) fn strategy(mut self, strategy: Option<Strategy>) -> Self {
        self.request.strategy = strategy;
        self
    }

    /// Sets what becomes of what is left.
    #[must_use]
    pub(crate) fn leaving(mut self, options: LeavingOptions) -> Self {
        self.request.leaving = options.keep_warm.then_some(Leaving::Warm);
        self
    }

    /// Sets what happens to operations that are in the way.
    #[must_use]
    pub(crate) fn under_way(mut self, under_way: UnderWay) -> Self {
        self.request.under_way = under_way;
        self
    }

    /// Sets whether what it needs comes along.
    #[must_use]
    pub(crate) fn needs(mut self, takes: bool) -> Self {
        self.request.needs = if takes { Needs::Take } else { Needs::Refuse };
        self
    }

    /// Sets what is wanted of services beside the versions that are named.
    #[must_use]
    pub(crate) fn wishes(mut self, wishes: Vec<ServiceWish>) -> Self {
        self.request.wishes = wishes;
        self
    }

    /// Sets the operation under way that an undo takes back.
    #[must_use]
    pub(crate) fn operation(mut self, id: Option<u64>) -> Self {
        self.request.operation = id.map(OperationId);
        self
    }

    /// Asks what would be done, without doing it.
    pub(crate) fn rehearse(&self, ctx: &Context) -> Result<OperationAnswer, Failure> {
        let request = OperationRequest { mode: Mode::DryRun, ..self.request.clone() };
        Ok(ctx.client.operate(&self.environment, &request)?)
    }

    /// Asks first where an environment would run nothing afterwards: it is not emptied by a typing error.
    pub(crate) fn confirm_emptying(&mut self, ctx: &Context, confirm: ConfirmOption) -> Result<(), Failure> {
        let Some(plan) = self.rehearse(ctx)?.plan else { return Ok(()) };
        if !plan.target.is_empty() || plan.waves.is_empty() {
            return Ok(());
        }
        let taken = plan.moves().filter_map(|part| Some(part.from_arm()?.version_ref().to_string()));
        let taken: Vec<_> = taken.collect();
        confirm.ask(&format!("this takes everything out of the environment: {}", taken.join(", ")))?;
        self.looked_at(plan.parent);
        Ok(())
    }

    /// Sets the baseline that was looked at, unless somebody said one.
    pub(crate) fn looked_at(&mut self, baseline: u64) {
        self.request.expect.get_or_insert(baseline);
    }

    /// Tells whether it is only shown.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.request.mode == Mode::DryRun
    }

    /// Sets values of secret variables.
    #[must_use]
    pub(crate) fn secrets(mut self, secrets: BTreeMap<String, String>) -> Self {
        self.request.secrets = secrets;
        self
    }

    /// Returns what is wanted.
    pub(crate) fn intent(&self) -> &Intent {
        &self.request.intent
    }

    /// Returns the plan that the change would have.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) fn dry_run(&self, ctx: &Context) -> Result<Option<Plan>, Failure> {
        let request = OperationRequest { mode: Mode::DryRun, ..self.request.clone() };
        Ok(ctx.client.operate(&self.environment, &request)?.plan)
    }

    /// Asks for the change and waits for its end, without saying what became of it.
    ///
    /// # Errors
    /// When it is refused, or was taken back.
    pub(crate) fn complete(mut self, ctx: &Context) -> Result<(), Failure> {
        let Some(operation) = self.ask(ctx)?.operation else { return Ok(()) };
        let operation = wait(ctx, &operation)?;
        match operation.phase {
            Phase::Reverted { .. } => Err(outcome::taken_back(ctx, &operation)),
            _ => Ok(()),
        }
    }

    /// Asks for the change, waits for its end unless told otherwise, and says what became of it.
    pub(crate) fn run(mut self, ctx: &Context) -> Result<(), Failure> {
        let answer = self.ask(ctx)?;
        let Some(operation) = answer.operation.clone().filter(|_| !self.is_dry_run()) else {
            return ctx.out.show(&answer, |answer, style| match &answer.plan {
                _ if answer.already => {
                    answer
                        .operation
                        .as_ref()
                        .map_or_else(String::new, |operation| self.already_text(operation))
                        + "nothing was changed: this is a dry run\n"
                }
                Some(plan) => {
                    plan_text::render(plan, &answer.lost, (&self.environment, &self.request.intent), style)
                }
                None => match &answer.operation {
                    Some(operation) => outcome::would_be_taken_back_text(operation),
                    None => "nothing would be done\n".to_owned(),
                },
            });
        };
        if self.no_wait {
            return ctx.out.show(&answer, |answer, _| match answer.already {
                true => self.already_text(&operation),
                false => begun_text(&operation),
            });
        }
        if answer.already {
            self.say_already(ctx, &operation);
        } else {
            warn(ctx, &answer);
        }
        let operation = wait(ctx, &operation)?;
        let awaited = if answer.plan.is_some() { Awaited::Done } else { Awaited::TakenBack };
        let answer = OperationAnswer { operation: Some(operation.clone()), ..answer };
        finish(ctx, &answer, &operation, awaited)
    }
}

impl Change {
    /// Says that somebody else began it, and what of this request does not hold for theirs.
    fn say_already(&self, ctx: &Context, operation: &Operation) {
        if ctx.out.format == Format::Text {
            ctx.out.message(self.already_text(operation).trim_end());
        }
    }

    fn already_text(&self, operation: &Operation) -> String {
        outcome::already_text(operation, self.request.leaving)
    }

    /// Asks, and where it needs others and a person is there, asks whether they come along.
    fn ask(&mut self, ctx: &Context) -> Result<OperationAnswer, Failure> {
        let problem = match self.ask_as_it_is(ctx) {
            Err(ClientError::Problem(problem)) => problem,
            other => return Ok(other?),
        };
        let can_take = problem.needs.as_deref().filter(|needs| needs.command.is_some());
        let is_asked =
            self.request.needs == Needs::Refuse && !self.is_dry_run() && ctx.out.format == Format::Text;
        let Some(needs) = can_take.filter(|_| is_asked && confirm::somebody_is_there()) else {
            return Err(ClientError::Problem(problem).into());
        };
        ctx.out.message(Failure::from((*problem).clone()).render(&ctx.out.message_style).trim_end());
        if !confirm::says_yes(&format!("take along {}?", plan_text::added(needs))) {
            return Err(Failure::new(Exit::Refused, "nothing was changed"));
        }
        self.take(needs);
        let taken = self.ask_as_it_is(ctx).map_err(Failure::from);
        taken.map_err(|failure| {
            failure.or_hint("what was asked about is not as it was: run the command again")
        })
    }

    /// Takes along what was shown, and nothing else; and only from where it was looked at.
    fn take(&mut self, needs: &WhatItNeeds) {
        let shown = needs
            .answer
            .moves
            .iter()
            .filter_map(|part| Some((part.service.parse().ok()?, part.to.parse().ok()?)));
        let shown = shown.map(|(service, version)| VersionRef { service, version }).collect();
        self.request.wishes.clear();
        // What a promotion expects is said of the environment that is copied, and its versions are named from here on.
        let is_copied = matches!(self.request.intent, Intent::Promote { .. });
        let said = self.request.expect.filter(|_| !is_copied);
        self.request.expect = needs.baseline.or(said);
        self.request.intent = match std::mem::replace(&mut self.request.intent, Intent::Undo) {
            Intent::RollBackService { config, .. } | Intent::RollBackServices { config, .. } => {
                Intent::RollBackServices { versions: shown, config }
            }
            _ => Intent::Deploy { versions: shown },
        };
    }

    /// Asks until nothing but time is in the way any more, unless somebody wants an answer at once.
    fn ask_as_it_is(&self, ctx: &Context) -> Result<OperationAnswer, ClientError> {
        let at_once = self.no_wait || self.request.mode == Mode::DryRun;
        let begun = Instant::now();
        let mut said = false;
        loop {
            let problem = match ctx.client.operate(&self.environment, &self.request) {
                Err(ClientError::Problem(problem)) if !at_once => problem,
                other => return other,
            };
            let wait = problem.wait_ms.map(Duration::from_millis);
            let Some(wait) = wait.filter(|wait| begun.elapsed() + *wait <= LONGEST_WAIT) else {
                return Err(ClientError::Problem(problem));
            };
            if !std::mem::replace(&mut said, true) {
                say_waiting(ctx, &problem);
            }
            std::thread::sleep(wait.min(ASK_AGAIN));
        }
    }
}

fn say_waiting(ctx: &Context, problem: &Problem) {
    if ctx.out.format == Format::Text {
        let details: Vec<_> = problem.problems.iter().map(|part| part.detail.as_str()).collect();
        ctx.out.message(&format!("waiting (Ctrl-C changes nothing): {}", details.join("; ")));
    }
}

/// Which end of an operation is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Its target is live.
    Done,
    /// Everything is as before it: it was under way and `undo` took it back.
    TakenBack,
}

fn warn(ctx: &Context, answer: &OperationAnswer) {
    if ctx.out.format == Format::Text {
        answer.lost.iter().for_each(|lost| ctx.out.message(&plan_text::lost_line(lost)));
        let warnings = answer.plan.as_ref().map_or(&[][..], |plan| &plan.warnings);
        let label = ctx.out.message_style.warn("warning:");
        warnings.iter().for_each(|warning| ctx.out.message(&format!("{label} {warning}")));
    }
}

fn begun_text(operation: &Operation) -> String {
    let Operation { id, environment, intent, .. } = operation;
    format!("operation {id} on {environment} began: {intent}\nfollow it: lockstep watch {id}\n")
}

/// Waits for an operation with its progress on standard error.
fn wait(ctx: &Context, operation: &Operation) -> Result<Operation, Failure> {
    explain_ctrl_c(ctx, operation.id, &operation.environment)?;
    let progress = Progress::begin(&ctx.out);
    until_over(ctx, operation.id, |recorded| {
        if let Some(line) = describe(&recorded.event, &operation.plan) {
            progress.line(&line);
        }
        if let Some(status) = awaits(&recorded.event, &operation.plan) {
            progress.status(&status);
        }
        if asks(&recorded.event, &operation.plan) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// From now on Ctrl-C says that the operation goes on without the command.
pub(crate) fn explain_ctrl_c(
    ctx: &Context,
    id: OperationId,
    environment: &EnvironmentName,
) -> Result<(), Failure> {
    let out = ctx.out.clone();
    let text = format!(
        "\noperation {id} goes on without this command\n  follow it:    lockstep watch {id}\n  take it back: lockstep undo {environment} --operation {id}"
    );
    interrupt::on_ctrl_c(move || out.message(&text))
}

fn finish(
    ctx: &Context,
    answer: &OperationAnswer,
    operation: &Operation,
    awaited: Awaited,
) -> Result<(), Failure> {
    match (&operation.phase, awaited) {
        (Phase::Reverted { .. }, Awaited::TakenBack) => {
            ctx.out.show(answer, |_, style| outcome::taken_back_text(operation, style))
        }
        (Phase::Reverted { .. }, Awaited::Done) => {
            if ctx.out.format == Format::Json {
                ctx.out.document(answer)?;
            }
            Err(outcome::taken_back(ctx, operation))
        }
        (Phase::Done { .. }, _) => {
            ctx.out.show(answer, |_, style| outcome::done_text(operation, style))?;
            outcome::job_failed(operation).map_or(Ok(()), Err)
        }
        _ => {
            if ctx.out.format == Format::Json {
                ctx.out.document(answer)?;
            }
            Err(outcome::asks(operation))
        }
    }
}
