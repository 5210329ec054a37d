//! Lanes as route tables have them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FORMAT_WITH_LANES, Lane, LaneService, LaneWhen};
use crate::name::{LaneName, ServiceName};
use crate::version_rules::{Pattern, Places};

/// A lane as a route table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableLane {
    /// What it is known by to every gateway, and what is carried along chains of calls.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub id: u64,
    /// Its name.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub name: LaneName,
    /// Which requests are in it: those for which any of these holds.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub when: Vec<TableWhen>,
    /// What it gives, also of services where no instance of that serves: there its requests get what all get, and are told.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub services: Vec<LaneService>,
}

/// Which requests are in a lane, in a route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableWhen {
    /// Those with a header field of this name, in any case, and this value.
    Header(Pattern),
    /// Those with a cookie of this name and value.
    Cookie(Pattern),
    /// Those of a client with this key.
    User(String),
    /// Those whose client lies in these places on the line from 0 to 10,000, drawn with the salt `shares`.
    Places(Vec<Places>),
}

impl TableLane {
    /// Returns how a table has a lane.
    #[must_use]
    pub fn of(lane: &Lane) -> Self {
        let when = lane.new.when.iter().map(|when| match when {
            LaneWhen::Header(pattern) => TableWhen::Header(pattern.clone()),
            LaneWhen::Cookie(pattern) => TableWhen::Cookie(pattern.clone()),
            LaneWhen::User(key) => TableWhen::User(key.clone()),
            LaneWhen::Share(_) => TableWhen::Places(lane.places.clone()),
        });
        let (name, services) = (lane.new.name.clone(), lane.new.services.clone());
        Self { id: lane.record, name, when: when.collect(), services }
    }

    /// Returns what it gives of a service.
    #[must_use]
    pub fn of_service(&self, service: &ServiceName) -> Option<&LaneService> {
        self.services.iter().find(|it| it.service == *service)
    }
}
