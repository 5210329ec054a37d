//! What can be wrong with a certificate, in words that say what to do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lockstep_domain::Timestamp;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;

/// Shortest RSA key that clients take.
const MIN_RSA_BITS: usize = 2_048;
/// Longest RSA key that handshakes can afford.
const MAX_RSA_BITS: usize = 4_096;
/// Signatures with hashes that are broken: MD5 and SHA-1.
const BROKEN_SIGNATURES: [&str; 3] = ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];

/// Whether a fault keeps a certificate from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It does.
    Fault,
    /// It works, but not for everybody.
    Warning,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// The text is damaged.
    #[error("the {what} cannot be read: {why}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// How.
        why: &'static str,
    },
    /// There is no certificate.
    #[error("there is no certificate: a PEM file has `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// There is something else beside authorities.
    #[error("there is something else than certificates: authorities have no keys here")]
    NotACertificate,
    /// The chain is too long.
    #[error("the chain has more than {most} certificates")]
    LongChain {
        /// As many as it may have.
        most: usize,
    },
    /// One of the chain is none.
    #[error("certificate {place} of the file is not one that can be read")]
    Unreadable {
        /// Its place, from 1.
        place: usize,
    },
    /// There is no key.
    #[error("there is no private key: a PEM file has `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// There are several keys.
    #[error("there are two private keys; give the one of the certificate")]
    TwoKeys,
    /// The key is encrypted.
    #[error(
        "the private key is encrypted, and nobody is there to type its password: openssl pkey -in KEY -out PLAIN"
    )]
    EncryptedKey,
    /// The key is not of a kind that can be used.
    #[error("the private key is not of a kind that can be used: RSA, ECDSA P-256 or P-384, or Ed25519")]
    KeyUnusable,
    /// The key is another certificate's.
    #[error("the private key is not the one of the certificate")]
    OtherKey,
    /// The certificate's key is of a kind that clients do not take.
    #[error("the certificate's key is of a kind that cannot be used: RSA, ECDSA P-256 or P-384, or Ed25519")]
    KeyKind,
    /// The key is too short.
    #[error("the key is RSA with {bits} bits; clients take {MIN_RSA_BITS} and more")]
    ShortKey {
        /// Its length.
        bits: usize,
    },
    /// The key is too long.
    #[error("the key is RSA with {bits} bits; more than {MAX_RSA_BITS} make each handshake too dear")]
    LongKey {
        /// Its length.
        bits: usize,
    },
    /// The signature is worth nothing.
    #[error("the certificate is signed with MD5 or SHA-1, which clients refuse")]
    BrokenSignature,
    /// The first certificate is an authority's.
    #[error("the first certificate is that of an authority (`{subject}`): the server's own comes first")]
    AuthorityFirst {
        /// Whose it is.
        subject: String,
    },
    /// One is not signed by the next.
    #[error(
        "certificate {place} is signed by `{issuer}`, and the next one is that of `{found}`: put the chain in order"
    )]
    Disorder {
        /// Its place, from 1.
        place: usize,
        /// Who signed it.
        issuer: String,
        /// Whose the next one is.
        found: String,
    },
    /// One has the name of its signer behind it, and did not get its signature there.
    #[error(
        "certificate {place} is not signed with the key of the next one, `{found}`, which only has the name of its issuer"
    )]
    OtherSigner {
        /// Its place, from 1.
        place: usize,
        /// Whose the next one is.
        found: String,
    },
    /// The certificates between are missing.
    #[error("the file has the certificate alone; most clients need that of `{issuer}` behind it")]
    Alone {
        /// Who signed it.
        issuer: String,
    },
    /// It is for no host.
    #[error("the certificate names no host (subject alternative name): clients look nowhere else")]
    NoNames,
    /// It is not for servers.
    #[error("the certificate is not for servers (extended key usage)")]
    NotForServers,
    /// It is over.
    #[error("the certificate ended at {until}")]
    Over {
        /// When.
        until: Timestamp,
    },
    /// It has not begun.
    #[error("the certificate is not valid before {from}; this machine's clock says {wall}")]
    NotYet {
        /// When it begins.
        from: Timestamp,
        /// What the clock says.
        wall: Timestamp,
    },
    /// One between is over.
    #[error("certificate {place} of the chain ended at {until}")]
    ChainOver {
        /// Its place, from 1.
        place: usize,
        /// When.
        until: Timestamp,
    },
    /// One is no authority.
    #[error("certificate {place} of the file is not that of an authority")]
    NoAuthority {
        /// Its place, from 1.
        place: usize,
    },
    /// The answer about revocation is none.
    #[error("the OCSP file is not an answer in DER that says `successful`")]
    Ocsp,
    /// The answer about revocation is about others.
    #[error(
        "the OCSP file says nothing of this certificate, so clients are not shown it: fetch the one of its issuer"
    )]
    OtherOcsp,
    /// Nobody can tell whose word the answer about revocation is.
    #[error(
        "its issuer is not in the file of the chain, so nobody can tell whether the OCSP answer is its word, and clients are not shown it"
    )]
    OcspAlone,
    /// The answer about revocation is the word of somebody else.
    #[error(
        "the OCSP answer is signed neither by its issuer nor by whom that lets say it, so clients are not shown it: fetch the one of its issuer"
    )]
    ForeignOcsp,
    /// The answer about revocation is of another time.
    #[error("its OCSP answer begins at {since}, so clients are not shown it before")]
    OcspEarly {
        /// When.
        since: Timestamp,
    },
    /// The answer about revocation is that there was one.
    #[error(
        "its issuer says by OCSP that the certificate was revoked: clients that look refuse it, so get another one"
    )]
    Revoked,
    /// The issuer does not know the certificate.
    #[error(
        "its issuer says by OCSP that it does not know the certificate, so clients are not shown that answer"
    )]
    UnknownToIssuer,
    /// The answer about revocation is too old.
    #[error("its OCSP answer ended at {until}, so clients are not shown it: fetch the next one")]
    OcspOver {
        /// When.
        until: Timestamp,
    },
}

