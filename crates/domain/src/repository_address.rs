//! The address of a repository as text: the secrets that may stand in it, and how it is shown without them.
//!
//! An address is recorded for ever, is shown to everybody, and stands in lists of processes. So one that holds a secret is
//! never recorded any more; journals of earlier releases may have one, and it is shown without it.

use std::borrow::Cow;

/// Stands in the place of an address for a service that has no repository: what it is lies in its kept manifest and in what is given.
pub const NO_REPOSITORY: &str = "none";

/// The commit of every version that was made without a repository.
pub const NO_COMMIT: &str = "9910aa19bfb5ef0e2795be914f82ae6d494e5ef3";

/// Says why an address must not be recorded, when it could hold a secret: a password, or a token in the place of a user.
#[must_use]
pub fn secret_in(address: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = address.split_once("://") else {
        let password_of_short_form =
            !address.starts_with('/') && address.split(':').skip(1).any(|part| part.contains('@'));
        return password_of_short_form.then_some("it seems to hold a password");
    };
    if rest.contains(['?', '#']) {
        return Some("it has a query, in which tokens are handed on");
    }
    let (user, host) = match authority_of(rest).rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority_of(rest)),
    };
    match user {
        Some(user) if user.contains([':', '%']) => Some("it holds a password"),
        Some(_) if !scheme.eq_ignore_ascii_case("ssh") => {
            Some("it names a user, and tokens are often written so")
        }
        _ => odd(host),
    }
}

/// Says what is odd about a host. A password with `/` in it ends what git takes for the host, and `%40` may stand for `@`.
fn odd(host: &str) -> Option<&'static str> {
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|_| !host.ends_with(']'));
    if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some("what follows `:` is no port, and may be a password");
    }
    host.contains(['%', '\\']).then_some("its host has characters that a host does not have")
}

/// Takes everything out of an address that may be a secret.
#[must_use]
pub fn shown(address: &str) -> Cow<'_, str> {
    if secret_in(address).is_none() {
        return Cow::Borrowed(address);
    }
    let Some((scheme, rest)) = address.split_once("://") else {
        let host = address.rsplit_once('@').map_or("", |(_, host)| host);
        return Cow::Owned(format!("***@{host}"));
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // The last `@`, because a password may hold one, and a `/`.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = authority_of(rest);
    let host_shown = if odd(host).is_some() { "***" } else { host };
    Cow::Owned(format!("{scheme}://{host_shown}{}", &rest[host.len()..]))
}

fn authority_of(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_secrets_are_recorded_and_shown_as_they_are() {
        for plain in [
            "/srv/git/orders",
            "/srv/a:b@c:d/orders",
            "https://example.org/orders.git",
            "https://example.org:8443/orders",
            "https://example.org/@scope/orders",
            "https://[::1]:8443/orders",
            "https://[::1]/orders",
            "ssh://git@example.org/orders",
            "ssh://git@example.org:2222/orders",
            "git@example.org:team/orders.git",
            "example.org:orders",
            "file:///srv/git/orders",
        ] {
            assert_eq!((secret_in(plain), shown(plain).as_ref()), (None, plain));
        }
    }

    #[test]
    fn no_form_of_a_secret_is_recorded_or_shown() {
        for held in [
            "https://ann:s3cret@example.org/orders",
            "https://s3cret@example.org/orders",
            "https://s3cret:@example.org/orders",
            "https://:s3cret@example.org/orders",
            "https://s3cret:x-oauth-basic@example.org/orders",
            "https://oauth2:s3cret@example.org:8443/orders",
            "https://ann:s3cret@extra@example.org/orders",
            "https://ann:pass/s3cret@example.org/orders",
            "https://ann:s3cret/more@example.org/orders",
            "https://ann:?s3cret@example.org/orders",
            "https://ann%3As3cret%40example.org/orders",
            "https://example.org/orders?access_token=s3cret",
            "https://example.org/orders#s3cret",
            "HTTPS://ann:s3cret@example.org/orders",
            "ssh://git:s3cret@example.org/orders",
            "ssh://git%3As3cret@example.org/orders",
            "file://ann:s3cret@example.org/orders",
            "http://ann:s3cret@example.org/orders",
            "ann:s3cret@example.org:orders",
        ] {
            assert!(secret_in(held).is_some(), "{held}");
            let shown = shown(held);
            assert!(!shown.contains("s3cret"), "{held}: {shown}");
        }
        assert_eq!(shown("https://ann:s3cret@example.org/orders"), "https://example.org/orders");
        assert_eq!(shown("ann:s3cret@example.org:orders"), "***@example.org:orders");
    }
}
