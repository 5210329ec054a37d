//! Keeping a client at one instance of its version, for programs that hold something of it in memory.
//!
//! No gateway remembers anything: a cookie names the instance by a mark that follows from the instance's id, so it means
//! the same at every gateway of the environment and after its restart. A client without cookies is kept by its key. The
//! version is chosen before; a mark of an instance that is not one of the version's, or does not serve, is passed over, and
//! the client gets the mark of the one that answers. Who writes a mark of his own chooses an instance, and nothing else.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::{EnvironmentName, InstanceId};
use sha2::{Digest as _, Sha256};

use crate::endpoint::Endpoint;
use crate::instance::Instance;
use crate::request::Request;

/// The cookie that names the instance.
const COOKIE: &str = "lockstep_instance";
/// Cookies of that name that are looked at: one for each route of the host that a path lies below is usual.
const MAX_COOKIES: usize = 8;

/// What names an instance to clients. Part of what gateways of all releases agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark(u64);

impl Mark {
    /// Returns the mark of an instance; it says nothing of where that is.
    pub(crate) fn of(environment: &EnvironmentName, instance: &InstanceId) -> Self {
        let digest = Sha256::digest(format!("lockstep instance\n{environment}\n{instance}"));
        let first = digest.first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where a client is to be kept.
#[derive(Debug)]
pub(crate) struct Affinity {
    /// The instances that its cookies name.
    marks: Vec<Mark>,
    /// The hash of its key, where it has one.
    key: Option<u64>,
    /// How it is told the instance that answers.
    told: Told,
}

#[derive(Debug)]
enum Told {
    /// By a cookie with these attributes.
    ByCookie(String),
    /// A call between services: a cookie for the path of a route would not come back.
    Not,
}

impl Affinity {
    /// Keeps a client by its cookie, else by its key; `https` is whether it came
    /// by it, `path` is the path of the route.
    pub(crate) fn by_cookie(
        request: &Request<'_>,
        (caller, https): (Caller, bool),
        path: &str,
        key: Option<&[u8]>,
    ) -> Self {
        let marks = request.cookies(COOKIE).filter_map(Mark::read).take(MAX_COOKIES).collect();
        let told = match caller {
            Caller::Instance => Told::Not,
            Caller::Outside | Caller::Proxy => Told::ByCookie(attributes(path, https)),
        };
        Self { marks, key: key.map(hash), told }
    }

    /// Keeps a call between services by the key of the client that it is for.
    pub(crate) fn by_key(key: &[u8]) -> Self {
        Self { marks: Vec::new(), key: Some(hash(key)), told: Told::Not }
    }

    /// Chooses among instances of a version, and of those that leave only the one that a cookie names; `None` when the
    /// client can go to any.
    pub(crate) fn choose<'e>(
        &self,
        endpoints: &'e [Arc<Endpoint>],
        leaving: &'e [Arc<Endpoint>],
        serves: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<&'e Arc<Endpoint>> {
        let all = || endpoints.iter().chain(leaving);
        let named = |mark: &Mark| all().find(|it| it.instance.mark == *mark && serves(it));
        self.marks.iter().find_map(named).or_else(|| {
            let key = self.key?;
            // Rendezvous hashing: when an instance comes or goes, only those clients move that go to it or were there.
            endpoints.iter().filter(|it| serves(it)).max_by_key(|it| mix(key ^ it.instance.mark.0))
        })
    }

    /// Returns the cookie for a client that an instance answers; `None` when it has it, or gets none.
    pub(crate) fn cookie_for(&self, instance: &Instance) -> Option<String> {
        let Told::ByCookie(attributes) = &self.told else { return None };
        let news = !self.marks.contains(&instance.mark);
        news.then(|| format!("{COOKIE}={}{attributes}", instance.mark))
    }
}

/// A path with a semicolon would end the attribute; the cookie is for all paths then.
fn attributes(path: &str, https: bool) -> String {
    let path = Some(path).filter(|path| !path.contains(';')).unwrap_or("/");
    let mut text = format!("; Path={path}; HttpOnly; SameSite=Lax");
    if https {
        let _ = text.write_str("; Secure");
    }
    text
}

/// FNV-1a, as for the choice of the version, but without a salt: two rollouts must not move a client.
fn hash(key: &[u8]) -> u64 {
    key.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `fmix64` of MurmurHash3.
const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::*;

    fn endpoints(count: u16) -> Vec<Arc<Endpoint>> {
        let endpoint = |number| {
            let mark = Mark::of(&"production".parse().unwrap(), &format!("chat-{number}").parse().unwrap());
            let address = SocketAddr::from(([127, 0, 0, 1], number));
            Arc::new(Endpoint::new(Arc::new(Instance::new(address, mark))))
        };
        (1..=count).map(endpoint).collect()
    }

    fn port(endpoint: Option<&Arc<Endpoint>>) -> u16 {
        endpoint.unwrap().instance.address.port()
    }

    #[test]
    fn a_mark_is_part_of_what_gateways_agree_on() {
        let mark = Mark::of(&"production".parse().unwrap(), &"chat-1".parse().unwrap());
        assert_eq!(mark.to_string(), MARK);
        assert_eq!(Mark::read(MARK), Some(mark));
        let other = Mark::of(&"staging".parse().unwrap(), &"chat-1".parse().unwrap());
        assert_ne!(mark, other, "a cookie of another environment names nobody");
        for text in [
            "",
            "1",
            "+123456789abcdef",
            "0123456789abcdef0",
            "0x23456789abcdef",
            "\u{e9}1234567\u{e9}123456",
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }

    const MARK: &str = "784a42c82febf3ec";

    #[test]
    fn a_mark_comes_before_the_key_and_only_who_serves_is_chosen() {
        let all = endpoints(3);
        let affinity = Affinity {
            marks: vec![Mark(7), all[1].instance.mark, all[0].instance.mark],
            key: Some(hash(b"ann")),
            told: Told::Not,
        };
        assert_eq!(port(affinity.choose(&all, &[], |_| true)), 2);
        assert_eq!(port(affinity.choose(&all, &[], |it| it.instance.address.port() != 2)), 1);
        assert_eq!(port(affinity.choose(&all, &[], |it| it.instance.address.port() == 3)), 3);
        assert!(affinity.choose(&all, &[], |_| false).is_none());
        assert_eq!(port(affinity.choose(&all[2..], &all[..2], |_| true)), 2, "it leaves, and has the client");
        assert_eq!(port(Affinity::by_key(b"ann").choose(&all[2..], &all[..2], |_| true)), 3);
        let nothing = Affinity { marks: vec![Mark(7)], key: None, told: Told::Not };
        assert!(nothing.choose(&all, &[], |_| true).is_none());
    }

    #[test]
    fn keys_spread_evenly_and_only_a_share_moves_when_an_instance_comes() {
        let (three, four) = (endpoints(3), endpoints(4));
        let mut shares: BTreeMap<u16, usize> = BTreeMap::new();
        let mut moved = 0;
        for n in 0..9_000 {
            let affinity = Affinity::by_key(format!("user {n}").as_bytes());
            let (before, after) =
                (port(affinity.choose(&three, &[], |_| true)), port(affinity.choose(&four, &[], |_| true)));
            *shares.entry(before).or_default() += 1;
            moved += usize::from(before != after);
            assert!(before == after || after == 4, "who moves goes to the new one");
            let without = port(affinity.choose(&three, &[], |it| it.instance.address.port() != 2));
            assert!(before == 2 || without == before, "who was elsewhere stays");
        }
        assert!(shares.values().all(|share| (2_800..3_200).contains(share)), "{shares:?}");
        assert!((2_050..2_450).contains(&moved), "{moved}");
    }

    #[test]
    fn a_cookie_is_given_only_to_who_has_it_not() {
        let all = endpoints(2);
        let told = Told::ByCookie(attributes("/chat", true));
        let affinity = Affinity { marks: vec![all[0].instance.mark], key: None, told };
        assert_eq!(affinity.cookie_for(&all[0].instance), None);
        let mark = all[1].instance.mark;
        let given = format!("lockstep_instance={mark}; Path=/chat; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(affinity.cookie_for(&all[1].instance), Some(given));
        assert_eq!(attributes("/a;b", false), "; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(Affinity::by_key(b"ann").cookie_for(&all[0].instance), None);
    }
}
