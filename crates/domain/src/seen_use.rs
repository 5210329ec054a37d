//! What a version was really seen to call counts where nobody said what it uses: a range is a promise of people, and a call is a fact.
//!
//! Invariant: it only ever takes away trust. It says no where the contract of the version that answered then has what was called, and that
//! of the version in question has nothing that could be it; where one of the two cannot be told, nothing is said.

use crate::called::OTHER_OPERATIONS;
use crate::compat::Relation;
use crate::contract::{ContractKind, Contracts};
use crate::name::{EnvironmentName, ServiceName};
use crate::service::Version;
use crate::version::{VersionNumber, VersionRef};

/// Kinds of contracts whose operations gateways see by their names.
const KINDS: [ContractKind; 2] = [ContractKind::OpenApi, ContractKind::Protobuf];
/// Operations of which each is told; the others are counted.
const MAX_TOLD: usize = 5;

/// An operation that was seen to be called, and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUse {
    /// As gateways name it: `GET /orders/*`, where `*` may be anything.
    pub operation: String,
    /// The version that answered.
    pub callee: VersionNumber,
    /// How often, without what failed.
    pub answered: u64,
    /// The newest baseline that was current then.
    pub baseline: u64,
    /// Of which environment.
    pub environment: EnvironmentName,
}

impl SeenUse {
    fn told(&self) -> String {
        let Self { answered, baseline, environment, .. } = self;
        let times = if *answered == 1 { "once".to_owned() } else { format!("{answered} times") };
        format!("{times}, last while baseline {baseline} of `{environment}` was current")
    }
}

/// Tells whether one of the operations of a contract may be one that was seen. What stands before its path may be an address that all
/// have in common.
#[must_use]
pub fn may_be_offered(operations: &[String], seen: &str) -> bool {
    operations.iter().any(|operation| is_same(operation, seen, Prefix::Allowed))
}

/// Tells whether one of the operations of a contract is one that was seen.
#[must_use]
pub fn is_offered(operations: &[String], seen: &str) -> bool {
    operations.iter().any(|operation| is_same(operation, seen, Prefix::None))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    None,
    Allowed,
}

fn is_same(operation: &str, seen: &str, prefix: Prefix) -> bool {
    let (Some((method, path)), Some((seen_method, seen_path))) = (parted(operation), parted(seen)) else {
        return operation.trim_start_matches('/') == seen.trim_start_matches('/');
    };
    let (own, other): (Vec<_>, Vec<_>) = (segments(path), segments(seen_path));
    let before = other.len().checked_sub(own.len());
    let fits = before.is_some_and(|before| before == 0 || prefix == Prefix::Allowed);
    let is_one = |(own, other): (&&str, &&str)| own.contains('{') || *other == "*" || own == other;
    method.eq_ignore_ascii_case(seen_method) && fits && own.iter().rev().zip(other.iter().rev()).all(is_one)
}

/// Method and path of an operation of HTTP.
fn parted(operation: &str) -> Option<(&str, &str)> {
    operation.trim().split_once(' ').map(|(method, path)| (method, path.trim()))
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_matches('/').split('/').filter(|segment| !segment.is_empty()).collect()
}

/// An operation of a contract as a gateway would see it.
fn as_seen(operation: &str) -> String {
    let Some((method, path)) = parted(operation) else { return operation.to_owned() };
    let segments = segments(path).into_iter().map(|it| if it.contains('{') { "*" } else { it });
    format!("{method} /{}", segments.collect::<Vec<_>>().join("/"))
}

/// The operations of all contracts of a kind that a version offers; `None` where it has none, or one cannot be read.
fn operations(contracts: &dyn Contracts, version: &Version, kind: ContractKind) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut of_kind = version.contracts_of(kind).peekable();
    of_kind.peek()?;
    for offered in of_kind {
        all.extend(contracts.operations(offered)?);
    }
    Some(all)
}

