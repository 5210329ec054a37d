//! Instances that are named by host: which addresses of an answer are taken, and how long they hold.
//!
//! Who answers for a name decides where requests go, and is not always a friend. So an answer is bounded, and no address of it is taken that
//! is good for reaching what only this machine may reach. Invariant: addresses that were good are kept until others are known to be good, or
//! the name is known to be gone.

pub mod lanes;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::InstanceId;
use crate::name::{DnsName, ZoneName};
use crate::routes::Endpoint;

/// The format of route tables that a gateway must take where instances are named by host, or stand in zones.
pub const FORMAT_WITH_NAMES: u32 = 21;
/// Most addresses of a name that are taken, the lowest first, so that gateways take the same: more instances than one version of a service has behind
/// one name, and few enough that a hostile answer costs little.
pub const MAX_ADDRESSES: usize = 64;
/// Most names of a table: each is asked for every few seconds.
pub const MAX_NAMES: usize = 1_024;
/// How long the last addresses of a name are kept that is said not to exist: HAProxy's `hold nx`.
pub const HOLD_MISSING_MS: u64 = 30_000;
/// The longest pause after an answer that is of no use.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// The first pause where nothing is known yet.
const FIRST_PAUSE_MS: u64 = 1_000;
/// Longest name of an instance that its address is put behind.
const MAX_STEM: usize = 200;

/// An instance that is named by host: every address of the name is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedEndpoint {
    /// What its instances are called, with their addresses behind it.
    pub instance: InstanceId,
    /// The name. Its certificate must be for it where the version names nobody.
    #[schemars(extend("x-since" = FORMAT_WITH_NAMES))]
    pub host: DnsName,
    /// Where it listens.
    pub port: u16,
    /// Where it stands: a gateway of the same zone prefers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
}

impl NamedEndpoint {
    /// Returns the instance at an address of the name.
    ///
    /// # Panics
    /// Never: what is made of a valid id is one.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Endpoint {
        let stem = self.instance.as_str();
        let stem = &stem[..stem.len().min(MAX_STEM)];
        let instance = format!("{stem}-{}", ip.to_string().replace(':', "-"));
        Endpoint {
            instance: instance.parse().expect("an id with an address behind it is one"),
            address: SocketAddr::new(ip, self.port),
            zone: self.zone.clone(),
            host: Some(self.host.clone()),
            through: None,
        }
    }

    /// Returns an instance that stands for all of them where nobody looked the name up.
    #[must_use]
    pub fn unknown(&self) -> Endpoint {
        let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port);
        let (zone, host) = (self.zone.clone(), Some(self.host.clone()));
        Endpoint { instance: self.instance.clone(), address, zone, host, through: None }
    }
}

impl Endpoint {
    /// Says where it is: by its name where no address is known.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.host {
            Some(host) if self.address.ip().is_unspecified() => format!("{host}:{}", self.address.port()),
            Some(host) => format!("{} ({host})", self.address),
            None => self.address.to_string(),
        }
    }
}

/// Who said which addresses a name has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaidBy {
    /// The file of hosts of this machine, or the rule that `localhost` is this machine: whoever may write it may do anything here.
    Machine,
    /// The name system, in which others have their say.
    Names,
    /// Name servers of which the operator said that they may speak of this machine.
    LocalNames,
}

/// Why an address is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unfit {
    /// It is this machine: a name of others would reach what listens for this machine alone.
    Loopback,
    /// It is of the cable, as addresses are from which machines of clouds learn their secrets.
    LinkLocal,
    /// Machines of clouds learn their secrets there.
    Metadata,
    /// No machine has it: none, many, or kept for later.
    Nobody,
    /// This gateway listens there: its requests would go in circles.
    Itself,
}

impl Unfit {
    /// Returns why, as it is said to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "is loopback, which only /etc/hosts may say",
            Self::LinkLocal => "is link-local",
            Self::Metadata => "is where machines of clouds learn their secrets",
            Self::Nobody => "is of no single machine",
            Self::Itself => "is this gateway itself",
        }
    }
}

/// Addresses where machines of clouds learn their secrets that are not link-local: AWS by IPv6, Google by IPv6, Alibaba, Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What is taken of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// The addresses that are asked.
    pub ips: BTreeSet<IpAddr>,
    /// Those that are not, and why; at most as many as are taken.
    pub unfit: Vec<(IpAddr, Unfit)>,
    /// How many more there were than are taken.
    pub beyond: usize,
}

/// Takes of an answer what may be asked. `is_itself` tells whether this gateway listens at an address.
#[must_use]
pub fn take(ips: &[IpAddr], said_by: SaidBy, is_itself: impl Fn(IpAddr) -> bool) -> Taken {
    let all: BTreeSet<IpAddr> = ips.iter().map(IpAddr::to_canonical).collect();
    let mut taken = Taken::default();
    for ip in all {
        match unfit(ip, said_by).or_else(|| is_itself(ip).then_some(Unfit::Itself)) {
            Some(why) if taken.unfit.len() < MAX_ADDRESSES => taken.unfit.push((ip, why)),
            Some(_) => {}
            None if taken.ips.len() < MAX_ADDRESSES => _ = taken.ips.insert(ip),
            None => taken.beyond += 1,
        }
    }
    taken
}

