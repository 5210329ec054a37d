//! New certificates while clients are there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_none_is_lost() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let mut old = entrance.connect();
    let before = old.shown();
    let stop = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (entrance, stop) = (&entrance, &stop);
                scope.spawn(move || {
                    let mut kept = entrance.connect();
                    let mut rounds = 0_u32;
                    while !stop.load(Ordering::SeqCst) || rounds < 20 {
                        kept.get().unwrap();
                        if client % 2 == 0 {
                            entrance.connect().get().unwrap();
                        }
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        for _ in 0..50 {
            let next = entrance.authority.certificate(&["shop.test"]);
            entrance.running.gateway.certify(&environment(), vec![("shop".into(), next)]).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
    });
    assert!(rounds >= 80);
    assert!(old.get().unwrap().starts_with("HTTP/1.1 200"), "a connection that lives keeps its certificate");
    assert_ne!(entrance.connect().shown(), before);
}

#[test]
fn without_a_certificate_nobody_is_served_and_with_one_everybody_is() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let mut old = entrance.connect();
    entrance.running.gateway.certify(&environment(), Vec::new()).unwrap();
    assert!(entrance.hello(&Hello::default()).is_err());
    old.get().unwrap();
    let again = entrance.authority.certificate(&["shop.test"]);
    entrance.running.gateway.certify(&environment(), vec![("shop".into(), again)]).unwrap();
    entrance.connect().get().unwrap();
}

#[test]
fn authorities_that_cannot_be_used_leave_the_table_as_it_was() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let bad = EntrySettings { client_ca: Some("none".into()), ..EntrySettings::default() };
    let table = table(3, &[stable(0, &[("shop-1", mirror.address)])]);
    let entry = Some(Entry { settings: bad, ..Entry::default() });
    let error = entrance.running.gateway.apply(RouteTable { entry, ..table }).unwrap_err().to_string();
    assert!(error.contains("authorities of clients"), "{error}");
    assert_eq!(entrance.running.gateway.receipt(&environment()).revision, 2);
    entrance.connect().get().unwrap();
}
