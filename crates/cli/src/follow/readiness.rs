//! Following readiness: every change, for as long as somebody looks.

use lockstep_api::types::ReadinessView;
use lockstep_domain::EnvironmentName;

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;
use std::ops::ControlFlow;

/// Gives the present view and every later one to `each`, across a restart of the server, until it fails.
pub(crate) fn on_and_on(
    ctx: &Context,
    environment: &EnvironmentName,
    mut each: impl FnMut(&ReadinessView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut patience = Patience::new();
    loop {
        let mut failed = Ok(());
        let watched = ctx.client.watch_readiness(environment, |view| {
            failed = each(&view);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        failed?;
        match watched {
            Ok(()) => patience.renew(),
            Err(error) => patience.bear(error)?,
        }
    }
}
