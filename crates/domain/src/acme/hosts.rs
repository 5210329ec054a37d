//! For which hosts a certificate can be got by the challenges that a gateway answers.

use std::borrow::Cow;
use std::net::IpAddr;

use thiserror::Error;

use crate::request_host::{WILDCARD, normalize_host};

/// Most hosts of a certificate: as many as the largest authority takes.
pub const MAX_HOSTS: usize = 100;
/// Longest part of a host between dots.
const MAX_LABEL: usize = 63;

/// Why a certificate cannot be got for a host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// There is none.
    #[error("a certificate is for a host: --host shop.example.org")]
    None,
    /// There are too many.
    #[error("a certificate can be for {MAX_HOSTS} hosts at most, not for {count}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// All below a host cannot be proved here.
    #[error(
        "`{host}`: an authority gives a certificate for all hosts below a name only to who answers for the name in DNS, which gateways do not; name the hosts, or use `certificate add`"
    )]
    Wildcard {
        /// Which.
        host: String,
    },
    /// It is an address.
    #[error("`{host}` is an address; a certificate can be got for names")]
    Address {
        /// Which.
        host: String,
    },
    /// It is no name.
    #[error(
        "`{host}` is no host name: letters, digits and `-` between dots; others are written as `xn--...` (IDNA)"
    )]
    NoName {
        /// Which.
        host: String,
    },
}

/// Brings hosts into their one form, each once, in their order.
///
/// # Errors
/// Everything that is wrong with them, at once.
pub fn checked(hosts: &[String]) -> Result<Vec<String>, Vec<HostError>> {
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    for host in hosts {
        match check(host.trim()) {
            Ok(host) if good.contains(&host) => {}
            Ok(host) => good.push(host),
            Err(error) => errors.push(error),
        }
    }
    if hosts.is_empty() {
        errors.push(HostError::None);
    }
    if good.len() > MAX_HOSTS {
        errors.push(HostError::TooMany { count: good.len() });
    }
    if errors.is_empty() { Ok(good) } else { Err(errors) }
}

fn check(host: &str) -> Result<String, HostError> {
    let given = || host.chars().filter(|it| !it.is_control()).take(80).collect::<String>();
    if host.starts_with(WILDCARD) {
        return Err(HostError::Wildcard { host: given() });
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return Err(HostError::Address { host: given() });
    }
    let form = normalize_host(host).ok().filter(|form| form.split('.').all(is_label));
    form.map(Cow::into_owned).ok_or_else(|| HostError::NoName { host: given() })
}

fn is_label(label: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let ends = label.starts_with('-') || label.ends_with('-');
    !label.is_empty() && label.len() <= MAX_LABEL && !ends && label.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(hosts: &[&str]) -> Result<Vec<String>, Vec<HostError>> {
        checked(&hosts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_are_brought_into_one_form_and_all_that_is_wrong_is_said() {
        assert_eq!(of(&["Shop.Test.", "a.shop.test", " shop.test "]).unwrap(), ["shop.test", "a.shop.test"]);
        let errors =
            of(&["*.shop.test", "10.0.0.1", "[::1]", "a_b.test", "-a.test", "a..b", "münch.test", ""]);
        assert_eq!(errors.unwrap_err().len(), 8);
        assert_eq!(of(&[]).unwrap_err(), [HostError::None]);
        let many: Vec<String> = (0..=MAX_HOSTS).map(|n| format!("h{n}.test")).collect();
        assert_eq!(checked(&many).unwrap_err(), [HostError::TooMany { count: 101 }]);
        assert!(of(&["localhost"]).is_ok(), "an authority of one's own may give that");
    }

    proptest! {
        #[test]
        fn what_is_good_is_its_own_form(host in "[A-Za-z0-9.*-]{0,20}") {
            if let Ok(form) = checked(std::slice::from_ref(&host)) {
                prop_assert_eq!(&checked(&form).unwrap(), &form);
                prop_assert_eq!(&form[0], &host.trim_end_matches('.').to_ascii_lowercase());
            }
        }
    }
}
