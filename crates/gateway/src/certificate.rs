//! Reading a certificate with its key, and finding everything that is wrong with the two before anybody is shown them.
//!
//! Invariant: a [`ServerCertificate`] can be shown to clients: its key fits, and its chain is in order. Keys are never in a text
//! that this module makes.

mod faults;
mod ocsp;

use std::sync::Arc;

use lockstep_domain::certificate::CertificateFacts;
use lockstep_domain::{Digest, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

pub use faults::{CertificateFault, Weight};
pub(crate) use ocsp::Staple;

/// Longest file of a chain or a key, in bytes.
pub const MAX_PEM_BYTES: u64 = 48 * 1_024;
/// Longest chain.
const MAX_CHAIN: usize = 10;
/// Most names of a certificate that are looked at.
const MAX_NAMES: usize = 200;
/// What begins and ends an answer about revocation in a text.
const OCSP_LABEL: &str = "OCSP RESPONSE";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

/// A certificate that can be shown to clients, with its key.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    facts: CertificateFacts,
    /// With what its issuer says of its revocation, where that is handed to clients.
    key: Arc<CertifiedKey>,
    /// The same without, for the time when that is over.
    bare: Arc<CertifiedKey>,
    staple: Staple,
}

/// A certificate that was read, and what is not good about it but no reason to refuse it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The certificate.
    pub certificate: ServerCertificate,
    /// What should be known of it.
    pub warnings: Vec<CertificateFault>,
}

impl ServerCertificate {
    /// Reads a chain, the server's own certificate first, and its key, both as PEM; `ocsp` is what its issuer says of its
    /// revocation, as DER. `wall` is the time of the wall clock.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn read(
        chain: &[u8],
        key: &[u8],
        ocsp: Option<&[u8]>,
        wall: Timestamp,
    ) -> Result<Checked, Vec<CertificateFault>> {
        Self::read_unless(chain, key, (ocsp, wall), |fault| fault.weight() == Weight::Fault)
    }

    /// Reads the same, but that its time is over or not there yet is a warning: who has nothing else shows what it has.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn read_at_any_time(
        chain: &[u8],
        key: &[u8],
        ocsp: Option<&[u8]>,
        wall: Timestamp,
    ) -> Result<Checked, Vec<CertificateFault>> {
        let keeps_out = |fault: &CertificateFault| fault.weight() == Weight::Fault && !fault.is_of_time();
        Self::read_unless(chain, key, (ocsp, wall), keeps_out)
    }

    fn read_unless(
        chain: &[u8],
        key: &[u8],
        (ocsp, wall): (Option<&[u8]>, Timestamp),
        keeps_out: impl Fn(&CertificateFault) -> bool,
    ) -> Result<Checked, Vec<CertificateFault>> {
        let certificates = read_chain(chain);
        let private = read_key(key);
        let mut faults = Vec::new();
        let certificates = certificates.map_err(|fault| faults.push(fault)).unwrap_or_default();
        let private = private.map_err(|fault| faults.push(fault)).ok();
        let read = facts(&certificates, ocsp, wall, &mut faults);
        let certified = private.and_then(|key| certify(&certificates, key, &mut faults));
        match (read, certified) {
            (Some((facts, staple)), Some(key)) if !faults.iter().any(keeps_out) => {
                let bare = Arc::new(key);
                let key = match (&staple, ocsp) {
                    (Staple::Within { .. }, Some(ocsp)) => {
                        Arc::new(CertifiedKey { ocsp: Some(ocsp.to_vec()), ..CertifiedKey::clone(&bare) })
                    }
                    _ => Arc::clone(&bare),
                };
                Ok(Checked { certificate: Self { facts, key, bare, staple }, warnings: faults })
            }
            _ => Err(faults),
        }
    }

    /// Reads one text that has all three, as [`bundle`] writes it.
    ///
    /// # Errors
    /// Everything that is wrong with it, but not that its time is not there yet or over: it was good when it was taken.
    pub fn from_bundle(text: &[u8]) -> Result<Self, Vec<CertificateFault>> {
        let ocsp = ocsp_in(text);
        let checked = Self::read_at_any_time(text, text, ocsp.as_deref(), Timestamp::default())?;
        Ok(checked.certificate)
    }

    /// Returns what is known of it without its key.
    #[must_use]
    pub const fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Says for people what is to be known of what its issuer says of its revocation; nothing while there is nothing to do.
    #[must_use]
    pub fn staple_warning(&self, wall: Timestamp) -> Option<String> {
        let name = self.facts.names.first().map_or("?", String::as_str);
        Some(format!("the certificate of {name}: {}", self.staple.warning(wall)?))
    }

    pub(crate) const fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Returns what is shown at a time of the wall clock: an answer about its revocation only while that holds.
    pub(crate) fn key_at(&self, wall: Timestamp) -> &Arc<CertifiedKey> {
        if self.staple.is_shown(wall) { &self.key } else { &self.bare }
    }
}

