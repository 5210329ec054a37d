//! What a table says of services and versions, against those that it has: each reference leads to something, and to something that it can do
//! anything to.
//!
//! A server may send a page of maintenance for a service that is not deployed at the moment, so a gateway serves such a table; a person who
//! writes one has written something else than was meant. Invariant: whatever names a service or a version stands in [`references`].

use lockstep_domain::routes::{RouteTable, ServiceRoutes, SplitTakes};
use lockstep_domain::{ServiceName, VersionNumber};

use crate::table::TableProblem;

/// What has to be spoken for something to have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Anything,
    /// Requests, for the reason that is given.
    Http(&'static str),
    /// Connections.
    Tcp,
}

/// A place that names a service.
struct Reference<'a> {
    place: String,
    /// What names it.
    what: String,
    service: &'a ServiceName,
    version: Option<&'a VersionNumber>,
    speaks: Speaks,
}

/// Returns what leads to nothing, or has no effect where it leads.
pub(crate) fn problems(table: &RouteTable) -> Vec<TableProblem> {
    let wrong = |reference: Reference<'_>| {
        let why = wrong(table, &reference)?;
        let detail = format!("{}: {why}", reference.what);
        Some(TableProblem::new(reference.place, detail))
    };
    references(table).into_iter().filter_map(wrong).chain(mixed(table)).chain(aliases(table)).collect()
}

fn wrong(table: &RouteTable, reference: &Reference<'_>) -> Option<String> {
    let name = reference.service;
    let Some(routes) = table.services.get(name) else {
        return Some(format!("there is no service `{name}` in the table"));
    };
    if let Some(version) = reference.version
        && !routes.splits.iter().any(|split| split.version == *version)
    {
        return Some(format!("`{name}` has no version {version}"));
    }
    match reference.speaks {
        Speaks::Http(why) if routes.speaks_tcp() => Some(format!("`{name}` speaks TCP: {why}")),
        Speaks::Tcp if !routes.speaks_tcp() => Some(format!("`{name}` speaks HTTP, to which routes lead")),
        _ => None,
    }
}

/// Everything of a table that names a service: what is found by the table of each is checked there.
fn references(table: &RouteTable) -> Vec<Reference<'_>> {
    let routes = table.routes.iter().enumerate().filter(|(_, route)| !answers(route));
    let routes = routes.map(|(index, route)| Reference {
        place: format!("routes[{index}]"),
        what: format!("route `{}`", route.rule),
        service: &route.service,
        version: None,
        speaks: Speaks::Http("no request can reach it; lead a port to it (`[[tcp]]`)"),
    });
    let aliases = table.aliases.iter().map(|(alias, service)| Reference {
        place: format!("aliases.{alias}"),
        what: format!("the former name `{alias}`"),
        service,
        version: None,
        speaks: Speaks::Anything,
    });
    let ports = table.entry.iter().flat_map(|entry| &entry.settings.tcp).enumerate();
    let ports = ports.map(|(index, port)| Reference {
        place: format!("entry.tcp[{index}]"),
        what: format!("port {}", port.place()),
        service: &port.service,
        version: None,
        speaks: Speaks::Tcp,
    });
    let own = table.services.iter().flat_map(|(name, routes)| of_service(name, routes));
    routes.chain(aliases).chain(ports).chain(of_rules(table)).chain(of_callers(table)).chain(own).collect()
}

fn answers(route: &lockstep_domain::routes::Route) -> bool {
    route.rule.then.as_ref().is_some_and(|then| then.answers())
}

