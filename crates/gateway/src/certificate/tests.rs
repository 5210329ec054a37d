//! Certificates that are good, and those that are not.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey as Made, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};
use time_of::wall;

use super::*;

mod time_of {
    use std::time::{SystemTime, UNIX_EPOCH};

    use lockstep_domain::Timestamp;

    pub(crate) fn wall() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(u64::try_from(since.as_millis()).unwrap())
    }
}

type OwnCertificate = rcgen::Certificate;

/// A certificate that signed itself.
pub(crate) struct Signed {
    pub(crate) certificate: OwnCertificate,
    pub(crate) key: KeyPair,
}

pub(crate) fn made(names: &[&str]) -> Signed {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let Made { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    Signed { certificate: cert, key: signing_key }
}

pub(crate) fn read(signed: &Signed) -> ServerCertificate {
    checked(&signed.certificate.pem(), &signed.key.serialize_pem()).unwrap().certificate
}

fn checked(chain: &str, key: &str) -> Result<Checked, Vec<CertificateFault>> {
    ServerCertificate::read(chain.as_bytes(), key.as_bytes(), None, wall())
}

fn faults(chain: &str, key: &str) -> Vec<CertificateFault> {
    checked(chain, key).unwrap_err()
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed_by(
    authority: &CertifiedIssuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> Signed {
    let mut params = CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Signed { certificate, key }
}

#[test]
fn a_good_one_says_what_it_is_and_its_bundle_reads_as_the_same() {
    let signed = made(&["Shop.test", "*.shop.test"]);
    let (chain, key) = (signed.certificate.pem(), signed.key.serialize_pem());
    let Checked { certificate, warnings } = checked(&chain, &key).unwrap();
    assert_eq!(warnings, []);
    let facts = certificate.facts();
    assert_eq!(facts.names, ["shop.test", "*.shop.test"]);
    assert_eq!(facts.key_kind, "ECDSA P-256");
    let again = ServerCertificate::from_bundle(bundle(&chain, &key, None).as_bytes()).unwrap();
    assert_eq!(again.facts(), facts);
    // A combined file, as many tools write it.
    let both = format!("{chain}\n{key}");
    let combined = ServerCertificate::from_bundle(bundle(&both, &both, None).as_bytes()).unwrap();
    assert_eq!(combined.facts(), facts);
    let answer = {
        let (_, parsed) = X509Certificate::from_der(signed.certificate.der()).unwrap();
        ocsp::tests::answer(&ocsp::tests::Says::good(parsed.raw_serial()), &parsed, &signed.key, &[])
    };
    let stapled = bundle(&chain, &key, Some(&answer));
    let stapled = ServerCertificate::from_bundle(stapled.as_bytes()).unwrap();
    assert_eq!(stapled.key_at(wall()).ocsp.as_deref(), Some(&answer[..]));
    assert_eq!(stapled.staple_warning(wall()), None);
    let other = {
        let (_, parsed) = X509Certificate::from_der(signed.certificate.der()).unwrap();
        ocsp::tests::answer(&ocsp::tests::Says::good(&[1, 2, 3]), &parsed, &signed.key, &[])
    };
    let found = ServerCertificate::read(chain.as_bytes(), key.as_bytes(), Some(&other), wall()).unwrap();
    assert_eq!(found.warnings, [CertificateFault::OtherOcsp]);
    assert_eq!(found.certificate.key_at(wall()).ocsp, None, "it is shown to nobody");
    assert!(found.certificate.staple_warning(wall()).unwrap().starts_with("the certificate of shop.test: "));
    assert_ne!(stapled.facts().digest, facts.digest, "another answer is another thing to show");
}

#[test]
fn other_kinds_of_keys_are_named() {
    for (algorithm, kind) in [(&PKCS_ECDSA_P384_SHA384, "ECDSA P-384"), (&PKCS_ED25519, "Ed25519")] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            CertificateParams::new(vec!["shop.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(read(&Signed { certificate, key }).facts().key_kind, kind);
    }
    assert_eq!(faults::rsa(2_048), Ok("RSA 2048".to_owned()));
    assert_eq!(faults::rsa(1_024), Err(CertificateFault::ShortKey { bits: 1_024 }));
    assert_eq!(faults::rsa(8_192), Err(CertificateFault::LongKey { bits: 8_192 }));
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    let (one, other) = (made(&[]), made(&["other.test"]));
    let found = faults(&one.certificate.pem(), &other.key.serialize_pem());
    assert!(
        found.contains(&CertificateFault::NoNames) && found.contains(&CertificateFault::OtherKey),
        "{found:?}"
    );
    assert_eq!(faults("", ""), [CertificateFault::NoCertificate, CertificateFault::NoKey]);
    let key = one.key.serialize_pem();
    let (fits, twice) = (other.certificate.pem(), format!("{key}{key}"));
    assert_eq!(faults(&fits, &twice), [CertificateFault::TwoKeys]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(faults(&fits, encrypted), [CertificateFault::EncryptedKey]);
    let cut = &fits[..fits.len() / 2];
    assert!(matches!(faults(cut, &key)[0], CertificateFault::Pem { what: "certificate", .. }));
    let none = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(faults(none, &key).contains(&CertificateFault::Unreadable { place: 1 }));
    let short =
        ServerCertificate::read(fits.as_bytes(), other.key.serialize_pem().as_bytes(), Some(b"no"), wall());
    assert_eq!(short.unwrap_err(), [CertificateFault::Ocsp]);
}

#[test]
fn its_time_is_looked_at_when_it_is_given_and_not_when_it_is_kept() {
    let authority = authority("ours");
    let over = signed_by(&authority, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let later = signed_by(&authority, |params| params.not_before = rcgen::date_time_ymd(2990, 1, 1));
    let found = |signed: &Signed| {
        let chain = signed.certificate.pem() + &authority.pem();
        faults(&chain, &signed.key.serialize_pem())
    };
    assert!(matches!(found(&over)[..], [CertificateFault::Over { .. }]));
    assert!(matches!(found(&later)[..], [CertificateFault::NotYet { .. }]));
    for signed in [&over, &later] {
        let chain = signed.certificate.pem() + &authority.pem();
        let key = signed.key.serialize_pem();
        let wall = wall();
        let shown = ServerCertificate::read_at_any_time(chain.as_bytes(), key.as_bytes(), None, wall);
        let refused = ServerCertificate::read(chain.as_bytes(), key.as_bytes(), None, wall);
        assert_eq!(shown.unwrap().warnings, refused.unwrap_err());
    }
    let kept = bundle(&over.certificate.pem(), &over.key.serialize_pem(), None);
    assert!(ServerCertificate::from_bundle(kept.as_bytes()).is_ok());
}

#[test]
fn a_chain_has_to_be_in_order_and_for_servers() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let leaf = signed_by(&ours, |_| {});
    let key = leaf.key.serialize_pem();
    let chain = |others: &[String]| {
        [leaf.certificate.pem()].iter().chain(others).map(String::as_str).collect::<String>()
    };
    assert_eq!(checked(&chain(&[ours.pem()]), &key).unwrap().warnings, []);
    let alone = checked(&chain(&[]), &key).unwrap().warnings;
    assert!(matches!(&alone[..], [CertificateFault::Alone { issuer }] if issuer.contains("ours")));
    let found = faults(&chain(&[theirs.pem()]), &key);
    assert!(matches!(&found[..], [CertificateFault::Disorder { place: 1, .. }]), "{found:?}");
    let turned = ours.pem() + &leaf.certificate.pem();
    assert!(faults(&turned, &key).contains(&CertificateFault::OtherKey));
    let for_clients =
        signed_by(&ours, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let chain = for_clients.certificate.pem() + &ours.pem();
    assert_eq!(faults(&chain, &for_clients.key.serialize_pem()), [CertificateFault::NotForServers]);
}

#[test]
fn a_chain_is_signed_by_what_follows_and_all_of_it_is_still_valid() {
    let (ours, namesake) = (authority("ours"), authority("ours"));
    let leaf = signed_by(&ours, |_| {});
    let key = leaf.key.serialize_pem();
    let found = faults(&(leaf.certificate.pem() + &namesake.pem()), &key);
    assert!(matches!(&found[..], [CertificateFault::OtherSigner { place: 1, .. }]), "{found:?}");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "between");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &ours).unwrap();
    let leaf = signed_by(&between, |_| {});
    let chain = leaf.certificate.pem() + &between.pem();
    let found = faults(&chain, &leaf.key.serialize_pem());
    assert!(matches!(&found[..], [CertificateFault::ChainOver { place: 2, .. }]), "{found:?}");
}

#[test]
fn authorities_are_authorities() {
    let ours = authority("ours");
    assert_eq!(read_authorities(ours.pem().as_bytes()).unwrap().len(), 1);
    let leaf = signed_by(&ours, |_| {});
    let mixed = ours.pem() + &leaf.certificate.pem();
    assert_eq!(read_authorities(mixed.as_bytes()).unwrap_err(), [CertificateFault::NoAuthority { place: 2 }]);
    let with_key = ours.pem() + &leaf.key.serialize_pem();
    assert_eq!(read_authorities(with_key.as_bytes()).unwrap_err(), [CertificateFault::NotACertificate]);
    assert_eq!(read_authorities(b"").unwrap_err(), [CertificateFault::NoCertificate]);
}

#[test]
fn a_fault_never_shows_the_key() {
    let signed = made(&["shop.test"]);
    let secret: String = signed.key.serialize_pem().lines().nth(1).unwrap().chars().take(20).collect();
    let damaged = signed.key.serialize_pem().replace("-----END", "!!");
    for fault in faults(&signed.certificate.pem(), &damaged) {
        assert!(!format!("{fault} {fault:?}").contains(&secret), "{fault}");
    }
    let shown = format!("{:?}", read(&signed));
    assert!(!shown.contains(&secret), "{shown}");
}
