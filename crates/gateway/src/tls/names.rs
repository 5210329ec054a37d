//! Which certificate a client is shown: by the name that it asks for, and the kinds of keys that it takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::certificate::ServerCertificate;

/// Certificates of the same name, those that are cheaper to sign with first.
type Keys = Vec<ServerCertificate>;

/// Certificates by the names that they are for, in lower case.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<String, Keys>,
    /// By what stands behind `*.`.
    below: HashMap<String, Keys>,
    /// For clients that name no host: all that are for a name of the first certificate.
    first: Keys,
}

impl Names {
    pub(super) fn of<'a>(certificates: impl Iterator<Item = &'a ServerCertificate>) -> Self {
        let mut names = Self::default();
        let mut first_name = None;
        for certificate in certificates {
            first_name = first_name.or_else(|| certificate.facts().names.first().cloned());
            for name in &certificate.facts().names {
                let place = match name.strip_prefix("*.") {
                    Some(parent) => names.below.entry(parent.to_owned()).or_default(),
                    None => names.exact.entry(name.clone()).or_default(),
                };
                place.push(certificate.clone());
            }
        }
        let all = names.exact.values_mut().chain(names.below.values_mut());
        all.for_each(|keys| keys.sort_by_key(|it| rank(it.key().key.algorithm())));
        names.first = first_name
            .and_then(|name| {
                let found =
                    name.strip_prefix("*.").map_or_else(|| names.exact.get(&name), |it| names.below.get(it));
                found.cloned()
            })
            .unwrap_or_default();
        names
    }

    /// Finds the certificates for a host: exactly, else by what it stands directly below.
    fn find(&self, host: Option<&str>) -> Option<&Keys> {
        let Some(host) = host else { return Some(&self.first) };
        let host = host.to_ascii_lowercase();
        self.exact.get(&host).or_else(|| self.below.get(host.split_once('.')?.1))
    }

    /// Tells whether there is a certificate for a host, or for clients that name none.
    pub(crate) fn knows(&self, host: Option<&str>) -> bool {
        self.find(host).is_some()
    }

    fn choose(&self, host: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let keys = self.find(host)?;
        let fitting = keys.iter().find(|it| it.key().key.choose_scheme(schemes).is_some());
        Some(Arc::clone(fitting.or_else(|| keys.first())?.key_at(wall())))
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Elliptic curves that every client knows before one that few programs do, and RSA last.
fn rank(algorithm: SignatureAlgorithm) -> u8 {
    match algorithm {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::RSA => 2,
        _ => 1,
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::tests::{made, read};

    const BOTH: [SignatureScheme; 2] =
        [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

    fn shown(names: &Names, host: Option<&str>) -> Option<Vec<u8>> {
        Some(names.choose(host, &BOTH)?.cert[0].to_vec())
    }

    #[test]
    fn a_client_that_takes_both_is_shown_a_curve_that_all_know_before_ed25519() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let edwards = read(&crate::certificate::tests::Signed { certificate, key });
        let ecdsa = read(&made(&["shop.test"]));
        let names = Names::of([&edwards, &ecdsa].into_iter());
        let both = [SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256];
        assert_eq!(names.choose(None, &both).unwrap().cert, ecdsa.key().cert);
        assert_eq!(names.choose(None, &both[..1]).unwrap().cert, edwards.key().cert);
    }

    #[test]
    fn a_name_wins_over_a_wildcard_and_the_first_is_for_clients_that_name_none() {
        let [plain, wild, other] = [&["shop.test", "a.shop.test"][..], &["*.shop.test"], &["Other.test"]]
            .map(|names| read(&made(names)));
        let of = |it: &ServerCertificate| Some(it.key().cert[0].to_vec());
        let names = Names::of([&plain, &wild, &other].into_iter());
        for (host, expected) in [
            (Some("shop.test"), of(&plain)),
            (Some("SHOP.test"), of(&plain)),
            (Some("a.shop.test"), of(&plain)),
            (Some("b.shop.test"), of(&wild)),
            (Some("b.c.shop.test"), None),
            (Some("other.test"), of(&other)),
            (Some("elsewhere.test"), None),
            (None, of(&plain)),
        ] {
            assert_eq!(shown(&names, host), expected, "{host:?}");
            assert_eq!(names.knows(host), expected.is_some(), "{host:?}");
        }
    }
}
