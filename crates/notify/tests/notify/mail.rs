//! Letters, at a mail server that keeps them.

use std::time::Duration;

use lockstep_monitor::Notice;
use lockstep_notify::{MailTls, Outcome, Secret, Sender, Target};

use super::letters::{self, people};
use super::notices::{NOW, fault, huge, recovery};
use super::sink::{Manner, Sink};

fn at(sink: &Sink, tls: MailTls, login: Option<&str>) -> Target {
    let mut target = people();
    if let Target::Mail(it) = &mut target {
        it.host = "localhost".into();
        it.port = Some(sink.address.port());
        it.tls = tls;
        it.way.ca = Some(sink.pem.clone());
        it.user = login.map(|_| "user".into());
        it.password = login.map(Secret::from);
    }
    target
}

async fn send(target: &Target, notice: &Notice) -> Outcome {
    Sender::new().with_limit(Duration::from_secs(5)).send(notice, target, NOW).await
}

#[tokio::test]
async fn a_letter_arrives_by_each_way() {
    for (tls, auth, manner) in [
        (MailTls::None, None, Manner::default()),
        (MailTls::None, None, Manner { old: true, ..Manner::default() }),
        (MailTls::Starttls, None, Manner { starttls: true, ..Manner::default() }),
        (MailTls::Starttls, Some("PLAIN LOGIN"), Manner { starttls: true, ..Manner::default() }),
        (MailTls::Starttls, Some("LOGIN"), Manner { starttls: true, ..Manner::default() }),
        (MailTls::Implicit, Some("PLAIN"), Manner { implicit: true, ..Manner::default() }),
    ] {
        let sink = Sink::start(Manner { auth, ..manner });
        let outcome = send(&at(&sink, tls, auth.map(|_| "right")), &fault()).await;
        assert_eq!(outcome, Outcome::Sent { note: None }, "{tls:?} {auth:?}");
        let taken = sink.taken();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].was_tls, tls != MailTls::None);
        assert_eq!(taken[0].from, "FROM:<lockstep@example.org>");
        assert_eq!(taken[0].to, ["TO:<ann@example.org>", "TO:<bob@example.org>"]);
    }
}

#[tokio::test]
async fn fault_and_recovery_are_one_thread_and_a_second_try_has_the_same_name() {
    let sink = Sink::start(Manner::default());
    let target = at(&sink, MailTls::None, None);
    for notice in [fault(), fault(), recovery()] {
        assert!(send(&target, &notice).await.is_sent());
    }
    let read: Vec<_> = sink.taken().iter().map(|it| letters::read(&it.bytes).unwrap()).collect();
    let of = |name: &str| read.iter().map(|it| it.field(name).to_owned()).collect::<Vec<_>>();
    let names = of("Message-ID");
    assert!(names[0] == names[1] && names[0] != names[2], "{names:?}");
    for field in ["References", "In-Reply-To"] {
        let threads = of(field);
        assert!(threads[0] == threads[2] && threads[0].ends_with("@example.org>"), "{threads:?}");
    }
    assert_eq!(read[0].field("Subject"), "FAULT (critical): orders in production: half of the requests fail");
    for text in [&read[0].plain, &read[0].html] {
        assert!(text.contains("lockstep rollback orders --to 1.2.0 --env production"), "{text}");
        assert!(text.contains("https://lockstep.example.org/alerts/1"), "{text}");
    }
}

#[tokio::test]
async fn the_largest_letter_arrives_as_it_was_made() {
    let sink = Sink::start(Manner { starttls: true, ..Manner::default() });
    assert!(send(&at(&sink, MailTls::Starttls, None), &huge()).await.is_sent());
    let letter = letters::read(&sink.taken()[0].bytes).unwrap();
    assert!(letter.plain.contains("and 980 more alerts"), "{}", letter.plain);
}

#[tokio::test]
async fn without_starttls_nothing_is_said_that_matters() {
    let sink = Sink::start(Manner { auth: Some("PLAIN"), ..Manner::default() });
    let outcome = send(&at(&sink, MailTls::Starttls, Some("right")), &fault()).await;
    assert!(
        matches!(&outcome, Outcome::Never { why, .. } if why.contains("offers no STARTTLS")),
        "{outcome}"
    );
    assert!(sink.heard().iter().all(|it| it.starts_with("EHLO")), "{:?}", sink.heard());
}

