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
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    Via,
    /// Says who answered; only the gateway itself writes it.
    Verdict,
}

impl Field {
    /// Recognises a field by its name in any case.
    pub(crate) fn of(name: &str) -> Self {
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::HopByHop)],
            3 => &[("via", Self::Via)],
            4 => &[("host", Self::Host)],
            6 => &[("cookie", Self::Cookie), ("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade), ("baggage", Self::Baggage)],
            10 => &[
                ("connection", Self::Connection),
                ("keep-alive", Self::HopByHop),
                ("tracestate", Self::Tracestate),
            ],
            11 => &[("traceparent", Self::Traceparent)],
            14 => &[
                ("content-length", Self::ContentLength),
                ("x-lockstep-key", Self::Key),
                ("http2-settings", Self::HopByHop),
            ],
            15 => &[("x-forwarded-for", Self::ForwardedFor)],
            16 => &[
                ("x-forwarded-host", Self::ForwardedHost),
                ("lockstep-version", Self::Verdict),
                ("proxy-connection", Self::HopByHop),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-forwarded-proto", Self::ForwardedProto),
                ("lockstep-shielded", Self::Verdict),
            ],
            18 => &[("proxy-authenticate", Self::HopByHop)],
            19 => &[("proxy-authorization", Self::HopByHop)],
            _ => &[],
        };
        let found = candidates.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Self::Other, |&(_, field)| field)
    }

    /// Tells whether a `Connection` header may take this field off: it may not for what frames or routes the message.
    pub(crate) fn is_removable(self) -> bool {
        !matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding)
    }
}

/// Splits a comma-separated list into its trimmed, non-empty members.
pub(crate) fn members(list: &str) -> impl Iterator<Item = &str> {
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
    }
}
