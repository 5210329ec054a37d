//! What is known of a request once its head has been written for the instance, and what happens after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::{Asked, Upgrade};
use crate::framing::{Body, Recode};
use crate::mirror::Plan;
use crate::policy::{Hedging, Retry, Total};
use crate::problem::Next;
use crate::repeat::Repeat;
use crate::request::Request;
use crate::trial::Class;
use crate::waits::{STREAM, Waits};
use crate::way::Routed;

/// What is known of a request once its head has been written for the instance.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) asked: Asked,
    pub(crate) repeat: Repeat,
    /// Whether the stable arm may be asked when the arm on trial fails.
    pub(crate) shieldable: bool,
    pub(crate) body: Body,
    /// Bytes of the body that its route takes.
    pub(crate) body_limit: Option<u64>,
    /// Whether the method gives a body a meaning, or there is none. An instance may not look for one otherwise, and take it
    /// for a further request: its answer would go to the next client.
    pub(crate) body_is_expected: bool,
    pub(crate) recode: Recode,
    /// Whether the client sends its body only when it is told to.
    pub(crate) waits_to_go_on: bool,
    pub(crate) persistent: bool,
    /// How long an instance may say nothing.
    pub(crate) waits: Waits,
    /// How it is asked again, where its route says so.
    pub(crate) retry: Option<Arc<Retry>>,
    /// When another instance is asked as well, where its route says so.
    pub(crate) hedge: Option<Arc<Hedging>>,
    /// How long it may take as a whole, where its route says so.
    pub(crate) total: Option<Arc<Total>>,
    /// When a call must be over.
    pub(crate) until: Option<Instant>,
    /// Which operation it is for, where that is counted.
    pub(crate) class: Class,
    /// Whether a rule chose its arm.
    pub(crate) ruled: bool,
    /// Whether a check caused it.
    pub(crate) is_of_check: bool,
    /// Whether a visit chose its arm that began at other shares.
    pub(crate) held: bool,
    /// How much later it is sent on, because of a fault that it met on purpose.
    pub(crate) delay: Option<Duration>,
    /// Its copy, where it has one.
    pub(crate) copy: Option<Box<Plan>>,
}

impl Facts {
    /// Draws the conclusions from a request and its way.
    pub(crate) fn of(request: Request<'_>, routed: Option<&Routed>) -> Self {
        let is_head = request.method == "HEAD";
        let call = request.call;
        let timeout = call.and_then(|call| call.timeout);
        let waits = routed.map_or(Waits::NONE, |routed| routed.waits);
        let ruled = routed.is_some_and(|routed| routed.ruled);
        let bodiless = request.body.is_done();
        let policy = routed.and_then(|routed| routed.policy.as_deref());
        let says_head = policy.is_some_and(|policy| policy.timeouts.head_ms.is_some());
        let retry = routed.and_then(|routed| Retry::of(routed.policy.as_ref()?, &request));
        let limit = policy.and_then(|policy| policy.timeouts.request_ms);
        let once = retry.as_ref().is_some_and(Retry::is_never);
        let idempotent = matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        Self {
            asked: Asked {
                is_head,
                websocket: request.websocket,
                upgrade: request.switches.map(|name| Upgrade::of(name.as_bytes())),
                minor: request.minor,
                is_call: call.is_some(),
                web: call.and_then(|call| call.web),
                waits_to_go_on: request.waits_to_go_on(),
            },
            repeat: if idempotent && bodiless { Repeat::Once } else { Repeat::IfUnsent },
            // Whom a rule sends to a version wants to see how that one does.
            shieldable: bodiless && matches!(request.method, "GET" | "HEAD") && !ruled && !once,
            ruled,
            is_of_check: routed.is_some_and(|routed| routed.is_of_check),
            held: routed.is_some_and(|routed| routed.held),
            recode: request.recode(),
            waits_to_go_on: request.waits_to_go_on(),
            persistent: request.persistent,
            body_is_expected: bodiless
                || !matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "DELETE"),
            // Who says how long a call may take has said it, unless its route says something of the head.
            waits: if timeout.is_some() && !says_head { Waits { answer: STREAM, ..waits } } else { waits },
            retry: retry.map(Arc::new),
            hedge: routed.and_then(|routed| routed.hedge.clone()),
            total: limit.map(|ms| Total::begin(Duration::from_millis(ms))),
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            class: routed.map(|routed| routed.class).unwrap_or_default(),
            delay: routed.and_then(|routed| routed.delay),
            copy: None,
            body: request.body,
            body_limit: policy.and_then(|policy| policy.limits.body_bytes),
        }
    }

    /// Tells what happens to the connection if the request is answered now.
    pub(crate) fn next(&self) -> Next {
        if self.persistent && self.body.is_done() { Next::Keep } else { Next::Close }
    }
}

/// What happens to the client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    Keep,
    /// It is closed at once.
    Close,
    /// It is closed at once, and so that the client sees that something is missing.
    Reset,
    /// It is closed once the client had a chance to read the answer.
    Linger,
}
