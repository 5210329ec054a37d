//! Servers: where the provider is reached, and the part of the address that every path begins with.
//!
//! Hosts are a matter of the environment, so a host that goes is a warning. The path of an address is asked for by consumers: when
//! it goes they ask for what is not there. Where it only moved from the servers into the paths nothing has changed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bases::Bases;
use super::cursor::Cursor;
use super::operations::{Operation, entries};
use super::pair::Pair;
use super::specification::Object;
use super::{Comparer, rules};

/// How many addresses the variables of one server are written out into.
const MAX_ADDRESSES: usize = 64;

impl<'l> Comparer<'_, 'l> {
    /// Compares the servers of whole contracts, and finds whether the common part of addresses moved.
    pub(super) fn contract_servers(&mut self, pair: &Pair<'_, 'l>) -> Bases {
        let bases = moved(pair);
        let (old, new) = (addresses(pair.old), addresses(pair.new));
        let without = |urls: Vec<String>, base: &str| -> Vec<String> {
            urls.into_iter().map(|url| url.strip_suffix(base).map_or(url.clone(), str::to_owned)).collect()
        };
        let lists = (without(old, &bases.old), without(new, &bases.new));
        self.server_objects(pair);
        self.compare_addresses(pair, &lists.0, &lists.1);
        bases
    }

    /// Compares the servers of a path, when it names its own on either side: those of the whole are in force where it names none.
    pub(super) fn path_servers(&mut self, pair: &Pair<'_, 'l>, roots: (&Cursor<'l>, &Cursor<'l>)) {
        self.own_servers(pair, (&[], roots.0), (&[], roots.1));
    }

    /// Compares the servers of an operation or a path that has some of its own with those in force on the other side.
    fn own_servers(
        &mut self,
        pair: &Pair<'_, 'l>,
        old: (&[&Cursor<'l>], &Cursor<'l>),
        new: (&[&Cursor<'l>], &Cursor<'l>),
    ) {
        self.server_objects(pair);
        if servers(pair.old).is_empty() && servers(pair.new).is_empty() {
            return;
        }
        let before = in_force(pair.old, old.0, old.1);
        let after = in_force(pair.new, new.0, new.1);
        self.compare_addresses(pair, &before, &after);
    }

    /// The servers of an operation, and the schemes that Swagger 2 lets it choose.
    pub(super) fn operation_servers(
        &mut self,
        (old, new): (&Operation<'_, 'l>, &Operation<'_, 'l>),
        pair: &Pair<'_, 'l>,
    ) {
        self.own_servers(pair, (&[old.item], old.root), (&[new.item], new.root));
        let schemes = |operation: &Operation<'_, 'l>| {
            let own = operation.cursor.said("schemes");
            own.or_else(|| operation.root.said("schemes")).map(texts).unwrap_or_default()
        };
        let names_own = [old, new].iter().any(|operation| operation.cursor.said("schemes").is_some());
        if names_own {
            self.compare_addresses(pair, &schemes(old), &schemes(new));
        }
    }

    fn compare_addresses(&mut self, pair: &Pair<'_, 'l>, old: &[String], new: &[String]) {
        let (before, after) = (paths_of(pair.old, old), paths_of(pair.new, new));
        for base in before.iter().filter(|base| !after.is_empty() && !after.contains(*base)) {
            let told: Vec<String> = after.iter().map(|base| format!("`{base}/`")).collect();
            let message = format!(
                "paths begin with {}, not with `{base}/`: consumers ask for what is not there",
                told.join(" or ")
            );
            self.changed(&rules::BASE_PATH_CHANGED, pair, message);
        }
        for url in old.iter().filter(|url| !new.contains(url)) {
            self.changed(&rules::SERVER_REMOVED, pair, format!("the server `{url}` is no longer named"));
        }
        for url in new.iter().filter(|url| !old.contains(url)) {
            self.changed(&rules::SERVER_ADDED, pair, format!("the server `{url}` is named"));
        }
    }

    /// Pairs server objects by their templates, so that what is not known in them is told.
    fn server_objects(&mut self, pair: &Pair<'_, 'l>) {
        let list = |owner: &Cursor<'l>| owner.get("servers").map(|list| list.items()).unwrap_or_default();
        let (old, new) = (list(pair.old), list(pair.new));
        for server in &old {
            let Some(other) = new.iter().find(|other| other.text("url") == server.text("url")) else {
                continue;
            };
            self.meet(Object::Server, server, other);
            let variables = entries(other, "variables");
            for (name, variable) in entries(server, "variables") {
                if let Some((_, other)) = variables.iter().find(|(known, _)| *known == name) {
                    self.meet(Object::ServerVariable, &variable, other);
                }
            }
        }
    }
}

/// The paths that addresses have, without an end; Swagger 2 has one even when it does not name it.
fn paths_of(owner: &Cursor<'_>, urls: &[String]) -> BTreeSet<String> {
    let said: BTreeSet<String> =
        urls.iter().filter(|url| url.contains('/')).map(|url| path_of(url)).collect();
    let is_whole_swagger = owner.said("swagger").is_some();
    if said.is_empty() && is_whole_swagger { BTreeSet::from([String::new()]) } else { said }
}

fn path_of(url: &str) -> String {
    let rest = match url.split_once("//") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    rest.trim_end_matches('/').to_owned()
}

/// What the paths of both sides begin with, when that differs and some address stays the same.
fn moved(pair: &Pair<'_, '_>) -> Bases {
    let only = |owner: &Cursor<'_>| {
        let paths = paths_of(owner, &addresses(owner));
        if paths.len() > 1 { None } else { Some(paths.into_iter().next().unwrap_or_default()) }
    };
    let (Some(old), Some(new)) = (only(pair.old), only(pair.new)) else { return Bases::default() };
    let whole = |root: &Cursor<'_>, base: &str| -> BTreeSet<String> {
        entries(root, "paths").iter().map(|(path, _)| format!("{base}{path}")).collect()
    };
    let stays = old != new && !whole(pair.old, &old).is_disjoint(&whole(pair.new, &new));
    if stays { Bases { old, new } } else { Bases::default() }
}

