//! What holds for every provider: a consumer of everything is a comparison, and using less never fits worse.

use lockstep_contract::{
    Kind, Options, Parsed, Source, Verdict, diff_as, diff_parsed, fit_as, fit_parsed, operations,
};
use serde_json::{Map, Value, json};

use super::schemas::{Dice, changed, schema};

/// Operations of each provider.
const OPERATIONS: usize = 3;
/// Pairs of providers of each format.
const PAIRS: u64 = 80;

/// A provider before and after, and the operations that nothing has happened to.
struct Pair {
    kind: Kind,
    old: Source,
    new: Source,
    untouched: Vec<String>,
}

/// What happens to an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Changed,
    Removed,
}

fn fates(dice: &mut Dice) -> [Fate; OPERATIONS] {
    [(); OPERATIONS].map(|()| match dice.below(10) {
        0..=4 => Fate::Kept,
        5..=8 => Fate::Changed,
        _ => Fate::Removed,
    })
}

fn untouched(fates: [Fate; OPERATIONS], name: impl Fn(usize) -> String) -> Vec<String> {
    (0..OPERATIONS).filter(|index| fates[*index] == Fate::Kept).map(name).collect()
}

fn openapi(dice: &mut Dice) -> Pair {
    let fates = fates(dice);
    let document = |paths: &Map<String, Value>| {
        let text = json!({"openapi": "3.1.0", "info": {}, "paths": paths}).to_string();
        Source::file("api.json", text.into_bytes())
    };
    let (mut old, mut new) = (Map::new(), Map::new());
    for (index, fate) in fates.iter().enumerate() {
        let parts = [schema(dice, 2), schema(dice, 2)];
        let later = [changed(dice, &parts[0]), changed(dice, &parts[1])];
        old.insert(format!("/things{index}/{{id}}"), path(&parts));
        match fate {
            Fate::Kept => drop(new.insert(format!("/things{index}/{{key}}"), path(&parts))),
            Fate::Changed => drop(new.insert(format!("/things{index}/{{id}}"), path(&later))),
            Fate::Removed => {}
        }
    }
    let untouched = untouched(fates, |index| format!("POST /things{index}/{{id}}"));
    Pair { kind: Kind::OpenApi, old: document(&old), new: document(&new), untouched }
}

fn path([request, answer]: &[Value; 2]) -> Value {
    json!({"post": {
        "requestBody": {"content": {"application/json": {"schema": request}}},
        "responses": {"200": {"description": "ok", "content": {"application/json": {"schema": answer}}}}}})
}

fn protobuf(dice: &mut Dice) -> Pair {
    let fates = fates(dice);
    let (mut old, mut new) = ([String::new(), String::new()], [String::new(), String::new()]);
    for (index, fate) in fates.iter().enumerate() {
        let add = |to: &mut [String; 2], fields: &str| {
            to[0] += &format!("rpc Call{index}(In{index}) returns (Out{index});\n");
            to[1] += &format!("message In{index} {{ {fields} }} message Out{index} {{ {fields} }}\n");
        };
        let fields = fields(dice);
        add(&mut old, &fields);
        match fate {
            Fate::Kept => add(&mut new, &fields),
            Fate::Changed => add(&mut new, &self::fields(dice)),
            Fate::Removed => {}
        }
    }
    let file = |[calls, messages]: [String; 2]| {
        let text = format!("syntax = \"proto3\"; package p;\nservice S {{ {calls} }}\n{messages}");
        Source::file("a.proto", text.into_bytes())
    };
    let untouched = untouched(fates, |index| format!("p.S/Call{index}"));
    Pair { kind: Kind::Protobuf, old: file(old), new: file(new), untouched }
}

fn fields(dice: &mut Dice) -> String {
    let kinds = ["string", "bytes", "int32", "int64", "bool", "repeated string"];
    let numbers: Vec<usize> = (1..5).filter(|_| dice.chance(80)).collect();
    let fields = numbers.iter().map(|number| format!("{} f{number} = {number};", dice.pick(&kinds)));
    fields.collect::<Vec<_>>().join(" ")
}

