//! Maintenance: the answer that a request gets instead of its service, or instead of the version that it would go to.
//!
//! Invariant: no arm is counted for it.

use crate::changes::{self, Changes};
use crate::problem::Problem;
use crate::table::ServiceTargets;

/// The code of such an answer.
pub(crate) const CODE: &str = "maintenance";

/// Finds the page that a request of a service gets; `place` is where its route is, host and path, and `target` the arm that it would go to.
///
/// # Errors
/// The page.
pub(crate) fn look(
    service: &ServiceTargets,
    place: Option<(Option<&str>, &str)>,
    target: usize,
    changes: Option<&Changes>,
) -> Result<(), Problem> {
    let version = service.routes.splits.get(target).map(|split| &split.version);
    let Some(page) = service.pages.iter().find(|page| page.takes(place, version)) else { return Ok(()) };
    let wait = page.retry_after_s.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
    let given = changes.into_iter().flat_map(|changes| changes.answer().gives()).cloned();
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    let told = format!("page {} of maintenance answers for {}{version}", page.number, service.service);
    // What the page says of itself comes before what the route says of all its answers.
    let problem = changes::responded(&page.respond, CODE, None).with_fields(wait.into_iter().chain(given));
    Err(problem.says(told))
}
