use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::notice::{NoticeAlert, NoticeKind, Severity};
use crate::target::Takes;

const NOW: u64 = 1_780_000_000_000;
use NoticeKind::{Changed, Digest, Fault, Recovered};

fn target(name: &str, limit_per_minute: u32, reader: Reader) -> Target {
    Target { name: name.into(), reader, takes: Takes::default(), limit_per_minute, limit_per_second: None }
}

fn notice(id: u64, kind: NoticeKind, group: &str) -> Notice {
    let ended_ms = (kind == Recovered).then_some(NOW + id);
    let alert = NoticeAlert {
        fingerprint: format!("down/{group}"),
        rule: "down".into(),
        severity: Severity::Warning,
        subject: BTreeMap::from([("service".into(), group.into())]),
        summary: format!("{group} is down"),
        detail: None,
        hint: None,
        since_ms: NOW,
        ended_ms,
    };
    Notice {
        id: id.to_string(),
        at_ms: NOW + id,
        kind,
        severity: Severity::Warning,
        group: group.into(),
        environment: Some("production".into()),
        service: Some(group.into()),
        title: format!("{kind} {group}"),
        alerts: vec![alert],
        more: 0,
        change: None,
        owners: Vec::new(),
        link: None,
    }
}

fn failed() -> Answer {
    Answer::Failed { why: "refused".into(), again_in_ms: None }
}

/// Sends all that can be sent within some time, each at once with success.
fn send_all(outbox: &mut Outbox, targets: &[Target], from_ms: u64, to_ms: u64) -> Vec<(u64, Notice)> {
    let mut sent = Vec::new();
    let mut now_ms = from_ms;
    while let Some(next_ms) = outbox.next_ms(targets, now_ms).filter(|next_ms| *next_ms <= to_ms) {
        now_ms = next_ms;
        for due in outbox.take_due(targets, now_ms) {
            outbox.settle(due.entry, &Answer::Sent, now_ms, 0.5);
            sent.push((now_ms, due.notice));
        }
    }
    sent
}

fn kinds(sent: &[(u64, Notice)]) -> Vec<NoticeKind> {
    sent.iter().map(|(_, notice)| notice.kind).collect()
}

#[test]
fn a_fault_that_recovered_before_it_was_sent_is_one_message_with_both_times() {
    let targets = [target("chat", 20, Reader::Person)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "orders"), &targets, NOW);
    let due = outbox.take_due(&targets, NOW);
    outbox.settle(due[0].entry, &failed(), NOW, 0.5);
    outbox.add(&notice(2, Recovered, "orders"), &targets, NOW + 500);
    let sent = send_all(&mut outbox, &targets, NOW, NOW + 60_000);
    assert_eq!(kinds(&sent), [Recovered]);
    let alert = &sent[0].1.alerts[0];
    assert_eq!((alert.since_ms, alert.ended_ms), (NOW, Some(NOW + 2)));
    assert_eq!(sent[0].1.id, "2", "whoever got the fault after all takes this for another");
}

#[test]
fn a_recovery_waits_for_the_fault_that_is_being_sent() {
    let targets = [target("chat", 20, Reader::Person)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "orders"), &targets, NOW);
    let due = outbox.take_due(&targets, NOW);
    outbox.add(&notice(2, Recovered, "orders"), &targets, NOW);
    assert_eq!(outbox.take_due(&targets, NOW), []);
    outbox.settle(due[0].entry, &failed(), NOW, 0.0);
    assert_eq!(kinds(&send_all(&mut outbox, &targets, NOW, NOW + 60_000)), [Fault, Recovered]);
}

#[test]
fn what_recovered_and_came_again_is_told_in_its_order() {
    let targets = [target("chat", 20, Reader::Program)];
    let mut outbox = Outbox::default();
    for (id, kind) in [(1, Fault), (2, Changed), (3, Recovered), (4, Fault), (5, Changed)] {
        outbox.add(&notice(id, kind, "orders"), &targets, NOW);
    }
    assert_eq!(kinds(&send_all(&mut outbox, &targets, NOW, NOW + 1_000)), [Recovered, Fault]);
}