/// The addresses of a whole contract.
fn addresses(root: &Cursor<'_>) -> Vec<String> {
    let text = |key: &str| root.text(key);
    let named = ["host", "basePath", "schemes"].iter().any(|key| root.said(key).is_some());
    if !named {
        return servers(root);
    }
    let base = text("basePath").unwrap_or_default();
    let base = if base.is_empty() || base.starts_with('/') { base.to_owned() } else { format!("/{base}") };
    let Some(host) = text("host") else { return vec![if base.is_empty() { "/".to_owned() } else { base }] };
    let schemes = root.said("schemes").map(texts).unwrap_or_default();
    let schemes = if schemes.is_empty() {
        vec![String::new()]
    } else {
        schemes.iter().map(|scheme| format!("{scheme}:")).collect()
    };
    schemes.iter().map(|scheme| format!("{scheme}//{host}{base}")).collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The addresses that count for a part of a contract: its own, else those of the nearest part around it that names some.
fn in_force(own: &Cursor<'_>, around: &[&Cursor<'_>], root: &Cursor<'_>) -> Vec<String> {
    let named = std::iter::once(own).chain(around.iter().copied()).map(servers).find(|urls| !urls.is_empty());
    named.unwrap_or_else(|| addresses(root))
}

/// The addresses under `servers`, with their variables written out.
fn servers(owner: &Cursor<'_>) -> Vec<String> {
    let list = owner.direct("servers").map(|servers| servers.items()).unwrap_or_default();
    list.iter().flat_map(written_out).collect()
}

fn written_out(server: &Cursor<'_>) -> Vec<String> {
    let Some(template) = server.text("url") else { return Vec::new() };
    let mut urls = vec![template.to_owned()];
    for (name, variable) in entries(server, "variables") {
        let usual = variable.text("default").map(str::to_owned);
        let listed = variable.said("enum").map(texts).unwrap_or_default();
        let values: BTreeSet<String> = listed.into_iter().chain(usual).collect();
        let mark = format!("{{{name}}}");
        if !values.is_empty() && urls.len().saturating_mul(values.len()) <= MAX_ADDRESSES {
            urls = urls.iter().flat_map(|url| values.iter().map(|value| url.replace(&mark, value))).collect();
        }
    }
    urls.dedup();
    urls
}