/// Writes chain, key and the answer about revocation as one text, which is as secret as the key. What else stands in the texts
/// is left out.
#[must_use]
pub fn bundle(chain: &str, key: &str, ocsp: Option<&[u8]>) -> String {
    let mut text = sections(chain, |label| label.ends_with("CERTIFICATE"));
    text.push_str(&sections(key, |label| label.ends_with("PRIVATE KEY")));
    if let Some(ocsp) = ocsp {
        text.push_str(&format!("-----BEGIN {OCSP_LABEL}-----\n{}\n-----END {OCSP_LABEL}-----\n", hex(ocsp)));
    }
    text
}

/// Takes the sections with certain labels out of a text.
fn sections(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let (mut found, mut within) = (String::new(), false);
    for line in text.lines().map(str::trim) {
        let label = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
        within |= label.is_some_and(&wanted);
        if within {
            found.push_str(line);
            found.push('\n');
        }
        within &= !line.starts_with("-----END ");
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ocsp_in(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.split(&format!("-----BEGIN {OCSP_LABEL}-----")).nth(1)?;
    let digits = rest.split("-----END").next()?.trim();
    let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).take(MAX_CHAIN + 1).collect();
    match found {
        Err(error) => Err(CertificateFault::Pem { what: "certificate", why: pem_problem(&error) }),
        Ok(found) if found.is_empty() => Err(CertificateFault::NoCertificate),
        Ok(found) if found.len() > MAX_CHAIN => Err(CertificateFault::LongChain { most: MAX_CHAIN }),
        Ok(found) => Ok(found),
    }
}

fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateFault> {
    let encrypted = b"ENCRYPTED";
    if text.windows(encrypted.len()).any(|part| part == encrypted) {
        return Err(CertificateFault::EncryptedKey);
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(text);
    match (keys.next(), keys.next()) {
        (None, _) => Err(CertificateFault::NoKey),
        (Some(Err(error)), _) => Err(CertificateFault::Pem { what: "key", why: pem_problem(&error) }),
        (Some(Ok(_)), Some(_)) => Err(CertificateFault::TwoKeys),
        (Some(Ok(key)), None) => Ok(key),
    }
}

/// Says what is wrong with a text without a piece of it: it may be one of a key.
fn pem_problem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        pem::Error::IllegalSectionStart { .. } => "its first line is not that of PEM",
        pem::Error::Base64Decode(_) => "it is not base64",
        pem::Error::NoItemsFound => "there is none",
        _ => "it is not PEM",
    }
}

