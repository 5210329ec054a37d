//! Following what happens, for as long as somebody looks.

use std::ops::ControlFlow;

use lockstep_api::types::{EventQuery, EventView};

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;

/// Gives what happened and everything that happens to `each`, once and in order, across a restart of the server, until it fails.
pub(crate) fn on_and_on(
    ctx: &Context,
    query: &EventQuery,
    mut each: impl FnMut(&EventView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut query, mut patience) = (query.clone(), Patience::new());
    loop {
        let mut failed = Ok(());
        let mut last = query.after;
        let followed = ctx.client.follow_events(&query, |view| {
            last = Some(view.seq);
            failed = each(&view);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        failed?;
        query.after = last;
        match followed {
            Ok(()) => patience.renew(),
            Err(error) => patience.bear(error)?,
        }
    }
}
