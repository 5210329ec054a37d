use proptest::prelude::*;

use lockstep_domain::priority::Priority;

use super::*;

fn way() -> Way {
    Way {
        environment: "production".parse().unwrap(),
        client: IpAddr::from([127, 0, 0, 1]),
        caller: Caller::Outside,
        https: false,
        seat: None,
        arm: None,
        place: 0,
        priority: Priority::Normal,
    }
}

fn numbers(ring: &Ring, most: usize) -> Vec<u64> {
    ring.newest(most).iter().map(|slot| slot.number).collect()
}

#[test]
fn the_end_of_a_request_that_is_kept_no_more_is_not_that_of_another() {
    let ring = Ring::new(2);
    let first = ring.keep(way(), |_| {});
    let second = ring.keep(way(), |_| {});
    ring.keep(way(), |_| {});
    let report = |status| Report { status, ..Report::begin() };
    ring.end(first, &report(500), Duration::ZERO);
    ring.end(second, &report(201), Duration::ZERO);
    ring.end(99, &report(500), Duration::ZERO);
    let statuses: Vec<_> =
        ring.newest(9).iter().map(|slot| slot.ended.as_ref().map(|ended| ended.status)).collect();
    assert_eq!(statuses, [None, Some(201)]);
}

proptest! {
    #[test]
    fn the_newest_are_there_and_no_more_than_there_is_room_for(room in 1_usize..600, count in 0_u64..1_500, most in 0_usize..700) {
        let ring = Ring::new(room);
        for _ in 0..count {
            ring.keep(way(), |_| {});
        }
        let expected: Vec<u64> = (1..=count).rev().take(most.min(room)).collect();
        prop_assert_eq!(numbers(&ring, most), expected);
    }
}
