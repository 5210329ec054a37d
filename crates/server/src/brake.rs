//! Slowing down whoever tries tokens: each wrong one costs the caller more time. Pure: time is an argument.
//!
//! Invariant: a right token is never slowed down, whatever else comes from the same address, and what is remembered is
//! bounded. A token has at least 16 characters, so this is no defence of its own; it keeps a guess from being cheap.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Callers that are remembered; the one that was silent longest is forgotten.
const MAX_CALLERS: usize = 1_024;
/// Wrong tokens that cost nothing: a person mistypes.
const FREE: u32 = 3;
/// What the first wrong token beyond these costs; doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// What one wrong token costs at most, so that a connection is not held for ever.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A caller who gave no wrong token for this long begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Who gave wrong tokens lately.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    callers: BTreeMap<IpAddr, Wrong>,
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    last: Instant,
}

impl Brake {
    /// Notes a wrong token, and returns how long its answer has to wait.
    pub(crate) fn wrong(&mut self, caller: IpAddr, now: Instant) -> Duration {
        let caller = network(caller);
        if !self.callers.contains_key(&caller) && self.callers.len() >= MAX_CALLERS {
            let longest_silent = self.callers.iter().min_by_key(|(_, wrong)| wrong.last).map(|(ip, _)| *ip);
            longest_silent.map(|ip| self.callers.remove(&ip));
        }
        let wrong = self.callers.entry(caller).or_insert(Wrong { times: 0, last: now });
        if now.saturating_duration_since(wrong.last) > FORGIVEN_AFTER {
            wrong.times = 0;
        }
        *wrong = Wrong { times: wrong.times.saturating_add(1), last: now };
        delay(wrong.times)
    }
}

fn delay(times: u32) -> Duration {
    match times.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DELAY),
    }
}

/// A host has a whole network of 64 bits of IPv6 to call from.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_wrong_token_costs_more_up_to_a_bound_and_is_forgiven() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        let ann = address("10.0.0.1");
        let costs: Vec<_> = (0..12).map(|_| brake.wrong(ann, now).as_millis()).collect();
        assert_eq!(costs, [0, 0, 0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
        assert_eq!(brake.wrong(address("10.0.0.2"), now), Duration::ZERO);
        assert_eq!(brake.wrong(ann, now + FORGIVEN_AFTER * 2), Duration::ZERO);
    }

    #[test]
    fn a_network_is_one_caller_and_many_callers_take_no_memory() {
        let (mut brake, now) = (Brake::default(), Instant::now());
        for host in 1..=4 {
            let _ = brake.wrong(address(&format!("2001:db8::{host}")), now);
        }
        assert_eq!(brake.wrong(address("2001:db8::5"), now), Duration::from_millis(200));
        for number in 0..5_000_u32 {
            let _ = brake.wrong(IpAddr::from(number.to_be_bytes()), now + Duration::from_secs(1));
        }
        assert_eq!(brake.callers.len(), MAX_CALLERS);
    }
}