/// What is said of services in the environment.
fn of_rules(table: &RouteTable) -> Vec<Reference<'_>> {
    let Some(rules) = &table.rules else { return Vec::new() };
    let pages = rules.maintenance.iter().enumerate();
    let pages = pages.filter_map(|(index, page)| {
        let is_placed = page.host.is_some() || page.path.is_some();
        let of_requests = Speaks::Http("a connection has no host and no path that a page could be for");
        Some(Reference {
            place: format!("rules.maintenance[{index}]"),
            what: format!("page {} of maintenance", page.number),
            service: page.service.as_ref()?,
            version: page.version.as_ref(),
            speaks: if is_placed { of_requests } else { Speaks::Anything },
        })
    });
    let faults = rules.faults.iter().enumerate().map(|(index, fault)| Reference {
        place: format!("rules.faults[{index}]"),
        what: format!("fault {}", fault.number),
        service: &fault.service,
        version: None,
        speaks: Speaks::Http("faults are for requests, and no connection meets one"),
    });
    pages.chain(faults).collect()
}

/// What instances call by host and port.
fn of_callers(table: &RouteTable) -> Vec<Reference<'_>> {
    let callers = table.listeners.iter().flat_map(|listeners| &listeners.callers).enumerate();
    let called = callers.flat_map(|(index, caller)| {
        caller.services.keys().map(move |service| Reference {
            place: format!("listeners.callers[{index}]"),
            what: format!("instance {} calls it", caller.instance),
            service,
            version: None,
            speaks: Speaks::Anything,
        })
    });
    called.collect()
}

/// What a service says of itself and of its versions.
fn of_service<'a>(name: &'a ServiceName, routes: &'a ServiceRoutes) -> Vec<Reference<'a>> {
    let of = |place: String, what: String, version, speaks| Reference {
        place: format!("services.{name}.{place}"),
        what,
        service: name,
        version,
        speaks,
    };
    let rules = routes.version_rules.iter().enumerate().map(|(index, rule)| {
        let speaks = match rule.takes {
            SplitTakes::Places(_) => Speaks::Anything,
            SplitTakes::Lane => Speaks::Http("a connection says nothing of a lane"),
            SplitTakes::Header(_) | SplitTakes::Cookie(_) => {
                Speaks::Http("a connection has neither header nor cookie; a rule of a share takes some")
            }
        };
        of(format!("version_rules[{index}]"), format!("rule {}", rule.id), Some(&rule.version), speaks)
    });
    let mirror = routes.mirror.iter().map(|mirror| {
        let why = "connections are not copied";
        of("mirror".to_owned(), "the mirror".to_owned(), Some(&mirror.version), Speaks::Http(why))
    });
    let growth = routes.growth.iter().map(|growth| {
        let why = "connections are no visitors who could be kept";
        of("growth".to_owned(), format!("rollout {}", growth.rollout), None, Speaks::Http(why))
    });
    let fallback = routes.fallback_arm().into_iter().map(|arm| {
        let why = "nobody knows whether connections fail, so none stands in";
        let what = "the version that stands in".to_owned();
        of("fallback".to_owned(), what, Some(&arm.version), Speaks::Http(why))
    });
    rules.chain(mirror).chain(growth).chain(fallback).collect()
}

/// Finds services of which some versions speak TCP and some do not: connections would be passed as bytes to all.
fn mixed(table: &RouteTable) -> impl Iterator<Item = TableProblem> + '_ {
    let is_mixed = |routes: &ServiceRoutes| {
        routes.speaks_tcp() && routes.splits.iter().any(|split| split.protocol.is_http())
    };
    table.services.iter().filter(move |(_, routes)| is_mixed(routes)).map(|(name, _)| {
        let detail = format!("versions of `{name}` speak TCP and HTTP: all of them speak TCP, or none");
        TableProblem::new(format!("services.{name}"), detail)
    })
}

/// Finds former names that are names of services: requests go to these.
fn aliases(table: &RouteTable) -> impl Iterator<Item = TableProblem> + '_ {
    let taken = table.aliases.keys().filter(|alias| table.services.contains_key(alias));
    taken.map(|alias| {
        let detail = format!("the former name `{alias}` is that of a service of the table as well");
        TableProblem::new(format!("aliases.{alias}"), detail)
    })
}

#[cfg(test)]
mod tests {
    use crate::by_hand::{Refused, read_toml};

