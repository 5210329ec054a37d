//! Hosts that are without a certificate when another one takes the place of theirs.

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::certificate::lost;
use lockstep_domain::{CertificateName, Environment};

/// Refuses to put a certificate for certain names in the place of one when no certificate is for some of its hosts then.
///
/// # Errors
/// Every host that is lost, and what that does.
pub(crate) fn check(
    environment: &Environment,
    certificate: &CertificateName,
    names: &[String],
) -> Result<(), Problem> {
    let Some(before) = environment.certificates.get(certificate) else { return Ok(()) };
    let others = environment.certificates.iter().filter(|(name, _)| *name != certificate);
    let staying = others.flat_map(|(_, it)| &it.facts.names).chain(names).map(String::as_str);
    let lost = lost(&before.facts.names, &staying.collect::<Vec<_>>());
    if lost.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "nothing was changed: without the `{certificate}` of now no certificate is for these hosts, and clients that name them are refused"
    );
    let part = |name: &&str| ProblemPart { detail: (*name).to_owned(), ..ProblemPart::default() };
    let hint = "when that is what you want, run the command again with --yes";
    Err(Problem::new(ErrorCode::Refused, detail)
        .with_problems(lost.iter().map(part).collect())
        .with_hint(hint))
}

/// Refuses to put a certificate in the place of one that renews itself: that would end.
///
/// # Errors
/// When it renews itself.
pub(super) fn check_automatic(
    environment: &Environment,
    certificate: &CertificateName,
) -> Result<(), Problem> {
    let Some(automatic) = environment.automatic.get(certificate) else { return Ok(()) };
    let detail = format!(
        "nothing was changed: `{certificate}` is renewed by {}, and is not any more when another one is put in its place",
        automatic.request.directory
    );
    let hint = "when that is what you want, run the command again with --yes";
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
}