impl CertificateFault {
    /// Tells whether only the time is wrong: of the certificate, or of the clock that it is looked at by.
    #[must_use]
    pub const fn is_of_time(&self) -> bool {
        matches!(self, Self::Over { .. } | Self::NotYet { .. } | Self::ChainOver { .. })
    }

    /// Tells whether it keeps the certificate from being used.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        match self {
            Self::Alone { .. }
            | Self::OtherOcsp
            | Self::OcspAlone
            | Self::ForeignOcsp
            | Self::OcspEarly { .. }
            | Self::Revoked
            | Self::UnknownToIssuer
            | Self::OcspOver { .. } => Weight::Warning,
            _ => Weight::Fault,
        }
    }
}

/// Finds what is wrong with a chain: its order, its signatures, and the time of all but the first.
pub(super) fn of_chain(chain: &[X509Certificate<'_>], wall: Timestamp) -> Vec<CertificateFault> {
    let mut faults = Vec::new();
    for (index, pair) in chain.windows(2).enumerate() {
        if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
            let (issuer, found) = (printable(pair[0].issuer()), printable(pair[1].subject()));
            faults.push(CertificateFault::Disorder { place: index + 1, issuer, found });
        } else if pair[0].verify_signature(Some(pair[1].public_key()))
            == Err(X509Error::SignatureVerificationError)
        {
            let found = printable(pair[1].subject());
            faults.push(CertificateFault::OtherSigner { place: index + 1, found });
        }
    }
    let ends = chain.iter().map(|it| super::milliseconds(it.validity().not_after.timestamp()));
    let over = ends.enumerate().skip(1).filter(|(_, until)| wall >= *until);
    faults.extend(over.map(|(index, until)| CertificateFault::ChainOver { place: index + 1, until }));
    if let [alone] = chain
        && alone.issuer().as_raw() != alone.subject().as_raw()
    {
        faults.push(CertificateFault::Alone { issuer: printable(alone.issuer()) });
    }
    faults
}

/// Finds what is wrong with the server's own certificate.
pub(super) fn of_leaf(
    leaf: &X509Certificate<'_>,
    names: &[String],
    (from, until): (Timestamp, Timestamp),
    wall: Timestamp,
) -> Vec<CertificateFault> {
    let is_alone = leaf.issuer().as_raw() == leaf.subject().as_raw();
    let for_servers = leaf
        .extended_key_usage()
        .ok()
        .flatten()
        .is_none_or(|usage| usage.value.any || usage.value.server_auth);
    let is_broken = BROKEN_SIGNATURES.contains(&leaf.signature_algorithm.algorithm.to_id_string().as_str());
    let found = [
        (leaf.is_ca() && !is_alone)
            .then(|| CertificateFault::AuthorityFirst { subject: printable(leaf.subject()) }),
        names.is_empty().then_some(CertificateFault::NoNames),
        (!for_servers).then_some(CertificateFault::NotForServers),
        is_broken.then_some(CertificateFault::BrokenSignature),
        (wall >= until).then_some(CertificateFault::Over { until }),
        (wall < from).then_some(CertificateFault::NotYet { from, wall }),
    ];
    found.into_iter().flatten().collect()
}

fn printable(name: &x509_parser::x509::X509Name<'_>) -> String {
    name.to_string().chars().filter(|it| !it.is_control()).take(120).collect()
}

/// Names an RSA key by its length.
pub(super) fn rsa(bits: usize) -> Result<String, CertificateFault> {
    match bits {
        short if short < MIN_RSA_BITS => Err(CertificateFault::ShortKey { bits }),
        long if long > MAX_RSA_BITS => Err(CertificateFault::LongKey { bits }),
        _ => Ok(format!("RSA {bits}")),
    }
}

/// Reads an address out of a certificate.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|it| Ipv4Addr::from(it).into());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|it| Ipv6Addr::from(it).into())).ok()
}
