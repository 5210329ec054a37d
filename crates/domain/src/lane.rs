//! Lanes: overlays on a baseline. Certain requests get other versions of a few services, wherever in a chain of calls these are asked, and of all others what everybody gets.
//!
//! A lane is a condition, one number that is carried, and a rule ([`crate::version_rules`]) for each of its services: what these keep running, how
//! it is mended and what ends it is theirs. Invariants: a lane stands or falls as a whole, since its versions were checked together; and a request is in
//! one lane at most.

mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::environment::Environment;
use crate::event::Event;
use crate::instance::{Arm, ConfigRevision};
use crate::name::{Actor, LaneName, ServiceName, StageName};
use crate::routes::FULL_WEIGHT;
use crate::share::{in_10000, percent};
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::version_rules::{Pattern, Places, Takes, TakesError, VersionRule, VersionRules};

pub use table::{TableLane, TableWhen};

/// The format that a gateway must take where there is a lane.
pub const FORMAT_WITH_LANES: u32 = 24;
/// Most services of a lane: more are another environment.
pub const MAX_SERVICES: usize = 20;
/// Most conditions of a lane.
pub const MAX_CONDITIONS: usize = 16;
/// Longest time of a lane: what is needed for longer is no trial any more.
pub const MAX_FOR_MS: u64 = 90 * 24 * 60 * 60 * 1_000;
/// How long a lane is there of which nobody says it.
pub const USUAL_FOR_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Most instances of each version of a lane.
pub const MAX_REPLICAS: u32 = 100;
/// Longest name of a user, which is a client's key.
pub const MAX_USER_BYTES: usize = 256;
/// Lanes that are over and still shown in the history.
const MAX_ENDED: usize = 100;

/// Which requests are in a lane. As text `header:x-lane=login`, `cookie:lane=login`, `user:ann`, `share:10%`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaneWhen {
    /// Those with a header field of this value.
    Header(Pattern),
    /// Those with a cookie of this value.
    Cookie(Pattern),
    /// Those of a client with this key.
    User(String),
    /// Those of a lasting share of the clients, in 1/10,000.
    Share(u32),
}

/// Why a text is no condition of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LaneWhenError {
    /// It has no such form.
    #[error("expected `header:NAME=VALUE`, `cookie:NAME=VALUE`, `user:KEY` or `share:PERCENT`, not `{0}`")]
    Form(String),
    /// No request can match, or every one does.
    #[error(transparent)]
    Takes(#[from] TakesError),
    /// No client has such a key.
    #[error("a user is a client's key of 1 to {MAX_USER_BYTES} bytes, without control characters")]
    User,
    /// The share is none.
    #[error("{0}")]
    Share(String),
}

impl LaneWhen {
    /// Checks it, and brings it into its one form.
    ///
    /// # Errors
    /// When no request can match, or every one does.
    pub fn checked(self) -> Result<Self, LaneWhenError> {
        let pattern = |takes: Takes| match takes.checked()? {
            Takes::Header(pattern) => Ok::<_, LaneWhenError>(Self::Header(pattern)),
            Takes::Cookie(pattern) => Ok(Self::Cookie(pattern)),
            _ => Err(LaneWhenError::Form(String::new())),
        };
        match self {
            Self::Header(it) => pattern(Takes::Header(it)),
            Self::Cookie(it) => pattern(Takes::Cookie(it)),
            Self::User(key)
                if !(1..=MAX_USER_BYTES).contains(&key.len()) || key.chars().any(char::is_control) =>
            {
                Err(LaneWhenError::User)
            }
            Self::User(key) => Ok(Self::User(key)),
            Self::Share(weight) => {
                Takes::Share(weight).checked()?;
                Ok(Self::Share(weight))
            }
        }
    }

    /// Returns how much of the clients it takes, where it takes a share.
    #[must_use]
    pub const fn share(&self) -> Option<u32> {
        match self {
            Self::Share(weight) => Some(*weight),
            Self::Header(_) | Self::Cookie(_) | Self::User(_) => None,
        }
    }
}

impl fmt::Display for LaneWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(Pattern { name, value }) => write!(f, "header:{name}={value}"),
            Self::Cookie(Pattern { name, value }) => write!(f, "cookie:{name}={value}"),
            Self::User(key) => write!(f, "user:{key}"),
            Self::Share(weight) => write!(f, "share:{}", percent(*weight).replace(' ', "")),
        }
    }
}

impl FromStr for LaneWhen {
    type Err = LaneWhenError;

    fn from_str(text: &str) -> Result<Self, LaneWhenError> {
        let form = || LaneWhenError::Form(text.chars().take(80).collect());
        let (kind, rest) = text.split_once(':').ok_or_else(form)?;
        let pattern = || {
            let (name, value) = rest.split_once('=').ok_or_else(form)?;
            Ok::<_, LaneWhenError>(Pattern { name: name.to_owned(), value: value.to_owned() })
        };
        let when = match kind {
            "header" => Self::Header(pattern()?),
            "cookie" => Self::Cookie(pattern()?),
            "user" => Self::User(rest.to_owned()),
            "share" => Self::Share(in_10000(rest).map_err(LaneWhenError::Share)?),
            _ => return Err(form()),
        };
        when.checked()
    }
}

