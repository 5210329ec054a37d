//! Where notices are sent to: which of them a target takes, and how many it bears.

use serde::{Deserialize, Serialize};

use crate::notice::{Notice, NoticeKind, Severity};
use crate::subject::matches;

/// A target: a chat, a mailbox, a pager, a program. How it is reached is known to those who send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Who reads it.
    #[serde(default)]
    pub reader: Reader,
    /// What it takes.
    #[serde(default)]
    pub takes: Takes,
    /// How many notices in a minute it bears, at least 1.
    #[serde(default = "twenty")]
    pub limit_per_minute: u32,
    /// And how many in a second, where it bears fewer at once than in a minute.
    #[serde(default)]
    pub limit_per_second: Option<u32>,
}

/// The smallest limit of the services that have one (DingTalk and WeCom).
const fn twenty() -> u32 {
    20
}

/// Who reads a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// A person: when there are too many, they come as one.
    #[default]
    Person,
    /// A program that opens and closes incidents by their groups: it gets each by itself, however late.
    Program,
}

/// What a target takes; what is left out takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Takes {
    /// Environments with such a name; `*` stands for anything.
    pub environment: Option<String>,
    /// Services with such a name; `*` stands for anything.
    pub service: Option<String>,
    /// What one of these owns; what nobody owns is for all.
    pub owners: Vec<String>,
    /// Nothing milder.
    pub at_least: Option<Severity>,
}

impl Target {
    /// Tells whether a notice is for it. One that somebody asked for to see it is.
    #[must_use]
    pub fn takes(&self, notice: &Notice) -> bool {
        notice.kind == NoticeKind::Test || self.takes.are(notice)
    }
}

impl Takes {
    fn are(&self, notice: &Notice) -> bool {
        let fits = |pattern: &Option<String>, is: &Option<String>| {
            let matched = |pattern: &String| is.as_ref().is_some_and(|is| matches(pattern, is));
            pattern.as_ref().is_none_or(matched)
        };
        let owns = || notice.owners.iter().any(|owner| self.owners.contains(owner));
        fits(&self.environment, &notice.environment)
            && self.fits_service(notice)
            && (self.owners.is_empty() || notice.owners.is_empty() || owns())
            && self.at_least.is_none_or(|least| notice.severity >= least)
    }

    /// A notice of many services is for who takes one of them.
    fn fits_service(&self, notice: &Notice) -> bool {
        let Some(pattern) = &self.service else { return true };
        let of_alerts = notice.alerts.iter().filter_map(|alert| alert.subject.get("service"));
        notice.service.iter().chain(of_alerts).any(|service| matches(pattern, service))
    }
}
