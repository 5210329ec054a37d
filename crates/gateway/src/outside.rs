//! Where clients from outside come in to a gateway beside the address at which it was told to listen: the gateway of a host listens on
//! loopback, for instances, and at the address of its host only where its environment says so.
//!
//! What cannot be opened is said, in receipts as well, and tried again: whoever calls from this host is served all the same. Invariant: what is
//! not wished any more is closed, and nothing else is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockstep_domain::EnvironmentName;
use lockstep_domain::clients_at::{OutsideAddresses, OutsideAt};

use crate::gateway::{Gateway, State, lock};
use crate::listening::{Clients, Entrance};

/// The addresses of an environment.
#[derive(Debug, Default)]
pub(crate) struct Outside(Mutex<BTreeMap<SocketAddr, Door>>);

/// One address at which clients are to come in.
#[derive(Debug)]
struct Door {
    clients: Clients,
    /// Why nobody comes in there.
    problem: Option<String>,
    /// Whether it was opened for this alone: where it listens anyway, it goes on to.
    opened: bool,
}

impl Outside {
    fn doors(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a receipt says of them.
    pub(crate) fn said(&self) -> Vec<OutsideAt> {
        let said = |(address, door): (&SocketAddr, &Door)| OutsideAt {
            address: *address,
            tls: door.clients == Clients::Secure,
            problem: door.problem.clone(),
        };
        self.doors().iter().map(said).collect()
    }
}

impl Gateway {
    /// Listens for clients of an environment at these addresses as well from now on, or as soon as that is possible, and at none of those that
    /// were wished before. Requests under way finish.
    pub fn want_outside(
        &self,
        environment: &EnvironmentName,
        wanted: impl IntoIterator<Item = OutsideAddresses>,
    ) {
        let served = self.environment(environment);
        let mut doors = served.outside().doors();
        let mut before = std::mem::take(&mut *doors);
        for OutsideAddresses { http, https } in wanted {
            for (address, clients) in [(Some(http), Clients::Plain), (https, Clients::Secure)]
                .into_iter()
                .filter_map(|(at, how)| Some((at?, how)))
            {
                let known = before.remove(&address).filter(|door| door.clients == clients);
                doors.insert(address, known.unwrap_or(Door { clients, problem: None, opened: false }));
            }
        }
        drop(doors);
        let opened = before.into_iter().filter(|(_, door)| door.opened);
        opened.for_each(|(address, door)| self.close_outside(environment, address, door.clients));
        self.keep_outside(environment);
    }

    fn close_outside(&self, environment: &EnvironmentName, address: SocketAddr, clients: Clients) {
        let place = (environment.clone(), address);
        let is_it = lock(&self.state).listeners.get(&place).is_some_and(|it| it.clients() == Some(clients));
        if is_it && self.unlisten(environment, address) {
            tracing::info!(%environment, %address, "clients from outside do not come in here any more");
        }
    }

    /// Opens what is wished and not open. Cheap where there is nothing to do.
    pub(crate) fn keep_outside(&self, environment: &EnvironmentName) {
        let served = self.environment(environment);
        let mut doors = served.outside().doors();
        for (address, door) in &mut *doors {
            if is_open(&lock(&self.state), environment, *address, door.clients) {
                door.problem = None;
                continue;
            }
            let entrance = if door.clients == Clients::Secure { Entrance::Secure } else { Entrance::Main };
            match self.open_on_all(&served, *address, &entrance) {
                Ok((actual, listening)) => {
                    lock(&self.state).listeners.insert((environment.clone(), actual), listening);
                    tracing::info!(%environment, %address, "clients from outside come in here");
                    (door.problem, door.opened) = (None, true);
                }
                Err(error) => {
                    let why = error.with_source();
                    // Said once for each reason: it is tried again every second.
                    if door.problem.as_ref() != Some(&why) {
                        tracing::error!(%environment, %address, why, "clients from outside cannot come in here");
                    }
                    door.problem = Some(why);
                }
            }
        }
    }

    /// Tells whether an address is listened at only because clients from outside are to come in there.
    #[must_use]
    pub fn is_outside(&self, environment: &EnvironmentName, address: SocketAddr) -> bool {
        self.environment(environment).outside().doors().get(&address).is_some_and(|door| door.opened)
    }