/// Finds what a chain says of itself, and everything that is wrong with it.
fn facts(
    chain: &[CertificateDer<'static>],
    ocsp: Option<&[u8]>,
    wall: Timestamp,
    faults: &mut Vec<CertificateFault>,
) -> Option<(CertificateFacts, Staple)> {
    if chain.is_empty() {
        return None;
    }
    let mut parsed = Vec::new();
    for (index, der) in chain.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => parsed.push(certificate),
            Err(_) => faults.push(CertificateFault::Unreadable { place: index + 1 }),
        }
    }
    let leaf = parsed.first().filter(|_| parsed.len() == chain.len())?;
    let names = names(leaf);
    let valid_from = milliseconds(leaf.validity().not_before.timestamp());
    let valid_until = milliseconds(leaf.validity().not_after.timestamp());
    let key_kind = key_kind(leaf);
    faults.extend(faults::of_chain(&parsed, wall));
    let issuer = parsed.iter().find(|one| one.subject().as_raw() == leaf.issuer().as_raw());
    let staple = ocsp.map_or(Ok(Staple::Nothing), |ocsp| Staple::of(ocsp, leaf, issuer));
    let staple = staple.map_err(|fault| faults.push(fault)).unwrap_or_default();
    faults.extend(staple.fault(wall));
    faults.extend(faults::of_leaf(leaf, &names, (valid_from, valid_until), wall));
    faults.extend(key_kind.as_ref().err().cloned());
    let mut hash = Sha256::new();
    for part in chain.iter().map(AsRef::as_ref).chain(ocsp) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let facts = CertificateFacts {
        digest: Digest::from_bytes(hash.finalize().into()),
        names,
        issuer: common_name(leaf),
        key_kind: key_kind.unwrap_or_default(),
        valid_from,
        valid_until,
    };
    Some((facts, staple))
}

fn milliseconds(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let all = extension.iter().flat_map(|extension| &extension.value.general_names);
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => faults::address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    all.filter_map(text).take(MAX_NAMES).collect()
}

fn common_name(leaf: &X509Certificate<'_>) -> String {
    let name = leaf.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
    let text = name.map_or_else(|| leaf.issuer().to_string(), str::to_owned);
    text.chars().filter(|it| !it.is_control()).take(120).collect()
}

/// Names the kind of a key that clients take; any other is a fault.
fn key_kind(leaf: &X509Certificate<'_>) -> Result<String, CertificateFault> {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => faults::rsa(key.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = leaf.public_key().algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
            match curve.map(|curve| curve.to_id_string()).as_deref() {
                Some(P256) => Ok("ECDSA P-256".to_owned()),
                Some(P384) => Ok("ECDSA P-384".to_owned()),
                _ => Err(CertificateFault::KeyKind),
            }
        }
        _ if leaf.public_key().algorithm.algorithm.to_id_string() == "1.3.101.112" => {
            Ok("Ed25519".to_owned())
        }
        _ => Err(CertificateFault::KeyKind),
    }
}

fn certify(
    chain: &[CertificateDer<'static>],
    key: PrivateKeyDer<'static>,
    faults: &mut Vec<CertificateFault>,
) -> Option<CertifiedKey> {
    let Ok(private) = default_provider().key_provider.load_private_key(key) else {
        faults.push(CertificateFault::KeyUnusable);
        return None;
    };
    if chain.is_empty() {
        return None;
    }
    let certified = CertifiedKey::new(chain.to_vec(), private);
    match certified.keys_match() {
        Ok(()) => Some(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            faults.push(CertificateFault::OtherKey);
            None
        }
        // What else is wrong with the certificate was found where it was read, or clients could not read it either.
        Err(_) => {
            if faults.is_empty() {
                faults.push(CertificateFault::Unreadable { place: 1 });
            }
            None
        }
    }
}

/// Reads the certificates of authorities as PEM, and returns them with their names; none of them is a fault.
///
/// # Errors
/// When there is none, or one cannot be read or is no authority.
pub fn read_authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Vec<CertificateFault>> {
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for item in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match item {
            Ok((SectionKind::Certificate, der)) => found.push(CertificateDer::from(der)),
            Ok(_) => faults.push(CertificateFault::NotACertificate),
            Err(error) => {
                faults.push(CertificateFault::Pem { what: "certificate", why: pem_problem(&error) });
                break;
            }
        }
    }
    if found.is_empty() && faults.is_empty() {
        faults.push(CertificateFault::NoCertificate);
    }
    for (index, der) in found.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok((_, authority)) if authority.is_ca() => {}
            Ok(_) => faults.push(CertificateFault::NoAuthority { place: index + 1 }),
            Err(_) => faults.push(CertificateFault::Unreadable { place: index + 1 }),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

#[cfg(test)]
pub(crate) mod tests;
