//! The address of a target, parted into where it is and what is asked there. Pure.

use hyper::Uri;
use lockstep_reach::ServerAddress;

use crate::address;

/// Longest address that is taken: those of workflows of Teams have 300 characters.
const MAX_URL_BYTES: usize = 2_048;

/// Where a target is, and what is asked there. It shows no path, which may be a token.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: ServerAddress,
    /// Path and query.
    pub(crate) path: String,
}

impl Place {
    /// Reads an address. What is said of a wrong one never repeats it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("write https://HOST/PATH: {why}"));
        if url.len() > MAX_URL_BYTES {
            return bad(&format!("this has more than {MAX_URL_BYTES} bytes"));
        }
        let Ok(uri) = url.parse::<Uri>() else { return bad("this is no address") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return bad("this names no host");
        };
        match format!("{scheme}://{authority}").parse::<ServerAddress>() {
            Ok(address) => Ok(Self { address, path: path_of(&uri) }),
            // Its words may repeat a host, and what stands there may be half a token.
            Err(_) if authority.as_str().contains('@') => bad("an address has no user and no password"),
            Err(_) => bad("this is no http or https, or its host or port is none"),
        }
    }

    /// Tells whether everybody on the way can read what is sent there.
    pub(crate) fn is_plain_abroad(&self) -> bool {
        !self.address.is_tls() && !self.is_loopback()
    }

    /// Tells whether it is this machine by what is written, whatever a resolver says.
    pub(crate) fn is_loopback(&self) -> bool {
        address::is_loopback(self.address.host())
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        let authority = self.address.authority();
        let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        port.and_then(|(_, port)| port.parse().ok()).unwrap_or(if self.address.is_tls() { 443 } else { 80 })
    }

    /// Returns the path with a part added, unless it ends with that already.
    pub(crate) fn path_with(&self, part: &str) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let path = path.trim_end_matches('/');
        let whole = if path.ends_with(part) { path.to_owned() } else { format!("{path}{part}") };
        if query.is_empty() { whole } else { format!("{whole}?{query}") }
    }
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), |it| it.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parted_and_a_wrong_one_is_not_repeated() {
        let place = Place::parse("https://oapi.dingtalk.com/robot/send?access_token=1").unwrap();
        assert_eq!(
            (place.address.host(), place.path.as_str()),
            ("oapi.dingtalk.com", "/robot/send?access_token=1")
        );
        assert_eq!(place.port(), 443);
        let at = |url: &str| Place::parse(url).unwrap();
        assert_eq!(at("http://127.0.0.1:9093").path_with("/api/v2/alerts"), "/api/v2/alerts");
        assert_eq!(at("http://h/am/?a=1").path_with("/api/v2/alerts"), "/am/api/v2/alerts?a=1");
        assert_eq!(at("http://h/api/v2/alerts").path_with("/api/v2/alerts"), "/api/v2/alerts");
        assert_eq!((at("http://[::1]:81/").port(), at("http://[::1]/").port()), (81, 80));
        for bad in [
            "",
            "/secret",
            "secret",
            "ftp://h/secret",
            "https://u:secret@h/",
            "https:///secret",
            "https://h:0/secret",
        ] {
            let why = Place::parse(bad).map(|place| place.path).unwrap_err();
            assert!(!why.contains("secret") && why.starts_with("write https://"), "{bad}: {why}");
        }
        assert!(Place::parse(&format!("https://h/{}", "a".repeat(3_000))).is_err());
    }
}
