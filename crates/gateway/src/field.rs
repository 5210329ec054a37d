//! Header fields that the gateway treats specially, and how it recognises them.

/// What a header field means to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Passed on untouched.
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
    Expect,
    /// Means something only on one connection, and ends here.
    HopByHop,
    Cookie,
    Key,
    Baggage,
    Traceparent,
    Tracestate,
    Forwarded,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    ForwardedPort,
    RealIp,
    /// What people find the request by in logs: written anew, by the word of who is believed.
    RequestId,
    /// A trace as Zipkin writes it, which is nothing to the gateway.
    B3,
    /// How important it is, by the word of somebody who is believed.
    Priority,
    /// Something else that a client says of itself, or of the request before it.
    Claim,
    /// What a proxy in front says of who a client is: by its certificate, its login or its address. It is a claim as well, but one that a
    /// route may make in its own words.
    Identity,
    /// Named like a field that the gateway reads or writes, with `_` for `-`. Programs that hand fields on as variables
    /// (CGI, WSGI, PHP) cannot tell the two apart.
    Shadow,
    Via,
    /// Counts the gateways that did not add themselves to `via`, whoever says it: more of them only end a request earlier.
    Hops,
    /// Says who answered; only the gateway itself writes it.
    Verdict,
}

impl Field {
    /// Recognises a field by its name in any case.
    pub(crate) fn of(name: &str) -> Self {
        match Self::known(name) {
            Self::Other if name.contains('_') => Self::of_shadow(name),
            Self::Other if is_claim(name) => Self::Claim,
            Self::Other if is_identity(name) => Self::Identity,
            found => found,
        }
    }

    fn of_shadow(name: &str) -> Self {
        match Self::of(&name.replace('_', "-")) {
            Self::Other => Self::Other,
            _ => Self::Shadow,
        }
    }

    fn known(name: &str) -> Self {
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::HopByHop), ("b3", Self::B3)],
            3 => &[("via", Self::Via)],
            4 => &[("host", Self::Host)],
            6 => &[("cookie", Self::Cookie), ("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade), ("baggage", Self::Baggage)],
            8 => &[("x-scheme", Self::Claim)],
            9 => &[("forwarded", Self::Forwarded), ("x-real-ip", Self::RealIp), ("client-ip", Self::Claim)],
            10 => &[
                ("connection", Self::Connection),
                ("keep-alive", Self::HopByHop),
                ("tracestate", Self::Tracestate),
                ("x-b3-flags", Self::B3),
            ],
            11 => {
                &[("traceparent", Self::Traceparent), ("x-client-ip", Self::Claim), ("x-b3-spanid", Self::B3)]
            }
            12 => {
                &[("x-request-id", Self::RequestId), ("x-b3-traceid", Self::B3), ("x-b3-sampled", Self::B3)]
            }
            13 => &[
                ("lockstep-lane", Self::Verdict),
                ("lockstep-hops", Self::Hops),
                ("x-rewrite-url", Self::Claim),
                ("x-original-ip", Self::Claim),
            ],
            14 => &[
                ("lockstep-fault", Self::Verdict),
                ("true-client-ip", Self::Claim),
                ("x-original-url", Self::Claim),
                ("content-length", Self::ContentLength),
                ("x-lockstep-key", Self::Key),
                ("http2-settings", Self::HopByHop),
            ],
            15 => &[
                ("x-forwarded-for", Self::ForwardedFor),
                ("x-original-host", Self::Claim),
                ("front-end-https", Self::Claim),
            ],
            16 => &[
                ("x-forwarded-host", Self::ForwardedHost),
                ("x-forwarded-port", Self::ForwardedPort),
                ("cf-connecting-ip", Self::Claim),
                ("fastly-client-ip", Self::Claim),
                ("lockstep-version", Self::Verdict),
                ("proxy-connection", Self::HopByHop),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-forwarded-proto", Self::ForwardedProto),
                ("lockstep-priority", Self::Priority),
                ("lockstep-degraded", Self::Verdict),
                ("lockstep-shielded", Self::Verdict),
                ("x-b3-parentspanid", Self::B3),
            ],
            18 => &[("proxy-authenticate", Self::HopByHop)],
            19 => &[("proxy-authorization", Self::HopByHop), ("x-cluster-client-ip", Self::Claim)],
            _ => &[],
        };
        // Most fields are none of these, and nearly all of those differ in their first letter.
        let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
        let alike = |known: &str| known.as_bytes().first().copied() == first;
        let found = candidates.iter().find(|(known, _)| alike(known) && known.eq_ignore_ascii_case(name));
        found.map_or(Self::Other, |&(_, field)| field)
    }

    /// Tells whether a `Connection` header may take this field off: it may not for what frames or routes the message.
    pub(crate) fn is_removable(self) -> bool {
        !matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding)
    }
}

