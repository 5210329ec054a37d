//! Where the ports of instances are taken from.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// Why a text is no range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PortRangeError {
    /// Not two numbers of ports.
    #[error("expected FIRST-LAST, two ports from 1 to 65535, such as 21000-21999")]
    Form,
    /// It ends before it begins.
    #[error("the first port is above the last")]
    Order,
}

/// Ports from one to another, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

impl PortRange {
    /// What is used where nothing is said: below the range from which Linux gives ports to outgoing connections (32768
    /// upwards), so that no connection can take the port of an instance while that is being started again.
    pub const USUAL: Self = Self { first: port(20_000), last: port(29_999) };

    /// Returns the port after another one, and after the last the first.
    #[must_use]
    pub fn after(self, before: u16) -> u16 {
        let (first, last) = (self.first.get(), self.last.get());
        if (first..last).contains(&before) { before + 1 } else { first }
    }

    /// Returns one of the ports, for whoever wants any: the n-th, going round.
    #[must_use]
    pub fn nth(self, n: usize) -> u16 {
        self.first.get().saturating_add(u16::try_from(n % self.count()).unwrap_or_default())
    }

    /// Returns how many ports there are.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.last.get() - self.first.get()) + 1
    }
}

const fn port(number: u16) -> NonZeroU16 {
    match NonZeroU16::new(number) {
        Some(port) => port,
        None => NonZeroU16::MIN,
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let (first, last) = text.split_once('-').ok_or(PortRangeError::Form)?;
        let port = |text: &str| text.trim().parse::<NonZeroU16>().map_err(|_| PortRangeError::Form);
        let range = Self { first: port(first)?, last: port(last)? };
        if range.first <= range.last { Ok(range) } else { Err(PortRangeError::Order) }
    }
}

as_text!(PortRange);

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Where the ports of the instances of an environment are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum InstancePorts {
    /// From the range of the server. What an older release recorded meant this.
    #[default]
    Server,
    /// From one of its own.
    Own(PortRange),
}

impl InstancePorts {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_server(&self) -> bool {
        *self == Self::Server
    }
}

impl FromStr for InstancePorts {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        if text == "server" { Ok(Self::Server) } else { text.parse().map(Self::Own) }
    }
}

as_text!(InstancePorts);

impl fmt::Display for InstancePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Own(range) => range.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ports_and_is_gone_round() {
        let range: PortRange = "21000-21002".parse().unwrap();
        assert_eq!((range.count(), range.to_string()), (3, "21000-21002".to_owned()));
        let round: Vec<u16> = [0, 21_000, 21_001, 21_002, 65_535].map(|port| range.after(port)).into();
        assert_eq!(round, [21_000, 21_001, 21_002, 21_000, 21_000]);
        assert_eq!([range.nth(0), range.nth(4)], [21_000, 21_001]);
        let one: PortRange = "65535-65535".parse().unwrap();
        assert_eq!((one.count(), one.after(65_535)), (1, 65_535));
        assert_eq!(PortRange::USUAL.to_string(), "20000-29999");
    }

    #[test]
    fn what_is_no_range_is_said() {
        for text in ["", "20000", "0-10", "1-65536", "a-b", "1-2-3", "-1-2"] {
            assert_eq!(text.parse::<PortRange>(), Err(PortRangeError::Form), "{text}");
        }
        assert_eq!("2-1".parse::<PortRange>(), Err(PortRangeError::Order));
        assert_eq!("server".parse(), Ok(InstancePorts::Server));
    }
}
