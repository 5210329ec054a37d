//! Since when what is counted of each service on trial belongs to its present step.
//!
//! In memory: a server that was started anew has counted nothing of a step, so the step bakes again.

use std::collections::BTreeMap;

use lockstep_domain::counting::CountingPeriod;
use lockstep_domain::{ServiceName, Timestamp};

/// The periods of all services on trial.
#[derive(Debug, Default)]
pub(crate) struct Counting(BTreeMap<ServiceName, (CountingPeriod, Timestamp)>);

impl Counting {
    /// Goes on with the periods that are the same, begins the new ones, and forgets all others.
    pub(crate) fn count_for(&mut self, periods: BTreeMap<ServiceName, CountingPeriod>, now: Timestamp) {
        let before = std::mem::take(&mut self.0);
        let since = |service: &ServiceName, period| match before.get(service) {
            Some((same, since)) if *same == period => *since,
            _ => now,
        };
        let goes_on = |(service, period)| {
            let since = since(&service, period);
            (service, (period, since))
        };
        self.0 = periods.into_iter().map(goes_on).collect();
    }

    /// Returns since when each service is counted.
    pub(crate) fn since(&self) -> BTreeMap<ServiceName, Timestamp> {
        self.0.iter().map(|(service, (_, since))| (service.clone(), *since)).collect()
    }

    /// Moves every time by time that did not pass.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.0.values_mut().for_each(|(_, since)| *since = since.plus_ms(ms));
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::OperationId;

    use super::*;

    fn period(operation: u64, step: usize) -> CountingPeriod {
        CountingPeriod { operation: OperationId(operation), wave: 0, step }
    }

    #[test]
    fn a_step_of_one_service_begins_nothing_anew_of_another() {
        let (orders, payments): (ServiceName, ServiceName) =
            ("orders".parse().unwrap(), "payments".parse().unwrap());
        let mut counting = Counting::default();
        let both = |step| [(orders.clone(), period(1, step)), (payments.clone(), period(2, 0))].into();
        counting.count_for([(payments.clone(), period(2, 0))].into(), Timestamp(5));
        counting.count_for(both(0), Timestamp(10));
        counting.count_for(both(0), Timestamp(20));
        counting.count_for(both(1), Timestamp(30));
        assert_eq!(
            counting.since(),
            [(orders.clone(), Timestamp(30)), (payments.clone(), Timestamp(5))].into()
        );
        counting.skip(100);
        counting.count_for([(orders.clone(), period(3, 1))].into(), Timestamp(200));
        assert_eq!(counting.since(), [(orders.clone(), Timestamp(200))].into(), "another operation");
    }
}
