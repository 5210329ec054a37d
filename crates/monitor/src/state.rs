//! What is stored: the state of alerts, and what is to be sent.
//!
//! Both are one value and are stored in one transaction after each step, so a change of an alert and the notices that follow from it are
//! there together or not at all. Whoever is killed before that looks again and finds the same; whoever is killed after it has decided. So
//! each change is decided once, and each notice is sent at least once.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cause::Change;
use crate::outbox::Outbox;
use crate::reading::Known;
use crate::target::Target;
use crate::watch::{Config, Looked, Watch};

/// The format that this release writes.
pub const FORMAT: u32 = 1;

/// What is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// The state of alerts.
    #[serde(default)]
    pub watch: Watch,
    /// What is to be sent.
    #[serde(default)]
    pub outbox: Outbox,
}

/// Why a stored state is not read.
#[derive(Debug, Error)]
pub enum StateError {
    /// It is no state.
    #[error("the stored state of alerts cannot be read")]
    Form(#[from] serde_json::Error),
    /// A newer release wrote it.
    #[error("the stored state of alerts has format {0}, and this release knows {FORMAT} and older")]
    Newer(u32),
}

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, watch: Watch::default(), outbox: Outbox::default() }
    }
}

impl State {
    /// Reads what was stored, and takes over what another process was trying to send.
    ///
    /// # Errors
    /// When it is no state, or one of a newer release.
    pub fn load(text: &str) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.format > FORMAT {
            return Err(StateError::Newer(head.format));
        }
        let mut state: Self = serde_json::from_str(text)?;
        state.format = FORMAT;
        state.outbox.resume();
        Ok(state)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Never for what this crate makes; the form is that of JSON.
    pub fn store(&self) -> Result<String, StateError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Takes in a look, and puts what is told into the outbox.
    pub fn look(
        &mut self,
        known: Known<'_>,
        config: &Config,
        targets: &[Target],
        changes: &[Change],
    ) -> Looked {
        let looked = self.watch.look(known, config, changes);
        for notice in &looked.notices {
            self.outbox.add(notice, targets, known.look.at_ms);
        }
        looked
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::history::History;
    use crate::notice::{Notice, NoticeKind};
    use crate::outbox::Answer;
    use crate::rule::{Family, Rule, built_in};
    use crate::seen::InstanceState;
    use crate::target::{Reader, Takes};
    use crate::testing::{Fleet, SECOND};

    /// A server that may be killed, and a target that may be away and that drops copies by their id.
    struct World {
        fleet: Fleet,
        history: History,
        stored: String,
        config: Config,
        targets: Vec<Target>,
        is_away: bool,
        got: BTreeMap<String, Notice>,
        order: Vec<String>,
    }

    /// Shares over days cost time, and their windows are tested elsewhere.
    fn is_quick(rule: &Rule) -> bool {
        rule.condition.family() != Family::Traffic
    }

    impl World {
        fn new() -> Self {
            let takes = Takes::default();
            let pager = Target {
                name: "pager".into(),
                reader: Reader::Program,
                takes,
                limit_per_minute: 30,
                limit_per_second: None,
            };
            Self {
                fleet: Fleet::shop(),
                history: History::default(),
                stored: State::default().store().unwrap(),
                config: Config {
                    rules: built_in().into_iter().filter(is_quick).collect(),
                    ..Config::default()
                },
                targets: vec![pager],
                is_away: false,
                got: BTreeMap::new(),
                order: Vec::new(),
            }
        }

        /// Goes through a second; dies after it looked, stored, took what is due, stored that, sent, or settled, by a number from 1.
        fn second(&mut self, dies_at: u8) {
            self.fleet.pass(SECOND);
            self.step(dies_at);
        }

        fn step(&mut self, dies_at: u8) {
            let look = self.fleet.look();
            let mut state = State::load(&self.stored).unwrap();
            self.history.note(&look);
            state.look(Known { look: &look, history: &self.history }, &self.config, &self.targets, &[]);
            if dies_at == 1 {
                return;
            }
            self.stored = state.store().unwrap();
            let due = state.outbox.take_due(&self.targets, look.at_ms);
            if dies_at == 2 {
                return;
            }
            self.stored = state.store().unwrap();
            if dies_at == 3 {
                return;
            }
            for due in due {
                let answer = self.receive(due.notice);
                if dies_at == 4 {
                    return;
                }
                state.outbox.settle(due.entry, &answer, look.at_ms, 0.5);
            }
            if dies_at != 5 {
                self.stored = state.store().unwrap();
            }
        }

        fn receive(&mut self, notice: Notice) -> Answer {
            if self.is_away {
                return Answer::Failed { why: "away".into(), again_in_ms: None };
            }
            let id = notice.id.clone();
            if self.got.insert(id.clone(), notice).is_none() {
                self.order.push(id);
            }
            Answer::Sent
        }
    }

    /// What happens in a time: a service, which of its instances, whether it is well; how many seconds; when the server dies; whether the target
    /// is away.
    type Deed = (usize, usize, bool, u64, u8, bool);

    fn deeds() -> impl Strategy<Value = Vec<Deed>> {
        prop::collection::vec(
            (0_usize..3, 0_usize..2, any::<bool>(), 1_u64..100, 0_u8..12, any::<bool>()),
            1..16,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn each_fault_comes_once_and_recovers_once_through_kills_between_any_two_steps(deeds in deeds()) {
            let mut world = World::new();
            for (service, which, is_well, seconds, dies_at, is_away) in deeds {
                let name = ["storefront", "orders", "payments"][service];
                world.is_away = is_away;
                let state = if is_well { InstanceState::Healthy } else { InstanceState::Failed };
                world.fleet.turn(name, which, state);
                world.second(dies_at);
                (0..seconds).for_each(|_| world.second(if dies_at < 6 { dies_at } else { 0 }));
            }
            world.is_away = false;
            for name in ["storefront", "orders", "payments"] {
                [0, 1].iter().for_each(|which| world.fleet.turn(name, *which, InstanceState::Healthy));
            }
            for _ in 0..1_000 {
                world.fleet.pass(10 * SECOND);
                world.step(0);
            }
            let mut open = BTreeMap::<String, bool>::new();
            for notice in world.order.iter().map(|id| &world.got[id]) {
                let is_open = open.entry(notice.group.clone()).or_default();
                // A fault that recovered before it could be sent comes as its recovery alone; else they come by turns.
                prop_assert!(notice.kind != NoticeKind::Fault || !*is_open, "{:?}", notice);
                *is_open = notice.kind != NoticeKind::Recovered;
            }
            prop_assert!(open.values().all(|is_open| !is_open), "{:?}", open);
            let state = State::load(&world.stored).unwrap();
            prop_assert_eq!(state.outbox.entries().count(), 0);
            prop_assert_eq!(state.outbox.given_up_count, 0);
        }
    }

    #[test]
    fn a_state_of_the_first_release_is_read_and_one_of_a_newer_is_refused() {
        let text = r#"{"format":1,"watch":{"alerts":{"all-down/service=orders":{"rule":"all-down","family":"all_down",
            "severity":"critical","subject":{"service":"orders"},"stage":"keep_firing","finding":{"summary":"x"},"since_ms":5,
            "later":1}},"groups":{"made":3}},"outbox":{"entries":{"7":{"target":"chat","since_ms":1,"is_sending":true,
            "notice":{"id":"1","at_ms":1,"kind":"fault","severity":"info","group":"g","title":"t"}}},"last":7}}"#;
        let state = State::load(text).unwrap();
        assert!(state.watch.alerts()["all-down/service=orders"].is_firing());
        assert!(state.outbox.entries().all(|(_, entry)| !entry.is_sending));
        assert!(matches!(State::load(r#"{"format":2}"#), Err(StateError::Newer(2))));
        assert!(matches!(State::load("{}"), Err(StateError::Form(_))));
    }
}
