//! Fields of a head: what ends at the relay, what is nobody else's business, and what is added.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use lockstep_domain::external::Clients;

/// The name by which gateways know each other, which count in `via` how often a request has passed.
const PSEUDONYM: &str = "lockstep";
/// After so many of them a request goes round in circles, as gateways have it.
const MAX_HOPS: usize = 16;
/// Members and fields that begin so are ours.
const OURS: &str = "lockstep";
/// The cookie that keeps a client at a version.
const KEY_COOKIE: &str = "lockstep_key";
/// What means something on one connection only, beside what `connection` names.
const OF_ONE_HOP: [HeaderName; 6] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, EXPECT];
const MORE_OF_ONE_HOP: [&str; 5] =
    ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings"];

/// Takes off what means something on one connection only.
pub(crate) fn end_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields, &CONNECTION).filter_map(|name| name.parse().ok()).collect();
    let named = named.iter().filter(|name| !matches!(name.as_str(), "content-length" | "host" | "via"));
    let usual = OF_ONE_HOP.iter();
    usual.chain(named).for_each(|name| while fields.remove(name).is_some() {});
    MORE_OF_ONE_HOP.iter().for_each(|name| while fields.remove(*name).is_some() {});
}

/// Tells whether a request wants to become a WebSocket.
pub(crate) fn wants_websocket(fields: &HeaderMap) -> bool {
    let upgrades = tokens(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    upgrades && tokens(fields, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
}

/// Writes what makes an answer, or a request, one of a WebSocket.
pub(crate) fn become_websocket(fields: &mut HeaderMap) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Tells whether a request has come round so often that it goes in circles.
pub(crate) fn goes_in_circles(fields: &HeaderMap) -> bool {
    tokens(fields, &VIA).filter(|hop| hop.ends_with(PSEUDONYM)).count() >= MAX_HOPS
}

/// Makes the fields of a request those for the other side.
pub(crate) fn onward(fields: &mut HeaderMap, authority: &str, clients: Clients) {
    end_hop(fields);
    if clients == Clients::Withheld {
        withhold(fields);
    }
    fields.insert(HOST, HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")));
    let via = tokens(fields, &VIA).collect::<Vec<_>>().join(", ");
    let via = if via.is_empty() { format!("1.1 {PSEUDONYM}") } else { format!("{via}, 1.1 {PSEUDONYM}") };
    if let Ok(via) = HeaderValue::from_str(&via) {
        fields.insert(VIA, via);
    }
}

/// Makes the fields of an answer those for whoever asked: only gateways and relays speak for Lockstep.
pub(crate) fn back(fields: &mut HeaderMap) {
    end_hop(fields);
    let ours: Vec<_> = fields.keys().filter(|name| name.as_str().starts_with("lockstep-")).cloned().collect();
    ours.iter().for_each(|name| while fields.remove(name).is_some() {});
}

/// Takes off what tells of clients and of this system.
fn withhold(fields: &mut HeaderMap) {
    let tells = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-")
            || name.starts_with("x-lockstep-")
            || name.starts_with("lockstep-")
            || matches!(name, "x-real-ip" | "forwarded")
    };
    let told: Vec<_> = fields.keys().filter(|name| tells(name)).cloned().collect();
    told.iter().for_each(|name| while fields.remove(name).is_some() {});
    fields.remove(FORWARDED);
    without_ours(fields, &HeaderName::from_static("baggage"), ',', is_ours);
    without_ours(fields, &HeaderName::from_static("tracestate"), ',', is_ours);
    without_ours(fields, &COOKIE, ';', |member| name_of(member) == KEY_COOKIE);
}

fn is_ours(member: &str) -> bool {
    let name = name_of(member);
    name == OURS
        || name.starts_with("lockstep.")
        || name.starts_with("lockstep-")
        || name.starts_with("lockstep@")
}

fn name_of(member: &str) -> &str {
    member.split_once('=').map_or(member, |(name, _)| name).trim()
}

/// Takes members off a list. A list that has none of them stays as it is, byte for byte.
fn without_ours(fields: &mut HeaderMap, name: &HeaderName, mark: char, is_ours: impl Fn(&str) -> bool) {
    let lists: Vec<HeaderValue> = fields.get_all(name).iter().cloned().collect();
    let has_ours = |list: &HeaderValue| list.to_str().is_ok_and(|text| text.split(mark).any(&is_ours));
    if !lists.iter().any(has_ours) {
        return;
    }
    fields.remove(name);
    for list in lists {
        let Ok(text) = list.to_str() else { continue };
        let others: Vec<_> = text.split(mark).filter(|member| !is_ours(member)).map(str::trim).collect();
        let joined = others.join(if mark == ';' { "; " } else { "," });
        if let (false, Ok(value)) = (joined.is_empty(), HeaderValue::from_str(&joined)) {
            fields.append(name, value);
        }
    }
}

fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lists = fields.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn shown(map: &HeaderMap) -> Vec<String> {
        let mut all: Vec<_> =
            map.iter().map(|(name, it)| format!("{name}: {}", it.to_str().unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn what_tells_of_clients_and_of_this_system_stays_here_and_the_rest_goes_on() {
        let given = [
            ("host", "gateway:8500"),
            ("connection", "keep-alive, x-one-hop, content-length"),
            ("x-one-hop", "1"),
            ("content-length", "3"),
            ("transfer-encoding", "gzip"),
            ("expect", "100-continue"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "10.0.0.7"),
            ("x-real-ip", "10.0.0.7"),
            ("forwarded", "for=10.0.0.7"),
            ("x-lockstep-key", "ann"),
            ("cookie", "a=1; lockstep_key=ann; b=2"),
            ("baggage", "lockstep.key=ann,team=a"),
            ("tracestate", "lockstep=ann"),
            ("traceparent", "00-1-2-01"),
            ("via", "1.1 lockstep"),
        ];
        let mut withheld = fields(&given);
        onward(&mut withheld, "api.partner.test", Clients::Withheld);
        assert_eq!(
            shown(&withheld),
            [
                "authorization: Bearer x",
                "baggage: team=a",
                "content-length: 3",
                "cookie: a=1; b=2",
                "host: api.partner.test",
                "traceparent: 00-1-2-01",
                "via: 1.1 lockstep, 1.1 lockstep",
            ]
        );
        let mut told = fields(&given);
        onward(&mut told, "api.partner.test", Clients::Told);
        let told = shown(&told);
        assert!(told.contains(&"x-forwarded-for: 10.0.0.7".to_owned()), "{told:?}");
        assert!(told.contains(&"baggage: lockstep.key=ann,team=a".to_owned()), "{told:?}");
    }

    #[test]
    fn no_answer_speaks_for_us() {
        let mut answer =
            fields(&[("lockstep-relay", "all is well"), ("lockstep-version", "9"), ("etag", "a")]);
        back(&mut answer);
        assert_eq!(shown(&answer), ["etag: a"]);
    }

    #[test]
    fn a_request_that_comes_round_often_is_noticed() {
        let hops = |count: usize| fields(&[("via", &vec!["1.1 lockstep"; count].join(", "))]);
        assert!(!goes_in_circles(&hops(15)) && goes_in_circles(&hops(16)));
        assert!(!goes_in_circles(&fields(&[("via", "1.1 varnish, 1.1 nginx")])));
    }
}