    /// Opens nothing any more, because another process does.
    pub(crate) fn give_up_outside(&self, environment: &EnvironmentName) {
        self.environment(environment).outside().doors().clear();
    }
}

/// Who listens at all addresses of a machine listens at each of them.
fn is_open(state: &State, environment: &EnvironmentName, address: SocketAddr, clients: Clients) -> bool {
    let any: IpAddr = match address.ip() {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    [address.ip(), any].into_iter().any(|ip| {
        let place = (environment.clone(), SocketAddr::new(ip, address.port()));
        state.listeners.get(&place).is_some_and(|it| it.clients() == Some(clients))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::GatewayConfig;

    fn environment() -> EnvironmentName {
        "production".parse().unwrap()
    }

    fn free(ip: [u8; 4]) -> SocketAddr {
        TcpListener::bind((IpAddr::from(ip), 0)).unwrap().local_addr().unwrap()
    }

    fn problems(gateway: &Gateway) -> Vec<Option<String>> {
        gateway.receipt(&environment()).outside.into_iter().map(|it| it.problem).collect()
    }

    #[tokio::test]
    async fn what_is_wished_is_open_beside_loopback_and_what_is_not_is_closed() {
        let gateway = Gateway::start(GatewayConfig::new("edge")).unwrap();
        let near = gateway.listen(&environment(), free([127, 0, 0, 1])).unwrap();
        let (http, https) = (free([127, 0, 0, 2]), free([127, 0, 0, 2]));
        gateway.want_outside(&environment(), [OutsideAddresses { http, https: Some(https) }]);
        assert_eq!(problems(&gateway), [None, None]);
        for open in [near, http, https] {
            assert!(TcpStream::connect(open).is_ok(), "{open}");
        }
        let said = gateway.receipt(&environment()).outside;
        assert!(said.iter().any(|it| it.url() == format!("https://{https}")), "{said:?}");
        // Another port for https, then none at all.
        let other = free([127, 0, 0, 2]);
        gateway.want_outside(&environment(), [OutsideAddresses { http, https: Some(other) }]);
        assert!(TcpStream::connect(other).is_ok() && TcpStream::connect(http).is_ok());
        gateway.want_outside(&environment(), []);
        assert!(TcpStream::connect(near).is_ok() && problems(&gateway).is_empty());
        for closed in [http, https, other] {
            let is_free = (0..1_000).any(|_| {
                let is_free = TcpListener::bind(closed).is_ok();
                std::thread::sleep(std::time::Duration::from_millis(if is_free { 0 } else { 5 }));
                is_free
            });
            assert!(is_free, "{closed}");
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_told_and_taken_when_it_is_free() {
        let gateway = Gateway::start(GatewayConfig::new("edge")).unwrap();
        let held = TcpListener::bind("127.0.0.2:0").unwrap();
        let http = held.local_addr().unwrap();
        gateway.want_outside(&environment(), [OutsideAddresses { http, https: None }]);
        let why = problems(&gateway);
        assert!(why[0].as_ref().is_some_and(|why| why.contains(&http.to_string())), "{why:?}");
        drop(held);
        gateway.keep_listeners(&environment());
        assert_eq!(problems(&gateway), [None]);
        // Who was taken over from takes nothing back.
        gateway.give_up_outside(&environment());
        assert!(gateway.unlisten(&environment(), http));
        gateway.keep_listeners(&environment());
        assert!(gateway.receipt(&environment()).outside.is_empty());
    }

    #[tokio::test]
    async fn who_listens_everywhere_listens_outside() {
        let gateway = Gateway::start(GatewayConfig::new("edge")).unwrap();
        let everywhere = gateway.listen(&environment(), "0.0.0.0:0".parse().unwrap()).unwrap();
        let http = SocketAddr::from(([127, 0, 0, 2], everywhere.port()));
        gateway.want_outside(&environment(), [OutsideAddresses { http, https: None }]);
        assert_eq!(problems(&gateway), [None]);
        gateway.want_outside(&environment(), []);
        assert!(TcpStream::connect(http).is_ok());
    }
}
