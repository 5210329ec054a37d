//! Rules that give certain requests of a service a version of their own, whatever the others get: by a header, by a cookie, or
//! a lasting share of the clients. A mirror is one, too: its version gets copies, and no client anything of it.
//!
//! A rule keeps its version running. It makes no baseline: it stands beside them until somebody removes it, or goes back from
//! its version. Invariant: the places of the shares of one service do not overlap, and whoever is in a share stays in it whatever
//! other rules come and go.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::environment::Environment;
use crate::instance::{Arm, ConfigRevision};
use crate::intent::ConfigValue;
use crate::lane::{Lanes, first_free};
use crate::mirror::{Mirror, MirrorCounts};
use crate::name::{Actor, LaneName, ServiceName};
use crate::operation::Move;
use crate::routes::{FORMAT_WITH_VERSION_RULES, FULL_WEIGHT};
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};

/// Most rules of an environment: each is looked at for every request.
pub const MAX_RULES: usize = 50;
/// Longest name of a header or cookie.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest value of a header or cookie that is matched.
pub const MAX_VALUE_BYTES: usize = 256;
/// Rules that are over and still shown in the history.
const MAX_ENDED: usize = 100;

/// Which requests a rule takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Those with a header field of this value.
    Header(Pattern),
    /// Those with a cookie of this value.
    Cookie(Pattern),
    /// Those of a share of the clients, in 1/10,000.
    Share(u32),
    /// None: its version gets copies.
    Mirror(Mirror),
    /// Those of a lane, which says which these are.
    Lane(LaneName),
}

/// A name and the value that is looked for, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Of the header field in lower case, or of the cookie as it is spelled.
    #[schemars(extend("x-since" = FORMAT_WITH_VERSION_RULES))]
    pub name: String,
    /// What it has to be, as a whole.
    #[schemars(extend("x-since" = FORMAT_WITH_VERSION_RULES))]
    pub value: String,
}

/// Why no rule can be made of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TakesError {
    /// The name cannot be one.
    #[error(
        "`{0}` is no name of a header or cookie: 1 to {MAX_NAME_BYTES} letters, digits and -_.!#$%&'*+^`|~ make one"
    )]
    Name(String),
    /// No request can have the value.
    #[error("the value `{value}` {why}")]
    Value {
        /// What was asked for.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Nobody, or everybody.
    #[error("a share is more than 0 % and less than 100 %: for everything there is `lockstep deploy`")]
    Share,
    /// What it is part of is made as a whole.
    #[error("a lane is made with all its services at once: `lockstep lane create`")]
    Lane,
    /// No copies, or more than there are requests.
    #[error("copies are made of more than 0 % and at most 100 % of the requests")]
    Copies,
}

impl Takes {
    /// Makes a rule of a header; its name in any case.
    ///
    /// # Errors
    /// When no request can match.
    pub fn header(name: &str, value: &str) -> Result<Self, TakesError> {
        Self::Header(Pattern { name: name.to_ascii_lowercase(), value: value.to_owned() }).checked()
    }

    /// Makes a rule of a cookie.
    ///
    /// # Errors
    /// When no request can match.
    pub fn cookie(name: &str, value: &str) -> Result<Self, TakesError> {
        Self::Cookie(Pattern { name: name.to_owned(), value: value.to_owned() }).checked()
    }

    /// Checks it, and brings it into its one form.
    ///
    /// # Errors
    /// When no request can match, or every one does.
    pub fn checked(mut self) -> Result<Self, TakesError> {
        match &mut self {
            Self::Header(pattern) => {
                pattern.name.make_ascii_lowercase();
                pattern.check(|_| true)?;
            }
            Self::Cookie(pattern) => pattern.check(|byte| byte != b';')?,
            Self::Share(weight) if (1..FULL_WEIGHT).contains(weight) => {}
            Self::Share(_) => return Err(TakesError::Share),
            Self::Mirror(mirror) if (1..=FULL_WEIGHT).contains(&mirror.share) => {}
            Self::Mirror(_) => return Err(TakesError::Copies),
            Self::Lane(_) => return Err(TakesError::Lane),
        }
        Ok(self)
    }

    /// Returns how much of the clients it takes, where it takes a share.
    #[must_use]
    pub const fn share(&self) -> Option<u32> {
        match self {
            Self::Share(weight) => Some(*weight),
            Self::Header(_) | Self::Cookie(_) | Self::Mirror(_) | Self::Lane(_) => None,
        }
    }

