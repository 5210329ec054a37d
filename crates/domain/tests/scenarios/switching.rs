//! What a table knows of switches while requests are under way that came in before them.

use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::Look;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::switch::{REMEMBERED_MS, keeps_sides};
use lockstep_domain::{Intent, Strategy};

use crate::simulation::{Stage, deploy, service};

const PLACE: &str = "staging";

fn place() -> Stage {
    let mut stage = Stage::new();
    for version in ["orders@1.0.0", "orders@1.1.0", "other@1.0.0"] {
        stage.release(version, &[]);
    }
    stage.run(PLACE, &deploy(&["orders@1.0.0", "other@1.0.0"]), None);
    stage.holds = true;
    stage
}

fn scale_other(stage: &mut Stage, times: u32) {
    for replicas in 0..times {
        let scale = Intent::Scale { service: service("other"), process: None, replicas: 2 + replicas % 2 };
        stage.run(PLACE, &scale, None);
    }
}

/// How many switches of `orders` the table knows, and whether the old side is in it.
fn known(table: &RouteTable) -> (usize, bool) {
    let orders = &table.services[&service("orders")];
    let old = orders.splits.iter().any(|split| split.version.to_string() == "1.0.0");
    (orders.passages.len(), old)
}

fn keeps(stage: &Stage) -> bool {
    let (environment, observed) = (stage.env(PLACE), stage.observed(PLACE));
    keeps_sides(Look {
        world: &stage.world,
        environment,
        observed: &observed,
        now: stage.now,
        wall: stage.now,
    })
}

#[test]
fn operations_that_move_nothing_make_no_table_forget_a_switch() {
    let mut stage = place();
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    let before = known(&stage.table(PLACE));
    scale_other(&mut stage, 20);
    assert_eq!(known(&stage.table(PLACE)), before);
    assert_eq!(before, (2, true), "it came, and was switched");
    stage.holds = false;
    assert_eq!(known(&stage.table(PLACE)), (0, false));
}

#[test]
fn a_switch_that_lasted_long_is_as_new_as_its_end() {
    let mut stage = place();
    let slow = Strategy::BlueGreen { bake_ms: 2_000, bound: Default::default() };
    let id = stage.begin(PLACE, &deploy(&["orders@1.1.0"]), Some(&slow));
    scale_other(&mut stage, 20);
    for _ in 0..400 {
        stage.step(PLACE);
    }
    assert!(matches!(stage.world.find_operation(id).unwrap().phase, Phase::Done { .. }));
    assert_eq!(known(&stage.table(PLACE)), (2, true));
}

#[test]
fn what_is_left_of_a_switch_is_known_longer_than_its_sides_are_kept() {
    let mut stage = place();
    stage.run(PLACE, &deploy(&["orders@1.1.0"]), None);
    assert!(keeps(&stage));
    stage.now = stage.now.plus_ms(61_000);
    assert_eq!(known(&stage.table(PLACE)), (2, false));
    assert!(!keeps(&stage), "nobody has to look often any more");
    stage.now = stage.now.plus_ms(REMEMBERED_MS);
    assert_eq!(known(&stage.table(PLACE)), (0, false));
}
