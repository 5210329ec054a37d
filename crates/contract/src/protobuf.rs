//! Protobuf contracts: trees of `.proto` files, and descriptor sets.
//!
//! Services, RPCs and types are compared by what they do on the wire, in JSON or in generated code, as the policy
//! says. Messages meet by structure, in the direction in which RPCs send them. Custom options, comments and the
//! payloads of `Any` are not compared.

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
mod witness;

use compare::{Purpose, Settings};
pub use rules::RULES;

use crate::{Comparison, InputError, Options, Source};

/// True when the source looks like this format.
pub(crate) fn detect(source: &Source) -> bool {
    load::looks_like_protobuf(source)
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Source, new: &Source, options: &Options) -> Result<Comparison, Vec<InputError>> {
    let (old, new) = match (load::load(old), load::load(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let errors = [old.err(), new.err()];
            return Err(errors.into_iter().flatten().flatten().collect());
        }
    };
    let settings =
        |purpose| Settings { policy: options.protobuf, unknown_fields: options.unknown_fields, purpose };
    Ok(Comparison {
        deploy: compare::compare(&old, &new, settings(Purpose::Deploy)),
        roll_back: compare::compare(&new, &old, settings(Purpose::RollBack)),
    })
}
