//! What an issuer says of the revocation of a certificate (OCSP, RFC 6960), as far as it is looked at: whether it is such an answer,
//! about which certificate, what it says of that, and until when. Clients verify it.
//!
//! Invariant: only what says `good`, of this certificate and at this time, is handed to clients: anything else, however true, makes them refuse
//! a connection that they would take without it.

use lockstep_domain::Timestamp;

use super::CertificateFault;

/// Longest answer.
const MAX_BYTES: usize = 8 * 1_024;
/// The one kind of answer that is in use, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
const INTEGER: u8 = 0x02;
const BYTES: u8 = 0x04;
const OBJECT: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
/// The first part that is marked with a number.
const MARKED: u8 = 0xa0;
const TIME: u8 = 0x18;
/// The certificate is good.
const GOOD: u8 = 0x80;
/// It was revoked.
const REVOKED: u8 = 0xa1;
/// How long before its end it is said that an answer ends: they are made for days.
const SOON_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is to be done with an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Staple {
    /// There is none.
    #[default]
    Nothing,
    /// It is handed to clients, until then where it says so.
    Until(Option<Timestamp>),
    /// It is handed to nobody.
    Unfit(CertificateFault),
}

impl Staple {
    /// Finds what is to be done with an answer for the certificate with a serial number.
    ///
    /// # Errors
    /// When it is no answer at all.
    pub(super) fn of(answer: &[u8], serial: &[u8]) -> Result<Self, CertificateFault> {
        let all = statuses(answer).ok_or(CertificateFault::Ocsp)?;
        Ok(match all.iter().find(|one| same(one.serial, serial)) {
            None => Self::Unfit(CertificateFault::OtherOcsp),
            Some(One { status: GOOD, until, .. }) => Self::Until(*until),
            Some(One { status: REVOKED, .. }) => Self::Unfit(CertificateFault::Revoked),
            Some(_) => Self::Unfit(CertificateFault::UnknownToIssuer),
        })
    }

    /// Says why it is handed to nobody at a time of the wall clock, where it is not.
    pub(super) fn fault(&self, wall: Timestamp) -> Option<CertificateFault> {
        match self {
            Self::Unfit(fault) => Some(fault.clone()),
            Self::Until(Some(until)) if wall >= *until => Some(CertificateFault::OcspOver { until: *until }),
            Self::Nothing | Self::Until(_) => None,
        }
    }

    /// Tells whether it is handed to clients at a time of the wall clock.
    pub(crate) fn is_shown(&self, wall: Timestamp) -> bool {
        matches!(self, Self::Until(until) if until.is_none_or(|until| wall < until))
    }

    /// Says for people what is to be known of it; nothing while its end is far.
    pub(super) fn warning(&self, wall: Timestamp) -> Option<String> {
        match self {
            Self::Until(Some(until)) if self.is_shown(wall) && until.since_ms(wall) < SOON_MS => {
                Some(format!("its OCSP answer ends at {until}: fetch the next one"))
            }
            _ => Some(self.fault(wall)?.to_string()),
        }
    }
}

/// What an answer says of one certificate.
struct One<'a> {
    serial: &'a [u8],
    status: u8,
    until: Option<Timestamp>,
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    digits(one) == digits(other)
}

/// Returns what an answer says of each certificate that it is about; `None` when it is no answer, or not a successful one.
fn statuses(answer: &[u8]) -> Option<Vec<One<'_>>> {
    let (whole, rest) = part(answer, SEQUENCE)?;
    let (status, whole) = part(whole, ENUMERATED)?;
    if !rest.is_empty() || status != [0] || answer.len() > MAX_BYTES {
        return None;
    }
    let (kind, content) = part(part(part(whole, MARKED)?.0, SEQUENCE)?.0, OBJECT)?;
    if kind != BASIC {
        return None;
    }
    let basic = part(part(content, BYTES)?.0, SEQUENCE)?.0;
    let mut said = part(basic, SEQUENCE)?.0;
    // Before the answers stand a version where it is not the first, who answers, and when.
    let mut answers = loop {
        let (tag, content, rest) = next(said)?;
        if tag == SEQUENCE {
            break content;
        }
        said = rest;
    };
    let mut found = Vec::new();
    while !answers.is_empty() {
        let (one, rest) = part(answers, SEQUENCE)?;
        found.push(one_of(one)?);
        answers = rest;
    }
    Some(found)
}

/// Reads what is said of one certificate: which it is, how it stands, since when that is known, and until when it holds.
fn one_of(one: &[u8]) -> Option<One<'_>> {
    let (id, behind) = part(one, SEQUENCE)?;
    let (_, _, names) = next(id)?;
    let (_, names) = part(names, BYTES)?;
    let (_, names) = part(names, BYTES)?;
    let serial = part(names, INTEGER)?.0;
    let (status, _, behind) = next(behind)?;
    let (_, behind) = part(behind, TIME)?;
    let until = match part(behind, MARKED) {
        Some((until, _)) => Some(time(part(until, TIME)?.0)?),
        None => None,
    };
    Some(One { serial, status, until })
}

