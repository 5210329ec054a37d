//! Services and their RPCs: what a consumer calls.
//!
//! A call names service and method in full, so both are paired by name under every policy.

use super::{
    compare::{Comparer, Difference, Stream},
    rules,
    schema::{Method, Service},
    witness,
};

/// An RPC as gRPC names it.
pub(super) fn operation(service: &str, method: &str) -> String {
    format!("{service}/{method}")
}

/// Compares all services, and pairs the types of their RPCs.
pub(super) fn compare(comparer: &mut Comparer<'_>) {
    let (old, new) = (comparer.old, comparer.new);
    for (name, before) in &old.services {
        match new.services.get(name) {
            Some(after) => compare_methods(comparer, name, before, after),
            None if comparer.absence_proves_nothing() || !comparer.uses_any_of(name, before) => {}
            None => removed(comparer, name, before),
        }
    }
    if comparer.selection.is_some() {
        return;
    }
    for (name, after) in new.services.iter().filter(|(name, _)| !old.services.contains_key(*name)) {
        if old.not_checked.is_empty() {
            let message = format!("service `{name}` was added");
            comparer.report(
                Difference::new(&rules::SERVICE_ADDED, name, message).at(None, Some(&after.position)),
            );
        }
    }
}

fn removed(comparer: &mut Comparer<'_>, name: &str, before: &Service) {
    let method = before.methods.keys().find(|method| comparer.uses_method(name, method));
    let witness = method.map(|method| witness::call(name, method, "the call fails with UNIMPLEMENTED"));
    let message = format!("service `{name}` is gone: consumers that call it fail");
    let difference = Difference::new(&rules::SERVICE_REMOVED, name, message).at(Some(&before.position), None);
    comparer.report(difference.shown(witness));
}

fn compare_methods(comparer: &mut Comparer<'_>, service: &str, before: &Service, after: &Service) {
    for (name, old) in &before.methods {
        if !comparer.uses_method(service, name) {
            continue;
        }
        let place = format!("{service}.{name}");
        match after.methods.get(name) {
            Some(new) => compare_method(comparer, &place, old, new),
            None => {
                let message = format!("RPC `{place}` is gone: consumers that call it fail");
                let witness = witness::call(service, name, "the call fails with UNIMPLEMENTED");
                let difference = Difference::new(&rules::RPC_REMOVED, place, message);
                comparer
                    .report(difference.at(Some(&old.position), Some(&after.position)).shown(Some(witness)));
            }
        }
    }
    if comparer.selection.is_some() {
        return;
    }
    for (name, new) in after.methods.iter().filter(|(name, _)| !before.methods.contains_key(*name)) {
        let place = format!("{service}.{name}");
        let message = format!("RPC `{place}` was added");
        comparer.report(Difference::new(&rules::RPC_ADDED, place, message).at(None, Some(&new.position)));
    }
}

fn compare_method(comparer: &mut Comparer<'_>, place: &str, old: &Method, new: &Method) {
    streaming(comparer, place, old, new);
    if old.idempotency != new.idempotency {
        let message = format!(
            "the idempotency level of `{place}` went from {} to {}",
            idempotency(old.idempotency),
            idempotency(new.idempotency)
        );
        let difference = Difference::new(&rules::RPC_IDEMPOTENCY, place, message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)));
    }
    for (what, before, after, stream) in [
        ("request", &old.input, &new.input, Stream::Request),
        ("response", &old.output, &new.output, Stream::Response),
    ] {
        if before != after {
            let message = format!(
                "the {what} of `{place}` is `{after}` instead of `{before}`; their fields are compared"
            );
            let difference = Difference::new(&rules::RPC_TYPE_RENAMED, format!("{place}/{what}"), message);
            comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(stream));
        }
        comparer.pair_messages(before, after, stream);
    }
    if new.deprecated && !old.deprecated {
        let difference = Difference::new(&rules::DEPRECATED, place, format!("`{place}` is deprecated"));
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(Stream::Request));
    }
}

fn streaming(comparer: &mut Comparer<'_>, place: &str, old: &Method, new: &Method) {
    for (what, before, after, stream) in [
        ("request", old.client_streaming, new.client_streaming, Stream::Request),
        ("response", old.server_streaming, new.server_streaming, Stream::Response),
    ] {
        if before == after {
            continue;
        }
        let form = |streams| if streams { "a stream" } else { "one message" };
        let message = format!("the {what} of `{place}` is {} instead of {}", form(after), form(before));
        let difference = Difference::new(&rules::RPC_STREAMING, format!("{place}/{what}"), message);
        comparer.report(difference.at(Some(&old.position), Some(&new.position)).on(stream));
    }
}

fn idempotency(level: i32) -> &'static str {
    match level {
        1 => "NO_SIDE_EFFECTS",
        2 => "IDEMPOTENT",
        _ => "unknown",
    }
}