/// Tells whether a gateway reads, writes or drops a header field of this name itself, so that it says nothing about a client. Ids of requests
/// and traces of others are no such fields: a route may change them.
#[must_use]
pub fn is_own_header(name: &str) -> bool {
    !matches!(Field::of(name), Field::Other | Field::RequestId | Field::B3 | Field::Identity)
}

/// Tells whether a field belongs to a family in which only the gateway, or somebody it trusts, has something to say.
fn is_claim(name: &str) -> bool {
    begins(name, "x-forwarded-") || begins(name, "lockstep-")
}

/// Tells whether a field belongs to a family in which proxies say who a client is, so that services believe it: RFC 9440, nginx, HAProxy, Envoy,
/// programs that people log in to, and clouds.
fn is_identity(name: &str) -> bool {
    // Most fields begin with another letter than these.
    let families: &[&str] = match name.as_bytes().first().map(u8::to_ascii_lowercase) {
        Some(b'c') => &["client-cert", "client-verify", "cf-access-"],
        Some(b'f') => &["forwarded-"],
        Some(b'r') => &["remote-"],
        Some(b's') => &["ssl-client-"],
        Some(b't') => &["tls-client-", "tailscale-user-"],
        Some(b'x') => &[
            "x-amzn-mtls-",
            "x-amzn-oidc-",
            "x-arr-clientcert",
            "x-auth-request-",
            "x-authenticated-",
            "x-client-cert",
            "x-client-dn",
            "x-client-verify",
            "x-envoy-external-address",
            "x-envoy-internal",
            "x-envoy-peer-",
            "x-forwarded",
            "x-goog-authenticated-",
            "x-goog-iap-",
            "x-ms-client-principal",
            "x-remote-",
            "x-ssl-cert",
            "x-ssl-client",
            "x-tls-client-",
            "x-webauth-",
        ],
        _ => return false,
    };
    families.iter().any(|family| begins(name, family))
}

fn begins(name: &str, family: &str) -> bool {
    name.get(..family.len()).is_some_and(|it| it.eq_ignore_ascii_case(family))
}

/// Splits a comma-separated list into its trimmed, non-empty members.
pub(crate) fn members(list: &str) -> impl Iterator<Item = &str> + Clone {
    list.split(',').map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_in_any_case() {
        assert_eq!(Field::of("Transfer-Encoding"), Field::TransferEncoding);
        assert_eq!(Field::of("HOST"), Field::Host);
        assert_eq!(Field::of("hosts"), Field::Other);
        assert_eq!(Field::of("Proxy-Connection"), Field::HopByHop);
        assert_eq!(Field::of("X-Original-URL"), Field::Claim);
    }

    #[test]
    fn no_route_may_change_what_the_gateway_treats_specially() {
        use lockstep_domain::routes::actions::is_reserved;
        let source = include_str!("field.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let names = source.split('"').skip(1).step_by(2).filter(|name| is_own_header(name));
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 30, "{names:?}");
        for name in
            names.into_iter().chain(["x-forwarded-any", "lockstep-any", "x_forwarded_for", "content_length"])
        {
            assert!(is_reserved(name), "{name}");
        }
    }

    #[test]
    fn families_and_shadows_of_fields_are_recognised() {
        for claim in ["X-Forwarded-Prefix", "x-forwarded-ssl", "Lockstep-Anything", "lockstep-"] {
            assert_eq!(Field::of(claim), Field::Claim, "{claim}");
        }
        for shadow in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "Transfer_Encoding",
            "X_Forwarded_Any",
            "lockstep_version",
            "_host",
        ] {
            let expected = if shadow == "_host" { Field::Other } else { Field::Shadow };
            assert_eq!(Field::of(shadow), expected, "{shadow}");
        }
        for identity in
            ["Client-Cert-Chain", "X-SSL-Client-Verify", "remote-user", "x-forwarded", "Forwarded-For"]
        {
            assert_eq!(Field::of(identity), Field::Identity, "{identity}");
        }
        assert_eq!(Field::of("SSL_CLIENT_S_DN"), Field::Shadow);
        for other in ["user_agent", "lockstep", "x-lockstep-other", "x-user", "client", "sec-fetch-site"] {
            assert_eq!(Field::of(other), Field::Other, "{other}");
        }
    }
}
