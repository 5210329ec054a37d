use proptest::prelude::*;

use super::*;

fn ips(all: &[&str]) -> Vec<IpAddr> {
    all.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn found(all: &[&str], ttl_ms: u64) -> Heard {
    Heard::Addresses { taken: take(&ips(all), SaidBy::Names, |_| false), ttl_ms }
}

fn set(all: &[&str]) -> BTreeSet<IpAddr> {
    ips(all).into_iter().collect()
}

const BOUNDS: LookupBounds = LookupBounds { least_ms: 5_000, most_ms: 300_000 };

#[test]
fn no_answer_leads_to_what_only_this_machine_may_reach() {
    for (ip, why) in [
        ("127.0.0.1", Unfit::Loopback),
        ("127.8.9.1", Unfit::Loopback),
        ("::1", Unfit::Loopback),
        ("::ffff:127.0.0.1", Unfit::Loopback),
        ("::127.0.0.1", Unfit::Loopback),
        ("64:ff9b::7f00:1", Unfit::Loopback),
        ("2002:7f00:1::", Unfit::Loopback),
        ("64:ff9b:1::7f00:1", Unfit::Loopback),
        ("::ffff:0:7f00:1", Unfit::Loopback),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", Unfit::Loopback),
        ("2001:db8::5efe:7f00:1", Unfit::Loopback),
        ("192.0.0.192", Unfit::Metadata),
        ("169.254.169.254", Unfit::LinkLocal),
        ("64:ff9b::a9fe:a9fe", Unfit::LinkLocal),
        ("::ffff:169.254.169.254", Unfit::LinkLocal),
        ("fe80::1", Unfit::LinkLocal),
        ("fd00:ec2::254", Unfit::Metadata),
        ("fd20:ce::254", Unfit::Metadata),
        ("100.100.100.200", Unfit::Metadata),
        ("168.63.129.16", Unfit::Metadata),
        ("0.0.0.0", Unfit::Nobody),
        ("0.1.2.3", Unfit::Nobody),
        ("255.255.255.255", Unfit::Nobody),
        ("224.0.0.1", Unfit::Nobody),
        ("::", Unfit::Nobody),
        ("ff02::1", Unfit::Nobody),
    ] {
        let taken = take(&ips(&[ip]), SaidBy::Names, |_| false);
        assert!(taken.ips.is_empty(), "{ip}");
        assert_eq!(taken.unfit.iter().map(|it| it.1).collect::<Vec<_>>(), [why], "{ip}");
    }
    for ip in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd12::1", "2001:db8::1", "8.8.8.8"] {
        assert_eq!(take(&ips(&[ip]), SaidBy::Names, |_| false).ips, set(&[ip]), "{ip}");
    }
}

#[test]
fn the_machine_may_say_loopback_and_nobody_may_say_the_gateway_itself() {
    let all = ips(&["127.0.0.1", "10.0.0.7", "0.0.0.0"]);
    assert_eq!(take(&all, SaidBy::LocalNames, |_| false).ips, set(&["127.0.0.1", "10.0.0.7"]));
    assert!(take(&ips(&["169.254.169.254"]), SaidBy::LocalNames, |_| false).ips.is_empty());
    assert_eq!(take(&all, SaidBy::Machine, |_| false).ips, set(&["127.0.0.1", "10.0.0.7"]));
    let taken = take(&all, SaidBy::Machine, |ip| ip.is_loopback());
    assert_eq!(taken.ips, set(&["10.0.0.7"]));
    assert!(taken.unfit.contains(&(all[0], Unfit::Itself)));
}

#[test]
fn what_turns_out_to_be_unfit_is_not_kept() {
    let mut name = Found::default();
    assert!(name.hear(found(&["10.0.0.1", "10.0.0.2"], 0), 0, BOUNDS));
    let own = take(&ips(&["10.0.0.1"]), SaidBy::Names, |_| true);
    assert!(name.hear(Heard::Addresses { taken: own, ttl_ms: 0 }, 0, BOUNDS));
    assert_eq!(name.ips, set(&["10.0.0.2"]));
}

#[test]
fn an_answer_holds_as_long_as_it_says_within_bounds() {
    let mut name = Found::default();
    for (ttl_ms, next_ms) in [(0, 5_000), (60_000, 60_000), (u64::MAX / 2, 300_000)] {
        name.hear(found(&["10.0.0.1"], ttl_ms), 0, BOUNDS);
        assert_eq!(name.next_ms, next_ms);
    }
}

