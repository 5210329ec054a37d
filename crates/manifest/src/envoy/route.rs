//! A route of Envoy as one here: what it takes, whom it asks, and what is changed.

use std::collections::BTreeMap;

use toml::Table;

use super::action::{self, Waits, Whom};
use super::cluster::Cluster;
use super::document::{Item, Message};
use super::matching::{Match, Path};
use super::{Left, Route};

pub(super) fn route(
    item: &Item<'_>,
    (host, config): (&Message<'_>, &Message<'_>),
    ((clusters, waits), retries): ((&BTreeMap<String, Cluster>, Waits), Option<&Message<'_>>),
    left: &mut Vec<Left>,
) -> Option<Route> {
    let message = item.message();
    let mut said = Vec::new();
    let read = read_route(&message, (clusters, waits), retries, &mut said);
    let (matched, mut does, whom) = match read {
        Ok(read) => read,
        Err((what, why)) => {
            what.leave(
                left,
                format!(
                    "{} is not taken over, and its requests go to the routes after it: {why}",
                    item.place
                ),
            );
            return None;
        }
    };
    left.append(&mut said);
    // Envoy changes fields as the innermost says first, so what is said further out stays.
    action::fields(&message, &mut does, left);
    action::fields(host, &mut does, left);
    action::fields(config, &mut does, left);
    message.pass_over(&["name", "decorator", "stat_prefix", "metadata"]);
    message.leave("typed_per_filter_config", left, "there is nothing like it");
    message.leave_others(left, "there is nothing like it");
    Some(Route { matched, does, whom, place: item.place.clone(), line: item.node.line, is_made: false })
}

type Read = (Match, Table, Whom);

fn read_route<'n>(
    message: &Message<'n>,
    at: (&BTreeMap<String, Cluster>, Waits),
    retries: Option<&Message<'_>>,
    left: &mut Vec<Left>,
) -> Result<Read, (Item<'n>, String)> {
    let Some(matching) = message.message("match") else {
        return Err((message.item.clone(), "it says of no request that it takes it".to_owned()));
    };
    let mut matched = Match::read(&matching, left)?;
    let mut does = Table::new();
    if let Some(redirect) = message.message("redirect").filter(|it| it.get("path_redirect").is_some()) {
        // Where a whole path takes the place of a prefix, what is below goes there too.
        matched = below(matched, &redirect)?;
    }
    if action::answer(message, &matched, &mut does, left)? {
        return Ok((matched, does, Vec::new()));
    }
    let Some(lead) = message.message("route") else {
        return Err((message.item.clone(), "there is nothing like what it does".to_owned()));
    };
    let whom = action::lead(&lead, &matched, at, &mut does, left)?;
    if lead.get("retry_policy").is_none() && retries.is_some() {
        action::retries(retries, &mut does, left);
    }
    Ok((matched, does, whom))
}

/// A redirect to one path of all that is below a prefix.
fn below<'n>(matched: Match, redirect: &Message<'n>) -> Result<Match, (Item<'n>, String)> {
    match &matched.path {
        Path::Prefix(path) if path == "/" => {
            let path = Path::Template("/{rest...}".to_owned());
            Ok(Match { path, ..matched })
        }
        Path::Prefix(_) => Err((redirect.item.clone(), "a prefix without a slash at its end cannot be sent to one path: match the path, and the prefix with the slash".to_owned())),
        Path::Exact(_) | Path::Template(_) => Ok(matched),
    }
}