#[tokio::test]
async fn what_is_said_ahead_of_tls_is_not_believed() {
    let sink = Sink::start(Manner {
        starttls: true,
        inject: Some("\r\n250-evil\r\n250 AUTH PLAIN"),
        ..Manner::default()
    });
    let outcome = send(&at(&sink, MailTls::Starttls, None), &fault()).await;
    assert!(
        matches!(&outcome, Outcome::Never { why, .. } if why.contains("plain text after STARTTLS")),
        "{outcome}"
    );
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn what_a_server_refuses_says_what_to_do_or_is_tried_again() {
    let refused = |command, answer| Manner { instead: vec![(command, answer)], ..Manner::default() };
    for (manner, word) in [
        (refused("MAIL", "550 5.7.1 relaying denied"), "addresses of the target"),
        (refused("RCPT", "550 5.1.1 no such user"), "addresses of the target"),
        (refused("MAIL", "530 5.7.0 authentication required"), "write user and password"),
        (refused(".", "554 5.7.1 looks like spam"), "look at host"),
        (refused("DATA", "552 5.2.2 mailbox full"), "too long for it"),
        (refused("greeting", "HTTP/1.1 400 Bad Request"), "look at host"),
    ] {
        let sink = Sink::start(manner);
        let outcome = send(&at(&sink, MailTls::None, None), &fault()).await;
        assert!(matches!(&outcome, Outcome::Never { todo, .. } if todo.contains(word)), "{word}: {outcome}");
    }
    for manner in [
        refused("greeting", "421 busy"),
        refused("MAIL", "451 4.3.0 later"),
        refused("RCPT", "450 4.2.1 greylisted"),
        refused(".", "452 4.3.1 no space"),
    ] {
        let sink = Sink::start(manner);
        let outcome = send(&at(&sink, MailTls::None, None), &fault()).await;
        assert!(matches!(outcome, Outcome::Later { .. }), "{outcome}");
        assert!(sink.taken().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_password_waits_for_a_person_and_is_not_repeated() {
    let sink = Sink::start(Manner { implicit: true, auth: Some("PLAIN"), ..Manner::default() });
    let outcome = send(&at(&sink, MailTls::Implicit, Some("topsecret")), &fault()).await;
    assert!(matches!(&outcome, Outcome::Never { todo, .. } if todo.contains("password")), "{outcome}");
    assert!(!outcome.to_string().contains("topsecret"));
}

#[tokio::test]
async fn one_recipient_that_is_refused_keeps_the_letter_from_nobody_else() {
    let manner = Manner { instead: vec![("RCPT TO:<bob@", "550 5.1.1 no such user")], ..Manner::default() };
    let sink = Sink::start(manner);
    let outcome = send(&at(&sink, MailTls::None, None), &fault()).await;
    assert!(
        matches!(&outcome, Outcome::Sent { note: Some(note) } if note.contains("bob@example.org was refused (550")),
        "{outcome}"
    );
    assert_eq!(sink.taken()[0].to, ["TO:<ann@example.org>"]);
}

#[tokio::test]
async fn a_connection_that_ends_after_the_letter_says_neither_yes_nor_no() {
    let limit = |manner| async move {
        let sink = Sink::start(manner);
        let sender = Sender::new().with_limit(Duration::from_millis(800));
        sender.send(&fault(), &at(&sink, MailTls::None, None), NOW).await
    };
    for manner in [
        Manner { hang_up_at: Some("."), ..Manner::default() },
        Manner { silent_at: Some("."), ..Manner::default() },
    ] {
        let outcome = limit(manner).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome}");
    }
    for manner in [
        Manner { hang_up_at: Some("EHLO"), ..Manner::default() },
        Manner { hang_up_at: Some("DATA"), ..Manner::default() },
        Manner { silent_at: Some("RCPT"), ..Manner::default() },
        Manner { silent_at: Some("EHLO"), ..Manner::default() },
    ] {
        let outcome = limit(manner).await;
        assert!(matches!(outcome, Outcome::Later { .. }), "{outcome}");
    }
    for manner in [
        Manner { hang_up_at: Some("QUIT"), ..Manner::default() },
        Manner { silent_at: Some("QUIT"), ..Manner::default() },
    ] {
        let outcome = limit(manner).await;
        assert!(outcome.is_sent(), "it has the letter: {outcome}");
    }
}