#[test]
fn addresses_that_were_good_are_kept_while_nobody_can_say_and_are_not_poisoned() {
    let mut name = Found::default();
    assert!(name.hear(found(&["10.0.0.1", "10.0.0.2"], 1_000), 0, BOUNDS));
    assert!(!name.hear(found(&["10.0.0.2", "10.0.0.1"], 1_000), 5_000, BOUNDS), "the same in another order");
    let mut now = 10_000;
    for _ in 0..20 {
        assert!(!name.hear(Heard::Failed("SERVFAIL".into()), now, BOUNDS));
        assert!(name.next_ms > now && name.next_ms <= now + 30_000);
        now = name.next_ms;
    }
    assert_eq!((name.ips.len(), name.trouble.as_deref(), name.since_ms), (2, Some("SERVFAIL"), 10_000));
    assert!(!name.hear(found(&["127.0.0.1"], 1_000), now, BOUNDS));
    assert!(name.trouble.as_deref().unwrap().contains("loopback") && name.ips.len() == 2);
    assert!(name.hear(found(&["10.0.0.3"], 1_000), now, BOUNDS));
    assert_eq!((&name.ips, &name.trouble), (&set(&["10.0.0.3"]), &None));
}

#[test]
fn a_name_that_is_gone_is_given_up_after_a_while_and_not_at_the_first_word() {
    let mut name = Found::default();
    name.hear(found(&["10.0.0.1"], 1_000), 0, BOUNDS);
    let missing = || Heard::Missing("no such name".into());
    assert!(!name.hear(missing(), 5_000, BOUNDS) && !name.hear(missing(), 34_999, BOUNDS));
    assert!(!name.hear(Heard::Failed("timeout".into()), 35_000, BOUNDS), "nobody said that it is gone");
    assert!(!name.hear(missing(), 36_000, BOUNDS) && name.hear(missing(), 66_000, BOUNDS));
    assert!(name.ips.is_empty());
    assert!(name.hear(found(&["10.0.0.1"], 1_000), 70_000, BOUNDS));
}

#[test]
fn instances_are_named_by_their_address() {
    let long = "a".repeat(250);
    for instance in ["db", long.as_str()] {
        let named = NamedEndpoint {
            instance: instance.parse().unwrap(),
            host: "db.example".parse().unwrap(),
            port: 5,
            zone: None,
        };
        let one = named.at("2001:db8::1".parse().unwrap());
        assert!(one.instance.as_str().ends_with("-2001-db8--1"), "{}", one.instance);
        assert_eq!(one.place(), "[2001:db8::1]:5 (db.example)");
        assert_eq!(named.unknown().place(), "db.example:5");
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_bounded_and_the_same_in_any_order(all in prop::collection::vec(any::<IpAddr>(), 0..400), seed in any::<u64>()) {
        let taken = take(&all, SaidBy::Names, |_| false);
        prop_assert!(taken.ips.len() <= MAX_ADDRESSES && taken.unfit.len() <= MAX_ADDRESSES);
        let mut other = all;
        let by = usize::try_from(seed % 400).unwrap() % other.len().max(1);
        other.rotate_left(by);
        prop_assert_eq!(&take(&other, SaidBy::Names, |_| false), &taken);
        for ip in &taken.ips {
            prop_assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
        }
    }

    #[test]
    fn only_a_good_answer_or_a_name_that_is_gone_changes_addresses(words in prop::collection::vec((0_u8..4, 0_u64..40_000), 0..60)) {
        let (mut name, mut now, mut missing_since) = (Found::default(), 0, None);
        for (word, later) in words {
            now += later;
            let before = name.ips.clone();
            let heard = match word {
                0 => found(&["10.0.0.1", "10.0.0.2"], later),
                1 => found(&["10.0.0.3"], later),
                2 => Heard::Failed("x".into()),
                _ => Heard::Missing("x".into()),
            };
            missing_since = if word == 3 { missing_since.or(Some(now)) } else { None };
            let changed = name.hear(heard, now, BOUNDS);
            prop_assert_eq!(changed, before != name.ips);
            let may = word < 2 || missing_since.is_some_and(|since| now - since >= HOLD_MISSING_MS);
            prop_assert!(may || !changed);
            prop_assert!(name.next_ms > now && name.next_ms <= now + 300_000);
        }
    }
}
