//! How handshakes ended, for those who watch the gateway.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a connection began that was to be within TLS, or to begin with a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeEnd {
    /// A new session.
    Full,
    /// With a ticket of an earlier one.
    Resumed,
    /// An authority that only looked.
    Challenge,
    /// It asked for a host of which there is no certificate.
    UnknownName,
    /// It did not show a certificate that is taken.
    ClientCertificate,
    /// It spoke plain HTTP.
    PlainHttp,
    /// It spoke no TLS, or not ours.
    Failed,
    /// It took too long.
    Slow,
    /// It left.
    Left,
    /// There were too many at once.
    TooMany,
    /// It did not begin with a PROXY header, or with none that can be read.
    ProxyHeader,
}

const WORDS: [(HandshakeEnd, &str); 11] = [
    (HandshakeEnd::Full, "full"),
    (HandshakeEnd::Resumed, "resumed"),
    (HandshakeEnd::Challenge, "challenge"),
    (HandshakeEnd::UnknownName, "unknown_name"),
    (HandshakeEnd::ClientCertificate, "client_certificate"),
    (HandshakeEnd::PlainHttp, "plain_http"),
    (HandshakeEnd::Failed, "failed"),
    (HandshakeEnd::Slow, "slow"),
    (HandshakeEnd::Left, "left"),
    (HandshakeEnd::TooMany, "too_many"),
    (HandshakeEnd::ProxyHeader, "proxy_header"),
];

/// How handshakes ended.
#[derive(Debug, Default)]
pub(crate) struct Handshakes([AtomicU64; WORDS.len()]);

impl Handshakes {
    /// Counts one.
    pub(crate) fn count(&self, end: HandshakeEnd) {
        self.0[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many ended how, with the word of it.
    pub(crate) fn read(&self) -> Vec<(&'static str, u64)> {
        WORDS.iter().map(|&(end, word)| (word, self.0[end as usize].load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_own_place_and_word() {
        let handshakes = Handshakes::default();
        for (index, &(end, word)) in WORDS.iter().enumerate() {
            assert_eq!(end as usize, index, "{word}");
            (0..=index).for_each(|_| handshakes.count(end));
        }
        let counts: Vec<u64> = handshakes.read().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=WORDS.len() as u64).collect::<Vec<_>>());
    }
}
