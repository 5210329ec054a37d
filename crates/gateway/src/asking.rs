//! What instances asked of each other, and clients of them, by operation, since it was last told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_domain::Arm;
use lockstep_domain::called::{
    Call, CallCounts, Called, CalledByClients, ClientCall, ClientCounts, OTHER_OPERATIONS, operation,
};
use lockstep_domain::routes::SERVICE_PATH_PREFIX;

use crate::request::Request;

/// A name that is not told: nobody knew what was asked for.
const UNKNOWN: [u16; 2] = [404, 405];
/// Pairs of versions that are counted until it is told: what is one too many is left out, since nobody may ever ask for it.
const MAX_PAIRS: usize = 4_096;
/// Operations of a pair that have names of their own until it is told.
const MAX_OPERATIONS: usize = 100;

/// What an instance asks for.
#[derive(Debug)]
pub(crate) struct Asking {
    operation: String,
    /// Of this one request.
    counts: CallCounts,
}

impl Asking {
    /// Of a request whose path is what stands behind the token, and behind the name of the service that is asked.
    pub(crate) fn of(request: &Request<'_>, token: usize) -> Self {
        let path = asked_path(&request.path[token..]);
        let [in_baggage, in_tracestate, in_trace] = request.says_for_whom().map(u64::from);
        let counts = CallCounts { requests: 1, failures: 0, in_baggage, in_tracestate, in_trace };
        Self { operation: operation(request.method, path, request.call.is_some()), counts }
    }
}

/// What the service is asked for that is named at the beginning of a path: `/charges` of `/@payments/charges`.
fn asked_path(path: &str) -> &str {
    let rest =
        path.strip_prefix(SERVICE_PATH_PREFIX).map(|named| named.find('/').map_or("", |at| &named[at..]));
    Some(rest.unwrap_or(path)).filter(|path| !path.is_empty()).unwrap_or("/")
}

type Pair = (Arc<Arm>, Arm);

/// What was asked for, as one worker counted it.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    pairs: Mutex<BTreeMap<Pair, BTreeMap<String, CallCounts>>>,
    /// What clients asked for, by who answered.
    clients: Mutex<BTreeMap<Arm, BTreeMap<String, ClientCounts>>>,
}

/// The name of what a client asks for.
pub(crate) fn of_client(request: &Request<'_>) -> Box<str> {
    operation(request.method, &request.path, request.call.is_some()).into()
}

impl Operations {
    /// Counts a request that is over.
    pub(crate) fn count(&self, caller: &Arc<Arm>, callee: &Arm, asking: Asking, failed: bool) {
        let counts = CallCounts { failures: failed.into(), ..asking.counts };
        self.add((Arc::clone(caller), callee.clone()), asking.operation, counts);
    }

    fn add(&self, pair: Pair, operation: String, counts: CallCounts) {
        let mut pairs = self.lock();
        if pairs.len() >= MAX_PAIRS && !pairs.contains_key(&pair) {
            return;
        }
        let operations = pairs.entry(pair).or_default();
        let is_one_too_many = operations.len() >= MAX_OPERATIONS && !operations.contains_key(&operation);
        let operation = if is_one_too_many { OTHER_OPERATIONS.to_owned() } else { operation };
        operations.entry(operation).or_default().add(counts);
    }

    /// Counts a request of a client that is over. A name that nobody knew is not kept: whoever likes could make as many as he likes.
    pub(crate) fn count_client(&self, callee: &Arm, operation: &str, (status, failed): (u16, bool)) {
        let operation = if UNKNOWN.contains(&status) { OTHER_OPERATIONS } else { operation };
        self.add_client(callee, operation, ClientCounts { requests: 1, failures: failed.into() });
    }

    fn add_client(&self, callee: &Arm, operation: &str, counts: ClientCounts) {
        let mut clients = self.clients();
        // Nearly always both are there, and nothing is made anew.
        let known = clients.get_mut(callee).and_then(|it| it.get_mut(operation));
        if let Some(known) = known {
            return known.add(counts);
        }
        if clients.len() >= MAX_PAIRS && !clients.contains_key(callee) {
            return;
        }
        let operations = clients.entry(callee.clone()).or_default();
        let is_one_too_many = operations.len() >= MAX_OPERATIONS;
        let operation = if is_one_too_many { OTHER_OPERATIONS } else { operation };
        operations.entry(operation.to_owned()).or_default().add(counts);
    }

