//! Certificates that are got and renewed by ACME: what people ask for, and the one place that talks to authorities.
//!
//! Policy is `lockstep-domain`'s (`acme`): here it is asked what comes next, the step is carried out, and what came of it is recorded
//! before the next. Gateways learn what they answer from route tables, as everything else.

mod asking;
mod errands;
mod steps;

use std::sync::Arc;

use lockstep_api::types::{AutomaticState, AutomaticView};
use lockstep_domain::acme::steps::begins;
use lockstep_domain::acme::{Automatic, OrderStage};
use lockstep_domain::{CertificateName, Environment};
use lockstep_reach::Trust;

use crate::clock::wall;

pub(crate) use errands::Errands;

/// How the authority of a request is believed.
fn trust(ca: Option<&String>) -> Trust {
    ca.map_or_else(Trust::in_system, |pem| Trust::in_text(pem.clone()))
}

/// Shows what renews itself in an environment.
pub(crate) fn views(environment: &Arc<Environment>) -> Vec<AutomaticView> {
    environment.automatic.iter().map(|(name, it)| view(environment, name, it)).collect()
}

fn view(environment: &Environment, name: &CertificateName, automatic: &Automatic) -> AutomaticView {
    let shown = environment.certificates.get(name).map(|it| &it.facts);
    let next = begins(automatic, shown, wall());
    let (request, progress) = (&automatic.request, &automatic.progress);
    let state = match progress.order.as_ref().map(|order| &order.stage) {
        Some(OrderStage::Placed) => AutomaticState::Ordered,
        Some(OrderStage::Answering { .. }) => AutomaticState::AwaitsGateways,
        Some(OrderStage::Told { .. }) => AutomaticState::AwaitsAuthority,
        None if next.is_none() => AutomaticState::Due,
        None if progress.failures > 0 => AutomaticState::Failed,
        None => AutomaticState::Good,
    };
    AutomaticView {
        name: name.clone(),
        hosts: request.hosts.clone(),
        directory: request.directory.clone(),
        challenge: request.challenge,
        at: automatic.at,
        by: automatic.by.clone(),
        state,
        next: next.filter(|_| progress.order.is_none()),
        failures: progress.failures,
        problem: progress.problem.clone(),
    }
}