/// What a lane gives of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneService {
    /// The service.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub service: ServiceName,
    /// What requests of the lane get of it.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub version: VersionNumber,
    /// With which configuration: the one that was in force when the lane began.
    #[schemars(extend("x-since" = FORMAT_WITH_LANES))]
    pub config: ConfigRevision,
}

impl LaneService {
    /// Returns the arm that requests of the lane get.
    #[must_use]
    pub fn arm(&self) -> Arm {
        let (service, version) = (self.service.clone(), self.version.clone());
        Arm { service, version, config: self.config, process: None }
    }

    /// Returns the version that requests of the lane get.
    #[must_use]
    pub fn version_ref(&self) -> VersionRef {
        VersionRef { service: self.service.clone(), version: self.version.clone() }
    }
}

/// When a lane ends by itself, on the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaneEnd {
    /// At the end of a time: it moves when the clock is found to be behind, since nobody lived through that.
    #[serde(rename = "lived_until")]
    After(Timestamp),
    /// At a date.
    At(Timestamp),
}

impl LaneEnd {
    /// Returns the moment.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        match self {
            Self::After(at) | Self::At(at) => at,
        }
    }
}

/// What a lane is made of, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewLane {
    /// Its name; another one may have it when it is over.
    pub name: LaneName,
    /// Its services with their versions, by name.
    pub services: Vec<LaneService>,
    /// Which requests are in it: those for which any of these holds.
    pub when: Vec<LaneWhen>,
    /// Who answers for it.
    pub owner: String,
    /// When it ends by itself.
    #[serde(rename = "ends")]
    pub until: LaneEnd,
    /// How many instances of each of its versions run that run for it alone.
    pub replicas: u32,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// What it is made of.
    #[serde(flatten)]
    pub new: NewLane,
    /// The record that made it: the number that is carried along chains of calls.
    pub record: u64,
    /// The places of its share on the line of all clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Places>,
    /// Who made it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.new.services.iter().map(|it| it.version_ref().to_string()).collect();
        write!(f, "lane {} ({})", self.new.name, services.join(", "))
    }
}

impl Lane {
    /// Says which requests are in it.
    #[must_use]
    pub fn condition(&self) -> String {
        self.new.when.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
    }
}

/// A lane that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedLane {
    /// The lane.
    pub lane: Lane,
    /// Who ended it.
    pub by: Actor,
    /// When.
    pub ended: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// The lanes of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lanes {
    /// Those in force, the oldest first: a request is in the first that it matches.
    pub lanes: Vector<Lane>,
    /// Those that are over, the newest last.
    #[serde(default, skip_serializing_if = "Vector::is_empty")]
    pub ended: Vector<EndedLane>,
}

impl Lanes {
    /// Tells whether there never was one.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// Returns a lane in force.
    #[must_use]
    pub fn find(&self, name: &LaneName) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.new.name == *name)
    }

    /// Returns the one of this name that ended last.
    #[must_use]
    pub fn find_ended(&self, name: &LaneName) -> Option<&EndedLane> {
        self.ended.iter().rev().find(|ended| ended.lane.new.name == *name)
    }

    /// Ends those of these records. Folding only.
    pub(crate) fn end(&mut self, records: &BTreeSet<u64>, (by, at): (&Actor, Timestamp), because: &str) {
        let (over, left): (Vector<_>, Vector<_>) =
            self.lanes.iter().cloned().partition(|lane| records.contains(&lane.record));
        self.lanes = left;
        let ended = |lane| EndedLane { lane, by: by.clone(), ended: at, because: because.to_owned() };
        self.ended.extend(over.into_iter().map(ended));
        while self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// Moves the ends of those that last for a time. Folding only.
    pub(crate) fn skip(&mut self, ms: u64) {
        for lane in &mut self.lanes {
            if let LaneEnd::After(at) = lane.new.until {
                lane.new.until = LaneEnd::After(at.plus_ms(ms));
            }
        }
    }

    /// Changes every service of every lane, also of those that are over. Folding only.
    pub(crate) fn each_service(&mut self, change: impl Fn(&mut LaneService)) {
        self.lanes.iter_mut().flat_map(|lane| &mut lane.new.services).for_each(&change);
        self.ended.iter_mut().flat_map(|ended| &mut ended.lane.new.services).for_each(&change);
    }
}

