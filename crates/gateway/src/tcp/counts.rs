//! What became of connections to services that speak TCP, as one worker counted it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who ended a connection, or why none came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TcpEnd {
    /// The client said first that it sends no more, and then the instance did.
    Client,
    /// The instance said first that it sends no more, and then the client did.
    Instance,
    /// The client broke it off.
    ClientReset,
    /// The instance broke it off.
    InstanceReset,
    /// It was silent for too long.
    Idle,
    /// The instance had left the table for as long as its connections were given.
    Drained,
    /// No instance could be reached.
    Unreachable,
    /// Nothing that speaks TCP is there for the client.
    NoService,
    /// The client is not the instance whose listener it came to.
    Stranger,
    /// Somebody said that clients get something else instead of an instance.
    Maintenance,
    /// The gateway ended before it did.
    Cut,
}

/// All of them, in the order of their counters.
const ENDS: [TcpEnd; 11] = [
    TcpEnd::Client,
    TcpEnd::Instance,
    TcpEnd::ClientReset,
    TcpEnd::InstanceReset,
    TcpEnd::Idle,
    TcpEnd::Drained,
    TcpEnd::Unreachable,
    TcpEnd::NoService,
    TcpEnd::Stranger,
    TcpEnd::Maintenance,
    TcpEnd::Cut,
];

impl TcpEnd {
    /// Tells whether an instance failed its client.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::InstanceReset | Self::Unreachable | Self::NoService)
    }

    /// Returns it as metrics and the access log name it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Instance => "instance",
            Self::ClientReset => "client_reset",
            Self::InstanceReset => "instance_reset",
            Self::Idle => "idle",
            Self::Drained => "drained",
            Self::Unreachable => "unreachable",
            Self::NoService => "no_service",
            Self::Stranger => "stranger",
            Self::Maintenance => "maintenance",
            Self::Cut => "cut",
        }
    }
}

/// Connections of an arm; without an arm, those that came to none.
#[derive(Debug, Default)]
pub(crate) struct TcpCounts {
    ended: [AtomicU64; ENDS.len()],
    to_instance: AtomicU64,
    to_client: AtomicU64,
    refused: AtomicU64,
}

/// Counts of several workers, added up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TcpSums {
    ended: [u64; ENDS.len()],
    pub(crate) to_instance: u64,
    pub(crate) to_client: u64,
    /// Instances that took no connection.
    pub(crate) refused: u64,
}

impl TcpCounts {
    /// Counts a connection that is over.
    pub(crate) fn ended(&self, end: TcpEnd) {
        self.ended[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts that an instance took no connection.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that an instance took.
    pub(crate) fn sent_up(&self, bytes: usize) {
        self.to_instance.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that a client took.
    pub(crate) fn sent_down(&self, bytes: usize) {
        self.to_client.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds what was counted to `sums`.
    pub(crate) fn add_to(&self, sums: &mut TcpSums) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sums.ended.iter_mut().zip(&self.ended).for_each(|(sum, counter)| *sum += read(counter));
        sums.to_instance += read(&self.to_instance);
        sums.to_client += read(&self.to_client);
        sums.refused += read(&self.refused);
    }
}

impl TcpSums {
    /// Returns how many connections ended how.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (TcpEnd, u64)> {
        ENDS.into_iter().zip(self.ended).filter(|(_, count)| *count > 0)
    }

    /// Tells whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_counted_in_its_own_place() {
        let counts = TcpCounts::default();
        for (place, end) in ENDS.into_iter().enumerate() {
            (0..=place).for_each(|_| counts.ended(end));
        }
        let mut sums = TcpSums::default();
        counts.add_to(&mut sums);
        let all: Vec<_> = sums.ends().map(|(end, count)| (end.word(), count)).collect();
        assert_eq!(all.len(), ENDS.len());
        assert!(
            all.iter()
                .zip(ENDS)
                .enumerate()
                .all(|(place, ((word, count), end))| { *word == end.word() && *count == place as u64 + 1 })
        );
    }
}
