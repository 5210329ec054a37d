//! What the instances of a version speak on their port.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the instances of a version speak on their port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1. What an older release recorded meant this.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on ("prior knowledge", RFC 9113 section 3.3): what gRPC servers speak.
    H2c,
    /// Anything else on TCP: bytes pass both ways as they come, and a connection stays at the instance that it was given.
    #[schemars(extend("x-since" = FORMAT_WITH_TCP))]
    Tcp,
}

/// The format of route tables that a gateway must take where a version speaks TCP, or a port leads to such a service.
pub const FORMAT_WITH_TCP: u32 = 12;

impl Protocol {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Http1, Self::H2c, Self::Tcp];

    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_http1(&self) -> bool {
        *self == Self::Http1
    }

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2c => "h2c",
            Self::Tcp => "tcp",
        }
    }

    /// Tells whether requests of HTTP can be asked in it.
    #[must_use]
    pub const fn is_http(self) -> bool {
        !matches!(self, Self::Tcp)
    }
}
