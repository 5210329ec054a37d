//! The instances that were told to end.
//!
//! Invariant: from the moment it is told until it is over, an instance is stopping for everybody who looks, whatever its
//! supervisor has said so far. Telling is one step of memory; carrying it to the supervisor takes as long as it takes.

use std::collections::BTreeMap;

use lockstep_domain::{Instance, InstanceId};

/// Whether the word has reached the place where the instance runs, so that it survives this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    OnItsWay,
    Delivered,
}

/// The instances of one environment that were told to end and are not over.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<InstanceId, Word>);

impl Told {
    pub(crate) fn tell(&mut self, instance: &InstanceId) {
        self.0.entry(instance.clone()).or_insert(Word::OnItsWay);
    }

    pub(crate) fn contains(&self, instance: &InstanceId) -> bool {
        self.0.contains_key(instance)
    }

    pub(crate) fn delivered(&mut self, instance: &InstanceId) {
        if let Some(word) = self.0.get_mut(instance) {
            *word = Word::Delivered;
        }
    }

    /// Returns whom the word has not reached.
    pub(crate) fn undelivered(&self) -> Vec<InstanceId> {
        let waiting = self.0.iter().filter(|(_, word)| **word == Word::OnItsWay);
        waiting.map(|(id, _)| id.clone()).collect()
    }

    /// Makes what was last reported say what is true.
    pub(crate) fn show(&self, instances: &mut [Instance]) {
        for instance in instances.iter_mut().filter(|instance| self.contains(&instance.id)) {
            instance.state = instance.state.clone().once_told();
        }
    }

    /// Forgets those that are over or gone, of all that there are.
    pub(crate) fn forget_over(&mut self, all: &[Instance]) {
        let runs =
            |id: &InstanceId| all.iter().any(|instance| instance.id == *id && !instance.state.is_over());
        self.0.retain(|id, _| runs(id));
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{Arm, ConfigRevision, InstanceState, Timestamp, VersionNumber};

    use super::*;

    fn instance(state: InstanceState) -> Instance {
        let (version, config) = (VersionNumber::new(1, 0, 0), ConfigRevision(0));
        Instance {
            id: "orders-1".parse().unwrap(),
            environment: "production".parse().unwrap(),
            arm: Arm { service: "orders".parse().unwrap(), version, config, process: None },
            state,
            address: None,
            since: Timestamp(900),
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        }
    }

    #[test]
    fn what_was_told_to_end_is_stopping_until_it_is_over() {
        let mut told = Told::default();
        let shown = |told: &Told, state| {
            let mut all = [instance(state)];
            told.show(&mut all);
            all[0].state.clone()
        };
        assert_eq!(shown(&told, InstanceState::Healthy), InstanceState::Healthy);
        told.tell(&instance(InstanceState::Healthy).id);
        assert_eq!(shown(&told, InstanceState::Healthy), InstanceState::Stopping);
        assert_eq!(told.undelivered().len(), 1);
        told.delivered(&instance(InstanceState::Healthy).id);
        told.forget_over(&[instance(InstanceState::Healthy)]);
        assert_eq!(
            (told.undelivered().len(), shown(&told, InstanceState::Starting)),
            (0, InstanceState::Stopping)
        );
        assert_eq!(shown(&told, InstanceState::Stopped), InstanceState::Stopped);
        told.forget_over(&[instance(InstanceState::Stopped)]);
        assert!(!told.contains(&instance(InstanceState::Healthy).id));
    }
}
