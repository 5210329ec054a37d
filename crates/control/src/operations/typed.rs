//! A request as the command that asks for it again: with everything that was said of it, and what is to be said beside that.

use lockstep_api::types::{HoldHandling, OperationRequest, UnderWay};
use lockstep_domain::intent::{ConfigChoice, FailureBound, Leaving, WithoutEvidence};
use lockstep_domain::plan::{Refusal, Remedy};
use lockstep_domain::share::percent;
use lockstep_domain::{EnvironmentName, Intent, Strategy, VersionRef};

/// Which command takes options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Deploy,
    Rollback,
}

/// The command that takes along what `way` names, if nothing has changed since the baseline that was looked at.
pub(super) fn with_needs(
    environment: &EnvironmentName,
    request: &OperationRequest,
    way: &Intent,
    baseline: u64,
) -> Option<String> {
    let expect = format!(" --expect {baseline}");
    let (what, verb, flag) = match (&request.intent, way) {
        (Intent::RollBackService { service, to, .. }, _) => {
            (format!("rollback {service} --to {to}"), Verb::Rollback, " --chain")
        }
        (Intent::RollBackServices { versions, .. }, _) => {
            (format!("rollback {}", joined(versions, '=')), Verb::Rollback, " --chain")
        }
        (Intent::Deploy { versions }, _) => {
            let wishes = request.wishes.iter().map(ToString::to_string);
            let all: Vec<_> = versions.iter().map(ToString::to_string).chain(wishes).collect();
            (format!("deploy {}", all.join(" ")), Verb::Deploy, " --with-what-it-needs")
        }
        // A promotion brings what another environment runs; with more than that it is a deployment of all of it.
        (_, Intent::Deploy { versions }) => (format!("deploy {}", joined(versions, '@')), Verb::Deploy, ""),
        _ => return None,
    };
    Some(format!("lockstep {what} --env {environment}{flag}{}{expect}", options(request, verb)))
}

/// The hint of a refusal. One that is another way to what a request wants goes there as the request does.
pub(super) fn hint(request: &OperationRequest, refusal: &Refusal) -> Option<String> {
    if let Refusal::Busy { remedy: Remedy::Together(_), .. } = refusal {
        // The command stands at its end, in backticks.
        let hint = refusal.hint()?;
        return Some(match hint.strip_suffix('`') {
            Some(begin) => format!("{begin}{}`", options(request, Verb::Deploy)),
            None => hint,
        });
    }
    let verb = match refusal {
        Refusal::UnmetBack { .. } => Some(Verb::Rollback),
        Refusal::NeverRan { .. } | Refusal::Forward { .. } => Some(Verb::Deploy),
        _ => None,
    };
    let options = verb.map(|verb| options(request, verb)).unwrap_or_default();
    Some(refusal.hint()? + &options)
}

/// What a request is called, also where it names nothing but wishes.
pub(super) fn title(request: &OperationRequest) -> String {
    match &request.intent {
        Intent::Deploy { versions } if versions.is_empty() => {
            let wishes: Vec<_> = request.wishes.iter().map(ToString::to_string).collect();
            let wanted = if wishes.is_empty() { "nothing".to_owned() } else { wishes.join(" ") };
            format!("deploy {wanted}")
        }
        intent => intent.to_string(),
    }
}

fn joined(versions: &[VersionRef], between: char) -> String {
    let all = versions.iter().map(|it| format!("{}{between}{}", it.service, it.version));
    all.collect::<Vec<_>>().join(" ")
}

/// Everything that was said of a request, as a command takes it.
fn options(request: &OperationRequest, verb: Verb) -> String {
    let mut text = String::new();
    if verb == Verb::Rollback {
        text.push_str(&config(&request.intent));
        if request.under_way == UnderWay::TakeBack {
            text.push_str(" --interrupt");
        }
        if request.leaving == Some(Leaving::Warm) {
            text.push_str(" --keep-warm");
        }
    }
    if request.holds == HoldHandling::Release {
        text.push_str(" --release-holds");
    }
    text.push_str(&request.strategy.as_ref().map(strategy).unwrap_or_default());
    if !request.reason.is_empty() {
        text.push_str(&format!(" --reason {}", quoted(&request.reason)));
    }
    text
}