    /// Returns which requests are copied, where that is all it does.
    #[must_use]
    pub const fn mirror(&self) -> Option<&Mirror> {
        match self {
            Self::Mirror(mirror) => Some(mirror),
            Self::Header(_) | Self::Cookie(_) | Self::Share(_) | Self::Lane(_) => None,
        }
    }
}

impl Pattern {
    fn check(&self, may_stand: impl Fn(u8) -> bool) -> Result<(), TakesError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        if !(1..=MAX_NAME_BYTES).contains(&self.name.len()) || !self.name.bytes().all(is_token) {
            return Err(TakesError::Name(self.name.chars().take(MAX_NAME_BYTES).collect()));
        }
        let why = match self.value.as_str() {
            "" => Some("is empty"),
            long if long.len() > MAX_VALUE_BYTES => Some("is longer than 256 bytes"),
            text if text.trim() != text => Some("begins or ends with a space, which no request keeps"),
            text if text.chars().any(char::is_control) => Some("has a control character"),
            text if !text.bytes().all(may_stand) => Some("has a `;`, which ends a cookie"),
            _ => None,
        };
        let value = || self.value.chars().take(80).collect();
        why.map_or(Ok(()), |why| Err(TakesError::Value { value: value(), why }))
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(Pattern { name, value }) => write!(f, "header {name}: {value}"),
            Self::Cookie(Pattern { name, value }) => write!(f, "cookie {name}={value}"),
            Self::Share(weight) => write!(f, "{} % of the clients", f64::from(*weight) / 100.0),
            Self::Mirror(mirror) => {
                write!(f, "copies of {} % of the requests", f64::from(mirror.share) / 100.0)
            }
            Self::Lane(name) => write!(f, "lane {name}"),
        }
    }
}

/// A rule: which requests of a service get which version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRule {
    /// Its number in the environment; no other one there ever gets it.
    pub number: u32,
    /// The record that made it, which tells it from every other one of the server; the rules of a lane have one together.
    pub record: u64,
    /// The service.
    pub service: ServiceName,
    /// The version that its requests get.
    pub version: VersionNumber,
    /// The configuration of that version: the one that was in force when the rule was made.
    pub config: ConfigRevision,
    /// Which requests it takes.
    pub takes: Takes,
    /// The places of its share on the line of all clients; none for other rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Places>,
    /// Who made it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many instances of its version run where only lanes keep it running; as many as of its service when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// A part of the line from 0 to 10,000 on which clients lie by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The first place of it.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub from: u32,
    /// The first place behind it.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub to: u32,
}

impl Places {
    /// Tells whether a place is in it.
    #[must_use]
    pub fn contains(self, place: u32) -> bool {
        Range { start: self.from, end: self.to }.contains(&place)
    }
}

impl VersionRule {
    /// Returns the arm that its requests get: the process that takes requests, and none of the others.
    #[must_use]
    pub fn arm(&self) -> Arm {
        Arm {
            service: self.service.clone(),
            version: self.version.clone(),
            config: self.config,
            process: None,
        }
    }

    /// Returns the lane that it is of, if it is of one.
    #[must_use]
    pub const fn lane(&self) -> Option<&LaneName> {
        match &self.takes {
            Takes::Lane(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for VersionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lane) = self.lane() {
            return write!(f, "lane {lane} ({}@{})", self.service, self.version);
        }
        write!(f, "rule {} ({} -> {}@{})", self.number, self.takes, self.service, self.version)
    }
}

/// A rule that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedRule {
    /// The rule.
    pub rule: VersionRule,
    /// Who ended it.
    pub by: Actor,
    /// When.
    pub ended: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// What a mirror had found when somebody ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<MirrorCounts>>,
}

/// The rules of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionRules {
    /// Those in force, in their order.
    pub rules: Vector<VersionRule>,
    /// Those that are over, the newest last.
    #[serde(default)]
    pub ended: Vector<EndedRule>,
    /// The lanes, whose rules stand among the others.
    #[serde(default, skip_serializing_if = "Lanes::is_unused")]
    pub lanes: Lanes,
    /// The number that was given last.
    given: u32,
}

/// What a new rule is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRule<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) version: &'a VersionNumber,
    pub(crate) config: ConfigRevision,
    pub(crate) takes: &'a Takes,
    pub(crate) reason: &'a str,
}

