use proptest::prelude::*;

use super::*;
use crate::approach::Approach;
use crate::protocol::Protocol;
use crate::routes::SplitRole;

fn version(minor: u64) -> VersionNumber {
    VersionNumber::new(1, minor, 0)
}

fn side(minor: u64) -> Side {
    Side { version: version(minor), config: ConfigRevision(0) }
}

fn split(minor: u64, weight: u32) -> Split {
    Split {
        version: version(minor),
        config: ConfigRevision(0),
        weight,
        role: if weight == 0 { SplitRole::Pinned } else { SplitRole::Stable },
        endpoints: Vec::new(),
        leaving: Vec::new(),
        named: Vec::new(),
        protocol: Protocol::default(),
        policy: None,
        approach: Approach::default(),
    }
}

fn service(passages: Vec<Passage>, splits: Vec<Split>) -> ServiceRoutes {
    ServiceRoutes {
        salt: salt(passages.last().map_or(0, |it| it.operation)),
        splits,
        watch: None,
        version_rules: Vec::new(),
        fallback: None,
        mirror: None,
        growth: None,
        passages,
    }
}

fn passage(operation: u64, from: u64, to: u64, weights: &[u32]) -> Passage {
    Passage { operation, from: Some(side(from)), to: side(to), weights: weights.to_vec() }
}

fn switches(newest: u64, known: &[(u64, u32, bool)]) -> Switches {
    let known = known.iter().map(|&(operation, taken, over)| Switch { operation, taken, over }).collect();
    Switches { newest, known }
}

fn minor(routes: &ServiceRoutes, switches: &Switches, admission: &str, key: &[u8]) -> Option<u64> {
    match routes.belonging(switches, &admission.parse().unwrap(), key) {
        Belongs::To { split, .. } => Some(split.version.minor()),
        Belongs::Gone(_) | Belongs::Here => None,
    }
}

#[test]
fn a_request_stays_with_the_state_it_was_admitted_under() {
    // 1.0 -> 1.1 in operation 41, back again in 45, and on to 1.2 in 50, which is under way.
    let routes = service(
        vec![
            passage(41, 0, 1, &[FULL_WEIGHT]),
            passage(45, 1, 0, &[FULL_WEIGHT]),
            passage(50, 0, 2, &[0, FULL_WEIGHT]),
        ],
        vec![split(2, 0), split(1, 0), split(0, FULL_WEIGHT)],
    );
    let now = switches(50, &[(41, 1, true), (45, 1, true), (50, 1, false)]);
    for (admission, expected) in [
        ("40", 0),
        ("41.41_0", 0),
        ("41.41_1", 1),
        ("41", 1),
        ("45.45_0", 1),
        ("45.45_1", 0),
        ("49", 0),
        ("50.50_1", 0),
        ("50.50_2", 2),
        ("50.50_1o", 0),
        ("51", 0),
    ] {
        assert_eq!(minor(&routes, &now, admission, b"ann"), Some(expected), "{admission}");
    }
}

#[test]
fn a_gateway_that_is_a_step_behind_already_knows_where_the_next_step_leads() {
    let routes = service(vec![passage(7, 0, 1, &[FULL_WEIGHT])], vec![split(1, 0), split(0, FULL_WEIGHT)]);
    let behind = switches(7, &[(7, 0, false)]);
    assert_eq!(minor(&routes, &behind, "7.7_1", b"ann"), Some(1));
    assert_eq!(minor(&routes, &behind, "7.7_0", b"ann"), Some(0));
}

#[test]
fn what_was_taken_back_is_found_by_those_who_were_on_its_side() {
    let routes = service(vec![passage(7, 0, 1, &[FULL_WEIGHT, 0])], vec![split(1, 0), split(0, FULL_WEIGHT)]);
    let now = switches(7, &[(7, 2, true)]);
    assert_eq!(minor(&routes, &now, "7.7_1", b"ann"), Some(1));
    assert_eq!(minor(&routes, &now, "7.7_2", b"ann"), Some(0));
    assert_eq!(minor(&routes, &now, "7", b"ann"), Some(0));
    assert_eq!(minor(&routes, &now, "6", b"ann"), Some(0));
}