#[test]
fn what_comes_and_goes_while_a_target_is_away_is_at_most_two_messages() {
    let targets = [target("chat", 20, Reader::Program)];
    let mut outbox = Outbox::default();
    for id in 0..100 {
        outbox.add(&notice(id, if id % 2 == 0 { Fault } else { Recovered }, "orders"), &targets, NOW);
        assert!(outbox.entries().count() <= 2);
    }
    assert_eq!(kinds(&send_all(&mut outbox, &targets, NOW, NOW + 1_000)), [Recovered]);
}

#[test]
fn the_limit_of_a_target_is_kept_and_a_person_gets_a_digest() {
    for (reader, count) in [(Reader::Person, 1), (Reader::Program, 60)] {
        let targets = [target("dingtalk", 20, reader)];
        let mut outbox = Outbox::default();
        (0..60).for_each(|id| outbox.add(&notice(id, Fault, &format!("s{id:02}")), &targets, NOW));
        let sent = send_all(&mut outbox, &targets, NOW, NOW + 180_000);
        assert_eq!(sent.len(), count, "{reader:?}");
        if reader == Reader::Person {
            assert_eq!((sent[0].1.kind, sent[0].1.alerts.len(), sent[0].1.more), (Digest, 20, 40));
            assert_eq!(sent[0].1.title, "60 messages in one: 60 faults go on, 0 are over");
        }
    }
}

#[test]
fn a_try_counts_against_the_limit_from_when_it_was_answered() {
    let targets = [target("slow", 1, Reader::Program)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "orders"), &targets, NOW);
    outbox.add(&notice(2, Fault, "payments"), &targets, NOW);
    let due = outbox.take_due(&targets, NOW);
    outbox.settle(due[0].entry, &Answer::Sent, NOW + 9_000, 0.5);
    assert_eq!(outbox.next_ms(&targets, NOW + 9_000), Some(NOW + 69_000), "it may have arrived only then");
}

#[test]
fn pauses_grow_to_a_bound_and_a_target_may_ask_for_longer_ones() {
    let targets = [target("chat", 20, Reader::Person)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "orders"), &targets, NOW);
    let (mut now_ms, mut pauses) = (NOW, Vec::new());
    for _ in 0..12 {
        let due = outbox.take_due(&targets, now_ms);
        outbox.settle(due[0].entry, &failed(), now_ms, 0.5);
        let next_ms = outbox.next_ms(&targets, now_ms).unwrap();
        pauses.push(next_ms - now_ms);
        now_ms = next_ms;
    }
    assert_eq!(pauses[..5], [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(pauses[11], MAX_PAUSE_MS);
    let due = outbox.take_due(&targets, now_ms);
    let asked = Answer::Failed { why: "429".into(), again_in_ms: Some(600_000) };
    outbox.settle(due[0].entry, &asked, now_ms, 0.5);
    assert_eq!(outbox.next_ms(&targets, now_ms), Some(now_ms + 600_000));
    assert_eq!(outbox.sending("chat").unwrap().error.as_deref(), Some("429"));
}

#[test]
fn one_that_never_goes_through_holds_up_no_other() {
    let targets = [target("pager", 60, Reader::Program)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "bad"), &targets, NOW);
    outbox.add(&notice(2, Fault, "good"), &targets, NOW);
    let (mut now_ms, mut sent) = (NOW, Vec::new());
    for _ in 0..4 {
        now_ms = outbox.next_ms(&targets, now_ms).unwrap();
        for due in outbox.take_due(&targets, now_ms) {
            let answer = if due.notice.group == "bad" { failed() } else { Answer::Sent };
            sent.extend((answer == Answer::Sent).then_some(due.notice.group));
            outbox.settle(due.entry, &answer, now_ms, 0.5);
        }
    }
    assert_eq!(sent, ["good"]);
}

