//! What people decided about watching: whom to tell, what not to tell for a while, and rules of their own.
//!
//! What each says is text of `lockstep-monitor` and `lockstep-notify`, which are above; here it is kept with who decided it. No secret is in it.

use std::sync::Arc;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{Actor, WatchingName};
use crate::time::Timestamp;

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchingKind {
    /// Whom to tell.
    Target,
    /// What not to tell for a while.
    Silence,
    /// When something is wrong.
    Rule,
}

impl WatchingKind {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Silence => "silence",
            Self::Rule => "rule",
        }
    }
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptWatching {
    /// What it says, as JSON.
    pub settings: String,
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

type Named = OrdMap<WatchingName, Arc<KeptWatching>>;

/// All that is decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatchingSettings {
    /// Whom to tell.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub targets: Named,
    /// What not to tell for a while.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub silences: Named,
    /// Rules of people.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub rules: Named,
}

impl WatchingSettings {
    /// Tells whether nothing is decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.silences.is_empty() && self.rules.is_empty()
    }

    /// Returns what is decided of a kind.
    #[must_use]
    pub const fn of(&self, kind: WatchingKind) -> &Named {
        match kind {
            WatchingKind::Target => &self.targets,
            WatchingKind::Silence => &self.silences,
            WatchingKind::Rule => &self.rules,
        }
    }

    pub(crate) fn set(&mut self, kind: WatchingKind, name: WatchingName, kept: KeptWatching) {
        self.of_mut(kind).insert(name, Arc::new(kept));
    }

    pub(crate) fn remove(&mut self, kind: WatchingKind, name: &WatchingName) -> Result<(), String> {
        let removed = self.of_mut(kind).remove(name);
        removed.map(|_| ()).ok_or_else(|| format!("there is no {} `{name}`", kind.word()))
    }

    const fn of_mut(&mut self, kind: WatchingKind) -> &mut Named {
        match kind {
            WatchingKind::Target => &mut self.targets,
            WatchingKind::Silence => &mut self.silences,
            WatchingKind::Rule => &mut self.rules,
        }
    }
}
