//! Waiting for a certificate that is got from an authority.

use lockstep_api::types::{AutomaticState, AutomaticView, CertificateList};
use lockstep_domain::{CertificateName, EnvironmentName};

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::printable;

/// Waits until a certificate is there, and returns what there is then.
///
/// # Errors
/// When it failed; it is tried again by itself. Or when somebody removed it.
pub(crate) fn follow(
    ctx: &Context,
    environment: &EnvironmentName,
    name: &CertificateName,
) -> Result<CertificateList, Failure> {
    let (mut patience, mut told) = (Patience::new(), None);
    ctx.out.message(&format!("waiting for the authority (Ctrl-C changes nothing): {name} of {environment}"));
    loop {
        let list = match ctx.client.certificates(environment) {
            Ok(list) => list,
            Err(error) => {
                patience.bear(error)?;
                continue;
            }
        };
        let Some(view) = list.automatic.iter().find(|it| it.name == *name) else {
            return Err(Failure::ended_badly(
                format!("{name} of {environment} is not asked for any more"),
                None,
            ));
        };
        match view.state {
            AutomaticState::Good => return Ok(list),
            AutomaticState::Failed => return Err(failed(view, environment)),
            state if told != Some(state) => {
                ctx.out.message(&format!("  {}", words(state)));
                told = Some(state);
            }
            _ => {}
        }
        patience.renew();
    }
}

fn failed(view: &AutomaticView, environment: &EnvironmentName) -> Failure {
    let problem = view.problem.as_deref().unwrap_or("the authority does not say why");
    let again = view.next.map(|at| format!("; it is tried again at {at}")).unwrap_or_default();
    let text = format!("{} of {environment} was not got: {}{again}", view.name, printable(problem));
    let hint = format!(
        "what is wrong is mended first; then, sooner than that: lockstep certificate renew {} --env {environment}",
        view.name
    );
    Failure::ended_badly(text, None).hint(hint)
}

/// Says how it stands.
pub(crate) const fn words(state: AutomaticState) -> &'static str {
    match state {
        AutomaticState::Good => "renews itself",
        AutomaticState::Due => "is about to be ordered",
        AutomaticState::Ordered => "is ordered",
        AutomaticState::AwaitsGateways => "waits until every gateway answers the authority",
        AutomaticState::AwaitsAuthority => "waits for the authority",
        AutomaticState::Failed => "failed",
    }
}
