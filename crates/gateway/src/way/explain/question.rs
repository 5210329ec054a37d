//! A request that is asked about, as a person writes it.

use std::net::{IpAddr, SocketAddr};

use lockstep_domain::ZoneName;
use thiserror::Error;

use crate::peer::{Peer, Secure};

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// It is no address of a page.
    #[error("`{0}` is not an address such as https://shop.test/orders/7")]
    Address(String),
    /// It is no address of a service that speaks TCP.
    #[error("`{0}` is not an address such as tcp://127.0.0.1:5433 or tcp://mqtt.shop.test:8883")]
    Connection(String),
    /// A character would end a line or a word of the request.
    #[error("`{0}` has a character that cannot stand there: write a space in an address as %20")]
    Character(String),
    /// It is no header field.
    #[error("`{0}` is not a header field: write `NAME: VALUE`")]
    Header(String),
}

/// A request that is asked about.
#[derive(Debug, Clone)]
pub struct Question {
    method: String,
    https: bool,
    authority: String,
    target: String,
    headers: Vec<(String, String)>,
    client: IpAddr,
    /// Where the gateway stands that is asked.
    pub(super) zone: Option<ZoneName>,
}

impl Question {
    /// Reads a request: a method, an address with `http` or `https`, header fields as `NAME: VALUE`, and from where it comes.
    ///
    /// # Errors
    /// When it cannot be sent as one request.
    pub fn new(
        method: &str,
        address: &str,
        headers: &[String],
        client: IpAddr,
    ) -> Result<Self, QuestionError> {
        let no_address = || QuestionError::Address(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(no_address)?;
        let https = scheme.eq_ignore_ascii_case("https");
        // Clients keep a fragment to themselves.
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !(https || scheme.eq_ignore_ascii_case("http")) {
            return Err(no_address());
        }
        let target = format!("{}{path}", if path.starts_with('/') { "" } else { "/" });
        let is_bad = |text: &&str| text.chars().any(|it| it.is_control() || it == ' ') || text.is_empty();
        if let Some(bad) = [method, authority, &target].into_iter().find(is_bad) {
            return Err(QuestionError::Character(bad.escape_debug().to_string()));
        }
        let headers = headers.iter().map(|text| read_header(text)).collect::<Result<_, _>>()?;
        let (method, authority) = (method.to_owned(), authority.to_owned());
        Ok(Self { method, https, authority, target, headers, client, zone: None })
    }

    /// Asks a gateway that stands in a zone.
    #[must_use]
    pub fn in_zone(self, zone: Option<ZoneName>) -> Self {
        Self { zone, ..self }
    }

    /// Writes it as a client of HTTP/1.1 would.
    pub(super) fn head(&self) -> String {
        let Self { method, authority, target, headers, .. } = self;
        let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = if has_host { String::new() } else { format!("host: {authority}\r\n") };
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{method} {target} HTTP/1.1\r\n{host}{headers}\r\n")
    }

    pub(super) fn peer(&self) -> Peer {
        let port = if self.https { 443 } else { 80 };
        let mut peer =
            Peer::new(SocketAddr::new(self.client, 0), SocketAddr::from(([127, 0, 0, 1], port)), None);
        peer.secure = self.https.then(|| Box::new(Secure { version: "1.3", identity: None }));
        peer
    }
}

fn read_header(text: &str) -> Result<(String, String), QuestionError> {
    let (name, value) = text.split_once(':').ok_or_else(|| QuestionError::Header(text.to_owned()))?;
    if text.chars().any(|it| it.is_control() && it != '\t') {
        return Err(QuestionError::Character(text.escape_debug().to_string()));
    }
    let is_name = !name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic());
    if is_name {
        Ok((name.to_owned(), value.trim().to_owned()))
    } else {
        Err(QuestionError::Header(text.to_owned()))
    }
}