#[test]
fn what_is_given_up_is_seen() {
    let targets = [target("chat", 20, Reader::Person)];
    let mut outbox = Outbox::default();
    outbox.add(&notice(1, Fault, "orders"), &targets, NOW);
    let due = outbox.take_due(&targets, NOW);
    outbox.settle(due[0].entry, &Answer::Refused { why: "no such channel".into() }, NOW, 0.5);
    outbox.add(&notice(2, Fault, "payments"), &targets, NOW);
    let due = outbox.take_due(&targets, NOW);
    outbox.settle(due[0].entry, &failed(), NOW, 0.5);
    assert_eq!(outbox.take_due(&targets, NOW + GIVES_UP_AFTER_MS), []);
    outbox.add(&notice(3, Fault, "stock"), &targets, NOW);
    outbox.take_due(&[], NOW);
    let why: Vec<&str> = outbox.given_up().iter().map(|given_up| given_up.why.as_str()).collect();
    assert_eq!(
        why,
        ["no such channel", "it could not be sent in a day: refused", "there is no such target any more"]
    );
    assert_eq!((outbox.given_up_count, outbox.entries().count()), (3, 0));
}

#[test]
fn what_waits_is_bounded() {
    let targets = [target("pager", 1, Reader::Program)];
    let mut outbox = Outbox::default();
    (0..1_500).for_each(|id| outbox.add(&notice(id, Fault, &format!("s{id}")), &targets, NOW));
    assert_eq!((outbox.entries().count(), outbox.given_up_count), (MAX_WAITING, 500));
    assert_eq!(outbox.given_up().len(), MAX_GIVEN_UP);
}

#[test]
fn a_target_takes_what_it_is_for() {
    let mut chat = target("chat", 20, Reader::Person);
    chat.takes = Takes {
        environment: Some("prod*".into()),
        service: Some("orders".into()),
        owners: vec!["team-a".into()],
        at_least: Some(Severity::Warning),
    };
    let orders = notice(1, Fault, "orders");
    assert!(chat.takes(&orders), "nobody owns it, so it is for all");
    assert!(chat.takes(&Notice { owners: vec!["team-b".into(), "team-a".into()], ..orders.clone() }));
    assert!(chat.takes(&Notice { service: None, ..orders.clone() }), "one of many services");
    for other in [
        Notice { owners: vec!["team-b".into()], ..orders.clone() },
        Notice { environment: Some("staging".into()), ..orders.clone() },
        Notice { severity: Severity::Info, ..orders },
        notice(1, Fault, "payments"),
    ] {
        assert!(!chat.takes(&other), "{other:?}");
        assert!(chat.takes(&Notice { kind: NoticeKind::Test, ..other }));
    }
}

/// A service of the world outside that keeps the limit itself, and forgets nothing.
#[derive(Default)]
struct Receiver {
    got: Vec<(u64, Notice)>,
}

impl Receiver {
    fn take(&mut self, now_ms: u64, notice: &Notice, limit: usize) -> bool {
        let lately = self.got.iter().filter(|(at_ms, _)| at_ms + MINUTE_MS > now_ms).count();
        self.got.push((now_ms, notice.clone()));
        lately < limit
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Add(usize),
    Wait(u64),
    /// Send: whether the target has it, and whether the answer is heard.
    Send(bool, bool),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (0_usize..9).prop_map(Deed::Add),
        2 => (0_u64..70_000).prop_map(Deed::Wait),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(has, hears)| Deed::Send(has, hears)),
    ];
    prop::collection::vec(deed, 1..120)
}

