use proptest::prelude::*;

use super::*;

#[test]
fn a_condition_is_read_strictly_and_written_as_it_is_read() {
    for text in
        ["header:x-lane=login", "cookie:Lane=a=b", "user:ann@example.org", "share:2.5%", "header:x=a:b"]
    {
        assert_eq!(text.parse::<LaneWhen>().unwrap().to_string(), text);
    }
    assert_eq!("header:X-Lane=Login".parse::<LaneWhen>().unwrap().to_string(), "header:x-lane=Login");
    for text in [
        "",
        "x-lane=login",
        "header:x-lane",
        "header:=login",
        "header:x-lane=",
        "header:a b=c",
        "cookie:a=b;c",
        "user:",
        "user:a\nb",
        "share:0%",
        "share:100%",
        "share:x",
        "path:/orders",
        "Header:x=y",
    ] {
        assert!(text.parse::<LaneWhen>().is_err(), "{text}");
    }
    assert!(format!("user:{}", "x".repeat(257)).parse::<LaneWhen>().is_err());
}

fn lane(name: &str, services: &[usize], share: u32) -> NewLane {
    let service = |index: &usize| LaneService {
        service: format!("s{index}").parse().unwrap(),
        version: VersionNumber::new(1, 1, 0),
        config: ConfigRevision(0),
    };
    NewLane {
        name: name.parse().unwrap(),
        services: services.iter().map(service).collect(),
        when: vec![LaneWhen::Share(share)],
        owner: "ann".into(),
        until: LaneEnd::After(Timestamp(1_000)),
        replicas: 1,
        reason: String::new(),
    }
}

proptest! {
    #[test]
    fn no_client_is_in_the_shares_of_two_lanes_and_a_lane_falls_as_a_whole(
        steps in prop::collection::vec((1..4_000_u32, prop::collection::btree_set(0..4_usize, 1..4), any::<bool>()), 1..20),
    ) {
        let (ann, mut rules) = (Actor::lockstep(), VersionRules::default());
        for (index, (share, services, ends)) in (1_u64..).zip(steps) {
            let new = lane(&format!("l{index}"), &services.into_iter().collect::<Vec<_>>(), share);
            let taken: u32 = rules.lanes.lanes.iter().filter_map(|it| it.new.when[0].share()).sum();
            let begun = rules.begin_lane(&new, index, (&ann, Timestamp(0))).is_ok();
            prop_assert_eq!(begun, taken + share <= FULL_WEIGHT);
            let mut all: Vec<_> = rules.lanes.lanes.iter().flat_map(|it| it.places.clone()).collect();
            all.sort_by_key(|places| places.from);
            prop_assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from));
            if ends && let Some(number) = rules.rules.front().map(|rule| rule.number) {
                rules.end(|rule| rule.number == number, (&ann, Timestamp(1)), "");
            }
            let of_rules: BTreeSet<_> = rules.rules.iter().map(|rule| rule.record).collect();
            let of_lanes: BTreeSet<_> = rules.lanes.lanes.iter().map(|lane| lane.record).collect();
            prop_assert_eq!(of_rules, of_lanes);
            for lane in &rules.lanes.lanes {
                let its = rules.rules.iter().filter(|rule| rule.record == lane.record);
                prop_assert_eq!(its.count(), lane.new.services.len());
            }
        }
    }
}