impl VersionRules {
    /// Begins a lane: a rule for each of its services, which all have its record. Folding only.
    pub(crate) fn begin_lane(
        &mut self,
        new: &NewLane,
        record: u64,
        (by, at): (&Actor, Timestamp),
    ) -> Result<(), String> {
        if self.lanes.find(&new.name).is_some() {
            return Err(format!("there is a lane `{}` already", new.name));
        }
        let places = match new.when.iter().find_map(LaneWhen::share) {
            Some(weight) => {
                let services: BTreeSet<_> = new.services.iter().map(|it| &it.service).collect();
                let free = self.free_places_of_lane(&services, weight);
                free.ok_or("the shares of rules and lanes are more than everything")?
            }
            None => Vec::new(),
        };
        for LaneService { service, version, config } in &new.services {
            let number = self.next_number();
            self.rules.push_back(VersionRule {
                number,
                record,
                service: service.clone(),
                version: version.clone(),
                config: *config,
                takes: Takes::Lane(new.name.clone()),
                places: places.clone(),
                by: by.clone(),
                at,
                reason: new.reason.clone(),
                replicas: Some(new.replicas),
            });
        }
        self.lanes.lanes.push_back(Lane { new: new.clone(), record, places, by: by.clone(), at });
        Ok(())
    }

    /// Finds places for the share of a lane: such as no other lane has, and no rule of one of its services.
    #[must_use]
    pub fn free_places_of_lane(&self, services: &BTreeSet<&ServiceName>, weight: u32) -> Option<Vec<Places>> {
        let counts = |rule: &&VersionRule| rule.lane().is_some() || services.contains(&rule.service);
        first_free(self.rules.iter().filter(counts).flat_map(|rule| &rule.places).copied(), weight)
    }

    /// Returns the lane that a rule is of.
    #[must_use]
    pub fn lane_of(&self, rule: &VersionRule) -> Option<&Lane> {
        self.lanes.find(rule.lane()?)
    }
}

/// Finds so many places that are not taken, the first ones.
pub(crate) fn first_free(taken: impl Iterator<Item = Places>, weight: u32) -> Option<Vec<Places>> {
    let mut taken: Vec<Places> = taken.collect();
    taken.sort_by_key(|places| (places.from, places.to));
    taken.push(Places { from: FULL_WEIGHT, to: FULL_WEIGHT });
    let (mut found, mut at, mut left) = (Vec::new(), 0, weight);
    for Places { from, to } in taken {
        let size = from.saturating_sub(at).min(left);
        found.extend((size > 0).then_some(Places { from: at, to: at + size }));
        (left, at) = (left - size, at.max(to));
    }
    (left == 0).then_some(found)
}

/// The event of each lane whose time is over.
pub(crate) fn due(environment: &Environment, now: Timestamp) -> impl Iterator<Item = Event> + '_ {
    let over = environment.version_rules.lanes.lanes.iter().filter(move |it| it.new.until.at() <= now);
    over.map(|lane| Event::LaneEnded {
        environment: environment.name.clone(),
        lane: lane.new.name.clone(),
        reason: "its time is over".to_owned(),
    })
}

/// When the next lane ends by itself.
pub(crate) fn next_end(environment: &Environment) -> Option<Timestamp> {
    environment.version_rules.lanes.lanes.iter().map(|lane| lane.new.until.at()).min()
}

impl Environment {
    /// Returns how many instances of an arm run where only lanes keep it running: what is deployed, warm, on its way or given by a rule runs as often as its service.
    #[must_use]
    pub fn count_in_lanes(&self, arm: &Arm) -> Option<u32> {
        let rules = || self.version_rules.of(&arm.service).filter(|rule| rule.arm() == *arm);
        let most = rules().map(|rule| rule.replicas).max()??;
        let is_of_rule = || rules().any(|rule| rule.replicas.is_none());
        let runs = || self.entries().get(&arm.service).is_some_and(|entry| entry.arm(&arm.service) == *arm);
        let is_moved = || {
            self.moving()
                .flat_map(|it| it.plan.moves())
                .any(|part| part.to_arm().as_ref() == Some(arm) || part.from_arm().as_ref() == Some(arm))
        };
        let is_more = is_of_rule() || runs() || self.warm.contains_key(arm) || is_moved();
        (!is_more).then_some(most)
    }
}

/// Which versions an environment takes in lanes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LanesAccept {
    /// Those that it takes when they are deployed.
    #[default]
    Deployed,
    /// Those from this stage on as well.
    From(StageName),
}

impl LanesAccept {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        matches!(self, Self::Deployed)
    }

    /// Returns the stage from which on versions are taken as well.
    #[must_use]
    pub const fn stage(&self) -> Option<&StageName> {
        match self {
            Self::Deployed => None,
            Self::From(stage) => Some(stage),
        }
    }
}

impl fmt::Display for LanesAccept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed => f.write_str("none"),
            Self::From(stage) => write!(f, "{stage}"),
        }
    }
}

/// Why a text does not say which versions are taken in lanes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected a stage, or `none` for no more than what is accepted for deployments")]
pub struct LanesAcceptError;

impl FromStr for LanesAccept {
    type Err = LanesAcceptError;

    fn from_str(text: &str) -> Result<Self, LanesAcceptError> {
        match text {
            "none" => Ok(Self::Deployed),
            stage => Ok(Self::From(stage.parse().map_err(|_| LanesAcceptError)?)),
        }
    }
}

#[cfg(test)]
mod tests;
