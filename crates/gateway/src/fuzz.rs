//! What comes from strangers, changed at random: no reader panics, and what it takes keeps to what others rely on.
//!
//! `cargo xtask fuzz gateway` runs these for long (`PROPTEST_CASES`), with the requests and answers that go through a whole gateway
//! (`tests/peers/random.rs`).

use bytes::BytesMut;
use lockstep_domain::request_path::PathReading;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::answer::{self, Asked};
use crate::by_hand::{Refused, read_json, read_toml};
use crate::environment::Environment;
use crate::grpc_web::TextDecoder;
use crate::request::{Request, fields};
use crate::tracestate::in_tracestate;

/// Pieces that decide how something is read.
const WORDS: [&str; 36] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "=",
    "\0",
    "\x0b",
    "\x7f",
    "%",
    "%00",
    "..",
    "/",
    "\\",
    "#",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "0",
    "-1",
    "99999999999999999999",
    "null",
    "content-length: 5\r\n",
    "transfer-encoding: chunked\r\n",
    "connection: close\r\n",
    "HTTP/1.1",
    "lockstep=",
    "[[route]]\n",
    "\u{fc}",
    "\u{feff}",
];

/// A change: where, how, with what.
type Change = (Index, u8, Index, u8);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((any::<Index>(), 0..5_u8, any::<Index>(), any::<u8>()), 0..6)
}

/// Changes a message here and there.
fn changed(message: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = message.as_bytes().to_vec();
    for (place, kind, other, byte) in changes {
        let at = place.index(bytes.len() + 1);
        let end = (at + other.index(16)).min(bytes.len());
        let word = WORDS[other.index(WORDS.len())].bytes();
        match kind {
            0 => bytes.insert(at, *byte),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..end, word)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => drop(bytes.splice(at..at, word)),
        }
    }
    bytes
}

const HEADS: [&str; 4] = [
    "GET /a/b?c=d HTTP/1.1\r\nhost: shop.test:80\r\ncookie: lockstep_key=a; b=c\r\nx-forwarded-for: 1.2.3.4\r\n\r\n",
    "POST http://shop.test/a HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello",
    "POST /shop.Stock/Get HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\ncontent-type: application/grpc-web-text\r\ngrpc-timeout: 5S\r\n\r\n",
    "GET / HTTP/1.0\r\nhost: [::1]:80\r\nconnection: keep-alive, x-a\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: lockstep=ann,dd=s:1\r\nbaggage: lockstep.key=ann\r\n\r\n",
];

const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive, x-a\r\nx-a: b\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/grpc-web\r\ngrpc-status: 0\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/1.0 304 Same\r\ncontent-length: 5, 5\r\nset-cookie: a=b\r\n\r\n",
];

const TABLE: &str = r#"{"format":25,"environment":"production","revision":3,"baseline":1,
 "rules":{"named_services":"allow","trusted_networks":["10.0.0.0/8"],"timeout_ms":5000},"aliases":{"old":"orders"},
 "lanes":[{"id":2,"name":"l","when":[{"header":{"name":"x-lane","value":"login"}},{"places":[{"from":0,"to":5}]},{"user":"ann"}],"services":[{"service":"orders","version":"1.0.0","config":0}]}],
 "entry":{"https_port":1,"http":"redirect","tls_min":"1.3","certificates":[]},
 "routes":[{"host":"shop.test","path":"/p/{id}","path_type":"template","service":"orders",
   "when":{"methods":["GET"],"headers":[{"name":"x-lane","value":{"regex":"[0-9]+"}}],"clients":["10.0.0.0/8"]},
   "then":{"rewrite":{"path":"/x/{id}"},"sticky_s":9},"policy":{"limits":{"rate":{"requests":1,"per_ms":5,"by":"network"}},"upgrades":["tcp","spdy/3.1"],"priority":"low","hedge":{"percentile":{"percent":95,"least_ms":10}}}},
  {"path":"/s","service":"orders","patience":"stream","prefix":"strip"}],
 "services":{"orders":{"salt":"x","version_rules":[{"id":1,"version":"1.0.0","config":0,"takes":{"places":[{"from":0,"to":5}]}},{"id":2,"version":"1.0.0","config":0,"takes":"lane"}],
   "splits":[{"version":"1.0.0","config":0,"weight":10000,"role":"stable","protocol":"h2c",
     "endpoints":[{"instance":"a","address":"127.0.0.1:1"}]}]}}}"#;

/// What later formats have: pages of maintenance, faults, switches, visits, copies, breakers, limits that adapt, names and zones of instances.
const LATER: &str = r#"{"format":25,"environment":"production","revision":3,"baseline":1,
 "rules":{"fault_injection":"allow","via":"omit",
   "faults":[{"number":1,"service":"orders","does":{"delay_ms":5},"share":100,"header":{"name":"x-a","value":"b"},"until":99999999999999},
     {"number":2,"service":"orders","does":{"abort":503},"share":10000,"until":99999999999999}],
   "maintenance":[{"number":1,"service":"orders","version":"1.1.0","path":"/p","respond":{"status":503,"body":"back soon"},"retry_after_s":60}]},
 "visits":{"keys":[]},
 "switches":{"newest":7,"known":[{"operation":7,"taken":1}]},
 "routes":[{"path":"/","service":"orders","then":{"sticky_s":60}}],
 "services":{"orders":{"salt":"x","fallback":{"to":{"version":"1.0.0","config":1}},
   "mirror":{"id":9,"version":"1.2.0","config":0,"copies":{"share":500}},
   "passages":[{"operation":7,"from":{"version":"1.0.0","config":0},"to":{"version":"1.1.0","config":0},"weights":[500,10000,0]}],
   "growth":{"rollout":7,"weights":[500]},
   "splits":[
     {"version":"1.2.0","config":0,"weight":0,"role":"pinned","endpoints":[{"instance":"c","address":"127.0.0.1:3"}]},
     {"version":"1.0.0","config":1,"weight":0,"role":"pinned","endpoints":[{"instance":"d","address":"127.0.0.1:4"}]},
     {"version":"1.1.0","config":0,"weight":500,"role":"candidate","endpoints":[{"instance":"b","address":"127.0.0.1:2","zone":"eu-1"}],
       "policy":{"breaker":{"requests":5},"max_requests":9,"balance":"round_robin","slow_start_ms":5000,"priorities":{"low_percent":80}}},
     {"version":"1.0.0","config":0,"weight":9500,"role":"stable","endpoints":[{"instance":"a","address":"127.0.0.1:1","host":"a.test"}],
       "named":[{"instance":"n","host":"orders.test","port":80,"zone":"eu-2"}],
       "policy":{"adaptive_limit":{"least":2,"start":2,"most":9}},"approach":{"proxy_protocol":"v2"}}]}}}"#;

