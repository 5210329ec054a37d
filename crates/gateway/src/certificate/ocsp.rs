//! What an issuer says of the revocation of a certificate (OCSP, RFC 6960): whether it is such an answer, about which certificate of which issuer, whether
//! the issuer says it, how that stands, and from when until when.
//!
//! Invariant: only what says `good`, of this certificate, by the word of its issuer and at this time, is handed to clients: anything else, however true, makes
//! them refuse a connection that they would take without it.

use lockstep_domain::Timestamp;
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use x509_parser::asn1_rs::BitString;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::verify::verify_signature;
use x509_parser::x509::AlgorithmIdentifier;

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
/// How long an answer holds that says no end: such say that there is newer news all the time.
const NO_END_MS: u64 = 7 * SOON_MS;
/// How much earlier than the clock says an answer may hold: clocks differ.
const SKEW_MS: u64 = 5 * 60 * 1_000;
/// What names and keys of issuers are written down by: SHA-1 (1.3.14.3.2.26), which nearly all use, and SHA-256 (2.16.840.1.101.3.4.2.1).
const DIGESTS: [(&[u8], &Algorithm); 2] = [
    (&[0x2b, 0x0e, 3, 2, 0x1a], &SHA1_FOR_LEGACY_USE_ONLY),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], &SHA256),
];

/// What is to be done with an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Staple {
    /// There is none.
    #[default]
    Nothing,
    /// It is handed to clients in this time.
    Within { since: Timestamp, until: Timestamp },
    /// It is handed to nobody.
    Unfit(CertificateFault),
}

impl Staple {
    /// Finds what is to be done with an answer for a certificate, whose issuer is where it is known.
    ///
    /// # Errors
    /// When it is no answer at all.
    pub(super) fn of(
        answer: &[u8],
        leaf: &X509Certificate<'_>,
        issuer: Option<&X509Certificate<'_>>,
    ) -> Result<Self, CertificateFault> {
        let answer = Answer::read(answer).ok_or(CertificateFault::Ocsp)?;
        let mut of_its_number =
            answer.all.iter().filter(|one| same(one.serial, leaf.raw_serial())).peekable();
        let unfit = |fault| Ok(Self::Unfit(fault));
        if of_its_number.peek().is_none() {
            return unfit(CertificateFault::OtherOcsp);
        }
        let Some(issuer) = issuer else { return unfit(CertificateFault::OcspAlone) };
        let Some(one) = of_its_number.find(|one| one.is_of(issuer)) else {
            return unfit(CertificateFault::OtherOcsp);
        };
        let Some(signer_ends) = answer.signer_of(issuer) else {
            return unfit(CertificateFault::ForeignOcsp);
        };
        let end = one.until.unwrap_or(Timestamp(one.since.0.saturating_add(NO_END_MS)));
        Ok(match one.status {
            GOOD => Self::Within { since: one.since, until: end.min(signer_ends) },
            REVOKED => Self::Unfit(CertificateFault::Revoked),
            _ => Self::Unfit(CertificateFault::UnknownToIssuer),
        })
    }

    /// Says why it is handed to nobody at a time of the wall clock, where it is not.
    pub(super) fn fault(&self, wall: Timestamp) -> Option<CertificateFault> {
        match self {
            Self::Unfit(fault) => Some(fault.clone()),
            Self::Within { until, .. } if wall >= *until => {
                Some(CertificateFault::OcspOver { until: *until })
            }
            Self::Within { since, .. } if !self.is_shown(wall) => {
                Some(CertificateFault::OcspEarly { since: *since })
            }
            Self::Nothing | Self::Within { .. } => None,
        }
    }

    /// Tells whether it is handed to clients at a time of the wall clock.
    pub(crate) fn is_shown(&self, wall: Timestamp) -> bool {
        matches!(self, Self::Within { since, until } if since.0 <= wall.0.saturating_add(SKEW_MS) && wall < *until)
    }

    /// Says for people what is to be known of it; nothing while its end is far.
    pub(super) fn warning(&self, wall: Timestamp) -> Option<String> {
        match self {
            Self::Within { until, .. } if self.is_shown(wall) && until.since_ms(wall) < SOON_MS => {
                Some(format!("its OCSP answer ends at {until}: fetch the next one"))
            }
            _ => Some(self.fault(wall)?.to_string()),
        }
    }
}

