//! What is typed of a service that is to be deployed: a version, or what is wanted of it.

use std::str::FromStr;

use lockstep_domain::plan::{ServiceWish, Wanted};
use lockstep_domain::{ServiceName, VersionNumber, VersionRef};

/// `orders@1.6.0`, `payments!=1.3.0`, `'storefront<=1.2.0'`, `'storefront>=1.2.0'` or `catalog=keep`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A version.
    Version(VersionRef),
    /// What is wanted of a service.
    Wish(ServiceWish),
}

impl FromStr for Typed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let version = |text: &str| text.parse::<VersionNumber>().map_err(|error| error.to_string());
        let wish = |service: &str, wanted: Wanted| {
            let service = service.parse::<ServiceName>().map_err(|error| error.to_string())?;
            Ok(Self::Wish(ServiceWish { service, wanted }))
        };
        if let Some((service, not)) = text.split_once("!=") {
            wish(service, Wanted::Not(version(not)?))
        } else if let Some((service, most)) = text.split_once("<=") {
            wish(service, Wanted::AtMost(version(most)?))
        } else if let Some((service, least)) = text.split_once(">=") {
            wish(service, Wanted::AtLeast(version(least)?))
        } else if let Some(service) = text.strip_suffix("=keep") {
            wish(service, Wanted::Keep)
        } else {
            text.parse::<VersionRef>().map(Self::Version).map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_and_written_as_it_is_typed() {
        for text in ["payments!=1.3.0", "storefront<=1.2.0", "storefront>=1.2.0", "catalog=keep"] {
            let Ok(Typed::Wish(wish)) = text.parse() else { panic!("{text}") };
            assert_eq!(wish.to_string().trim_matches('\''), text);
        }
        assert!(matches!("orders@1.6.0".parse(), Ok(Typed::Version(_))));
        for wrong in ["orders", "orders=1.0.0", "orders<=x", "!=1.0.0", "orders==keep"] {
            assert!(wrong.parse::<Typed>().is_err(), "{wrong}");
        }
    }
}
