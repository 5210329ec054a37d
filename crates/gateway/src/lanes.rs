//! Lanes: which one a request is in, and what became of its requests.
//!
//! It is decided where a request comes in, at whatever service, and then its number goes along with those of rules ([`crate::version_rules`]). What a lane
//! gives of a service is one of that service's rules; of all other services its requests get what everybody gets, since no rule of theirs has its number.
//! Invariants: a request is in one lane at most, and wherever it gets something else than the lane gives, its answer and the counters say so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::lane::{LaneService, TableLane, TableWhen};
use lockstep_domain::routes::{RouteTable, SHARE_SALT, SplitRole, slot};
use lockstep_domain::{Arm, LaneName};

use crate::request::Request;
use crate::table::WorkerTable;
use crate::version_rules::{has_cookie, has_header};

/// The header by which answers say in which lane a request was.
pub(crate) const HEADER: &str = "lockstep-lane";

/// A lane as a worker uses it.
#[derive(Debug)]
pub(crate) struct LaneSeat {
    lane: TableLane,
    /// What answers say: its name, and of which services none of its instances serves.
    text: String,
    /// The same with one service more, in the order of those of the lane.
    texts: Vec<String>,
    /// Its arms that serve nothing else: what calls as one of them is in the lane.
    alone: Vec<Arm>,
    counts: Arc<LaneCounts>,
}

/// What became of the requests of a lane.
#[derive(Debug, Default)]
struct LaneCounts {
    /// For each of its services, in their order: what the lane gives, and something else.
    services: Vec<[AtomicU64; 2]>,
    /// What is not in the lane.
    others: AtomicU64,
}

/// What a request of a lane was served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedBy {
    /// What the lane gives, of its service of this place.
    Lane(usize),
    /// Something else, although the lane gives something: none of that serves.
    Instead(usize),
    /// A service that is not in the lane.
    Baseline,
}

/// What was counted of one lane.
#[derive(Debug, Clone)]
pub(crate) struct LaneSeen {
    pub(crate) name: LaneName,
    /// By service: what the lane gives, and something else.
    pub(crate) services: Vec<(String, [u64; 2])>,
    pub(crate) others: u64,
}

