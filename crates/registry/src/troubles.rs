//! How often instances of an arm had to be replaced, so that each replacement comes after a longer pause.
//!
//! In memory only: a server that is started anew begins with short pauses again, which costs a few starts.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::observed::Trouble;
use lockstep_domain::{Arm, Instance, InstanceId, InstanceState, Timestamp};

/// An arm with nothing but healthy instances for this long begins with the shortest pause again.
const FORGOTTEN_AFTER_MS: u64 = 10 * 60 * 1_000;

/// What is remembered of the arms of an environment.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    arms: BTreeMap<Arm, Trouble>,
    /// Instances that were unhealthy when they were seen last.
    unhealthy: BTreeSet<InstanceId>,
    /// Instances that were counted, as long as they are there.
    counted: BTreeSet<InstanceId>,
}

impl Troubles {
    pub(crate) fn look(&mut self, instances: &[Instance], now: Timestamp) {
        let troubled: Vec<_> = instances.iter().filter(|instance| self.is_trouble(instance)).collect();
        for instance in troubled {
            if self.counted.insert(instance.id.clone()) {
                let trouble = self.arms.entry(instance.arm.clone()).or_default();
                trouble.in_a_row = trouble.in_a_row.saturating_add(1);
                trouble.last = trouble.last.max(instance.since);
            }
        }
        let named = |keep: &dyn Fn(&Instance) -> bool| -> BTreeSet<_> {
            instances.iter().filter(|instance| keep(instance)).map(|instance| instance.id.clone()).collect()
        };
        self.unhealthy = named(&|instance| matches!(instance.state, InstanceState::Unhealthy { .. }));
        let present = named(&|_| true);
        self.counted.retain(|id| present.contains(id));
        self.arms.retain(|arm, trouble| {
            let mut alive = instances.iter().filter(|i| i.arm == *arm && !i.state.is_over());
            let is_well = alive.all(|instance| instance.state.is_healthy());
            !is_well || now < trouble.last.plus_ms(FORGOTTEN_AFTER_MS)
        });
    }

    /// One that failed, or was unhealthy when it was told to end.
    fn is_trouble(&self, instance: &Instance) -> bool {
        match instance.state {
            InstanceState::Failed { .. } => true,
            InstanceState::Stopping | InstanceState::Stopped => self.unhealthy.contains(&instance.id),
            _ => false,
        }
    }

    /// Moves every time by time that was added to the clock.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.arms.values_mut().for_each(|trouble| trouble.last = trouble.last.plus_ms(ms));
    }

    pub(crate) fn seen(&self) -> BTreeMap<Arm, Trouble> {
        self.arms.clone()
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::fault::Fault;
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn instance(id: &str, state: InstanceState, since: u64) -> Instance {
        let (version, config) = (VersionNumber::new(1, 0, 0), ConfigRevision(0));
        Instance {
            id: id.parse().unwrap(),
            environment: "production".parse().unwrap(),
            arm: Arm { service: "orders".parse().unwrap(), version, config, process: None },
            state,
            address: None,
            since: Timestamp(since),
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        }
    }

    fn failed() -> InstanceState {
        InstanceState::failed("gone", Fault::Crash)
    }

    #[test]
    fn each_instance_that_had_to_be_replaced_counts_once() {
        let mut troubles = Troubles::default();
        let one = instance("orders-1", InstanceState::Unhealthy { reason: "slow".into() }, 10);
        troubles.look(std::slice::from_ref(&one), Timestamp(10));
        assert!(troubles.seen().is_empty());
        let told = Instance { state: InstanceState::Stopping, since: Timestamp(20), ..one.clone() };
        troubles.look(std::slice::from_ref(&told), Timestamp(20));
        troubles.look(&[told.clone(), instance("orders-2", failed(), 30)], Timestamp(30));
        let expected = Trouble { in_a_row: 2, last: Timestamp(30) };
        assert_eq!(troubles.seen()[&one.arm], expected);
        troubles.look(&[told, instance("orders-2", failed(), 30)], Timestamp(31));
        assert_eq!(troubles.seen()[&one.arm], expected);
    }

    #[test]
    fn a_healthy_instance_that_is_told_to_end_is_no_trouble_and_a_quiet_time_is_forgetting() {
        let mut troubles = Troubles::default();
        troubles.look(&[instance("orders-1", InstanceState::Healthy, 10)], Timestamp(10));
        troubles.look(&[instance("orders-1", InstanceState::Stopping, 20)], Timestamp(20));
        assert!(troubles.seen().is_empty());
        troubles.look(&[instance("orders-2", failed(), 30)], Timestamp(30));
        let well = [instance("orders-3", InstanceState::Healthy, 40)];
        troubles.look(&well, Timestamp(29 + FORGOTTEN_AFTER_MS));
        assert_eq!(troubles.seen().len(), 1);
        troubles.look(&well, Timestamp(30 + FORGOTTEN_AFTER_MS));
        assert!(troubles.seen().is_empty());
    }
}
