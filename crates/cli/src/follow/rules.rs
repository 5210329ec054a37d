//! Waiting until a rule is in force, or gone everywhere.

use std::time::{Duration, Instant};

use lockstep_api::types::VersionRuleList;
use lockstep_domain::EnvironmentName;

use super::Patience;
use crate::context::Context;
use crate::failure::Failure;

/// Waits until what is listed is as wanted; the last list where that takes longer than `limit`.
pub(crate) fn wait(
    ctx: &Context,
    environment: &EnvironmentName,
    first: VersionRuleList,
    limit: Duration,
    is_done: impl Fn(&VersionRuleList) -> bool,
) -> Result<VersionRuleList, Failure> {
    let (mut list, begun, mut patience) = (first, Instant::now(), Patience::new());
    while !is_done(&list) && begun.elapsed() < limit {
        match ctx.client.version_rules(environment) {
            Ok(next) => {
                list = next;
                patience.renew();
            }
            Err(error) => patience.bear(error)?,
        }
    }
    Ok(list)
}