#[test]
fn what_is_gone_is_said_and_who_was_before_the_service_gets_what_is() {
    let routes = service(vec![passage(7, 0, 1, &[FULL_WEIGHT])], vec![split(1, FULL_WEIGHT)]);
    let now = switches(7, &[(7, 1, true)]);
    let old: Admission = "6".parse().unwrap();
    assert_eq!(routes.belonging(&now, &old, b"ann"), Belongs::Gone(&side(0)));
    let mut fresh = routes;
    fresh.passages[0].from = None;
    assert_eq!(fresh.belonging(&now, &old, b"ann"), Belongs::Here);
}

fn arm(service: &str, minor: u64) -> Arm {
    Arm {
        service: service.parse().unwrap(),
        version: version(minor),
        config: ConfigRevision(0),
        process: None,
    }
}

#[test]
fn a_caller_that_forwards_nothing_belongs_to_the_side_that_its_version_is_on() {
    let web = service(vec![passage(7, 0, 1, &[500, FULL_WEIGHT])], vec![split(1, 0), split(0, FULL_WEIGHT)]);
    let orders =
        service(vec![passage(7, 3, 4, &[500, FULL_WEIGHT])], vec![split(4, 0), split(3, FULL_WEIGHT)]);
    // Without a step here, whoever let the request in was ahead.
    for (taken, over) in [(0, false), (1, false), (2, false), (2, true)] {
        let now = switches(7, &[(7, taken, over)]);
        for (caller, expected) in [(0, 3), (1, 4)] {
            let admission = Admission::of_caller(&now, &web, &arm("web", caller)).unwrap();
            for key in 0..100_u32 {
                let said = admission.to_string();
                assert_eq!(minor(&orders, &now, &said, &key.to_be_bytes()), Some(expected), "{taken} {said}");
            }
        }
    }
    assert_eq!(Admission::of_caller(&switches(7, &[(7, 1, false)]), &web, &arm("web", 9)), None);
}

#[test]
fn a_gateway_that_has_not_heard_of_the_taking_back_leads_nobody_forward_who_was_admitted_after_it() {
    let routes = service(
        vec![passage(7, 0, 1, &[500, FULL_WEIGHT, 0])],
        vec![split(1, 500), split(0, FULL_WEIGHT - 500)],
    );
    let behind = switches(7, &[(7, 1, false)]);
    for key in 0..100_u32 {
        assert_eq!(minor(&routes, &behind, "7.7_3", &key.to_be_bytes()), Some(0));
    }
    assert_eq!(minor(&routes, &behind, "7.7_9", b"ann"), Some(0), "nor who says that there are more steps");
}

#[test]
fn the_version_of_a_caller_says_nothing_of_the_shares_of_another_wave() {
    let cab = service(
        vec![passage(7, 0, 1, &[0, 0, 5_000, FULL_WEIGHT, 0])],
        vec![split(1, 0), split(0, FULL_WEIGHT)],
    );
    let store = service(
        vec![passage(7, 3, 4, &[5_000, FULL_WEIGHT, FULL_WEIGHT, FULL_WEIGHT, 0])],
        vec![split(4, 5_000), split(3, 5_000)],
    );
    let asked = |taken, caller| {
        let now = switches(7, &[(7, taken, false)]);
        let said = Admission::of_caller(&now, &cab, &arm("cab", caller)).unwrap().to_string();
        let new = (0..1_000_u32).filter(|key| minor(&store, &now, &said, &key.to_be_bytes()) == Some(4));
        new.count()
    };
    assert!((400..600).contains(&asked(1, 0)), "{}", asked(1, 0));
    assert_eq!((asked(2, 0), asked(3, 0), asked(3, 1), asked(4, 1)), (1_000, 1_000, 1_000, 1_000));
}

#[test]
fn what_the_shares_of_now_gave_one_hop_before_counts_and_what_is_over_does_not_matter() {
    let routes = service(
        vec![passage(6, 0, 1, &[FULL_WEIGHT, 0]), passage(7, 1, 2, &[5_000, FULL_WEIGHT, 0])],
        vec![split(2, 5_000), split(1, 5_000)],
    );
    let now = switches(7, &[(6, 1, true), (7, 1, false)]);
    let is_drawn = |admission: &str| match routes.belonging(&now, &admission.parse().unwrap(), b"ann") {
        Belongs::To { is_drawn, .. } => is_drawn,
        other => panic!("{other:?}"),
    };
    for (admission, expected) in [
        ("7.7_1", true),
        ("7.7_1n", true),
        ("7.7_1o", true),
        ("7.6_1.7_1o", true),
        ("7.6_1n.7_1o", true),
        ("7.7_0", false),
        ("6", false),
    ] {
        assert_eq!(is_drawn(admission), expected, "{admission}");
    }
}

