//! The last requests and TCP connections of a worker, why each went where it went, and how it ended: for people, and to try another table against.
//!
//! Invariants: what is kept is bounded in number and in bytes, and the place of an old request is used again. Nothing is kept of a
//! request's header fields, cookies and query but what the conditions of the table ask for ([`facts`]); no token, no key.

mod facts;
mod listed;
pub mod replay;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::priority::Priority;
use lockstep_domain::{EnvironmentName, ServiceName};

pub(crate) use facts::{Asked, Facts};
pub(crate) use listed::word;
pub use listed::{Known, Recent, RecentList, TcpKnown};

use crate::counts::Counts;
use crate::injection::Met;
use crate::policy::Hedged;
use crate::report::Report;
use crate::seat::Seat;

/// How many are copied while their worker waits.
const AT_ONCE: usize = 128;

/// The last requests of one worker.
#[derive(Debug)]
pub(crate) struct Ring {
    room: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of the request that was kept last; the first has 1.
    number: u64,
    slots: Vec<Slot>,
}

/// A request, as far as it came.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    number: u64,
    at: SystemTime,
    way: Way,
    facts: Facts,
    /// Where it is a connection to a service that speaks TCP, and no request.
    tcp: Option<Box<Passed>>,
    ended: Option<Ended>,
}

/// What is kept of a connection to a service that speaks TCP.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// Where it came.
    pub(crate) port: u16,
    /// What its client asked for within TLS.
    pub(crate) name: Option<String>,
    pub(crate) service: Option<ServiceName>,
    /// To the instance, and to the client.
    pub(crate) bytes: (u64, u64),
}

/// Where a request was sent first, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) environment: EnvironmentName,
    pub(crate) client: IpAddr,
    pub(crate) caller: Caller,
    pub(crate) https: bool,
    /// The route that took it.
    pub(crate) seat: Option<Arc<Seat>>,
    /// The arm that was chosen, and by what.
    pub(crate) arm: Option<(Arc<Counts>, Chosen)>,
    /// Where its key lies among all, drawn for its service.
    pub(crate) place: u16,
    /// How important it is.
    pub(crate) priority: Priority,
}

/// What chose the arm of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// A rule.
    Rule,
    /// The lane that it is in.
    Lane,
    /// The key that it came with.
    Key,
    /// A key that was made for it alone.
    Chance,
    /// That the arm which was drawn is left alone.
    Breaker,
    /// A visit that began at other shares.
    Visit,
}

/// How it ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    status: u16,
    code: Option<&'static str>,
    instance: Option<SocketAddr>,
    /// The arm whose instance that is.
    arm: Option<Arc<Counts>>,
    took: Duration,
    tries: u32,
    hedged: Option<Hedged>,
    shielded: bool,
    degraded: bool,
    mirrored: bool,
    fault: Option<Met>,
    end: &'static str,
}

impl Ended {
    /// Notes how a connection ended.
    pub(crate) fn connection(
        instance: Option<SocketAddr>,
        took: Duration,
        tries: u32,
        end: &'static str,
    ) -> Self {
        let (shielded, degraded, mirrored) = (false, false, false);
        Self {
            status: 0,
            code: None,
            instance,
            arm: None,
            took,
            tries,
            hedged: None,
            shielded,
            degraded,
            mirrored,
            fault: None,
            end,
        }
    }
}

impl Ring {
    pub(crate) fn new(room: usize) -> Self {
        Self { room: room.max(1), kept: Mutex::default() }
    }

    /// Keeps a request that has begun, in the place of the oldest one; returns its number, which is not 0.
    pub(crate) fn keep(&self, way: Way, note: impl FnOnce(&mut Facts)) -> u64 {
        self.keep_as(way, None, note)
    }

    /// Keeps a connection that has begun, in the place of the oldest one; returns its number, which is not 0.
    pub(crate) fn keep_connection(&self, way: Way, passed: Passed) -> u64 {
        self.keep_as(way, Some(Box::new(passed)), Facts::clear)
    }

    fn keep_as(&self, way: Way, tcp: Option<Box<Passed>>, note: impl FnOnce(&mut Facts)) -> u64 {
        let mut kept = self.lock();
        kept.number += 1;
        let (number, at) = (kept.number, SystemTime::now());
        let place = self.place(number);
        if place == kept.slots.len() {
            kept.slots.push(Slot { number, at, way, facts: Facts::default(), tcp, ended: None });
        } else {
            let slot = &mut kept.slots[place];
            (slot.number, slot.at, slot.way, slot.tcp, slot.ended) = (number, at, way, tcp, None);
        }
        note(&mut kept.slots[place].facts);
        number
    }

    /// Notes how a request ended, where it is still kept.
    pub(crate) fn end(&self, number: u64, report: &Report, took: Duration) {
        let (mut kept, place) = (self.lock(), self.place(number));
        let Some(slot) = kept.slots.get_mut(place).filter(|slot| slot.number == number) else { return };
        let &Report { status, code, tries, hedged, shielded, degraded, mirrored, fault, end, .. } = report;
        let (instance, arm, end) = (report.address(), report.arm.clone(), end.word());
        let ended = Ended {
            status,
            code,
            instance,
            arm,
            took,
            tries,
            hedged,
            shielded,
            degraded,
            mirrored,
            fault,
            end,
        };
        slot.ended = Some(ended);
    }

    /// Notes how a connection ended and which arm had it, where it is still kept.
    pub(crate) fn end_connection(&self, number: u64, arm: Option<Arc<Counts>>, passed: Passed, ended: Ended) {
        let (mut kept, place) = (self.lock(), self.place(number));
        let Some(slot) = kept.slots.get_mut(place).filter(|slot| slot.number == number) else { return };
        slot.way.arm = arm.map(|arm| (arm, Chosen::Chance));
        (slot.tcp, slot.ended) = (Some(Box::new(passed)), Some(ended));
    }

    /// Copies up to `most` requests, the newest first. The worker waits for a few of them at a time.
    pub(crate) fn newest(&self, most: usize) -> Vec<Slot> {
        let mut found: Vec<Slot> = Vec::new();
        let mut next = self.lock().number;
        while found.len() < most && next > 0 {
            let kept = self.lock();
            let count = AT_ONCE.min(most - found.len());
            let numbers = (0..next).map(|back| next - back).take(count);
            let slots = numbers
                .map_while(|number| kept.slots.get(self.place(number)).filter(|slot| slot.number == number));
            let before = found.len();
            found.extend(slots.cloned());
            if found.len() == before {
                break;
            }
            next -= (found.len() - before) as u64;
        }
        found
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from((number - 1) % self.room as u64).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
