use proptest::prelude::*;

use super::*;
use crate::counts::Answers;
use crate::counts::Split;
use crate::quantity::Weight;
use crate::verdict::{Verdict, Waiting};

const GOOD: &str = "\u{feff}interval, arm, weight, requests, 5xx, 5xx keys, slower 250\r\n\
                    1,new,5,50,3,1,\r\n1,old,5,950,2,2,7\r\n\r\n4,new,changed,50,0,,\n";

#[test]
fn a_recording_is_read_with_its_gaps() {
    let recording = read(GOOD, 10_000).unwrap();
    assert_eq!(recording.latency_bounds_ms, [250]);
    assert_eq!((recording.first_interval, recording.interval_ms), (1, 10_000));
    let [Reading::Counted(first), Reading::Missing, Reading::Missing, Reading::Counted(last)] =
        &recording.readings[..]
    else {
        panic!("{recording:?}");
    };
    assert_eq!((first.split, last.split), (Split::Drawn(Weight(500)), Split::Changed));
    let failing = ["5xx".parse().unwrap()];
    assert_eq!(first.total.new.of_classes(&failing), Answers { answers: 3, keys: 1 });
    assert_eq!(first.total.old.slower_than(250), Answers::each(7));
    assert_eq!(first.lasted_ms, 10_000);
}

#[test]
fn classes_without_a_total_are_added_up() {
    let text = "interval,arm,class,requests,5xx\n0,new,POST /pay,10,1\n0,new,other,5,0\n0,old,other,90,2\n";
    let recording = read(text, 1).unwrap();
    let [Reading::Counted(interval)] = &recording.readings[..] else { panic!("{recording:?}") };
    assert_eq!((interval.total.new.requests, interval.total.old.requests), (15, 90));
    assert_eq!(recording.plan(Rules::default()).classes.len(), 2);
}

#[test]
fn of_too_much_a_plan_takes_what_tells_most() {
    let bounds = [1, 2, 5, 10, 50, 100, 500];
    let head: String = bounds.iter().map(|bound| format!(",slower {bound}")).collect();
    let class = |i: u64| format!("0,old,GET /{i},{},0,0,0,0,0,0,0\n", i + 1);
    let lines: String = (0..60).map(class).collect();
    let text = format!("interval,arm,class,requests{head}\n{lines}0,old,,1000,999,990,500,100,50,10,0\n");
    let plan = read(&text, 1).unwrap().plan(Rules::default());
    assert_eq!(plan.latency_bounds_ms, [5, 10, 50, 100].into());
    assert_eq!(plan.classes.len(), MAX_CLASSES);
    assert!(!plan.classes.contains(&"GET /9".parse().unwrap()));
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn all_mistakes_are_told_with_line_and_column() {
    let text = "interval,arm,weight,requests,5xx\n1,new,5,50,51\nx,old,500,9,1\n1,new,5,1,0\n1,old,6,1,0\n2,both,,-1,0\n3,new\n";
    let told: Vec<_> = read(text, 1).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2, column `5xx`: more answers than requests",
            "line 3, column `interval`: `x` is not a whole number",
            "line 3, column `weight`: `500` is not a percentage from 0 to 100, nor `changed`",
            "line 5, column `weight`: differs within the interval: write `changed` on all its lines",
            "line 6, column `arm`: `both` is not an arm: expected `new` or `old`",
            "line 6, column `requests`: `-1` is not a whole number",
            "line 7, column `interval`: 2 fields, expected 5",
        ]
    );
    let head: Vec<_> =
        read("interval,arm,request,5xx,5xx\n", 1).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        head,
        [
            "line 1, column `request`: is not a column: see the description of recordings",
            "line 1, column `5xx`: is there twice",
            "line 1, column `requests`: is missing",
        ]
    );
}

#[test]
fn what_is_no_recording_is_refused() {
    for bad in [
        "",
        "\n\n",
        "interval,arm,requests\n",
        "interval,arm,requests\n0,new,1\n18446744073709551615,new,1\n",
    ] {
        assert!(read(bad, 1).is_err(), "{bad:?}");
    }
    let twice = "interval,arm,requests\n0,new,1\n0,new,1\n";
    assert!(read(twice, 1).unwrap_err()[0].why.contains("before"));
}

#[test]
fn a_bad_version_in_a_recording_fails_as_it_would_have() {
    let line = |i, new| format!("{i},new,10,100,{new}\n{i},old,10,900,1\n");
    let lines: String = (0..3).map(|i| line(i, 20)).collect();
    let recording = read(&format!("interval,arm,weight,requests,5xx\n{lines}"), 10_000).unwrap();
    let plan = recording.plan(Rules::default());
    let looks: Vec<_> = recording.looks(&plan).collect();
    assert_eq!(looks.iter().map(|look| look.after_ms).collect::<Vec<_>>(), [10_000, 20_000, 30_000]);
    assert!(matches!(looks[2].judgement.verdict, Verdict::Fail(_)), "{looks:?}");
}

#[test]
fn what_is_recorded_is_the_bake_and_each_larger_share_waits_for_its_own_requests() {
    let line = |i, weight, new| format!("{i},new,{weight},{new},0\n{i},old,{weight},900,0\n");
    let text = [line(7, 10, 90), line(8, 10, 20), line(10, 50, 90)].concat();
    let recording = read(&format!("interval,arm,weight,requests,5xx\n{text}"), 1_000).unwrap();
    let plan = recording.plan(Rules::default());
    let looks: Vec<_> = recording.looks(&plan).collect();
    assert_eq!(looks.iter().map(|look| look.interval).collect::<Vec<_>>(), [7, 8, 9, 10]);
    let waits_for = |look: &Looked| match &look.judgement.verdict {
        Verdict::None(waiting) => waiting.clone(),
        other => panic!("{other:?}"),
    };
    let requests = |look| waits_for(look).iter().any(|one| matches!(one, Waiting::Requests { .. }));
    assert!(requests(&looks[0]) && !requests(&looks[1]));
    assert_eq!(waits_for(&looks[1]), [Waiting::Bake { ms: 2_000 }]);
    assert!(requests(&looks[3]), "half of the clients, of which only 90 requests were seen");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(interval|arm|requests|weight|5xx|slower 1|new|old|[0-9]{1,20}|,|\n| |changed|é){0,60}") {
        let _ = read(&text, 10_000);
        let _ = read(&format!("interval,arm,weight,requests,5xx\n{text}"), 10_000);
    }
}