/// An answer, and who signed it.
struct Answer<'a> {
    /// What is signed.
    signed: &'a [u8],
    all: Vec<One<'a>>,
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
    /// Certificates that came with it, one behind the other.
    certificates: &'a [u8],
}

/// What an answer says of one certificate.
struct One<'a> {
    digest: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: u8,
    since: Timestamp,
    until: Option<Timestamp>,
}

impl One<'_> {
    fn is_of(&self, issuer: &X509Certificate<'_>) -> bool {
        let known = DIGESTS.iter().find(|(name, _)| *name == self.digest);
        known.is_some_and(|(_, algorithm)| {
            let key = &issuer.public_key().subject_public_key.data;
            digest(algorithm, issuer.subject().as_raw()).as_ref() == self.issuer_name
                && digest(algorithm, key).as_ref() == self.issuer_key
        })
    }
}

impl<'a> Answer<'a> {
    /// Finds who signed it: the issuer, or somebody whom the issuer lets say this (RFC 6960, 4.2.2.2). Returns until when his word counts.
    fn signer_of(&self, issuer: &X509Certificate<'_>) -> Option<Timestamp> {
        let is_signed_by = |one: &X509Certificate<'_>| {
            verify_signature(one.public_key(), &self.algorithm, &self.signature, self.signed).is_ok()
        };
        if is_signed_by(issuer) {
            return Some(Timestamp(u64::MAX));
        }
        let mut rest = self.certificates;
        while let Ok((behind, one)) = X509Certificate::from_der(rest) {
            let may = one.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
            let is_let = one.issuer().as_raw() == issuer.subject().as_raw()
                && one.verify_signature(Some(issuer.public_key())).is_ok();
            if may && is_let && is_signed_by(&one) {
                return Some(super::milliseconds(one.validity().not_after.timestamp()));
            }
            rest = behind;
        }
        None
    }

    /// Reads an answer; `None` when it is none, or not a successful one.
    fn read(answer: &'a [u8]) -> Option<Self> {
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
        let (said, behind) = part(basic, SEQUENCE)?;
        let signed = basic.get(..basic.len() - behind.len())?;
        let (behind, algorithm) = AlgorithmIdentifier::from_der(behind).ok()?;
        let (behind, signature) = BitString::from_der(behind).ok()?;
        let certificates = part(behind, MARKED).and_then(|(marked, _)| part(marked, SEQUENCE));
        let certificates = certificates.map_or(&[][..], |(certificates, _)| certificates);
        Some(Self { signed, all: statuses(said)?, algorithm, signature, certificates })
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    digits(one) == digits(other)
}

