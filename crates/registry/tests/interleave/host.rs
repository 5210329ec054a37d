//! The host of the simulation: instances with their supervisors, which outlive the server, and what the driver heard of them.

use std::collections::BTreeMap;

use lockstep_domain::{Arm, Instance, InstanceId, InstanceState, Timestamp};

use crate::journal::staging;
use crate::model::Finding;

/// An instance from its launch on.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) arm: Arm,
    /// Whether the driver has it: before that it is known to this server alone.
    pub(crate) started: bool,
    pub(crate) truth: InstanceState,
    heard: InstanceState,
    since: Timestamp,
    /// The mark on the disk by which it was told to end.
    pub(crate) marked: bool,
    /// Whether its supervisor was asked to look at the mark.
    asked: bool,
    /// Whether the server does not know of it.
    unfound: bool,
    /// For so many steps it goes on although it was asked to end.
    lingers: u32,
    /// For so many steps it has no supervisor.
    alone: u32,
    port: u16,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    pub(crate) bodies: BTreeMap<InstanceId, Body>,
    launched: u16,
    /// How long instances take to end from now on.
    pub(crate) ends: Ends,
}

/// How long instances take to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ends {
    #[default]
    AtOnce,
    Late,
    /// Not before they may: the kernel holds them.
    Never,
}

/// So many steps of its own one takes that ends late: more than a server takes to die and to look again.
const LATE: u32 = 25;
/// For so many steps an instance has no supervisor when one was killed.
const ALONE: u32 = 10;

impl Host {
    pub(crate) fn launch(&mut self, arm: &Arm, now: Timestamp) {
        self.launched += 1;
        let id = format!("{}-{}-{:04}", arm.service, arm.version, self.launched).parse().expect("a valid id");
        let state = InstanceState::Starting;
        let body = Body {
            arm: arm.clone(),
            started: false,
            truth: state.clone(),
            heard: state,
            since: now,
            marked: false,
            asked: false,
            unfound: false,
            lingers: 0,
            alone: 0,
            port: 20_000 + self.launched,
        };
        self.bodies.insert(id, body);
    }

    /// Returns what the server knows of its instances: reports that may be old.
    pub(crate) fn list(&self) -> Vec<Instance> {
        let all = self.bodies.iter().filter(|(_, body)| !body.unfound);
        all.map(|(id, body)| Instance {
            id: id.clone(),
            environment: staging(),
            arm: body.arm.clone(),
            state: body.heard.clone(),
            address: body.started.then(|| ([127, 0, 0, 1], body.port).into()),
            since: body.since,
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        })
        .collect()
    }

    /// Marks an instance as told to end; tells whether the driver has it.
    pub(crate) fn stop(&mut self, id: &InstanceId, shown_at_once: bool) -> bool {
        let Some(body) = self.bodies.get_mut(id).filter(|body| body.started) else { return false };
        body.marked = true;
        if shown_at_once {
            body.heard = body.heard.clone().once_told();
        }
        true
    }

    /// Asks the supervisor of an instance to look at its mark.
    pub(crate) fn ask(&mut self, id: &InstanceId) {
        if let Some(body) = self.bodies.get_mut(id) {
            body.asked |= body.marked;
        }
    }

    /// Lets an instance take its next step by itself.
    pub(crate) fn live(&mut self, id: &InstanceId, was_told: bool, now: Timestamp) {
        let ends = self.ends;
        let Some(body) = self.bodies.get_mut(id) else { return };
        if body.is_alone() {
            return;
        }
        let next = match &body.truth {
            InstanceState::Starting if !body.started && was_told => InstanceState::Stopped,
            InstanceState::Starting if !body.started => {
                body.started = true;
                return;
            }
            state if state.is_over() => return,
            InstanceState::Stopping if body.lingers > 0 => {
                body.lingers -= u32::from(ends != Ends::Never);
                return;
            }
            InstanceState::Stopping => InstanceState::Stopped,
            _ if body.asked => {
                body.lingers = if ends == Ends::AtOnce { 0 } else { LATE };
                InstanceState::Stopping
            }
            InstanceState::Starting => InstanceState::Healthy,
            _ => return,
        };
        body.become_(next, now);
    }

    /// Lets the driver hear how an instance is.
    pub(crate) fn hear(&mut self, id: &InstanceId, sticky: bool) {
        let Some(body) = self.bodies.get_mut(id).filter(|body| body.alone == 0) else { return };
        body.unfound &= body.truth == InstanceState::Starting;
        let told = sticky && body.heard == InstanceState::Stopping;
        body.heard = if told { body.truth.clone().once_told() } else { body.truth.clone() };
    }

    /// Lets an instance change its state as nobody asked for.
    pub(crate) fn strike(&mut self, state: InstanceState, now: Timestamp) -> bool {
        let lives = |body: &&mut Body| matches!(body.truth, InstanceState::Healthy | InstanceState::Starting);
        let Some(body) = self.bodies.values_mut().filter(|body| body.started && !body.marked).find(lives)
        else {
            return false;
        };
        body.become_(state, now);
        true
    }

    /// The supervisor of the first instance that has one dies. Its process goes on, and another supervisor comes.
    pub(crate) fn lose_supervisor(&mut self) {
        let has_one = |body: &&mut Body| body.started && !body.truth.is_over() && body.alone == 0;
        if let Some(body) = self.bodies.values_mut().find(has_one) {
            (body.alone, body.asked) = (ALONE, false);
        }
    }

    /// The server dies: what it has only launched is lost, and the next one reads what is on the disk.
    pub(crate) fn lose_server(&mut self, finding: Finding) {
        self.bodies.retain(|_, body| body.started);
        for body in self.bodies.values_mut() {
            body.unfound = finding == Finding::Healthy && body.truth == InstanceState::Starting;
            // The next driver asks every supervisor whose instance is marked.
            body.asked |= body.marked;
            body.heard = if body.marked { body.truth.clone().once_told() } else { body.truth.clone() };
        }
    }

    /// Returns the instances that are about to change, or of which the driver has not heard the newest.
    pub(crate) fn restless(&self) -> Vec<InstanceId> {
        let restless = self.bodies.iter().filter(|(_, body)| !body.is_quiet());
        restless.map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.bodies.values().all(Body::is_quiet)
    }
}

impl Body {
    fn is_quiet(&self) -> bool {
        let waits = self.started && self.alone == 0 && !self.marked && self.truth != InstanceState::Starting;
        (self.truth.is_over() || waits) && self.truth == self.heard
    }

    /// Takes a step without a supervisor; the next one sees the mark.
    fn is_alone(&mut self) -> bool {
        let alone = self.alone > 0;
        self.alone = self.alone.saturating_sub(1);
        self.asked |= alone && self.alone == 0 && self.marked;
        alone
    }

    fn become_(&mut self, state: InstanceState, now: Timestamp) {
        (self.truth, self.since) = (state, now);
        if !self.started {
            self.heard = self.truth.clone();
        }
    }
}
