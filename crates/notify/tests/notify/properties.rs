//! Whatever is in a notice: what is sent parses, is within its limit, calls nobody whom the target does not name, and links nowhere
//! but to us.

use std::collections::BTreeSet;

use lockstep_monitor::{Notice, NoticeKind};
use lockstep_notify::{Kind, Message, Target, limits, render};
use proptest::prelude::*;

use super::chats::one_of;
use super::letters;
use super::notices::{NOW, any_notice};
use super::strict;

const ALL: [Kind; 8] = [
    Kind::Slack,
    Kind::Dingtalk,
    Kind::Feishu,
    Kind::Wecom,
    Kind::Teams,
    Kind::Pagerduty,
    Kind::Alertmanager,
    Kind::Webhook,
];

fn named(target: &Target) -> &[String] {
    match target {
        Target::Slack(it) => &it.mention,
        Target::Dingtalk(it) => &it.mention,
        Target::Feishu(it) => &it.mention,
        Target::Wecom(it) => &it.mention,
        Target::Teams(it) => &it.mention,
        _ => &[],
    }
}

fn body(notice: &Notice, target: &Target) -> Vec<u8> {
    body_at(notice, target, NOW)
}

fn body_at(notice: &Notice, target: &Target, now_ms: u64) -> Vec<u8> {
    match render(notice, target, now_ms).unwrap() {
        Message::Post(post) => post.body,
        Message::Letter(letter) => letter.bytes,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_body_parses_fits_and_calls_whom_the_target_names(notice in any_notice(), now in prop_oneof![3 => Just(NOW), 1 => any::<u64>()]) {
        for kind in ALL {
            let target = one_of(kind, "https://127.0.0.1");
            let body = body_at(&notice, &target, now);
            let seen = strict::read(kind, &body);
            prop_assert!(seen.is_ok(), "{kind}: {:?}\n{}", seen, String::from_utf8_lossy(&body));
            let seen = seen.unwrap();
            let is_calling = !matches!(notice.kind, NoticeKind::Recovered | NoticeKind::Test);
            let expected: BTreeSet<String> = named(&target).iter().filter(|_| is_calling).cloned().collect();
            prop_assert_eq!(&seen.called, &expected, "{}", kind);
            let ours = BTreeSet::from(["https://lockstep.example.org/alerts/1".to_owned()]);
            // A text that is a link by itself may be taken for ours.
            let ours: BTreeSet<String> = notice.link.clone().into_iter().chain(ours).collect();
            prop_assert!(seen.links.is_subset(&ours), "{kind} links to {:?}", seen.links);
        }
    }

    #[test]
    fn without_anybody_named_nobody_is_called(notice in any_notice()) {
        for kind in [Kind::Slack, Kind::Dingtalk, Kind::Feishu, Kind::Wecom, Kind::Teams] {
            let mut target = one_of(kind, "https://127.0.0.1");
            match &mut target {
                Target::Slack(it) => it.mention.clear(),
                Target::Dingtalk(it) => it.mention.clear(),
                Target::Feishu(it) => it.mention.clear(),
                Target::Wecom(it) => it.mention.clear(),
                Target::Teams(it) => it.mention.clear(),
                _ => unreachable!(),
            }
            let seen = strict::read(kind, &body(&notice, &target)).unwrap();
            prop_assert!(seen.called.is_empty(), "{kind} calls {:?}", seen.called);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_same_notice_gives_the_same_bytes(notice in any_notice()) {
        for kind in ALL {
            let target = one_of(kind, "https://127.0.0.1");
            prop_assert_eq!(body(&notice, &target), body(&notice, &target));
        }
        prop_assert_eq!(body(&notice, &letters::people()), body(&notice, &letters::people()));
    }

    #[test]
    fn a_letter_has_our_fields_alone_and_no_markup_of_others(notice in any_notice()) {
        let bytes = body(&notice, &letters::people());
        prop_assert!(bytes.len() <= limits(Kind::Mail).body_bytes);
        let letter = letters::read(&bytes);
        prop_assert!(letter.is_ok(), "{:?}\n{}", letter, String::from_utf8_lossy(&bytes));
    }
}
