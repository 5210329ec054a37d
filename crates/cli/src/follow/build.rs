//! Waiting for a build, and its parts in words.

use lockstep_api::types::{BuildState, BuildView};

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::times::took;

/// Follows a build until it is over. Every newer view is given to `each`.
pub(crate) fn until_over(
    ctx: &Context,
    id: &str,
    mut each: impl FnMut(&BuildView),
) -> Result<BuildView, Failure> {
    let mut last_revision = None;
    let mut patience = Patience::new();
    loop {
        let watched = ctx.client.watch_build(id, |view| {
            if last_revision.is_none_or(|last| view.revision > last) {
                last_revision = Some(view.revision);
                each(&view);
            }
        });
        match watched.and_then(|()| ctx.client.build(id)) {
            Ok(build) if build.state.is_over() => return Ok(build),
            Ok(_) => patience.renew(),
            Err(error) => patience.bear(error)?,
        }
    }
}

/// Says what is new in a view of a build since the one before it.
pub(crate) struct Narrator {
    ended_phases: usize,
    warnings: usize,
}

impl Narrator {
    /// Begins before the first view.
    pub(crate) const fn new() -> Self {
        Self { ended_phases: 0, warnings: 0 }
    }

    /// Returns a line for each part that ended and each warning since the last view.
    pub(crate) fn news(&mut self, view: &BuildView) -> Vec<String> {
        let ended = view.phases.iter().map_while(|phase| Some((&phase.name, phase.duration_ms?)));
        let ended: Vec<_> = ended.map(|(name, ms)| format!("  {name:<12} {}", took(ms))).collect();
        let warnings: Vec<_> = view.warnings.iter().map(|warning| format!("  warning: {warning}")).collect();
        let news = ended.iter().skip(self.ended_phases).chain(warnings.iter().skip(self.warnings));
        let news = news.cloned().collect();
        (self.ended_phases, self.warnings) = (ended.len(), warnings.len());
        news
    }
}

/// Says what a build is at.
pub(crate) fn status(view: &BuildView) -> String {
    match (view.state, view.phases.iter().find(|phase| phase.duration_ms.is_none())) {
        (BuildState::Queued, _) => format!("waiting for another build of {}", view.service),
        (_, Some(phase)) => phase.name.clone(),
        (_, None) => state_word(view.state).to_owned(),
    }
}

/// Returns the word for a state.
pub(crate) const fn state_word(state: BuildState) -> &'static str {
    match state {
        BuildState::Queued => "queued",
        BuildState::Running => "running",
        BuildState::Succeeded => "succeeded",
        BuildState::Failed => "failed",
        BuildState::Cancelled => "cancelled",
        BuildState::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use lockstep_api::types::BuildPhase;
    use lockstep_domain::Timestamp;

    use super::*;

    fn view(phases: &[(&str, Option<u64>)], warnings: &[&str]) -> BuildView {
        let phase = |&(name, duration_ms): &(&str, _)| BuildPhase {
            name: name.into(),
            began: Timestamp(0),
            duration_ms,
        };
        BuildView {
            id: "b1".into(),
            service: "orders".parse().unwrap(),
            state: BuildState::Running,
            reference: "main".into(),
            commit: None,
            version: None,
            reused: None,
            phases: phases.iter().map(phase).collect(),
            warnings: warnings.iter().map(|&warning| warning.to_owned()).collect(),
            problem: None,
            actor: "ann".into(),
            requested: Timestamp(0),
            ended: None,
            revision: 1,
        }
    }

    #[test]
    fn every_part_and_warning_is_told_once() {
        let mut narrator = Narrator::new();
        assert_eq!(narrator.news(&view(&[("check", None)], &[])), Vec::<String>::new());
        let second = view(&[("check", Some(20)), ("build", None)], &["w"]);
        assert_eq!(narrator.news(&second), ["  check        20 ms", "  warning: w"]);
        assert_eq!(narrator.news(&second), Vec::<String>::new());
        assert_eq!(status(&second), "build");
        assert_eq!(
            narrator.news(&view(&[("check", Some(20)), ("build", Some(1_500))], &["w"])),
            ["  build        1.5 s"]
        );
    }
}