/// Returns what of all that a consumer was seen to call a version of a provider does not offer any more, the most called first.
pub(crate) fn lost(
    relation: Relation<'_>,
    consumer: &VersionRef,
    (provider, offered): (&ServiceName, &Version),
) -> Vec<SeenUse> {
    let seen = relation.contracts.seen(consumer, provider);
    // What worked together is known to work together, whatever was called of another version.
    if seen.iter().any(|it| it.callee == offered.number && it.answered > 0) {
        return Vec::new();
    }
    let is_lost = |it: &SeenUse| {
        let then = relation.world.find_version(provider, &it.callee);
        it.answered > 0
            && it.operation != OTHER_OPERATIONS
            && then.is_some_and(|then| is_gone(relation.contracts, (then, offered), &it.operation))
    };
    let mut lost: Vec<SeenUse> = Vec::new();
    for it in seen.into_iter().filter(is_lost) {
        match lost.iter_mut().find(|known| known.operation == it.operation) {
            Some(known) => {
                known.answered = known.answered.saturating_add(it.answered);
                if it.baseline > known.baseline {
                    (known.baseline, known.environment) = (it.baseline, it.environment);
                }
            }
            None => lost.push(it),
        }
    }
    lost.sort_by(|a, b| b.answered.cmp(&a.answered).then_with(|| a.operation.cmp(&b.operation)));
    lost
}

/// Tells whether one version has an operation by its contracts and another one has nothing that may be it.
fn is_gone(contracts: &dyn Contracts, (then, now): (&Version, &Version), operation: &str) -> bool {
    KINDS.into_iter().any(|kind| {
        let had = operations(contracts, then, kind).filter(|all| is_offered(all, operation));
        let both = had.zip(operations(contracts, now, kind));
        both.is_some_and(|(before, after)| !still_has((&before, &after), operation))
    })
}

/// Tells whether a later contract may have an operation of an earlier one. Where the two have nothing in common by name, what all addresses
/// begin with may have moved into the paths, or out of them.
fn still_has((before, after): (&[String], &[String]), seen: &str) -> bool {
    let is_named_alike = after.iter().any(|operation| is_offered(before, &as_seen(operation)));
    match is_named_alike {
        true => is_offered(after, seen),
        false => may_be_offered(after, seen),
    }
}

/// Says of what was seen and is not offered, for a refusal.
pub(crate) fn reasons(consumer: &VersionRef, offered: &Version, lost: &[SeenUse]) -> Vec<String> {
    let one = |it: &SeenUse| {
        format!(
            "`{}` is not in the contract of {}, and {consumer} was seen to call it {}",
            it.operation,
            offered.number,
            it.told()
        )
    };
    lost.iter().take(MAX_TOLD).map(one).collect()
}

/// Says of a consumer that named nothing what it was seen to call, so that somebody can name it.
pub(crate) fn told(relation: Relation<'_>, consumer: &VersionRef, provider: &ServiceName) -> Option<String> {
    let seen = relation.contracts.seen(consumer, provider);
    let mut names: Vec<_> =
        seen.iter().filter(|it| it.answered > 0).map(|it| format!("`{}`", it.operation)).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(MAX_TOLD);
    names.truncate(MAX_TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "{consumer} says nothing of what it uses, so all of it counts; it was seen to call {}{more}",
            names.join(", ")
        )
    })
}

/// Says of operations that the contracts of a service lose in a move who was seen to call them: what nobody was seen to use is told as that.
pub(crate) fn removals(
    relation: Relation<'_>,
    consumers: &[VersionRef],
    (provider, from, to): (&ServiceName, &Version, &Version),
) -> Vec<String> {
    let mut gone: Vec<String> = Vec::new();
    for kind in KINDS {
        let both = operations(relation.contracts, from, kind).zip(operations(relation.contracts, to, kind));
        let Some((before, after)) = both else { continue };
        gone.extend(before.iter().filter(|it| !still_has((&before, &after), &as_seen(it))).cloned());
    }
    let users = Users::of(relation, consumers, provider);
    let more = gone.len().saturating_sub(MAX_TOLD);
    let to = VersionRef { service: provider.clone(), version: to.number.clone() };
    let one = |operation: &String| {
        format!(
            "`{to}` does not have `{operation}` any more, which {} has: {}",
            from.number,
            users.of_operation(operation)
        )
    };
    let more =
        (more > 0).then(|| format!("`{to}` does not have {more} more operations that {} has", from.number));
    gone.iter().take(MAX_TOLD).map(one).chain(more).collect()
}

/// Who was seen to call a service.
struct Users {
    versions: Vec<(VersionRef, Vec<SeenUse>)>,
    clients: Vec<SeenUse>,
}

