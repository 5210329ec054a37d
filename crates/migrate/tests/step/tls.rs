//! A PostgreSQL that speaks TLS alone, with a certificate of an authority of its own.

use std::fs;

use lockstep_domain::database::Act;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::place::{Kind, Place};
use crate::server::{PASSWORD, Secure, Server};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for names; one that is over where it is said so.
fn certificate(authority: &Authority, names: &[&str], is_over: bool) -> Secure {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if is_over {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, authority).unwrap();
    Secure { chain: leaf.pem(), key: key.serialize_pem() }
}

/// A place whose database is on a server; it trusts an authority.
fn place(server: &Server, host: &str, mode: &str, trusts: &Authority) -> Place {
    let mut place = Place::with_three(Kind::Postgres);
    place.database = server.make();
    place.url = format!("{}?sslmode={mode}", server.url_by_tcp(host, &place.database));
    let file = place.folder.path().join("authorities.pem");
    fs::write(&file, trusts.pem()).unwrap();
    place.trusts = Some(file);
    place
}

#[test]
fn migrations_are_applied_and_taken_back_by_tls_where_the_certificate_is_one_of_the_host() {
    let authority = authority("one");
    let server = Server::start(Some(&certificate(&authority, &["127.0.0.1"], false)));
    for mode in ["require", "verify-ca", "verify-full"] {
        let place = place(&server, "127.0.0.1", mode, &authority);
        let proof = "CREATE TABLE proof AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();";
        place.write("2_text.sql", proof);
        place.write("2_text.down.sql", "DROP TABLE proof;");
        assert_eq!(place.apply("2_text.sql").good().has(), ["1_notes.sql", "2_text.sql"]);
        assert_eq!(server.psql(&place.database, "SELECT ssl FROM proof"), "t", "{mode}");
        let back = Act::Revert { migrations: vec!["2_text.sql".into()], to: Some("1_notes.sql".into()) };
        assert_eq!(place.run(back).good().has(), ["1_notes.sql"]);
    }
    // Without it the server does not speak.
    for mode in ["disable", "prefer"] {
        let place = place(&server, "127.0.0.1", mode, &authority);
        let ended = place.run(Act::Look).bad("is not reached");
        assert!(ended.said.contains("no encryption") && !ended.said.contains(PASSWORD), "{}", ended.said);
    }
}

#[test]
fn a_server_that_is_not_known_is_given_no_password() {
    let (known, other) = (authority("one"), authority("other"));
    let cases = [
        // Another authority, another name, a time that is over.
        (certificate(&other, &["127.0.0.1"], false), "UnknownIssuer"),
        (certificate(&known, &["elsewhere.example"], false), "not valid for"),
        (certificate(&known, &["127.0.0.1"], true), "expired"),
    ];
    for (secure, why) in cases {
        let server = Server::start(Some(&secure));
        for mode in ["require", "verify-full"] {
            let place = place(&server, "127.0.0.1", mode, &known);
            let ended = place.apply("1_notes.sql").bad("is not reached");
            assert!(ended.said.contains(why) && !ended.said.contains(PASSWORD), "{why}: {}", ended.said);
            assert!(ended.told.unwrap().untouched);
        }
    }
}