impl VersionRules {
    /// Tells whether there never was one.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// Goes through those that are over and known still, and those in force.
    pub fn all(&self) -> impl Iterator<Item = &VersionRule> {
        self.ended.iter().map(|ended| &ended.rule).chain(&self.rules)
    }

    /// Returns a rule in force.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<&VersionRule> {
        self.rules.iter().find(|rule| rule.number == number)
    }

    /// Goes through the rules of a service in their order.
    pub fn of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a VersionRule> + Clone {
        self.rules.iter().filter(move |rule| rule.service == *service)
    }

    /// Returns what share of a service no rule takes, in 1/10,000.
    #[must_use]
    pub fn unshared(&self, service: &ServiceName) -> u32 {
        let places = self.of(service).flat_map(|rule| &rule.places);
        let taken: u32 = places.map(|places| places.to.saturating_sub(places.from)).sum();
        FULL_WEIGHT.saturating_sub(taken)
    }

    /// Adds a rule. Folding only.
    pub(crate) fn add(
        &mut self,
        new: NewRule<'_>,
        record: u64,
        (by, at): (&Actor, Timestamp),
    ) -> Result<(), String> {
        let places = match new.takes.share() {
            Some(weight) => self.free_places(new.service, weight)?,
            None => Vec::new(),
        };
        let number = self.next_number();
        self.rules.push_back(VersionRule {
            number,
            record,
            service: new.service.clone(),
            version: new.version.clone(),
            config: new.config,
            takes: new.takes.clone(),
            places,
            by: by.clone(),
            at,
            reason: new.reason.to_owned(),
            replicas: None,
        });
        Ok(())
    }

    /// Gives the next number. Folding only.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.given += 1;
        self.given
    }

    /// Finds so many places that no share of the service has, the first ones.
    fn free_places(&self, service: &ServiceName, weight: u32) -> Result<Vec<Places>, String> {
        let taken = self.of(service).flat_map(|rule| &rule.places).copied();
        first_free(taken, weight).ok_or_else(|| format!("the shares of `{service}` are more than everything"))
    }

    /// Ends the rules that are meant, and the lanes that any of them is of as a whole. Folding only.
    pub(crate) fn end(
        &mut self,
        is_meant: impl Fn(&VersionRule) -> bool,
        (by, at): (&Actor, Timestamp),
        because: &str,
    ) {
        let of_lanes = self.rules.iter().filter(|rule| rule.lane().is_some() && is_meant(rule));
        let lanes: BTreeSet<u64> = of_lanes.map(|rule| rule.record).collect();
        let is_over = |rule: &VersionRule| match rule.lane() {
            Some(_) => lanes.contains(&rule.record),
            None => is_meant(rule),
        };
        let (over, left): (Vector<_>, Vector<_>) = self.rules.iter().cloned().partition(is_over);
        self.rules = left;
        self.lanes.end(&lanes, (by, at), because);
        let over = over.into_iter().filter(|rule| rule.lane().is_none());
        let ended =
            |rule| EndedRule { rule, by: by.clone(), ended: at, because: because.to_owned(), found: None };
        self.ended.extend(over.map(ended));
        while self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// Notes what a mirror that has ended had found. Folding only.
    pub(crate) fn note_found(&mut self, number: u32, found: Option<&MirrorCounts>) {
        if let Some(ended) = self.ended.iter_mut().rev().find(|ended| ended.rule.number == number) {
            ended.found = found.cloned().map(Box::new);
        }
    }

    /// Changes every rule, also those that are over. Folding only.
    pub(crate) fn each(&mut self, change: impl Fn(&mut VersionRule)) {
        self.rules.iter_mut().for_each(&change);
        self.ended.iter_mut().for_each(|ended| change(&mut ended.rule));
    }
}

impl Environment {
    /// Goes through the arms that rules keep running beside what the baseline has.
    pub fn ruled_arms(&self) -> impl Iterator<Item = Arm> {
        let runs_here = |rule: &&VersionRule| self.entries().contains_key(&rule.service);
        self.version_rules.rules.iter().filter(runs_here).map(VersionRule::arm)
    }

    /// Tells whether a rule keeps an arm running.
    #[must_use]
    pub fn is_ruled(&self, arm: &Arm) -> bool {
        self.ruled_arms().any(|ruled| ruled == *arm)
    }

    /// Ends the rules that lead to what an operation led to. Folding only.
    pub(crate) fn end_rules_to(&mut self, moves: &[Move], by: &Actor, at: Timestamp, because: &str) {
        let is_left = |rule: &VersionRule| moves.iter().any(|part| leads_to(rule, part));
        self.version_rules.end(is_left, (by, at), because);
    }