proptest! {
    #[test]
    fn through_kills_at_each_point_all_is_sent_in_order_within_the_limit(
        deeds in deeds(), is_person in any::<bool>(), limit in 1_u32..6,
    ) {
        let reader = if is_person { Reader::Person } else { Reader::Program };
        let targets = [target("chat", limit, reader)];
        let (mut stored, mut now_ms, mut id) = (Outbox::default(), NOW, 0);
        let mut faulty = [false; 9];
        let mut receiver = Receiver::default();
        for deed in deeds {
            // What was stored is all that is known.
            let mut outbox: Outbox = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            match deed {
                Deed::Add(group) => {
                    id += 1;
                    let kind = if faulty[group] { Recovered } else { Fault };
                    faulty[group] = !faulty[group];
                    outbox.add(&notice(id, kind, &format!("s{group}")), &targets, now_ms);
                    stored = outbox;
                }
                Deed::Wait(ms) => now_ms += ms,
                Deed::Send(has, hears) => {
                    let due = outbox.take_due(&targets, now_ms);
                    stored = outbox.clone();
                    for due in due {
                        if has {
                            prop_assert!(receiver.take(now_ms, &due.notice, limit as usize), "over the limit");
                        }
                        if hears {
                            let answer = if has { Answer::Sent } else { failed() };
                            outbox.settle(due.entry, &answer, now_ms, 0.5);
                        } else {
                            outbox.resume();
                        }
                        stored = outbox.clone();
                    }
                }
            }
        }
        stored.resume();
        let rest = send_all(&mut stored, &targets, now_ms, now_ms + GIVES_UP_AFTER_MS / 2);
        for (at_ms, notice) in rest {
            prop_assert!(receiver.take(at_ms, &notice, limit as usize));
        }
        prop_assert_eq!(stored.entries().count(), 0);
        prop_assert_eq!(stored.given_up_count, 0);
        check_got(&receiver, &faulty, id)?;
    }

    #[test]
    fn a_clock_that_goes_back_delays_by_no_more_than_the_longest_pause(back_ms in 0_u64..1_000_000_000, tries in 1_usize..40) {
        let targets = [target("chat", 5, Reader::Person)];
        let (mut outbox, mut now_ms) = (Outbox::default(), NOW);
        outbox.add(&notice(1, Fault, "orders"), &targets, now_ms);
        for _ in 0..tries {
            now_ms = outbox.next_ms(&targets, now_ms).unwrap();
            let due = outbox.take_due(&targets, now_ms);
            outbox.settle(due[0].entry, &failed(), now_ms, 0.5);
        }
        let now_ms = now_ms - back_ms;
        let next_ms = outbox.next_ms(&targets, now_ms).unwrap();
        prop_assert!(next_ms - now_ms <= MAX_ASKED_PAUSE_MS);
    }
}

/// The last that is said of each group is how it is; nothing older comes after something newer; and copies have one id.
fn check_got(receiver: &Receiver, faulty: &[bool; 9], id: u64) -> Result<(), TestCaseError> {
    let mut last = BTreeMap::<String, (u64, bool)>::new();
    let mut by_id = BTreeMap::<&str, &Notice>::new();
    for (_, got) in &receiver.got {
        prop_assert_eq!(*by_id.entry(&got.id).or_insert(got), got, "one id, one message");
        for alert in &got.alerts {
            let group = alert.subject["service"].clone();
            // Each alert says when it ended by the number of its notice, so a later one is never followed by an earlier one.
            let number = alert.ended_ms.map_or(0, |ended_ms| ended_ms - NOW);
            let seen = last.entry(group).or_default();
            prop_assert!(number == 0 || number >= seen.0, "{} after {}", number, seen.0);
            *seen = (seen.0.max(number), alert.ended_ms.is_none());
        }
    }
    for (group, is_faulty) in faulty.iter().enumerate() {
        let said = last.get(&format!("s{group}")).map(|(_, is_faulty)| *is_faulty);
        prop_assert!(said.unwrap_or(false) == *is_faulty, "s{group}: {said:?}, {is_faulty}, {id} notices");
    }
    Ok(())
}
