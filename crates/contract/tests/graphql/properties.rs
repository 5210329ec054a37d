//! What holds for every schema: no difference with itself, no regard for order, and safety that adds up.

use lockstep_contract::Verdict;
use proptest::prelude::*;

use super::{found, report};

const TYPES: [&str; 8] = ["Int", "Int!", "[Int]", "[Int!]!", "E", "E!", "T", "[T!]"];
const INPUTS: [&str; 5] = ["Int", "Int!", "[Int]", "E", "In"];

fn lines(types: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let field = (0..4_u8, 0..types.len());
    prop::collection::btree_map(0..4_u8, field, 0..4).prop_map(move |fields| {
        fields.into_iter().map(|(name, (_, kind))| format!("f{name}: {}", types[kind])).collect()
    })
}

/// The definitions of a schema, each on its own so that they can be shuffled.
pub(super) fn schema() -> impl Strategy<Value = Vec<String>> {
    let values = prop::sample::subsequence(vec!["A", "B", "C"], 1..=3);
    (lines(&TYPES), lines(&INPUTS), lines(&INPUTS), values, any::<bool>()).prop_map(
        |(fields, arguments, inputs, values, member)| {
            let arguments =
                if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
            vec![
                format!("type T {{ own{arguments}: Int {} }}", fields.join(" ")),
                format!("input In {{ own: Int {} }}", inputs.join(" ")),
                format!("enum E {{ {} }}", values.join(" ")),
                format!("union U = T{}", if member { " | V" } else { "" }),
                "type V { v: Int }".to_owned(),
            ]
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_schema_does_not_differ_from_itself_in_any_order(straight in schema(), ) {
        let mut reversed = straight.clone();
        reversed.reverse();
        let report = report(&straight.join("\n"), &reversed.join("\n"));
        prop_assert!(report.changes.is_empty() && report.may_deploy && report.may_roll_back);
    }

    #[test]
    fn order_of_declarations_does_not_matter(old in schema(), new in schema()) {
        let (mut other_old, mut other_new) = (old.clone(), new.clone());
        other_old.reverse();
        other_new.rotate_left(2);
        let straight = report(&old.join("\n"), &new.join("\n"));
        let shuffled = report(&other_old.join("\n"), &other_new.join("\n"));
        prop_assert_eq!(found(&straight), found(&shuffled));
    }

    #[test]
    fn two_safe_steps_are_one_safe_step(a in schema(), b in schema(), c in schema()) {
        let safe = |from: &[String], to: &[String]| report(&from.join("\n"), &to.join("\n")).verdict == Verdict::Compatible;
        prop_assert!(!(safe(&a, &b) && safe(&b, &c)) || safe(&a, &c));
    }

    #[test]
    fn any_text_ends_in_a_schema_or_an_error(text in "[a-zA-Z{}()\\[\\]:!=|&@$\"#., \n0-9-]{0,200}") {
        let source = super::source(&text);
        let _ = lockstep_contract::diff_as(
            lockstep_contract::Kind::GraphQl, &source, &source, &lockstep_contract::Options::default());
    }
}
