use std::collections::BTreeSet;

use lockstep_domain::routes::ROUTE_TABLE_FORMAT;

use super::*;

fn all_fields() -> Vec<(String, FieldDoc)> {
    let of = |section: Section| {
        let name = section.name;
        section.fields.into_iter().map(move |field| (name.clone(), field))
    };
    sections().into_iter().flat_map(of).collect()
}

/// Numbers that count or name something.
const WITHOUT_UNIT: [&str; 29] = [
    "floor",
    "format",
    "revision",
    "baseline",
    "status",
    "port",
    "https_port",
    "user",
    "id",
    "ConfigRevision",
    "max",
    "number",
    "abort",
    "attempts",
    "requests",
    "burst",
    "concurrency",
    "consecutive",
    "trials",
    "slower",
    "max_requests",
    "rollout",
    "before",
    "least",
    "start",
    "most",
    "newest",
    "operation",
    "taken",
];

#[test]
fn every_object_and_field_is_described_and_every_number_has_a_unit_or_needs_none() {
    for (object, field) in all_fields() {
        assert!(!field.means.is_empty(), "{object}.{}", field.name);
        let is_plain = WITHOUT_UNIT.contains(&field.name.as_str());
        assert!(field.kind != "integer" || field.unit.is_some() || is_plain, "{object}.{}", field.name);
        assert!(!field.means.contains("]("), "{object}.{}: a link of code", field.name);
    }
    assert!(sections().iter().all(|section| !section.means.is_empty()));
    assert!(texts().iter().all(|(name, means)| !means.is_empty() && !name.is_empty()), "{:?}", texts());
}

#[test]
fn every_format_has_a_field_that_came_with_it() {
    let since: BTreeSet<u64> = all_fields().iter().map(|(_, field)| field.since).collect();
    let formats: BTreeSet<u64> = (1..=u64::from(ROUTE_TABLE_FORMAT)).collect();
    assert_eq!(since, formats, "a field says with `x-since` which format came with it");
}

#[test]
fn what_can_be_left_out_and_is_not_nothing_has_a_default() {
    let is_list = |field: &FieldDoc| field.kind.starts_with("list ") || field.kind.ends_with(" by name");
    let named: BTreeSet<String> = sections().into_iter().map(|section| section.name).collect();
    for section in sections() {
        let schema = super::named(&section.name);
        for field in section.fields.iter().filter(|field| field.default == Default::Nothing) {
            let schema = &schema["properties"][&field.name];
            let has_null = schema.to_string().contains("\"null\"");
            assert!(has_null || is_list(field), "{}.{} has no default", section.name, field.name);
        }
    }
    assert!(named.contains("Actions") && named.contains("Watch") && named.contains("Entry"), "{named:?}");
}