    /// Ends the rules to arms that have a secret which must not come back. Folding only.
    pub(crate) fn end_rules_with_secret(&mut self, secret: &str, by: &Actor, at: Timestamp) {
        let environment = self.clone();
        let has = |rule: &VersionRule| {
            let values = environment.configuration(&rule.service, rule.config).unwrap_or_default();
            values.values().any(|value| matches!(value, ConfigValue::Secret(name) if name == secret))
        };
        self.version_rules.end(has, (by, at), "a secret of its configuration was revoked");
    }

    /// Ends the rules to a version that is held from now on. Folding only.
    pub(crate) fn end_rules_to_held(&mut self, held: &VersionRef, by: &Actor, at: Timestamp) {
        let is_held = |rule: &VersionRule| rule.arm().version_ref() == *held;
        self.version_rules.end(is_held, (by, at), "its version is held");
    }
}

/// Tells whether a rule gives requests what a move leads to: that version, or where only the configuration moves, that arm.
fn leads_to(rule: &VersionRule, part: &Move) -> bool {
    let Some(to) = part.to_arm() else { return false };
    let same_version = part.from.as_ref().is_some_and(|from| from.version == to.version);
    if same_version { rule.arm() == to } else { rule.arm().version_ref() == to.version_ref() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_request_can_have_makes_no_rule() {
        for (name, value) in [("", "x"), ("a b", "x"), ("ü", "x"), ("a:", "x"), (&"a".repeat(65), "x")] {
            assert!(matches!(Takes::header(name, value), Err(TakesError::Name(_))), "{name}");
        }
        for value in ["", " x", "x ", "x\ny", "\u{7f}", &"x".repeat(257)] {
            assert!(matches!(Takes::header("x-user", value), Err(TakesError::Value { .. })), "{value}");
            assert!(matches!(Takes::cookie("user", value), Err(TakesError::Value { .. })), "{value}");
        }
        assert!(Takes::header("x-user", "a;b").is_ok() && Takes::cookie("user", "a;b").is_err());
        assert_eq!(Takes::header("X-User", "Jason").unwrap().to_string(), "header x-user: Jason");
        assert_eq!(Takes::cookie("Beta", "on=1").unwrap().to_string(), "cookie Beta=on=1");
        for share in [0, FULL_WEIGHT, u32::MAX] {
            assert_eq!(Takes::Share(share).checked(), Err(TakesError::Share));
        }
        assert_eq!(Takes::Share(250).checked().unwrap().to_string(), "2.5 % of the clients");
    }

    fn add(rules: &mut VersionRules, weight: u32) -> bool {
        let (service, version) = ("orders".parse().unwrap(), VersionNumber::new(1, 0, 0));
        let (config, takes, reason) = (ConfigRevision(0), &Takes::Share(weight), "");
        let new = NewRule { service: &service, version: &version, config, takes, reason };
        rules.add(new, 1, (&Actor::lockstep(), Timestamp(0))).is_ok()
    }

    proptest! {
        #[test]
        fn shares_are_exact_never_overlap_and_stay_where_they_are(
            steps in prop::collection::vec((any::<bool>(), 1..FULL_WEIGHT, 0..20_u32), 1..40),
        ) {
            let orders: ServiceName = "orders".parse().unwrap();
            let mut rules = VersionRules::default();
            for (adds, weight, number) in steps {
                let before = rules.clone();
                if adds {
                    prop_assert_eq!(add(&mut rules, weight), weight <= before.unshared(&orders));
                } else {
                    rules.end(|rule| rule.number == number, (&Actor::lockstep(), Timestamp(1)), "");
                }
                for rule in &rules.rules {
                    let size: u32 = rule.places.iter().map(|places| places.to - places.from).sum();
                    prop_assert_eq!(Some(size), rule.takes.share());
                    let as_before = before.find(rule.number).is_none_or(|it| it.places == rule.places);
                    prop_assert!(as_before, "somebody who was in it is not any more");
                }
                let mut all: Vec<_> = rules.rules.iter().flat_map(|rule| rule.places.clone()).collect();
                all.sort_by_key(|places| places.from);
                prop_assert!(all.iter().all(|places| places.from < places.to && places.to <= FULL_WEIGHT));
                prop_assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from));
            }
        }
    }
}
