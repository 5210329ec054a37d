//! What would happen to a connection to a service that speaks TCP, and why.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lockstep_domain::ServiceName;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::tcp_port::{TcpPort, asks_for_names, find};

use super::{ExplainError, Explanation, Outcome, QuestionError, Step, words};
use crate::environment::Environment;
use crate::maintenance;
use crate::table::ServiceTargets;

/// A connection that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionQuestion {
    /// What the client asks for within TLS; an address names nothing.
    host: String,
    port: u16,
}

impl ConnectionQuestion {
    /// Reads `tcp://ADDRESS:PORT`, or `tcp://NAME:PORT` for a client that gives the name in its handshake of TLS.
    ///
    /// # Errors
    /// When it is no such address.
    pub fn new(address: &str) -> Result<Self, QuestionError> {
        let no_address = || QuestionError::Connection(address.to_owned());
        let rest = address.strip_prefix("tcp://").ok_or_else(no_address)?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(no_address)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(no_address)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        let host = Some(host).filter(|host| host.bytes().all(is_plain)).ok_or_else(no_address)?;
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Returns the name that the client gives.
    fn name(&self) -> Option<&str> {
        Some(self.host.as_str()).filter(|host| !host.is_empty() && self.ip().is_none())
    }
}

/// Says what a gateway that serves this table would do with a connection. Nothing is opened; all instances count as healthy.
///
/// # Errors
/// When the table cannot be served.
pub fn explain_connection(
    table: RouteTable,
    question: &ConnectionQuestion,
) -> Result<Explanation, ExplainError> {
    let (name, revision) = (table.environment.clone(), table.revision);
    let environment = Environment::new(name.clone(), 1);
    environment.apply(table)?;
    let mut steps = Vec::new();
    let outcome = outcome(&environment, question, &mut steps);
    Ok(Explanation { environment: name, revision, steps, routes: Vec::new(), outcome })
}

fn outcome(environment: &Environment, question: &ConnectionQuestion, steps: &mut Vec<Step>) -> Outcome {
    let mut say = |about, says| steps.push(Step { about, says });
    let asked = match question.name() {
        Some(name) => format!("to port {}, asking for {name} in its handshake of TLS", question.port),
        None => format!("to port {}, asking for no name", question.port),
    };
    say("connection", asked);
    let table = environment.table(0).load();
    let Some(table) = table.as_ref() else { return refused("no_table", "there is no table".to_owned()) };
    let found = arrives(&table.routes, question, &mut say);
    let Some(service) = found.and_then(|name| table.services.get(&name).map(Arc::clone)) else {
        return refused("no_service", format!("no service has such connections to port {}", question.port));
    };
    if !service.speaks_tcp {
        return refused("no_tcp", format!("`{}` speaks HTTP; ask with METHOD and URL", service.service));
    }
    say("key", "none: each connection is drawn anew, and stays where it is".to_owned());
    let is_one = super::has_one(&service);
    say("version", words::version(&service, None, None, is_one));
    let ends: Vec<_> = service.drawn().map(|target| (target, end(&service, target))).collect();
    ends.iter().for_each(|(_, end)| say(end.about(), end.says()));
    // Where one of them takes connections, it is a matter of what is drawn.
    let closes = match ends.iter().find(|(_, end)| matches!(end, End::Asks(_))) {
        Some(_) => None,
        None => {
            Some(ends.first().map_or(("no_instance", "it has no version".to_owned()), |(_, end)| end.code()))
        }
    };
    closes.map_or_else(|| served(&service, is_one, question), |(code, detail)| refused(code, detail))
}

/// What becomes of a connection that is drawn to a version.
enum End {
    /// An instance of some is asked.
    Asks(String),
    Maintained(String),
    NoInstance(String),
}

impl End {
    const fn about(&self) -> &'static str {
        match self {
            Self::Asks(_) | Self::NoInstance(_) => "instance",
            Self::Maintained(_) => maintenance::CODE,
        }
    }

