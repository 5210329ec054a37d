//! What holds for every contract: no difference with itself, no regard for order, and safety that adds up.

use lockstep_contract::{Bump, ProtobufPolicy, Verdict};
use proptest::{prelude::*, sample::Index};

use super::report;

const TYPES: [&str; 9] = ["int32", "int64", "uint32", "bool", "sint64", "fixed32", "string", "bytes", "M0"];

#[derive(Debug, Clone)]
struct Field {
    number: u8,
    kind: Index,
    repeated: bool,
    reserved: bool,
}

fn field() -> impl Strategy<Value = Field> {
    (1_u8..6, any::<Index>(), any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(number, kind, repeated, reserved)| Field { number, kind, repeated, reserved })
}

fn messages() -> impl Strategy<Value = Vec<Vec<Field>>> {
    prop::collection::vec(prop::collection::vec(field(), 0..5), 1..4)
}

/// Types that readers of one another may take for each other, by field number.
const LIKE: [&[&str]; 3] = [&["int32", "uint32", "int64", "bool"], &["string"], &["fixed32", "sfixed32"]];

/// Three versions of a message whose fields mostly change safely: the version in which each appears, and its types.
fn history() -> impl Strategy<Value = [String; 3]> {
    let field = (0_usize..4, [any::<Index>(), any::<Index>(), any::<Index>()], prop::bool::weighted(0.1));
    prop::collection::vec(field, LIKE.len()).prop_map(|fields| {
        [0, 1, 2].map(|version| {
            let lines = fields.iter().zip(LIKE).enumerate().filter(|(_, ((since, ..), _))| *since <= version);
            let lines = lines.map(|(index, ((_, kinds, rare), like))| {
                let kind = if *rare && version == 1 { "bytes" } else { *kinds[version].get(like) };
                format!("{kind} f{index} = {};", index + 1)
            });
            format!("syntax = \"proto3\"; message M {{ {} }}", lines.collect::<Vec<_>>().join(" "))
        })
    })
}

/// Writes messages `M0`, `M1`, ...; the first field of a number counts.
fn text(messages: &[Vec<Field>], reversed: bool) -> String {
    let mut written: Vec<String> = messages
        .iter()
        .enumerate()
        .map(|(index, fields)| {
            let mut seen = [false; 8];
            let mut lines: Vec<String> = fields
                .iter()
                .filter(|field| !std::mem::replace(&mut seen[usize::from(field.number)], true))
                .map(|field| match (field.reserved, field.repeated) {
                    (true, _) => format!("reserved {0}; reserved \"f{0}\";", field.number),
                    (_, true) => format!("repeated {0} f{1} = {1};", field.kind.get(&TYPES), field.number),
                    (_, false) => format!("{0} f{1} = {1};", field.kind.get(&TYPES), field.number),
                })
                .collect();
            if reversed {
                lines.reverse();
            }
            format!("message M{index} {{ {} }}", lines.join("\n"))
        })
        .collect();
    if reversed {
        written.reverse();
    }
    format!("syntax = \"proto3\";\n{}", written.join("\n"))
}

fn policy() -> impl Strategy<Value = ProtobufPolicy> {
    prop_oneof![Just(ProtobufPolicy::Wire), Just(ProtobufPolicy::Json), Just(ProtobufPolicy::Source)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_contract_does_not_differ_from_itself_in_any_order(messages in messages(), policy in policy()) {
        let report = report(&text(&messages, false), &text(&messages, true), policy);
        prop_assert_eq!(&report.changes, &[]);
        prop_assert!(report.may_deploy && report.may_roll_back && report.bump <= Bump::Patch);
    }

    #[test]
    fn order_of_declarations_does_not_matter(old in messages(), new in messages(), policy in policy()) {
        let straight = report(&text(&old, false), &text(&new, false), policy);
        let reversed = report(&text(&old, true), &text(&new, true), policy);
        let facts = |report: &lockstep_contract::Report| -> Vec<_> {
            report.changes.iter().map(|change| (change.rule.id, change.level, change.place.clone())).collect()
        };
        prop_assert_eq!(facts(&straight), facts(&reversed));
    }

    #[test]
    fn two_safe_steps_are_one_safe_step([a, b, c] in history(), policy in policy()) {
        let safe = |from: &str, to: &str| report(from, to, policy).verdict == Verdict::Compatible;
        prop_assert!(!(safe(&a, &b) && safe(&b, &c)) || safe(&a, &c), "{} -> {} -> {}", a, b, c);
    }

    #[test]
    fn a_stronger_policy_never_allows_more(old in messages(), new in messages()) {
        let breaks = |policy| report(&text(&old, false), &text(&new, false), policy).verdict == Verdict::Breaking;
        let (wire, json, source) = (breaks(ProtobufPolicy::Wire), breaks(ProtobufPolicy::Json), breaks(ProtobufPolicy::Source));
        prop_assert!(wire <= json && json <= source);
    }
}