impl LaneSeat {
    fn of(table: &RouteTable, lane: &TableLane, counts: Arc<LaneCounts>) -> Self {
        let serves = |it: &LaneService| {
            let routes = table.services.get(&it.service);
            routes.is_some_and(|routes| routes.version_rules.iter().any(|rule| rule.id == lane.id))
        };
        let unserved = |more: Option<&LaneService>| {
            let all = lane.services.iter().filter(|it| !serves(it) || Some(*it) == more);
            let all: Vec<_> = all.map(|it| it.service.as_str()).collect();
            match all.as_slice() {
                [] => lane.name.to_string(),
                all => format!("{}; not-served={}", lane.name, all.join(",")),
            }
        };
        let alone = lane.services.iter().filter(|it| is_alone(table, lane, it));
        Self {
            text: unserved(None),
            texts: lane.services.iter().map(|it| unserved(Some(it))).collect(),
            alone: alone.map(LaneService::arm).collect(),
            lane: lane.clone(),
            counts,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.lane.id
    }

    pub(crate) fn name(&self) -> &str {
        self.lane.name.as_str()
    }

    pub(crate) fn lane(&self) -> &TableLane {
        &self.lane
    }

    /// Tells what an arm is for a request of the lane.
    pub(crate) fn served_by(&self, arm: Option<&Arm>) -> ServedBy {
        let place = arm.and_then(|arm| self.lane.services.iter().position(|it| it.service == arm.service));
        match (place, arm) {
            (Some(place), Some(arm)) => {
                let gives = &self.lane.services[place];
                let is_it = (&gives.version, gives.config) == (&arm.version, arm.config);
                if is_it { ServedBy::Lane(place) } else { ServedBy::Instead(place) }
            }
            _ => ServedBy::Baseline,
        }
    }

    /// Tells whether an arm answered in the place of what the lane gives.
    pub(crate) fn is_missed(&self, arm: Option<&Arm>) -> bool {
        matches!(self.served_by(arm), ServedBy::Instead(_))
    }

    /// Tells whether a client's key decides who is in it.
    pub(crate) fn is_drawn(&self) -> bool {
        self.lane.when.iter().any(|when| matches!(when, TableWhen::Places(_)))
    }

    /// Tells whether a request matches it whatever the key of its client is.
    pub(crate) fn is_said(&self, request: &Request<'_>) -> bool {
        let entering = Entering { request, key: &[], calling: None };
        let mut others = self.lane.when.iter().filter(|when| !matches!(when, TableWhen::Places(_)));
        others.any(|when| holds(when, &entering))
    }

    /// Returns what an answer of an arm says.
    pub(crate) fn text(&self, arm: Option<&Arm>) -> &str {
        match self.served_by(arm) {
            ServedBy::Instead(place) => &self.texts[place],
            ServedBy::Lane(_) | ServedBy::Baseline => &self.text,
        }
    }

    /// Counts a request that is over.
    pub(crate) fn count(&self, by: ServedBy) {
        let counter = match by {
            ServedBy::Lane(place) => self.counts.services.get(place).map(|it| &it[0]),
            ServedBy::Instead(place) => self.counts.services.get(place).map(|it| &it[1]),
            ServedBy::Baseline => Some(&self.counts.others),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells whether what a lane gives of a service serves requests of that lane and no others.
fn is_alone(table: &RouteTable, lane: &TableLane, gives: &LaneService) -> bool {
    let of_others =
        table.lanes.iter().filter(|other| other.id != lane.id).any(|it| it.services.contains(gives));
    let Some(routes) = table.services.get(&gives.service) else { return !of_others };
    let same = |version, config| (version, config) == (&gives.version, gives.config);
    let has_share = routes.splits.iter().any(|split| {
        same(&split.version, split.config) && (split.weight > 0 || split.role != SplitRole::Pinned)
    });
    let by_rule =
        routes.version_rules.iter().any(|rule| rule.id != lane.id && same(&rule.version, rule.config));
    let by_copies = routes.mirror.as_ref().is_some_and(|it| same(&it.version, it.config));
    let stands_in = routes.fallback_arm().is_some_and(|arm| same(&arm.version, arm.config));
    let switched = routes
        .passages
        .iter()
        .any(|passage| passage.from.iter().chain([&passage.to]).any(|side| same(&side.version, side.config)));
    !(of_others || has_share || by_rule || by_copies || stands_in || switched)
}

/// The lanes of an environment, for all workers.
#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    seats: Vec<Arc<LaneSeat>>,
}

impl LaneBook {
    /// Takes in the lanes of a table. What was counted of one stays as long as it is there.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        let known: BTreeMap<u64, Arc<LaneCounts>> =
            self.seats.iter().map(|seat| (seat.id(), Arc::clone(&seat.counts))).collect();
        let fresh = |lane: &TableLane| {
            let services = lane.services.iter().map(|_| Default::default()).collect();
            Arc::new(LaneCounts { services, others: AtomicU64::new(0) })
        };
        let seat = |lane: &TableLane| {
            let counts = known.get(&lane.id).filter(|it| it.services.len() == lane.services.len());
            let counts = counts.cloned().unwrap_or_else(|| fresh(lane));
            Arc::new(LaneSeat::of(table, lane, counts))
        };
        self.seats = table.lanes.iter().map(seat).collect();
    }

    pub(crate) fn seats(&self) -> Vec<Arc<LaneSeat>> {
        self.seats.clone()
    }

    /// Returns what was counted.
    pub(crate) fn seen(&self) -> Vec<LaneSeen> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let seen = self.seats.iter().map(|seat| {
            let named = seat.lane.services.iter().zip(&seat.counts.services);
            LaneSeen {
                name: seat.lane.name.clone(),
                services: named
                    .map(|(it, counts)| (it.service.to_string(), counts.each_ref().map(read)))
                    .collect(),
                others: read(&seat.counts.others),
            }
        });
        seen.collect()
    }
}

/// What of a request decides in which lane it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entering<'a, 'r> {
    pub(crate) request: &'a Request<'r>,
    pub(crate) key: &'a [u8],
    /// What calls, where it calls at a listener of its own.
    pub(crate) calling: Option<&'a Arm>,
}

/// Finds the lane that a request is in: the one that an earlier hop decided, that of the version that calls, else the first that it matches.
pub(crate) fn find<'t>(
    table: &'t WorkerTable,
    entering: &Entering<'_, '_>,
    carried: &[u64],
) -> Option<&'t Arc<LaneSeat>> {
    let decided = table.lanes.iter().find(|seat| carried.contains(&seat.id()));
    let is_alone = |seat: &&Arc<LaneSeat>| entering.calling.is_some_and(|arm| seat.alone.contains(arm));
    let of_caller = || table.lanes.iter().find(is_alone);
    let first = || table.lanes.iter().find(|seat| seat.lane.when.iter().any(|when| holds(when, entering)));
    decided.or_else(of_caller).or_else(first)
}

/// Decides it anew for a client whose key was found later.
pub(crate) fn decide_anew(
    rules: &mut Vec<u64>,
    table: &WorkerTable,
    entering: &Entering<'_, '_>,
    caller: Caller,
) {
    if table.lanes.is_empty() {
        return;
    }
    let carried = crate::version_rules::believed(entering.request, caller);
    rules.retain(|id| !table.lanes.iter().any(|seat| seat.id() == *id));
    if let Some(seat) = find(table, entering, &carried) {
        rules.insert(0, seat.id());
    }
}

fn holds(when: &TableWhen, Entering { request, key, .. }: &Entering<'_, '_>) -> bool {
    match when {
        TableWhen::Header(pattern) => has_header(request, pattern),
        TableWhen::Cookie(pattern) => has_cookie(request, pattern),
        TableWhen::User(user) => user.as_bytes() == *key,
        TableWhen::Places(places) => {
            let place = slot(SHARE_SALT, key);
            places.iter().any(|range| range.contains(place))
        }
    }
}
