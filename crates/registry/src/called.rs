//! What instances called and clients asked for, as gateways report it, until somebody takes it.

use lockstep_domain::Arm;
use lockstep_domain::called::{Call, Called, CalledByClients, Calls, ClientCall, ClientCalls, is_operation};

/// Calls that are taken of one receipt.
const MAX_OF_RECEIPT: usize = 4_096;
/// Calls that are kept until somebody takes them; he comes every second.
const MAX_KEPT: usize = 50_000;
/// More requests than one process can pass between two receipts, by far.
const MOST: u64 = 100_000_000;

/// What instances called and clients asked for, and nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    calls: Calls,
    clients: ClientCalls,
}

impl Seen {
    /// Adds what a receipt says.
    pub(crate) fn receive(&mut self, calls: &[Called], clients: &[CalledByClients]) {
        for CalledByClients { call, counts } in clients {
            if self.clients.len() < MAX_KEPT || self.clients.contains_key(call) {
                self.clients.entry(call.clone()).or_default().add(*counts);
            }
        }
        for Called { call, counts } in calls {
            if self.calls.len() < MAX_KEPT || self.calls.contains_key(call) {
                self.calls.entry(call.clone()).or_default().add(*counts);
            }
        }
    }

    /// Hands out what was seen; nobody gets it again.
    pub(crate) fn take(&mut self) -> (Calls, ClientCalls) {
        (std::mem::take(&mut self.calls), std::mem::take(&mut self.clients))
    }
}

/// Takes what a gateway says that clients asked for, as far as it can be.
pub(crate) fn believed_of_clients(
    calls: &[CalledByClients],
    is_arm: &dyn Fn(&Arm) -> bool,
) -> Vec<CalledByClients> {
    let can_be = |it: &&CalledByClients| {
        let ClientCall { callee, operation } = &it.call;
        is_operation(operation) && it.counts.requests > 0 && is_arm(callee)
    };
    let bounded = |it: &CalledByClients| CalledByClients { counts: it.counts.bounded(MOST), ..it.clone() };
    calls.iter().filter(can_be).take(MAX_OF_RECEIPT).map(bounded).collect()
}

/// Takes what a gateway says that was called, as far as it can be.
pub(crate) fn believed(calls: &[Called], is_arm: &dyn Fn(&Arm) -> bool) -> Vec<Called> {
    let can_be = |it: &&Called| {
        let Call { caller, callee, operation } = &it.call;
        is_operation(operation) && it.counts.requests > 0 && is_arm(caller) && is_arm(callee)
    };
    let bounded = |it: &Called| Called { counts: it.counts.bounded(MOST), ..it.clone() };
    calls.iter().filter(can_be).take(MAX_OF_RECEIPT).map(bounded).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_domain::called::{CallCounts, ClientCounts};
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm(service: &str) -> Arm {
        let (service, version) = (service.parse().unwrap(), VersionNumber::new(1, 0, 0));
        Arm { service, version, config: ConfigRevision(0), process: None }
    }

    fn called(callee: &str, operation: &str, requests: u64) -> Called {
        let call = Call { caller: arm("web"), callee: arm(callee), operation: operation.to_owned() };
        let counts = CallCounts { requests, failures: requests * 2, ..CallCounts::default() };
        Called { call, counts }
    }

    #[test]
    fn what_cannot_be_is_not_taken() {
        let is_arm = |arm: &Arm| arm.service.as_str() != "ghost";
        let said = [
            called("api", "GET /", 3),
            called("ghost", "GET /", 3),
            called("api", "GET /\u{7}", 3),
            called("api", "GET /none", 0),
            called("api", "GET /many", u64::MAX / 2),
        ];
        let believed = believed(&said, &is_arm);
        let seen: Vec<_> = believed.iter().map(|it| (it.call.operation.as_str(), it.counts)).collect();
        let of = |requests| CallCounts { requests, failures: requests, ..CallCounts::default() };
        assert_eq!(seen, [("GET /", of(3)), ("GET /many", of(MOST))]);
    }

    #[test]
    fn what_was_taken_is_gone_and_nothing_grows_without_end() {
        let mut seen = Seen::default();
        seen.receive(&[called("api", "GET /", 3)], &[]);
        seen.receive(&[called("api", "GET /", 4)], &[]);
        assert_eq!(seen.take().0.into_values().map(|it| it.requests).collect::<Vec<_>>(), [7]);
        assert!(seen.take().0.is_empty());
        (0..MAX_KEPT + 5).for_each(|n| {
            let Called { call, counts } = called("api", &format!("GET /{n}"), 1);
            let client = CalledByClients {
                call: ClientCall { callee: call.callee.clone(), operation: call.operation.clone() },
                counts: ClientCounts { requests: 1, failures: 9 },
            };
            let believed = believed_of_clients(std::slice::from_ref(&client), &|_| true);
            assert_eq!(believed[0].counts.failures, 1);
            assert!(believed_of_clients(&[client], &|_| false).is_empty());
            seen.receive(&[Called { call, counts }], &believed);
        });
        let (calls, clients) = seen.take();
        assert_eq!((calls.len(), clients.len()), (MAX_KEPT, MAX_KEPT));
    }
}