fn graphql(dice: &mut Dice) -> Pair {
    let fates = fates(dice);
    let (mut old, mut new) = ([String::new(), String::new()], [String::new(), String::new()]);
    for (index, fate) in fates.iter().enumerate() {
        let add = |to: &mut [String; 2], types: &[String; 4]| {
            let [output, field, argument, value] = types;
            to[0] += &format!("call{index}(a: {argument}, in: In{index}): Out{index}{output}\n");
            to[1] += &format!(
                "type Out{index} {{ f: {field} e: E{index} }} input In{index} {{ f: {argument} }}\n"
            );
            to[1] += &format!("enum E{index} {{ ONE {value} }}\n");
        };
        let types = types(dice);
        add(&mut old, &types);
        match fate {
            Fate::Kept => add(&mut new, &types),
            Fate::Changed => add(&mut new, &self::types(dice)),
            Fate::Removed => {}
        }
    }
    let file = |[fields, types]: [String; 2]| {
        Source::file("a.graphql", format!("type Query {{ always: Int {fields} }}\n{types}").into_bytes())
    };
    let untouched = untouched(fates, |index| format!("Query.call{index}"));
    Pair { kind: Kind::GraphQl, old: file(old), new: file(new), untouched }
}

fn types(dice: &mut Dice) -> [String; 4] {
    let wrapped = ["Int", "Int!", "[Int!]", "String"];
    [["", "!"].as_slice(), &wrapped, &wrapped, &["TWO", "THREE", ""]]
        .map(|from| (*dice.pick(from)).to_owned())
}

fn messages(dice: &mut Dice) -> Pair {
    let old = schema(dice, 2);
    let new = changed(dice, &old);
    let source = |value: &Value| Source::file("message.json", value.to_string().into_bytes());
    Pair { kind: Kind::JsonSchema, old: source(&old), new: source(&new), untouched: Vec::new() }
}

fn each_pair(mut check: impl FnMut(u64, Pair)) {
    for seed in 0..PAIRS {
        for make in [openapi, protobuf, graphql, messages] {
            check(seed, make(&mut Dice::new(seed)));
        }
    }
}

/// How bad an answer is.
fn badness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Compatible => 0,
        Verdict::NotChecked => 1,
        Verdict::Breaking => 2,
    }
}

#[test]
fn a_consumer_of_everything_gets_the_verdict_of_the_comparison() {
    let mut seen = [0_u32; 3];
    each_pair(|seed, Pair { kind, old, new, .. }| {
        let whole = fit_as(kind, &old, &[], &new, &Options::default()).expect("valid");
        let report = diff_as(kind, &old, &new, &Options::default()).expect("valid");
        assert_eq!(whole.verdict, report.verdict, "{kind} {seed}");
        seen[usize::from(badness(whole.verdict))] += 1;
        assert_eq!((whole.changes, whole.not_checked), (report.changes, report.not_checked), "{kind} {seed}");
    });
    assert!(seen[0] > 0 && seen[2] > 0, "both answers occur: {seen:?}");
}

#[test]
fn using_less_never_fits_worse() {
    each_pair(|seed, Pair { kind, old, new, .. }| {
        let all = operations(&old).expect("valid");
        let judge = |names: &[String]| {
            badness(fit_as(kind, &old, names, &new, &Options::default()).expect("valid").verdict)
        };
        let (whole, named) = (judge(&[]), judge(&all));
        assert!(named <= whole, "{kind} {seed}: {named} and {whole}");
        for left_out in 0..all.len() {
            let mut some = all.clone();
            some.remove(left_out);
            if !some.is_empty() {
                assert!(judge(&some) <= named, "{kind} {seed} without {}", all[left_out]);
            }
        }
    });
}

#[test]
fn what_happens_to_other_operations_does_not_count() {
    each_pair(|seed, Pair { kind, old, new, untouched }| {
        if untouched.is_empty() {
            return;
        }
        let fit = fit_as(kind, &old, &untouched, &new, &Options::default()).expect("valid");
        assert_eq!(fit.verdict, Verdict::Compatible, "{kind} {seed}: {untouched:?}: {:#?}", fit.changes);
    });
}

#[test]
fn contracts_that_were_read_before_give_the_same_answers() {
    each_pair(|seed, Pair { kind, old, new, untouched }| {
        let read = |source| Parsed::read(source, kind).expect("valid");
        let options = Options::default();
        let (before, after) = (read(&old), read(&new));
        let report = diff_as(kind, &old, &new, &options).expect("valid");
        assert_eq!(diff_parsed(&before, &after, &options).expect("valid"), report, "{kind} {seed}");
        assert_eq!(
            fit_parsed(&before, &untouched, &after, &options).expect("valid"),
            fit_as(kind, &old, &untouched, &new, &options).expect("valid"),
            "{kind} {seed}"
        );
    });
}
