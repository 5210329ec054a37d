//! Who is at the other end of a client's connection, and who therefore sent a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderValue;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::{CallerToken, RouteTable, SERVICE_PATH_PREFIX, caller_token};
use lockstep_domain::{Digest, ServiceName};
use sha2::{Digest as _, Sha256};

use crate::calls::CallPoint;
use crate::problem::{Problem, Status};
use crate::proxy_out::Told;

/// Who is at the other end of a client's connection.
#[derive(Debug)]
pub(crate) struct Peer {
    address: IpAddr,
    client_port: u16,
    /// The address of the gateway that it connected to.
    to: IpAddr,
    /// The address without port, as services are told.
    pub(crate) text: HeaderValue,
    /// The port of the gateway that it connected to.
    pub(crate) port: u16,
    /// The listener of an instance that it connected to.
    at: Option<Box<At>>,
    /// How the connection is protected, where it is.
    pub(crate) secure: Option<Box<Secure>>,
    /// Whether it is this gateway, which checks.
    is_check: bool,
}

/// A connection within TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    /// Its version, `1.3`.
    pub(crate) version: &'static str,
    /// Who the client is by its certificate, which was verified; as services are told.
    pub(crate) identity: Option<String>,
}

/// A listener of an instance, and who has connected to it.
#[derive(Debug)]
pub(crate) struct At {
    point: Arc<CallPoint>,
    who: Who,
}

/// Who has connected to a listener of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// A process of the user whose process the instance is.
    Same,
    /// Somebody else, or nobody knows who; the instance may have become another user.
    Unknown,
    /// Another user, and the instance cannot be that.
    Another,
}

impl At {
    /// Tells who has connected by the user whose process the other end is. Who is not root cannot become another user.
    pub(crate) fn new(point: Arc<CallPoint>, owner: Option<u32>) -> Self {
        let user = point.user.load(Ordering::Relaxed);
        let who = match owner {
            Some(owner) if owner == user => Who::Same,
            Some(_) if user != 0 => Who::Another,
            _ => Who::Unknown,
        };
        Self { point, who }
    }

    /// Returns the listener.
    pub(crate) fn point(&self) -> &CallPoint {
        &self.point
    }

    /// What is asked for here is the path as it stands: nothing of it says who asks.
    pub(crate) fn origin(&self) -> Result<Origin, Problem> {
        match self.who {
            Who::Same => Ok(Origin { caller: Caller::Instance, token: 0 }),
            Who::Unknown => Ok(Origin { caller: Caller::Outside, token: 0 }),
            Who::Another => Err(not_the_instance(&self.point)),
        }
    }
}

/// Who sent a request, and how much of its path only says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) caller: Caller,
    /// Bytes of the path that are the caller's token. They go no further: not to a service, not into a log.
    pub(crate) token: usize,
}

impl Peer {
    pub(crate) fn new(peer: SocketAddr, to: SocketAddr, at: Option<Box<At>>) -> Self {
        let address = peer.ip().to_canonical();
        let text = HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self {
            address,
            client_port: peer.port(),
            to: to.ip(),
            text,
            port: to.port(),
            at,
            secure: None,
            is_check: false,
        }
    }

    /// Returns the same as the gateway itself, which checks.
    pub(crate) fn checking(self) -> Self {
        Self { is_check: true, ..self }
    }

    /// Tells whether it is this gateway, which checks.
    pub(crate) const fn is_check(&self) -> bool {
        self.is_check
    }

    /// Returns the scheme of the requests that come on the connection.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure.is_some() { "https" } else { "http" }
    }

    /// Returns what an instance is told of it that wants to know for whom a connection is opened.
    pub(crate) fn told(&self) -> Told<'_> {
        Told {
            client: SocketAddr::new(self.address, self.client_port),
            to: SocketAddr::new(self.to, self.port),
            tls: self.secure.as_ref().map(|secure| secure.version),
            has_certificate: self.secure.as_ref().is_some_and(|secure| secure.identity.is_some()),
            name: None,
        }
    }

    /// Returns its address as a text.
    pub(crate) fn text(&self) -> &str {
        self.text.to_str().unwrap_or_default()
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the listener of an instance that it connected to.
    pub(crate) fn point(&self) -> Option<&CallPoint> {
        self.at.as_ref().map(|at| &*at.point)
    }

    /// Returns the only service that can be asked for here, where that is so.
    pub(crate) fn calls(&self) -> Option<&ServiceName> {
        self.point().map(|point| &point.service)
    }

    /// Tells who sent a request with this path, which is in its one form.
    pub(crate) fn origin(&self, table: &RouteTable, path: &str) -> Result<Origin, Problem> {
        if let Some(at) = &self.at {
            return at.origin();
        }
        // What stands in a manifest may call what instances of it may call.
        if self.is_check && path.starts_with(SERVICE_PATH_PREFIX) {
            return Ok(Origin { caller: Caller::Instance, token: 0 });
        }
        let caller = match caller_token(path) {
            Some(CallerToken { token, length, .. }) if knows(&table.callers, token) => {
                return Ok(Origin { caller: Caller::Instance, token: length });
            }
            Some(_) => return Err(unknown_caller()),
            None if table.rules().trusts(self.address) => Caller::Proxy,
            None => Caller::Outside,
        };
        Ok(Origin { caller, token: 0 })
    }
}

