//! `[resource.NAME]`: databases and the like that a service needs in every environment.

use std::collections::BTreeMap;

use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceNeed;

use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str = "[resource.db] with kind = \"postgresql\"";
const KIND: &str = "kind = \"postgresql\", \"mysql\", \"redis\" or \"other\"";
/// Most resources of a version: a plan names each that is missing.
const MAX_RESOURCES: usize = 20;

/// Reads what a service needs, by name.
pub(super) fn resources(table: &Table<'_>) -> BTreeMap<ResourceName, ResourceNeed> {
    let entries = table.entries(EXAMPLE);
    if let Some((_, field)) = entries.get(MAX_RESOURCES) {
        field.wrong(format_args!("a service needs at most {MAX_RESOURCES} resources"));
    }
    entries.into_iter().filter_map(|(name, field)| resource(name, &field)).collect()
}

fn resource(name: &str, field: &Field<'_>) -> Option<(ResourceName, ResourceNeed)> {
    let named = name.parse().map_err(|error| field.wrong(error)).ok();
    let table = field.table()?;
    let kind = table.require("kind", KIND).and_then(|field| field.parse());
    table.finish();
    Some((named?, ResourceNeed { kind: kind? }))
}