/// Returns what an answer says of each certificate that it is about.
fn statuses(mut said: &[u8]) -> Option<Vec<One<'_>>> {
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
    let (digest, names) = part(id, SEQUENCE)?;
    let digest = part(digest, OBJECT)?.0;
    let (issuer_name, names) = part(names, BYTES)?;
    let (issuer_key, names) = part(names, BYTES)?;
    let serial = part(names, INTEGER)?.0;
    let (status, _, behind) = next(behind)?;
    let (since, behind) = part(behind, TIME)?;
    let until = match part(behind, MARKED) {
        Some((until, _)) => Some(time(part(until, TIME)?.0)?),
        None => None,
    };
    Some(One { digest, issuer_name, issuer_key, serial, status, since: time(since)?, until })
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
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SigningKey as _,
    };

    use super::*;

    const NOW: Timestamp = Timestamp(1_775_000_000_000);

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// What an answer says.
    pub(crate) struct Says<'a> {
        pub(crate) serial: &'a [u8],
        pub(crate) status: &'a [u8],
        pub(crate) since: &'a str,
        pub(crate) until: Option<&'a str>,
    }

    impl<'a> Says<'a> {
        pub(crate) fn good(serial: &'a [u8]) -> Self {
            Self { serial, status: &[GOOD, 0], since: "20260101000000Z", until: Some("20990101000000Z") }
        }
    }

    /// An answer for a certificate of an issuer, signed by a key of ECDSA P-256, with certificates of who signed.
    pub(crate) fn answer(
        says: &Says<'_>,
        issuer: &X509Certificate<'_>,
        by: &KeyPair,
        with: &[&[u8]],
    ) -> Vec<u8> {
        let (name, algorithm) = DIGESTS[0];
        let hash = |bytes: &[u8]| tlv(BYTES, digest(algorithm, bytes).as_ref());
        let id = [
            tlv(SEQUENCE, &tlv(OBJECT, name)),
            hash(issuer.subject().as_raw()),
            hash(&issuer.public_key().subject_public_key.data),
            tlv(INTEGER, says.serial),
        ];
        let since = tlv(TIME, says.since.as_bytes());
        let until = says.until.map(|until| tlv(MARKED, &tlv(TIME, until.as_bytes()))).unwrap_or_default();
        let one = tlv(SEQUENCE, &[tlv(SEQUENCE, &id.concat()), says.status.to_vec(), since, until].concat());
        let said = [tlv(0xa2, &tlv(BYTES, &[3; 20])), tlv(TIME, b"20260101000000Z"), tlv(SEQUENCE, &one)];
        let said = tlv(SEQUENCE, &said.concat());
        let signature = [&[0][..], &by.sign(&said).unwrap()].concat();
        let algorithm = tlv(SEQUENCE, &tlv(OBJECT, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let with = if with.is_empty() { Vec::new() } else { tlv(MARKED, &tlv(SEQUENCE, &with.concat())) };
        let basic = tlv(SEQUENCE, &[said, algorithm, tlv(3, &signature), with].concat());
        let content = [tlv(OBJECT, BASIC), tlv(BYTES, &basic)].concat();
        let marked = tlv(MARKED, &tlv(SEQUENCE, &content));
        tlv(SEQUENCE, &[vec![ENUMERATED, 1, 0], marked].concat())
    }

    /// An issuer, a certificate of it with the number 9, and a stranger's key.
    struct World {
        authority: Issuer<'static, KeyPair>,
        issuer: Vec<u8>,
        leaf: Vec<u8>,
        stranger: KeyPair,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec![format!("{name}.test")]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    }

    impl World {
        fn new() -> Self {
            let (key, mut of_issuer) = (KeyPair::generate().unwrap(), params("issuer"));
            of_issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer = of_issuer.self_signed(&key).unwrap().der().to_vec();
            let authority = Issuer::new(of_issuer, key);
            let mut of_leaf = params("leaf");
            of_leaf.serial_number = Some(vec![9].into());
            let leaf = of_leaf.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap().der().to_vec();
            Self { authority, issuer, leaf, stranger: KeyPair::generate().unwrap() }
        }

        fn issuer(&self) -> X509Certificate<'_> {
            X509Certificate::from_der(&self.issuer).unwrap().1
        }

        fn leaf(&self) -> X509Certificate<'_> {
            X509Certificate::from_der(&self.leaf).unwrap().1
        }

        fn said(&self, says: &Says<'_>) -> Vec<u8> {
            answer(says, &self.issuer(), self.authority.key(), &[])
        }

        fn staple(&self, answer: &[u8]) -> Result<Staple, CertificateFault> {
            Staple::of(answer, &self.leaf(), Some(&self.issuer()))
        }
    }

    fn unfit(fault: CertificateFault) -> Result<Staple, CertificateFault> {
        Ok(Staple::Unfit(fault))
    }

    #[test]
    fn an_answer_about_another_certificate_or_none_at_all_is_refused() {
        let world = World::new();
        let good = world.said(&Says::good(&[0, 9]));
        assert!(world.staple(&good).unwrap().is_shown(NOW));
        assert_eq!(world.staple(&world.said(&Says::good(&[8]))), unfit(CertificateFault::OtherOcsp));
        // The number is the same, and the issuer is another one.
        let other = World::new();
        let of_other = answer(&Says::good(&[9]), &other.issuer(), world.authority.key(), &[]);
        assert_eq!(world.staple(&of_other), unfit(CertificateFault::OtherOcsp));
        assert_eq!(Staple::of(&good, &world.leaf(), None), unfit(CertificateFault::OcspAlone));
        for bad in
            [&b""[..], b"no", &[SEQUENCE, 3, ENUMERATED, 1, 0], &[SEQUENCE, 3, ENUMERATED, 1, 6], &good[1..]]
        {
            assert_eq!(world.staple(bad), Err(CertificateFault::Ocsp), "{bad:?}");
        }
        assert_eq!(world.staple(&[&good[..], b"x"].concat()), Err(CertificateFault::Ocsp));
    }

    #[test]
    fn only_the_issuer_and_whom_it_lets_say_it_are_believed() {
        let world = World::new();
        let says = Says::good(&[9]);
        let forged = answer(&says, &world.issuer(), &world.stranger, &[]);
        assert_eq!(world.staple(&forged), unfit(CertificateFault::ForeignOcsp));
        let responder = |usages: Vec<ExtendedKeyUsagePurpose>, by: &Issuer<'_, KeyPair>| {
            let mut of_responder = params("responder");
            of_responder.extended_key_usages = usages;
            of_responder.not_after = rcgen::date_time_ymd(2027, 1, 1);
            of_responder.signed_by(&world.stranger, by).unwrap().der().to_vec()
        };
        let by = |certificate: &[u8]| {
            world.staple(&answer(&says, &world.issuer(), &world.stranger, &[certificate]))
        };
        let let_say = by(&responder(vec![ExtendedKeyUsagePurpose::OcspSigning], &world.authority)).unwrap();
        assert!(
            let_say.is_shown(NOW) && !let_say.is_shown(Timestamp(1_798_761_600_000)),
            "no longer than he is let"
        );
        for other in [
            responder(vec![ExtendedKeyUsagePurpose::ServerAuth], &world.authority),
            responder(Vec::new(), &world.authority),
            responder(vec![ExtendedKeyUsagePurpose::OcspSigning], &World::new().authority),
        ] {
            assert_eq!(by(&other), unfit(CertificateFault::ForeignOcsp));
        }
    }

    #[test]
    fn only_what_says_good_at_this_time_is_shown() {
        let world = World::new();
        let of =
            |status, since, until| world.staple(&world.said(&Says { serial: &[9], status, since, until }));
        let end = Timestamp(1_767_225_600_000);
        let good = of(&[GOOD, 0], "20251201000000Z", Some("20260101000000Z")).unwrap();
        let before = Timestamp(end.0 - 1);
        assert!(good.is_shown(before) && !good.is_shown(end));
        assert!(good.warning(before).unwrap().contains("fetch the next one"));
        assert_eq!(good.warning(Timestamp(end.0 - 2 * SOON_MS)), None);
        assert_eq!(good.fault(end), Some(CertificateFault::OcspOver { until: end }));
        let early = Timestamp(end.0 - 40 * SOON_MS);
        assert!(
            matches!(good.fault(early), Some(CertificateFault::OcspEarly { .. })) && !good.is_shown(early)
        );
        let revoked = of(&[REVOKED, 0], "20260101000000Z", Some("29900101000000Z")).unwrap();
        assert_eq!(revoked, Staple::Unfit(CertificateFault::Revoked));
        assert_eq!(of(&[0x82, 0], "20260101000000Z", None), unfit(CertificateFault::UnknownToIssuer));
        assert!(!revoked.is_shown(before) && revoked.warning(before).unwrap().contains("revoked"));
        let endless = of(&[GOOD, 0], "20260101000000Z", None).unwrap();
        assert!(
            endless.is_shown(end) && !endless.is_shown(Timestamp(end.0 + NO_END_MS)),
            "its word is not for ever"
        );
        assert!(Staple::Nothing.warning(end).is_none());
        for bad in ["2026010100000Z", "20261301000000Z", "20260101000000+", "\u{e4}260101000000Z"] {
            assert_eq!(of(&[GOOD, 0], "20260101000000Z", Some(bad)), Err(CertificateFault::Ocsp), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..512_usize, flip in 1_u8..) {
            let world = World::new();
            let _ = world.staple(&bytes);
            let mut good = world.said(&Says::good(&[9]));
            let at = cut % good.len();
            good[at] ^= flip;
            let _ = world.staple(&good);
            let _ = world.staple(&good[..at]);
        }
    }
}