fn config(intent: &Intent) -> String {
    match intent {
        Intent::RollBackService { config, .. }
        | Intent::RollBackServices { config, .. }
        | Intent::RollBackEnvironment { config, .. }
        | Intent::RollBackToLastGood { config } => match config {
            ConfigChoice::AsItRan => String::new(),
            ConfigChoice::WithOldSecrets => " --old-secrets".to_owned(),
            ConfigChoice::Keep => " --keep-config".to_owned(),
            ConfigChoice::Revision(revision) => format!(" --with-config {}", revision.0),
        },
        _ => String::new(),
    }
}

fn strategy(strategy: &Strategy) -> String {
    let bound = |it: &FailureBound| {
        let failures = percent(it.max_failures_in_10000).replace(' ', "");
        let evidence = match it.without_evidence {
            WithoutEvidence::Wait => "wait".to_owned(),
            WithoutEvidence::Ask => "ask".to_owned(),
            WithoutEvidence::GoOnAfter(ms) => milliseconds(ms),
        };
        let requests = it.min_requests;
        // All of it: what is left out is as the environment has it.
        format!(" --max-failures {failures} --min-requests {requests} --without-evidence {evidence}")
    };
    match strategy {
        Strategy::AllAtOnce => " --strategy all-at-once".to_owned(),
        Strategy::BlueGreen { bake_ms, bound: of } => {
            format!(" --strategy blue-green --bake {}{}", milliseconds(*bake_ms), bound(of))
        }
        Strategy::Canary { steps, bound: of } => {
            let shares: Vec<_> = steps.iter().map(|step| percent(step.weight).replace(" %", "")).collect();
            let bake = steps.first().filter(|first| steps.iter().all(|step| step.bake_ms == first.bake_ms));
            // Steps of several lengths are those of the environment, which a command has by itself.
            let bake = bake.map(|step| format!(" --bake {}", milliseconds(step.bake_ms))).unwrap_or_default();
            format!(" --strategy canary --steps {}{bake}{}", shares.join(","), bound(of))
        }
    }
}

fn milliseconds(ms: u64) -> String {
    if ms == 0 || !ms.is_multiple_of(1_000) { format!("{ms}ms") } else { format!("{}s", ms / 1_000) }
}

/// Quotes a text for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use lockstep_domain::ConfigRevision;

    use super::*;

    fn request(intent: &Intent) -> OperationRequest {
        let text = serde_json::json!({ "intent": intent });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_command_has_everything_that_was_said() {
        let back = Intent::RollBackService {
            service: "payments".parse().unwrap(),
            to: "1.0.0".parse().unwrap(),
            config: ConfigChoice::Revision(ConfigRevision(3)),
        };
        let asked = OperationRequest {
            strategy: Some(Strategy::canary(&[5, 100], 90_000)),
            reason: "it's wrong".into(),
            under_way: UnderWay::TakeBack,
            leaving: Some(Leaving::Warm),
            ..request(&back)
        };
        let command = with_needs(&"staging".parse().unwrap(), &asked, &back, 7).unwrap();
        assert_eq!(
            command,
            "lockstep rollback payments --to 1.0.0 --env staging --chain --with-config 3 --interrupt --keep-warm \
             --strategy canary --steps 5,100 --bake 90s --max-failures 1% --min-requests 0 --without-evidence wait \
             --reason 'it'\\''s wrong' --expect 7"
        );
    }

    #[test]
    fn an_operation_of_wishes_alone_has_a_name() {
        let mut asked = request(&Intent::Deploy { versions: Vec::new() });
        asked.wishes =
            serde_json::from_str(r#"[{"service":"payments","wanted":{"at_least":"1.2.0"}}]"#).unwrap();
        assert_eq!(title(&asked), "deploy 'payments>=1.2.0'");
        let command = with_needs(&"staging".parse().unwrap(), &asked, &asked.intent, 1).unwrap();
        assert_eq!(
            command,
            "lockstep deploy 'payments>=1.2.0' --env staging --with-what-it-needs --expect 1"
        );
    }
}