/// Says why an address is not asked, whoever listens there.
fn unfit(ip: IpAddr, said_by: SaidBy) -> Option<Unfit> {
    let plain = behind(ip);
    let nobody = match plain {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.octets()[0] >= 224,
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    let link_local = match plain {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match said_by {
        _ if nobody => Some(Unfit::Nobody),
        SaidBy::Machine => None,
        SaidBy::Names if plain.is_loopback() => Some(Unfit::Loopback),
        _ if link_local => Some(Unfit::LinkLocal),
        _ if METADATA.contains(&plain) => Some(Unfit::Metadata),
        SaidBy::Names | SaidBy::LocalNames => None,
    }
}

/// Returns the address of IPv4 that one of IPv6 leads to: NAT64 (RFC 6052, RFC 8215 where its prefix is as short as an address is long), 6to4
/// (RFC 3056), Teredo (RFC 4380), SIIT (RFC 2765), ISATAP (RFC 5214), and those that are IPv4 written so.
fn behind(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(long) = ip.to_canonical() else { return ip.to_canonical() };
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match long.segments() {
        [0x64, 0xff9b, 0 | 1, 0, 0, 0, high, low] => of(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x2001, 0, _, _, _, _, high, low] => of(!high, !low),
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        _ => ip,
    }
}

/// Within which times a name is looked up again, whatever its answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookupBounds {
    /// At the earliest, in milliseconds.
    pub least_ms: u64,
    /// At the latest, in milliseconds.
    pub most_ms: u64,
}

impl Default for LookupBounds {
    /// Envoy's interval where an answer holds shorter, and five minutes: longer than that nobody wants to wait for a move.
    fn default() -> Self {
        Self { least_ms: 5_000, most_ms: 300_000 }
    }
}

/// What was heard of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It has addresses, which hold for so long.
    Addresses {
        /// What is taken of them.
        taken: Taken,
        /// For how long they hold, in milliseconds.
        ttl_ms: u64,
    },
    /// There is no such name, or it has no address.
    Missing(String),
    /// Nobody could say.
    Failed(String),
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The addresses that are asked.
    pub ips: BTreeSet<IpAddr>,
    /// Why they are not those of the last answer, where they are not: nobody could say, the name is gone, or none of its addresses is taken.
    pub trouble: Option<String>,
    /// Since when that is so, in milliseconds.
    pub since_ms: u64,
    /// When it is to be looked up again, in milliseconds.
    pub next_ms: u64,
    /// Since when it is said not to exist.
    missing_since_ms: Option<u64>,
    /// How many looks in a row were of no use.
    useless: u32,
}

impl Found {
    /// Takes in what was heard at a time; returns whether other addresses are asked from now on.
    pub fn hear(&mut self, heard: Heard, now_ms: u64, bounds: LookupBounds) -> bool {
        let (ips, trouble) = match heard {
            Heard::Addresses { taken, ttl_ms } if !taken.ips.is_empty() => {
                let pause = ttl_ms.clamp(bounds.least_ms, bounds.most_ms.max(bounds.least_ms));
                (self.missing_since_ms, self.useless, self.next_ms) = (None, 0, now_ms + pause);
                (Some(taken.ips), None)
            }
            Heard::Addresses { taken, .. } => {
                self.pause(now_ms, bounds);
                self.missing_since_ms = None;
                // What is known to be unfit is not kept either, whenever it was taken.
                let is_fit = |ip: &IpAddr| taken.unfit.iter().all(|(unfit, _)| unfit != ip);
                let kept = self.ips.iter().copied().filter(is_fit).collect();
                (Some(kept), Some(none_fits(&taken)))
            }
            Heard::Failed(why) => {
                self.pause(now_ms, bounds);
                self.missing_since_ms = None;
                (None, Some(why))
            }
            Heard::Missing(why) => {
                self.pause(now_ms, bounds);
                let since = *self.missing_since_ms.get_or_insert(now_ms);
                let is_gone = now_ms.saturating_sub(since) >= HOLD_MISSING_MS;
                (is_gone.then(BTreeSet::new), Some(why))
            }
        };
        if self.trouble.is_some() != trouble.is_some() || self.next_ms == 0 {
            self.since_ms = now_ms;
        }
        self.trouble = trouble;
        let is_news = ips.as_ref().is_some_and(|ips| *ips != self.ips);
        self.ips = ips.unwrap_or_else(|| std::mem::take(&mut self.ips));
        is_news
    }

    fn pause(&mut self, now_ms: u64, bounds: LookupBounds) {
        let first = if self.ips.is_empty() { FIRST_PAUSE_MS.min(bounds.least_ms) } else { bounds.least_ms };
        let pause = first.saturating_mul(1 << self.useless.min(16)).min(LONGEST_PAUSE_MS).max(first);
        self.useless = self.useless.saturating_add(1);
        self.next_ms = now_ms + pause;
    }
}

fn none_fits(taken: &Taken) -> String {
    match taken.unfit.first() {
        Some((ip, why)) => format!("none of its addresses is taken: {ip} {}", why.as_str()),
        None => "it has no address".to_owned(),
    }
}

#[cfg(test)]
mod tests;