/// Reads a time as DER writes it, `20260101000000Z`.
fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 15 && text.is_ascii())?;
    let [year, month, day, hour, minute, second] =
        [0..4, 4..6, 6..8, 8..10, 10..12, 12..15].map(|place| &text[place]);
    let written = format!("{year}-{month}-{day}T{hour}:{minute}:{second}");
    let read: jiff::Timestamp = written.parse().ok()?;
    Some(Timestamp(u64::try_from(read.as_millisecond()).ok()?))
}

/// Takes a part of a certain kind; returns its content and what follows it.
fn part(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = next(bytes)?;
    (tag == kind).then_some((content, rest))
}

/// Takes the next part: its kind, its content and what follows it.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(one, rest)| (usize::from(*one), rest))?,
        0x82 => {
            rest.split_first_chunk::<2>().map(|(two, rest)| (usize::from(u16::from_be_bytes(*two)), rest))?
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// An answer that one certificate is good, without a signature.
    pub(crate) fn about(serial: &[u8]) -> Vec<u8> {
        saying(serial, &[GOOD, 0], None)
    }

    /// An answer about one certificate, without a signature.
    pub(crate) fn saying(serial: &[u8], status: &[u8], until: Option<&str>) -> Vec<u8> {
        let id = [tlv(SEQUENCE, &[]), tlv(BYTES, &[1; 20]), tlv(BYTES, &[2; 20]), tlv(INTEGER, serial)];
        let since = tlv(TIME, b"20260101000000Z");
        let until = until.map(|until| tlv(MARKED, &tlv(TIME, until.as_bytes()))).unwrap_or_default();
        let one = tlv(SEQUENCE, &[tlv(SEQUENCE, &id.concat()), status.to_vec(), since, until].concat());
        let said = [tlv(0xa2, &tlv(BYTES, &[3; 20])), tlv(0x18, b"20260101000000Z"), tlv(SEQUENCE, &one)];
        let basic = tlv(SEQUENCE, &tlv(SEQUENCE, &said.concat()));
        let content = [tlv(OBJECT, BASIC), tlv(BYTES, &basic)].concat();
        let marked = tlv(MARKED, &tlv(SEQUENCE, &content));
        tlv(SEQUENCE, &[vec![ENUMERATED, 1, 0], marked].concat())
    }

    #[test]
    fn an_answer_about_another_certificate_or_none_at_all_is_refused() {
        let good = about(&[0, 0x91, 7]);
        assert_eq!(Staple::of(&good, &[0x91, 7]), Ok(Staple::Until(None)));
        assert_eq!(Staple::of(&good, &[0x91, 8]), Ok(Staple::Unfit(CertificateFault::OtherOcsp)));
        for bad in
            [&b""[..], b"no", &[SEQUENCE, 3, ENUMERATED, 1, 0], &[SEQUENCE, 3, ENUMERATED, 1, 6], &good[1..]]
        {
            assert_eq!(Staple::of(bad, &[1]), Err(CertificateFault::Ocsp), "{bad:?}");
        }
        assert_eq!(Staple::of(&[&good[..], b"x"].concat(), &[0x91, 7]), Err(CertificateFault::Ocsp));
    }

    #[test]
    fn only_what_says_good_at_this_time_is_shown() {
        let of = |status: &[u8], until| Staple::of(&saying(&[9], status, until), &[9]).unwrap();
        let end = Timestamp(1_767_225_600_000);
        let good = of(&[GOOD, 0], Some("20260101000000Z"));
        assert_eq!(good, Staple::Until(Some(end)));
        let before = Timestamp(end.0 - 1);
        assert!(good.is_shown(before) && !good.is_shown(end));
        assert!(good.warning(before).unwrap().contains("fetch the next one"));
        assert_eq!(good.warning(Timestamp(end.0 - 2 * SOON_MS)), None);
        assert_eq!(good.fault(end), Some(CertificateFault::OcspOver { until: end }));
        let revoked = of(&[REVOKED, 0], Some("29900101000000Z"));
        assert_eq!(revoked, Staple::Unfit(CertificateFault::Revoked));
        assert_eq!(of(&[0x82, 0], None), Staple::Unfit(CertificateFault::UnknownToIssuer));
        assert!(!revoked.is_shown(before) && revoked.warning(before).unwrap().contains("revoked"));
        assert!(of(&[GOOD, 0], None).is_shown(end) && Staple::Nothing.warning(end).is_none());
        for bad in ["2026010100000Z", "20261301000000Z", "20260101000000+", "\u{e4}260101000000Z"] {
            let read = Staple::of(&saying(&[9], &[GOOD, 0], Some(bad)), &[9]);
            assert_eq!(read, Err(CertificateFault::Ocsp), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..128_usize, flip in any::<u8>()) {
            let _ = Staple::of(&bytes, &[1]);
            let mut good = about(&[1]);
            let at = cut % good.len();
            good[at] ^= flip;
            let _ = Staple::of(&good, &[1]);
            let _ = Staple::of(&good[..at], &[1]);
        }
    }
}