    fn says(&self) -> String {
        let (Self::Asks(says) | Self::Maintained(says) | Self::NoInstance(says)) = self;
        says.clone()
    }

    fn code(&self) -> (&'static str, String) {
        match self {
            Self::Maintained(_) => (maintenance::CODE, self.says()),
            Self::Asks(_) | Self::NoInstance(_) => ("no_instance", self.says()),
        }
    }
}

fn end(service: &ServiceTargets, target: usize) -> End {
    let label = &service.targets[target].label;
    if let Some(page) = service.page_of(target) {
        let number = page.number;
        return End::Maintained(format!(
            "page {number} of maintenance is for {label}: a connection that is drawn to it is closed"
        ));
    }
    let names = words::instances(&service.routes.splits[target]);
    match (names.is_empty(), service.finds_instance(target)) {
        (false, _) => End::Asks(format!("of {label} one of {}", names.join(", "))),
        (true, true) => {
            End::Asks(format!("{label} has no instance: one of another version is asked in its place"))
        }
        (true, false) => End::NoInstance(format!(
            "{label} has no instance, and no other version that could be asked has one"
        )),
    }
}

/// Finds the service by the port, or by the listener of an instance.
fn arrives(
    routes: &RouteTable,
    question: &ConnectionQuestion,
    say: &mut impl FnMut(&'static str, String),
) -> Option<ServiceName> {
    let address = question.ip().map(|ip| SocketAddr::new(ip, question.port));
    let callers = routes.listeners.iter().flat_map(|listeners| &listeners.callers);
    let mut called = callers.flat_map(|caller| caller.services.iter().map(move |it| (caller, it)));
    if let Some((caller, (service, _))) = called.find(|(_, (_, at))| Some(**at) == address) {
        say("caller", format!("instance {} calls {service} there; nobody else is let in", caller.instance));
        return Some(service.clone());
    }
    let ports = routes.entry.as_ref().map(|entry| &*entry.settings.tcp).unwrap_or_default();
    let found = find(ports, question.port, question.name());
    say("port", by_port(ports, question, found));
    found.map(|port| port.service.clone())
}

fn by_port(ports: &[TcpPort], question: &ConnectionQuestion, found: Option<&TcpPort>) -> String {
    let port = question.port;
    match found {
        Some(TcpPort { host: Some(host), service, .. }) => {
            format!("{host} on port {port} leads to {service}")
        }
        Some(TcpPort { host: None, service, .. }) if asks_for_names(ports, port) => {
            format!("what no other service has on port {port} leads to {service}")
        }
        Some(TcpPort { host: None, service, .. }) => format!("port {port} leads to {service}"),
        None if ports.iter().any(|it| it.port == port) => {
            format!("no service has this name on port {port}")
        }
        None => format!("port {port} is none of a service that speaks TCP"),
    }
}

fn served(service: &ServiceTargets, is_one: bool, question: &ConnectionQuestion) -> Outcome {
    let versions = words::shares(service);
    let one = versions.iter().find(|share| share.weight > 0).filter(|_| is_one);
    Outcome::Connected {
        service: service.service.to_string(),
        version: one.map(|share| share.version.clone()),
        versions,
        port: question.port,
    }
}

fn refused(code: &'static str, detail: String) -> Outcome {
    Outcome::Refused { status: 0, code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_perhaps_a_name() {
        let read = |text| ConnectionQuestion::new(text).unwrap();
        assert_eq!(read("tcp://127.0.0.1:5433").name(), None);
        assert_eq!(read("tcp://[::1]:5433").name(), None);
        assert_eq!(read("tcp://MQTT.shop.test:8883").name(), Some("mqtt.shop.test"));
        for bad in
            ["tcp://", "tcp://shop.test", "tcp://shop.test:0", "tcp://a b:1", "http://a:1", "tcp://a:99999"]
        {
            assert!(ConnectionQuestion::new(bad).is_err(), "{bad}");
        }
    }
}
