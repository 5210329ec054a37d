//! Protobuf contracts: trees of `.proto` files, and descriptor sets.
//!
//! Services, RPCs and types are compared by what they do on the wire, in JSON or in generated code, as the policy
//! says. Messages meet by structure, in the direction in which RPCs send them. Comments, the payloads of `Any` and custom options
//! are not compared; of these, the ones known to matter must be the same.

mod compare;
mod descriptor;
mod enums;
mod features;
mod fields;
mod lines;
mod load;
mod lower;
mod messages;
mod names;
mod options;
mod rules;
mod scan;
mod schema;
mod services;
pub(crate) mod specification;
mod unread;
mod witness;

use std::collections::BTreeSet;

use compare::{Purpose, Settings};
pub use rules::RULES;

use crate::{Comparison, Findings, InputError, Options, Source};

/// True when the source looks like this format.
pub(crate) fn detect(source: &Source) -> bool {
    load::looks_like_protobuf(source)
}

/// A contract that has been read.
pub(crate) type Contract = schema::Schema;

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Contract, Vec<InputError>> {
    load::load(source)
}

/// Links the descriptors of a source, where that is possible.
pub(crate) fn pool(source: &Source) -> Option<prost_reflect::DescriptorPool> {
    load::pool(source)
}

/// Lists the operations of a contract, as `payments.v1.Payments/Charge`.
pub(crate) fn operations(contract: &Contract) -> Vec<String> {
    let methods = contract.services.iter().flat_map(|(service, one)| {
        one.methods.keys().map(move |method| services::operation(service, method))
    });
    methods.collect()
}

/// What two names of one RPC have in common: `/a.B/C`, `a.B/C` and `a.B.C` are the same.
pub(crate) fn key(operation: &str) -> String {
    let name = operation.trim().trim_start_matches('/');
    match (name.contains('/'), name.rsplit_once('.')) {
        (false, Some((service, method))) => services::operation(service, method),
        _ => name.to_owned(),
    }
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Contract, new: &Contract, options: &Options) -> Comparison {
    Comparison {
        deploy: compare::compare(old, new, settings(options, Purpose::Deploy), None),
        roll_back: compare::compare(new, old, settings(options, Purpose::RollBack), None).turned(),
    }
}

/// Compares what the named RPCs of the old contract, or all of it, are in the new one, from old to new only.
pub(crate) fn fit(used: &Contract, operations: &[String], offered: &Contract, options: &Options) -> Findings {
    let keys: BTreeSet<String> = operations.iter().map(|operation| key(operation)).collect();
    let selection = Some(&keys).filter(|keys| !keys.is_empty());
    compare::compare(used, offered, settings(options, Purpose::Deploy), selection)
}

fn settings(options: &Options, purpose: Purpose) -> Settings {
    Settings { policy: options.protobuf, unknown_fields: options.unknown_fields, purpose }
}