#[test]
fn who_is_left_of_a_switch_before_the_last_one_belongs_to_that() {
    // There and back again: the second switch has been announced, and nobody has taken a step of it.
    let web = service(
        vec![passage(7, 0, 1, &[FULL_WEIGHT]), passage(8, 1, 0, &[FULL_WEIGHT])],
        vec![split(0, 0), split(1, FULL_WEIGHT)],
    );
    let orders = service(
        vec![passage(7, 3, 4, &[FULL_WEIGHT]), passage(8, 4, 3, &[FULL_WEIGHT])],
        vec![split(3, 0), split(4, FULL_WEIGHT)],
    );
    let now = switches(8, &[(7, 1, true), (8, 0, false)]);
    for (caller, expected) in [(0, 3), (1, 4)] {
        let admission = Admission::of_caller(&now, &web, &arm("web", caller)).unwrap();
        assert_eq!(minor(&orders, &now, &admission.to_string(), b"ann"), Some(expected), "{admission}");
    }
}

#[test]
fn texts_of_anybody_are_refused_or_bounded() {
    for bad in [
        "",
        ".",
        "x",
        "1.",
        "1._",
        "1.2",
        "1.2_",
        "1.+2_1",
        "1.2_+1",
        "1.2_1*",
        "1.2_1+",
        "1.2_n",
        "-1",
        "+1",
        "1.2_99999999999",
        "1 ",
    ] {
        assert_eq!(bad.parse::<Admission>(), Err(AdmissionError), "{bad}");
    }
    let many = format!("1{}", ".1_1".repeat(MAX_SWITCHES + 1));
    assert_eq!(many.parse::<Admission>(), Err(AdmissionError));
}

fn any_admission() -> impl Strategy<Value = Admission> {
    let seen = (any::<u64>(), any::<u32>(), any::<Option<bool>>());
    let seen = seen.prop_map(|(operation, steps, side)| Seen { operation, steps, side });
    let seen = prop::collection::vec(seen, 0..=MAX_SWITCHES);
    (any::<u64>(), seen).prop_map(|(newest, seen)| Admission { newest, seen })
}

proptest! {
    #[test]
    fn what_is_written_is_read(admission in any_admission()) {
        let text = admission.to_string();
        prop_assert!(text.len() <= MAX_TEXT_BYTES);
        prop_assert_eq!(text.parse(), Ok(admission));
    }

    /// Whatever the services of one operation are asked for and whenever, who was admitted at one moment finds all of them on one side of the shares of that moment.
    #[test]
    fn one_admission_is_one_state(
        key in prop::collection::vec(any::<u8>(), 0..8),
        weights in prop::collection::vec(0..=FULL_WEIGHT, 1..5),
        admitted in 0_u32..6,
        looked in prop::collection::vec(0_u32..6, 4),
    ) {
        let mut weights = weights;
        weights.sort_unstable();
        let last = u32::try_from(weights.len()).unwrap();
        let at = |taken: u32| switches(7, &[(7, taken.min(last), taken > last)]);
        let routes = service(vec![passage(7, 0, 1, &weights)], vec![split(1, 0), split(0, FULL_WEIGHT)]);
        let admission = Admission::now(&at(admitted)).unwrap();
        let weight = weights.get((admitted.min(last) as usize).wrapping_sub(1)).copied().unwrap_or(0);
        // Who was admitted when it was over says nothing of it, which gateways understand that have confirmed the last step.
        let looked = looked.into_iter().map(|it| if admitted > last { it.max(last) } else { it });
        for looked in looked {
            let found = minor(&routes, &at(looked), &admission.to_string(), &key);
            let is_new = weight == FULL_WEIGHT || (weight > 0 && slot(&salt(7), &key) < weight);
            prop_assert_eq!(found, Some(u64::from(is_new)));
        }
    }
}
