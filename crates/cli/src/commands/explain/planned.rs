//! A request before and after a change that is only planned, and what differs.

use std::fmt::Write as _;

use lockstep_api::types::{HoldHandling, Mode, Needs, OperationRequest, UnderWay};
use lockstep_domain::{EnvironmentName, Intent, VersionRef};
use lockstep_gateway::explain::{Explanation, Outcome};
use serde::Serialize;

use super::{ends, render};
use crate::output::style::{Style, printable};

/// What happens to a request now, and what after a change.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// By the table in force.
    pub(super) now: Explanation,
    /// By the table as it would be.
    pub(super) planned: Explanation,
    /// What is decided otherwise, in its order.
    differs: Vec<Difference>,
}

/// Something that is decided otherwise.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    about: &'static str,
    /// What is decided now; nothing where nothing of that kind is.
    now: Vec<String>,
    planned: Vec<String>,
}

impl Comparison {
    pub(super) fn of(now: Explanation, planned: Explanation) -> Self {
        let mut about: Vec<&'static str> = Vec::new();
        for step in now.steps.iter().chain(&planned.steps) {
            if !about.contains(&step.about) {
                about.push(step.about);
            }
        }
        let steps = about.into_iter().map(|about| Difference {
            about,
            now: says(&now, about),
            planned: says(&planned, about),
        });
        let whole = |it: &Explanation| vec![whole(&it.outcome)];
        let ends = Difference { about: "outcome", now: whole(&now), planned: whole(&planned) };
        let differs = steps.chain([ends]).filter(|it| it.now != it.planned).collect();
        Self { now, planned, differs }
    }

    /// Shows both and what differs; `what` is the change.
    pub(super) fn shown(&self, what: &str, style: &Style) -> String {
        let mut text = render(&self.now, style);
        let steps = render(&self.planned, style);
        // The number of a table that there is not says nothing.
        let steps = steps.split_once('\n').map_or("", |(_, steps)| steps);
        let _ = write!(text, "\nafter {}\n{steps}\n", printable(what));
        if self.differs.is_empty() {
            text.push_str("nothing differs for this request\n");
            return text;
        }
        text.push_str("what differs:\n");
        for Difference { about, now, planned } in &self.differs {
            let line = |says: &[String]| match says {
                [] => "nothing".to_owned(),
                says => printable(&says.join("; ")).into_owned(),
            };
            let _ = writeln!(text, "  {about:<9} {}\n         -> {}", line(now), line(planned));
        }
        text
    }
}

fn says(explained: &Explanation, about: &str) -> Vec<String> {
    let steps = explained.steps.iter().filter(|step| step.about == about);
    steps.map(|step| step.says.clone()).collect()
}

/// The outcome in one line; the shares are said above.
fn whole(outcome: &Outcome) -> String {
    let text = ends(outcome, &Style::new(false));
    text.lines().next().unwrap_or_default().to_owned()
}

/// A deployment of these versions, of which only the plan is wanted.
pub(super) fn deployment(versions: Vec<VersionRef>) -> OperationRequest {
    OperationRequest {
        intent: Intent::Deploy { versions },
        strategy: None,
        reason: String::new(),
        mode: Mode::DryRun,
        holds: HoldHandling::Respect,
        expect: None,
        operation: None,
        under_way: UnderWay::Respect,
        needs: Needs::Refuse,
        wishes: Vec::new(),
        leaving: None,
        secrets: std::collections::BTreeMap::new(),
    }
}

/// Says which change it is.
pub(super) fn told(versions: &[VersionRef], environment: &EnvironmentName) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    format!("lockstep deploy {} --env {environment}", versions.join(" "))
}
