//! Whether a request is asked again as its route says, and what was the cause.

use std::fmt;
use std::sync::Arc;

use lockstep_domain::routes::policy::Policy;
use lockstep_domain::routes::retries::{Retries, RetryOn};

use crate::request::Request;

/// Causes as metrics name them.
pub(crate) const CAUSES: [&str; 4] = ["connect", "reset", "timeout", "status"];

/// What a route says of asking one request again.
#[derive(Debug)]
pub(crate) struct Retry {
    policy: Arc<Policy>,
    /// Whether its method, or its `idempotency-key`, lets it be asked again.
    is_taken: bool,
}

impl Retry {
    /// Looks at a request; `None` where its route says nothing.
    pub(crate) fn of(policy: &Arc<Policy>, request: &Request<'_>) -> Option<Self> {
        let retries = policy.retries.as_ref()?;
        let has_key =
            retries.idempotency_key && request.fields_named("idempotency-key").any(|key| !key.is_empty());
        Some(Self { is_taken: retries.takes(request.method, has_key), policy: Arc::clone(policy) })
    }

    /// Returns how many instances may be tried.
    pub(crate) fn most(&self) -> usize {
        1 + self.policy.retries.as_ref().map_or(0, |retries| usize::from(retries.attempts))
    }

    /// Tells whether its route wants it asked once only, whatever happens.
    pub(crate) fn is_never(&self) -> bool {
        self.most() == 1
    }

    /// Tells whether it is asked again that an instance has read and failed so.
    pub(crate) fn is_after(&self, on: RetryOn) -> bool {
        let is_said = |retries: &Retries| retries.attempts > 0 && retries.is_after(on);
        self.is_taken && self.policy.retries.as_ref().is_some_and(is_said)
    }
}

/// Why another instance was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryCause {
    /// There was no connection.
    Connect,
    /// What it read was in vain.
    Read(RetryOn),
}

impl RetryCause {
    /// Returns it for what was the reason; none means that nothing was sent.
    pub(crate) fn of(reason: Option<RetryOn>) -> Self {
        reason.map_or(Self::Connect, Self::Read)
    }

    /// Returns its place in [`CAUSES`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Read(RetryOn::Reset) => 1,
            Self::Read(RetryOn::Timeout) => 2,
            Self::Read(RetryOn::Status(_)) => 3,
        }
    }
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str(CAUSES[0]),
            Self::Read(on) => on.fmt(f),
        }
    }
}