const WRITTEN: &str = r#"environment = "production"
[rules]
timeout = "30s"
[service.hello]
[[service.hello.version]]
number = "1.1.0"
role = "candidate"
share = "5%"
instances = ["127.0.0.1:9001"]
[[service.hello.version]]
number = "1.0.0"
instances = [{ name = "a", address = "127.0.0.1:9000" }]
[[service.hello.rule]]
version = "1.1.0"
header = { x-user = "ann" }
[[route]]
host = ["shop.test", "*.shop.test"]
path = "/hello/{id}"
path_type = "template"
service = "hello"
limits = { rate = { requests = 10, per = "1m" } }
retries = { attempts = 1, on = ["503"] }
hedge = { after = "p95", least = "20ms" }
upgrades = ["tcp"]
"#;

/// What comes out of a table file is what a gateway serves without a word; what is refused has a reason.
fn is_served_or_explained(read: Result<crate::by_hand::Written, Refused>) {
    match read {
        Ok(written) => {
            let applied = Environment::new(written.table.environment.clone(), 1).apply(written.table);
            assert!(applied.is_ok(), "{applied:?}");
        }
        Err(Refused::Wrong(problems)) => assert!(!problems.is_empty()),
        Err(Refused::NewerFormat(_)) => {}
    }
}

#[test]
fn what_is_changed_is_a_table_that_is_served() {
    for read in [read_json(TABLE), read_json(LATER), read_toml(WRITTEN, "table.toml")] {
        let written = read.unwrap_or_else(|refused| panic!("{refused:?}"));
        Environment::new(written.table.environment.clone(), 1).apply(written.table).unwrap();
    }
}

proptest! {
    #[test]
    fn a_head_is_one_however_it_arrives(message in select(&HEADS[..]), changes in changes(), cut in any::<Index>()) {
        let bytes = changed(message, &changes);
        let read = |bytes: &[u8]| {
            let mut room = fields();
            Request::read(bytes, &mut room, PathReading::default).map(|read| read.map(|(length, _)| length)).map_err(|_| ())
        };
        if let Ok(Some(length)) = read(&bytes) {
            prop_assert!(length <= bytes.len());
            // Half of it is no request, nor is anything refused that is right as a whole.
            prop_assert_eq!(read(&bytes[..cut.index(length)]), Ok(None));
            prop_assert_eq!(read(&bytes[..length]), Ok(Some(length)));
        }
    }

    #[test]
    fn an_answer_is_written_in_lines_alone(message in select(&ANSWERS[..]), changes in changes(), minor in 0..3_u8, is_head in any::<bool>()) {
        let input = BytesMut::from(&changed(message, &changes)[..]);
        let asked = Asked { is_head, websocket: minor == 1, upgrade: None, minor, is_call: false, web: None, waits_to_go_on: false };
        let mut output = Vec::new();
        if let Ok(Some(head)) = answer::read(&input, asked, &mut output) {
            prop_assert!(head.length <= input.len());
            let text = String::from_utf8_lossy(&output).into_owned();
            prop_assert!(text.starts_with("HTTP/1.1 ") && text.ends_with("\r\n"), "{:?}", text);
            prop_assert!(!text.contains('\0') && !text.contains("\r\n\r\n"), "{:?}", text);
            prop_assert!(text.replace("\r\n", "").find(['\r', '\n']).is_none(), "{:?}", text);
            let says = |name: &str| text.to_ascii_lowercase().matches(&format!("\r\n{name}:")).count();
            prop_assert!(says("content-length") + says("transfer-encoding") <= 1, "{:?}", text);
        }
    }

    #[test]
    fn a_table_is_served_or_its_faults_are_named(changes in changes()) {
        for table in [TABLE, LATER] {
            if let Ok(text) = String::from_utf8(changed(table, &changes)) {
                is_served_or_explained(read_json(&text));
            }
        }
        if let Ok(text) = String::from_utf8(changed(WRITTEN, &changes)) {
            is_served_or_explained(read_toml(&text, "table.toml"));
        }
    }

    #[test]
    fn lists_and_text_of_strangers_are_read_or_not(changes in changes()) {
        let list = changed("dd=s:1,lockstep=ann%20b,rojo=00f067aa0ba902b7", &changes);
        let _ = std::str::from_utf8(&list).map(in_tracestate);
        let text = changed("AAAAAAVhYmNkZQ==AAAAAAA=", &changes);
        let mut decoder = TextDecoder::default();
        let _ = text.chunks(3).try_for_each(|piece| decoder.decode(piece).map(drop));
    }
}
