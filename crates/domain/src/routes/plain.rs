//! Tables of which little is said: all requests go to one service.

use std::collections::BTreeMap;

use super::{
    Endpoint, FULL_WEIGHT, ROUTE_TABLE_FORMAT, Route, RouteRule, RouteTable, ServiceRoutes, Split, SplitRole,
};
use crate::edition::TableHistory;
use crate::instance::ConfigRevision;
use crate::name::{EnvironmentName, ServiceName};
use crate::version::VersionNumber;

impl Split {
    /// Makes the split of a version that gets every request.
    #[must_use]
    pub fn of_all(version: VersionNumber, endpoints: Vec<Endpoint>) -> Self {
        Self {
            version,
            config: ConfigRevision(0),
            weight: FULL_WEIGHT,
            role: SplitRole::Stable,
            endpoints,
            leaving: Vec::new(),
            named: Vec::new(),
            protocol: Default::default(),
            policy: None,
            approach: Default::default(),
        }
    }
}

impl ServiceRoutes {
    /// Makes routes of splits, of which nothing else is said.
    #[must_use]
    pub const fn of(splits: Vec<Split>) -> Self {
        Self {
            salt: String::new(),
            splits,
            watch: None,
            version_rules: Vec::new(),
            fallback: None,
            mirror: None,
            growth: None,
            passages: Vec::new(),
        }
    }
}

impl RouteTable {
    /// Makes the first table of an environment, in which every request goes to one service.
    #[must_use]
    pub fn to_one(environment: EnvironmentName, service: ServiceName, routes: ServiceRoutes) -> Self {
        let rule = RouteRule { path: "/".into(), ..RouteRule::default() };
        Self {
            format: ROUTE_TABLE_FORMAT,
            environment,
            history: TableHistory::default(),
            revision: 1,
            baseline: 1,
            routes: vec![Route { rule, service: service.clone() }],
            services: BTreeMap::from([(service, routes)]),
            aliases: BTreeMap::new(),
            rules: None,
            callers: Vec::new(),
            listeners: None,
            entry: None,
            visits: None,
            lanes: Vec::new(),
            switches: None,
            between: None,
            checks: Vec::new(),
        }
    }
}