    const HEAD: &str = "environment = \"e\"\n[rules]\nfault_injection = \"allow\"\n[service.web]\ninstances = [\"127.0.0.1:1\"]\n\
        [[service.db.version]]\nnumber = \"1.0.0\"\nprotocol = \"tcp\"\ninstances = [\"127.0.0.1:2\"]\n\
        [[service.db.version]]\nnumber = \"1.1.0\"\nprotocol = \"tcp\"\nrole = \"pinned\"\ninstances = [\"127.0.0.1:3\"]\n";

    fn problems_of(more: &str) -> Vec<String> {
        match read_toml(&format!("{HEAD}{more}"), "table.toml") {
            Ok(_) => Vec::new(),
            Err(Refused::Wrong(problems)) => problems.iter().map(ToString::to_string).collect(),
            Err(Refused::NewerFormat(_)) => unreachable!(),
        }
    }

    #[test]
    fn whatever_leads_to_nothing_or_has_no_effect_is_named_with_its_line() {
        let respond = "respond = { status = 503, body = \"x\" }\n";
        let fault = "abort = 503\nuntil = 2099-01-01T00:00:00Z\n";
        for (more, words) in [
            (format!("[[maintenance]]\nservice = \"nope\"\n{respond}"), "there is no service `nope`"),
            (format!("[[maintenance]]\nservice = \"web\"\nversion = \"9.0.0\"\n{respond}"), "no version 9.0.0"),
            (format!("[[maintenance]]\nservice = \"db\"\npath = \"/a\"\n{respond}"), "speaks TCP"),
            (format!("[[service.db.fault]]\n{fault}"), "no connection meets one"),
            ("[[service.db.rule]]\nversion = \"1.1.0\"\nheader = { x = \"y\" }\n".into(), "neither header nor cookie"),
            ("[[service.db.rule]]\nversion = \"1.1.0\"\ncookie = { x = \"y\" }\n".into(), "neither header nor cookie"),
            ("[service.db.mirror]\nversion = \"1.1.0\"\nshare = \"5%\"\n".into(), "not copied"),
            ("[service.db.rollout]\nnumber = 1\nshares = [\"100%\"]\n".into(), "no visitors"),
            ("[[service.db.version]]\nnumber = \"1.2.0\"\nprotocol = \"tcp\"\nrole = \"fallback\"\ninstances = []\n".into(), "none stands in"),
            ("[[service.db.version]]\nnumber = \"1.2.0\"\nrole = \"pinned\"\ninstances = []\n".into(), "TCP and HTTP"),
            ("[[tcp]]\nport = 1\nservice = \"web\"\n".into(), "speaks HTTP"),
            ("[[tcp]]\nport = 1\nservice = \"nope\"\n".into(), "there is no [service.nope]"),
            ("[[route]]\nservice = \"db\"\n".into(), "speaks TCP"),
            ("[[route]]\nservice = \"nope\"\n".into(), "there is no [service.nope]"),
            ("[service.other]\naliases = [\"web\"]\ninstances = []\n".into(), "that of a service of the table as well"),
            ("[service.a]\naliases = [\"old\"]\ninstances = []\n[service.b]\naliases = [\"old\"]\ninstances = []\n".into(), "`old` is a former name of `a` already"),
        ] {
            let found = problems_of(&more);
            assert!(found.iter().any(|it| it.starts_with("line ") && it.contains(words)), "{more}: {found:#?}");
        }
        let fits = format!(
            "[[maintenance]]\n{respond}[[maintenance]]\nservice = \"db\"\nversion = \"1.1.0\"\n{respond}[[service.web.fault]]\n{fault}\
             [[service.db.rule]]\nversion = \"1.1.0\"\nshare = \"5%\"\n[[tcp]]\nport = 1\nservice = \"db\"\n[[route]]\nservice = \"web\"\n"
        );
        assert_eq!(problems_of(&fits), Vec::<String>::new());
    }
}
