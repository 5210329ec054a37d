//! What an issuer says of the revocation of a certificate (OCSP, RFC 6960), as far as it is looked at: whether it is such an answer,
//! and about which certificate. Clients verify it.

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

/// Finds what is wrong with an answer for the certificate with a serial number.
pub(super) fn problem(answer: &[u8], serial: &[u8]) -> Option<CertificateFault> {
    match serials(answer) {
        None => Some(CertificateFault::Ocsp),
        Some(known) if known.iter().any(|known| same(known, serial)) => None,
        Some(_) => Some(CertificateFault::OtherOcsp),
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    digits(one) == digits(other)
}

/// Returns the serial numbers of the certificates that an answer is about; `None` when it is no answer, or not a successful one.
fn serials(answer: &[u8]) -> Option<Vec<&[u8]>> {
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
        let (_, _, behind) = next(part(one, SEQUENCE)?.0)?;
        let (_, behind) = part(behind, BYTES)?;
        let (_, behind) = part(behind, BYTES)?;
        found.push(part(behind, INTEGER)?.0);
        answers = rest;
    }
    Some(found)
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

    /// An answer about one certificate, without a signature.
    pub(crate) fn about(serial: &[u8]) -> Vec<u8> {
        let id = [tlv(SEQUENCE, &[]), tlv(BYTES, &[1; 20]), tlv(BYTES, &[2; 20]), tlv(INTEGER, serial)];
        let one = tlv(SEQUENCE, &[tlv(SEQUENCE, &id.concat()), vec![0x80, 0]].concat());
        let said = [tlv(0xa2, &tlv(BYTES, &[3; 20])), tlv(0x18, b"20260101000000Z"), tlv(SEQUENCE, &one)];
        let basic = tlv(SEQUENCE, &tlv(SEQUENCE, &said.concat()));
        let content = [tlv(OBJECT, BASIC), tlv(BYTES, &basic)].concat();
        let marked = tlv(MARKED, &tlv(SEQUENCE, &content));
        tlv(SEQUENCE, &[vec![ENUMERATED, 1, 0], marked].concat())
    }

    #[test]
    fn an_answer_about_another_certificate_or_none_at_all_is_refused() {
        let good = about(&[0, 0x91, 7]);
        assert_eq!(problem(&good, &[0x91, 7]), None);
        assert_eq!(problem(&good, &[0x91, 8]), Some(CertificateFault::OtherOcsp));
        for bad in
            [&b""[..], b"no", &[SEQUENCE, 3, ENUMERATED, 1, 0], &[SEQUENCE, 3, ENUMERATED, 1, 6], &good[1..]]
        {
            assert_eq!(problem(bad, &[1]), Some(CertificateFault::Ocsp), "{bad:?}");
        }
        assert_eq!(problem(&[&good[..], b"x"].concat(), &[0x91, 7]), Some(CertificateFault::Ocsp));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..128_usize, flip in any::<u8>()) {
            let _ = problem(&bytes, &[1]);
            let mut good = about(&[1]);
            let at = cut % good.len();
            good[at] ^= flip;
            let _ = problem(&good, &[1]);
            let _ = problem(&good[..at], &[1]);
        }
    }
}
