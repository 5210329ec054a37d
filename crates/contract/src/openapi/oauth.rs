//! Where tokens come from: the flows of OAuth, their addresses and scopes, in the words of Swagger 2 and of later versions.
//!
//! A flow or a scope that is gone breaks: who gets tokens by it is refused. An address that is another is not checked: whether the
//! old one still gives tokens, and whether those are taken, is in no contract.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cursor::Cursor;
use super::operations::{entries, operations};
use super::pair::Pair;
use super::security::requirement;
use super::specification::Object;
use super::{Comparer, rules};
use crate::draft::DraftNotChecked;

/// One way to get a token.
#[derive(Debug, Clone)]
struct OAuthFlow<'l> {
    cursor: Cursor<'l>,
    scopes: BTreeSet<&'l str>,
}

/// The addresses of a flow that both versions have.
const ADDRESSES: [&str; 2] = ["authorizationUrl", "tokenUrl"];

impl<'l> Comparer<'_, 'l> {
    /// Compares how consumers get the tokens of a scheme.
    pub(super) fn oauth(&mut self, name: &str, pair: &Pair<'_, 'l>) {
        let (before, after) = (flows(pair.old), flows(pair.new));
        if let (Some(old), Some(new)) = (pair.old.get("flows"), pair.new.get("flows")) {
            self.meet(Object::OAuthFlows, &old, &new);
        }
        for (flow, old) in &before {
            match after.get(flow) {
                Some(new) => self.oauth_flow((name, flow), (old, new), pair),
                None => {
                    let message = format!(
                        "the security scheme `{name}` has no flow `{flow}` any more: consumers that get tokens by it get none"
                    );
                    self.changed(&rules::SECURITY_FLOW_REMOVED, pair, message);
                }
            }
        }
        for flow in after.keys().filter(|flow| !before.contains_key(*flow)) {
            let message = format!("the security scheme `{name}` has another flow, `{flow}`");
            self.changed(&rules::SECURITY_FLOW_ADDED, pair, message);
        }
    }

    fn oauth_flow(
        &mut self,
        (name, flow): (&str, &str),
        (old, new): (&OAuthFlow<'l>, &OAuthFlow<'l>),
        pair: &Pair<'_, 'l>,
    ) {
        let is_old = |one: &OAuthFlow<'l>| one.cursor.value().get("flow").is_some();
        match (is_old(old), is_old(new)) {
            (false, false) => drop(self.meet(Object::OAuthFlow, &old.cursor, &new.cursor)),
            // What both schemes say of it was met with them.
            (true, true) => {}
            _ => self.addresses(old, new),
        }
        let gone: Vec<&str> = old.scopes.difference(&new.scopes).copied().collect();
        if !gone.is_empty() {
            let needed = needed_scopes(old.cursor.library, name);
            let is_needed = gone.iter().any(|scope| needed.contains(*scope));
            let rule =
                if is_needed { &rules::SECURITY_SCOPE_REMOVED } else { &rules::SECURITY_SCHEME_DETAILS };
            let message = format!(
                "the flow `{flow}` of the security scheme `{name}` gives no {} any more",
                gone.join(", ")
            );
            self.changed(rule, pair, message);
        }
        if new.scopes.difference(&old.scopes).next().is_some() {
            let message = format!("the flow `{flow}` of the security scheme `{name}` gives more scopes");
            self.changed(&rules::SECURITY_FLOW_ADDED, pair, message);
        }
    }

    /// Addresses that differ between two versions, which write them in different objects.
    fn addresses(&mut self, old: &OAuthFlow<'l>, new: &OAuthFlow<'l>) {
        for key in ADDRESSES {
            if old.cursor.text(key) != new.cursor.text(key) {
                let why = Object::OAuthFlow.why_open(key);
                let spot = |flow: &OAuthFlow<'l>| {
                    flow.cursor.direct(key).map_or_else(|| flow.cursor.spot(), |address| address.spot())
                };
                let (old, new) = (spot(old), spot(new));
                let reason = format!("`{key}` of the OAuth Flow is not compared, and differs{why}");
                let place = new.place.clone();
                let open = DraftNotChecked { place, reason, old: Some(old), new: Some(new) };
                self.findings.not_checked.push(open);
            }
        }
    }
}

/// The flows of a scheme by their names in OpenAPI 3.
fn flows<'l>(scheme: &Cursor<'l>) -> BTreeMap<&'l str, OAuthFlow<'l>> {
    let scopes = |cursor: &Cursor<'l>| {
        let all = cursor.value().get("scopes").and_then(Value::as_object).into_iter().flatten();
        all.map(|(name, _)| name.as_str()).filter(|name| !name.starts_with("x-")).collect()
    };
    if let Some(flow) = scheme.text("flow") {
        let name = match flow {
            "application" => "clientCredentials",
            "accessCode" => "authorizationCode",
            other => other,
        };
        return BTreeMap::from([(name, OAuthFlow { cursor: scheme.clone(), scopes: scopes(scheme) })]);
    }
    let all = scheme.get("flows").map(|flows| flows.entries()).unwrap_or_default();
    let own = all.into_iter().filter(|(name, _)| Object::OAuthFlows.field(name).is_some());
    own.map(|(name, cursor)| (name, OAuthFlow { scopes: scopes(&cursor), cursor })).collect()
}

/// The scopes of a scheme that operations of a contract need.
fn needed_scopes<'l>(library: &'l crate::library::Library<'l>, name: &str) -> BTreeSet<&'l str> {
    let root = Cursor::root(library, crate::schema::Side::Old);
    let items = entries(&root, "paths");
    let needed = items.iter().flat_map(|(path, item)| operations(path, item, &root));
    let all = needed.flat_map(|operation| requirement(&operation)).flatten();
    all.filter(|(scheme, _)| *scheme == name).flat_map(|(_, scopes)| scopes).collect()
}