/// Tells whether a token is one of those that the table names by their digests.
///
/// How long it takes says nothing of the token: what is compared is a digest of 256 bits, and every byte of it.
fn knows(callers: &[Digest], token: &str) -> bool {
    let digest: [u8; 32] = Sha256::digest(token).into();
    let differences =
        |known: &Digest| known.as_bytes().iter().zip(digest).fold(0, |all, (one, other)| all | (one ^ other));
    callers.iter().fold(false, |found, known| found | (differences(known) == 0))
}

fn not_the_instance(point: &CallPoint) -> Problem {
    let detail = format!("only instance `{}` and processes of its user call here", point.instance);
    Problem::new(Status::Forbidden, "not_the_instance", detail)
        .hint("ask for the service by a route of it, or as the user who runs the server")
}

fn unknown_caller() -> Problem {
    let detail = "the token in the path is not one of this environment's instances";
    Problem::new(Status::Forbidden, "unknown_caller", detail)
        .hint("an instance calls others at LOCKSTEP_URL_NAME, as it was given at its start")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockstep_domain::gateway_rules::GatewayRules;

    use super::*;

    fn table(trusted: &[&str], tokens: &[&str]) -> RouteTable {
        let trusted_networks = trusted.iter().map(|it| it.parse().unwrap()).collect();
        RouteTable {
            aliases: BTreeMap::new(),
            format: 2,
            environment: "production".parse().unwrap(),
            history: Default::default(),
            revision: 1,
            baseline: 0,
            routes: Vec::new(),
            services: BTreeMap::new(),
            rules: Some(GatewayRules { trusted_networks, ..GatewayRules::default() }),
            callers: tokens.iter().map(|it| Digest::from_bytes(Sha256::digest(it).into())).collect(),
            listeners: None,
            entry: None,
            visits: None,
            lanes: Vec::new(),
            switches: None,
            between: None,
            checks: Vec::new(),
        }
    }

    fn origin(table: &RouteTable, peer: &str, path: &str) -> Option<(Caller, usize)> {
        let peer = Peer::new(
            SocketAddr::new(peer.parse().unwrap(), 1),
            SocketAddr::from(([127, 0, 0, 1], 80)),
            None,
        );
        peer.origin(table, path).ok().map(|origin| (origin.caller, origin.token))
    }

    #[test]
    fn only_the_right_token_makes_an_instance() {
        let table = table(&[], &["old", "secret"]);
        assert_eq!(origin(&table, "127.0.0.1", "/@~secret/@orders/7"), Some((Caller::Instance, 9)));
        assert_eq!(origin(&table, "127.0.0.1", "/@~old"), Some((Caller::Instance, 6)));
        for path in ["/@~", "/@~/", "/@~secre/x", "/@~secrets/x", "/@~SECRET/x"] {
            assert_eq!(origin(&table, "127.0.0.1", path), None, "{path}");
        }
        assert_eq!(origin(&table, "127.0.0.1", "/@orders/@~secret"), Some((Caller::Outside, 0)));
    }

    #[test]
    fn at_a_listener_of_an_instance_its_user_decides_and_the_path_says_nothing() {
        let table = table(&["127.0.0.0/8"], &["secret"]);
        let asked = |user, owner, path| {
            let point = CallPoint {
                instance: "web-1".parse().unwrap(),
                service: "orders".parse().unwrap(),
                caller: arc_swap::ArcSwap::from_pointee(lockstep_domain::Arm {
                    service: "web".parse().unwrap(),
                    version: lockstep_domain::VersionNumber::new(1, 0, 0),
                    config: lockstep_domain::ConfigRevision(0),
                    process: None,
                }),
                user: std::sync::atomic::AtomicU32::new(user),
            };
            let at = Some(Box::new(At::new(Arc::new(point), owner)));
            let peer = Peer::new(
                SocketAddr::from(([127, 0, 0, 1], 1)),
                SocketAddr::from(([127, 0, 0, 1], 17_000)),
                at,
            );
            peer.origin(&table, path).ok().map(|origin| (origin.caller, origin.token))
        };
        for path in ["/", "/@~secret/@stock/7", "/@~wrong"] {
            assert_eq!(asked(1_000, Some(1_000), path), Some((Caller::Instance, 0)), "{path}");
            assert_eq!(asked(1_000, Some(1_001), path), None, "another user");
            assert_eq!(asked(1_000, Some(0), path), None, "also root is not the instance");
            assert_eq!(asked(1_000, None, path), Some((Caller::Outside, 0)), "nobody knows who");
            assert_eq!(
                asked(0, Some(33), path),
                Some((Caller::Outside, 0)),
                "what root started may be anybody"
            );
        }
    }

    #[test]
    fn a_trusted_network_is_recognised_in_both_ways_of_writing_an_address() {
        let table = table(&["10.0.0.0/8"], &[]);
        assert_eq!(origin(&table, "10.1.1.1", "/"), Some((Caller::Proxy, 0)));
        assert_eq!(origin(&table, "::ffff:10.1.1.1", "/"), Some((Caller::Proxy, 0)));
        assert_eq!(origin(&table, "11.1.1.1", "/"), Some((Caller::Outside, 0)));
    }
}
