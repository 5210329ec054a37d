//! Protobuf contracts: every rule on a small pair, properties, and hostile input.

mod directions;
mod hostile;
mod properties;
mod rules;
mod witnesses;

use lockstep_contract::{Options, ProtobufPolicy, Report, Source, diff};

/// Options with a policy and nothing else.
fn under(protobuf: ProtobufPolicy) -> Options {
    Options { protobuf, ..Options::default() }
}

/// Compares two single files.
fn report(old: &str, new: &str, policy: ProtobufPolicy) -> Report {
    let source = |text: &str| Source::file("a.proto", text.as_bytes());
    diff(&source(old), &source(new), &under(policy)).expect("both sides are valid")
}
