//! Clients that show certificates of their own.

use lockstep_domain::entry::ClientCertificates;

use super::*;

fn asking(authority: &Authority, client_certificates: ClientCertificates) -> EntrySettings {
    EntrySettings { client_ca: Some(authority.0.pem()), client_certificates, ..EntrySettings::default() }
}

/// In TLS 1.3 a client hears only with its first answer that its certificate was refused.
fn served(entrance: &Entrance, hello: &Hello<'_>) -> io::Result<String> {
    entrance.hello(hello)?.ask("GET / HTTP/1.1\r\nhost: shop.test\r\nx-forwarded-client-cert: Hash=0\r\n\r\n")
}

#[test]
fn who_must_show_a_certificate_is_known_to_services_by_it() {
    let mirror = mirror();
    let (people, strangers) = (Authority::new(), Authority::new());
    let entrance =
        Entrance::with(&mirror, Timeouts::default(), asking(&people, ClientCertificates::Required));
    for versions in [NEW, OLD] {
        let hello = |shows| Hello { versions, shows, ..Hello::default() };
        let told = served(&entrance, &hello(Some((&people, &["ann.people.test"])))).unwrap();
        assert!(
            told.contains("x-forwarded-client-cert: Hash=") && told.contains(";DNS=ann.people.test\n"),
            "{told}"
        );
        assert!(!told.contains("Hash=0\n"), "what a client says of itself is taken out: {told}");
        assert!(served(&entrance, &hello(None)).is_err());
        assert!(served(&entrance, &hello(Some((&strangers, &["eve.test"])))).is_err());
    }
    wait_until("they are counted", || entrance.count("client_certificate") == 4);
}

#[test]
fn who_may_show_one_is_served_without_and_refused_with_a_wrong_one() {
    let mirror = mirror();
    let (people, strangers) = (Authority::new(), Authority::new());
    let entrance =
        Entrance::with(&mirror, Timeouts::default(), asking(&people, ClientCertificates::Optional));
    let told = served(&entrance, &Hello::default()).unwrap();
    assert!(!told.contains("x-forwarded-client-cert"), "{told}");
    let shows = Some((&people, &["ann.people.test"][..]));
    assert!(served(&entrance, &Hello { shows, ..Hello::default() }).unwrap().contains("DNS=ann.people.test"));
    let shows = Some((&strangers, &["eve.test"][..]));
    assert!(served(&entrance, &Hello { shows, ..Hello::default() }).is_err());
}

#[test]
fn a_session_from_before_a_certificate_was_wanted_is_not_resumed() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    for versions in [NEW, OLD] {
        entrance.apply(
            entrance.running.gateway.receipt(&environment()).revision + 1,
            &mirror,
            EntrySettings::default(),
        );
        let config = Hello { versions, ..Hello::default() }.config(&entrance.authority);
        let connect = || Secured::connect(entrance.address, Arc::clone(&config), "shop.test");
        connect().unwrap().get().unwrap();
        assert_eq!(connect().unwrap().0.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        let people = Authority::new();
        let next = entrance.running.gateway.receipt(&environment()).revision + 1;
        entrance.apply(next, &mirror, asking(&people, ClientCertificates::Required));
        assert!(connect().and_then(|mut client| client.get()).is_err());
    }
}

#[test]
fn where_clients_show_certificates_no_session_is_resumed_so_each_is_looked_at() {
    let mirror = mirror();
    let people = Authority::new();
    for wanted in [ClientCertificates::Required, ClientCertificates::Optional] {
        let entrance = Entrance::with(&mirror, Timeouts::default(), asking(&people, wanted));
        for versions in [NEW, OLD] {
            let shows = Some((&people, &["ann.people.test"][..]));
            let config = Hello { versions, shows, ..Hello::default() }.config(&entrance.authority);
            for _ in 0..3 {
                let mut client =
                    Secured::connect(entrance.address, Arc::clone(&config), "shop.test").unwrap();
                assert!(client.get().unwrap().contains("DNS=ann.people.test"));
                assert_eq!(client.0.conn.handshake_kind(), Some(HandshakeKind::Full));
            }
        }
    }
}