    /// Hands out what clients asked for; nobody gets it again.
    pub(crate) fn take_clients(&self) -> Vec<CalledByClients> {
        let clients = std::mem::take(&mut *self.clients());
        let of_one = |(callee, operations): (Arm, BTreeMap<String, ClientCounts>)| {
            let all = operations.into_iter().map(move |(operation, counts)| {
                let call = ClientCall { callee: callee.clone(), operation };
                CalledByClients { call, counts }
            });
            all.collect::<Vec<_>>()
        };
        clients.into_iter().flat_map(of_one).collect()
    }

    /// Takes back what of clients could not be told.
    pub(crate) fn take_back_clients(&self, calls: Vec<CalledByClients>) {
        for CalledByClients { call, counts } in calls {
            self.add_client(&call.callee, &call.operation, counts);
        }
    }

    /// Hands out what was counted; nobody gets it again.
    pub(crate) fn take(&self) -> Vec<Called> {
        let called = |caller: &Arc<Arm>, callee: &Arm, operation, counts| {
            let call = Call { caller: (**caller).clone(), callee: callee.clone(), operation };
            Called { call, counts }
        };
        let pairs = std::mem::take(&mut *self.lock());
        let of_pair = |((caller, callee), operations): (Pair, BTreeMap<String, CallCounts>)| {
            let all = operations.into_iter();
            all.map(move |(operation, counts)| called(&caller, &callee, operation, counts))
                .collect::<Vec<_>>()
        };
        pairs.into_iter().flat_map(of_pair).collect()
    }

    /// Takes back what could not be told.
    pub(crate) fn take_back(&self, calls: Vec<Called>) {
        for Called { call: Call { caller, callee, operation }, counts } in calls {
            self.add((Arc::new(caller), callee), operation, counts);
        }
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<Arm, BTreeMap<String, ClientCounts>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Pair, BTreeMap<String, CallCounts>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm(service: &str, minor: usize) -> Arm {
        let (service, version) = (service.parse().unwrap(), VersionNumber::new(1, minor as u64, 0));
        Arm { service, version, config: ConfigRevision(0), process: None }
    }

    fn add(seen: &Operations, caller: usize, operation: &str) {
        let counts = CallCounts { requests: 1, ..CallCounts::default() };
        seen.add((Arc::new(arm("web", caller)), arm("api", 0)), operation.to_owned(), counts);
    }

    #[test]
    fn the_operation_is_what_the_service_sees() {
        let seen = ["/@payments/charges/7", "/@payments", "/charges/7", ""].map(asked_path);
        assert_eq!(seen, ["/charges/7", "/", "/charges/7", "/"]);
    }

    #[test]
    fn what_is_told_is_not_told_again_and_what_could_not_be_told_is() {
        let seen = Operations::default();
        add(&seen, 0, "GET /a");
        add(&seen, 0, "GET /a");
        let told = seen.take();
        assert_eq!((told.len(), told[0].counts.requests), (1, 2));
        assert_eq!(seen.take(), []);
        add(&seen, 0, "GET /a");
        seen.take_back(told);
        assert_eq!(seen.take()[0].counts.requests, 3);
    }

    #[test]
    fn whatever_is_asked_for_takes_a_bounded_room() {
        let seen = Operations::default();
        (0..MAX_OPERATIONS * 3).for_each(|n| add(&seen, 0, &format!("GET /{n}")));
        let told = seen.take();
        assert_eq!(told.len(), MAX_OPERATIONS + 1);
        let other = told.iter().find(|it| it.call.operation == OTHER_OPERATIONS).unwrap();
        assert_eq!(other.counts.requests, MAX_OPERATIONS as u64 * 2);
        let many = |n: usize| seen.count_client(&arm("api", 0), &format!("GET /{n}"), (200, n == 0));
        (0..MAX_OPERATIONS * 3).for_each(many);
        (0..7).for_each(|n| seen.count_client(&arm("web", 0), &format!("GET /{n}"), (404, false)));
        let told = seen.take_clients();
        assert_eq!(told.len(), MAX_OPERATIONS + 2, "what nobody knew has one name");
        assert_eq!(told.iter().map(|it| it.counts.requests).sum::<u64>(), MAX_OPERATIONS as u64 * 3 + 7);
        assert_eq!(told.iter().map(|it| it.counts.failures).sum::<u64>(), 1);
        seen.take_back_clients(told);
        let again = seen.take_clients();
        assert_eq!(again.iter().map(|it| it.counts.requests).sum::<u64>(), MAX_OPERATIONS as u64 * 3 + 7);
        (0..MAX_PAIRS + 9).for_each(|n| add(&seen, n, "GET /"));
        assert_eq!(seen.take().len(), MAX_PAIRS);
    }
}