impl Users {
    fn of(relation: Relation<'_>, consumers: &[VersionRef], provider: &ServiceName) -> Self {
        let seen = |consumer: &VersionRef| (consumer.clone(), relation.contracts.seen(consumer, provider));
        let clients = relation.contracts.seen_of_clients(provider);
        Self { versions: consumers.iter().map(seen).collect(), clients }
    }

    fn of_operation(&self, operation: &str) -> String {
        let is_it = |it: &&SeenUse| {
            it.answered > 0
                && it.operation != OTHER_OPERATIONS
                && is_same(operation, &it.operation, Prefix::None)
        };
        let by = |who: &str, seen: &[SeenUse]| {
            let last = seen.iter().filter(is_it).max_by_key(|it| it.baseline)?;
            Some(format!("{who} was seen to call it {}", last.told()))
        };
        let versions = self.versions.iter().filter_map(|(version, seen)| by(&version.to_string(), seen));
        let clients = by("who comes from outside", &self.clients);
        let said: Vec<_> = versions.chain(clients).collect();
        let nothing = self.clients.is_empty() && self.versions.iter().all(|(_, seen)| seen.is_empty());
        match (said.is_empty(), nothing) {
            (false, _) => said.join("; "),
            (true, true) => "no call of it was ever seen, so who uses it is not known".to_owned(),
            (true, false) => "nobody was seen to call it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn an_operation_is_known_by_what_gateways_tell_of_it() {
        let all =
            names(&["GET /orders/{id}", "POST /orders", "shop.v1.Orders/Place", "GET /orders/{id}/lines"]);
        for seen in
            ["GET /orders/*", "get /orders/*", "POST /orders/", "/shop.v1.Orders/Place", "GET /orders/*/*"]
        {
            assert!(is_offered(&all, seen), "{seen}");
        }
        for seen in ["GET /orders", "PUT /orders", "/shop.v1.Orders/Take", "GET /*/*/*/*", "GET /v1/orders/*"]
        {
            assert!(!is_offered(&all, seen), "{seen}");
        }
        // What all paths have in common may stand in the address.
        assert!(may_be_offered(&all, "GET /v1/orders/*"));
        assert!(!may_be_offered(&all, "GET /v1/charges/a"));
        let (before, moved) = (names(&["GET /v1/a", "GET /v1/b/{id}"]), names(&["GET /a", "GET /b/{id}"]));
        assert!(still_has((&before, &moved), "GET /v1/b/*"));
        let kept = names(&["GET /v1/a"]);
        assert!(!still_has((&before, &kept), "GET /v1/b/*"), "what is left is named as before");
    }

    fn operation() -> impl Strategy<Value = String> {
        let segment = prop_oneof!["[a-c]{1,2}", Just("{id}".to_owned())];
        (prop_oneof![Just("GET"), Just("POST")], prop::collection::vec(segment, 0..4))
            .prop_map(|(method, path)| format!("{method} /{}", path.join("/")))
    }

    proptest! {
        /// Whatever a contract has is never taken for gone: what a gateway tells of it is found again, under any common address.
        #[test]
        fn what_is_there_is_never_taken_for_gone(all in prop::collection::vec(operation(), 1..8), at in any::<prop::sample::Index>(), hides in 0_usize..4) {
            let one = &all[at.index(all.len())];
            let (method, path) = parted(one).unwrap();
            let told: Vec<_> = segments(path).into_iter().enumerate()
                .map(|(place, it)| if place >= hides || it.contains('{') { "*" } else { it })
                .collect();
            let seen = format!("{method} /{}", told.join("/"));
            prop_assert!(is_offered(&all, &seen), "{seen}");
            prop_assert!(may_be_offered(&all, &seen));
            let moved = format!("{method} /v2/{}", told.join("/"));
            prop_assert!(may_be_offered(&all, &moved), "{moved}");
        }

        /// More operations never make something lost.
        #[test]
        fn more_operations_lose_nothing(all in prop::collection::vec(operation(), 0..6), more in operation(), seen in operation()) {
            let seen = as_seen(&seen);
            let with: Vec<_> = all.iter().cloned().chain([more]).collect();
            prop_assert!(!may_be_offered(&all, &seen) || may_be_offered(&with, &seen));
        }
    }
}
