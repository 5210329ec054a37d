//! Orders: what was ordered, for how much, and who took part in it.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{Answer, Client};
use crate::grpc;
use crate::http::Message;
use crate::json::{quoted, text};
use crate::protobuf;

/// Orders that are remembered.
const MAX_ORDERS: usize = 100;
/// Prices that payments can charge.
const CHARGEABLE_CENTS: RangeInclusive<u64> = 1..=99_999_999;
/// The RPC of clients/catalog.proto.
const GET_ITEM: &str = "/shop.catalog.v1.Catalog/GetItem";
/// The `id` of its GetItemRequest.
const ID: u64 = 1;
/// The `price_cents` of its Item.
const PRICE_CENTS: u64 = 2;

/// What is sent back.
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn error(status: u16, message: &str) -> Self {
        Self { status, body: format!("{{\"error\":{}}}", quoted(message)) }
    }
}

/// All orders of this instance.
pub struct Orders {
    pub served_by: String,
    began: String,
    count: AtomicU64,
    placed: Mutex<VecDeque<String>>,
}

impl Orders {
    pub fn new(served_by: String) -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let began = format!("{began:x}-{:x}", std::process::id());
        Self { served_by, began, count: AtomicU64::new(0), placed: Mutex::default() }
    }

    /// Answers a request; calls to other services carry its baggage and trace.
    pub fn answer(&self, request: &Message, catalog: &mut Client, payments: &mut Client) -> Reply {
        let forwarded = forwarded(request);
        let path = request.word(1).split('?').next().unwrap_or_default();
        match (request.word(0), path) {
            ("GET", "/health") => Reply { status: 200, body: "{\"status\":\"ok\"}".into() },
            ("GET", "/orders") => self.list(),
            ("POST", "/orders") => self.place(request.text(), |call| match call {
                Call::GetItem(message) => catalog.call(GET_ITEM, &forwarded, message),
                Call::Charge(body) => payments.post("/charges", &forwarded, body),
            }),
            (_, path) => Reply::error(404, &format!("there is nothing at {path}")),
        }
    }

    fn list(&self) -> Reply {
        let placed = self.placed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let orders = placed.iter().cloned().collect::<Vec<_>>().join(",");
        Reply { status: 200, body: format!("{{\"orders\":[{orders}],\"chain\":[{}]}}", quoted(&self.served_by)) }
    }

    fn place(&self, body: &str, mut call: impl FnMut(Call<'_>) -> io::Result<Answer>) -> Reply {
        let Some(item) = text(body, "item").filter(|item| is_item(item)) else {
            return Reply::error(400, "say which item, as in {\"item\":\"tea\"}");
        };
        let priced = match call(Call::GetItem(&protobuf::of_text(ID, item))) {
            Ok(answer) if answer.status == grpc::OK => answer,
            other => return failed("the catalog", other),
        };
        let cents = protobuf::number(&priced.body, PRICE_CENTS).filter(|cents| CHARGEABLE_CENTS.contains(cents));
        let Some(cents) = cents else {
            return Reply::error(502, "the catalog did not say a price that can be charged");
        };
        let id = format!("o-{}-{}", self.began, self.count.fetch_add(1, Ordering::SeqCst) + 1);
        let charged = match call(Call::Charge(&charge(&id, cents))) {
            Ok(answer) if answer.status == 201 => answer,
            other => return failed("payments", other),
        };
        self.keep(&id, item, cents);
        let chain = [&self.served_by, &priced.served_by, &charged.served_by].map(|name| quoted(name)).join(",");
        let order = order(&id, item, cents);
        Reply { status: 201, body: format!("{{\"order\":{order},\"chain\":[{chain}]}}") }
    }

    fn keep(&self, id: &str, item: &str, cents: u64) {
        let mut placed = self.placed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        placed.push_back(order(id, item, cents));
        if placed.len() > MAX_ORDERS {
            placed.pop_front();
        }
    }
}

/// What an order asks of other services.
enum Call<'a> {
    GetItem(&'a [u8]),
    Charge(&'a str),
}

/// Returns the header lines that every further call carries.
fn forwarded(request: &Message) -> String {
    let line = |name: &str| request.header(name).map(|value| format!("{name}: {value}\r\n"));
    ["baggage", "traceparent"].iter().filter_map(|name| line(name)).collect()
}

fn is_item(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

fn order(id: &str, item: &str, cents: u64) -> String {
    format!("{{\"id\":\"{id}\",\"item\":\"{item}\",\"price_cents\":{cents}}}")
}

fn charge(id: &str, cents: u64) -> String {
    format!("{{\"order\":\"{id}\",\"amount\":\"{}.{:02}\"}}", cents / 100, cents % 100)
}

fn failed(who: &str, outcome: io::Result<Answer>) -> Reply {
    match outcome {
        Ok(Answer { status, body, .. }) => {
            Reply::error(502, &format!("{who} answered {status}: {}", String::from_utf8_lossy(&body)))
        }
        Err(error) => Reply::error(502, &format!("{who} did not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::OpenApi;

    fn own() -> OpenApi {
        OpenApi::read(include_str!("../api/openapi.json"))
    }

    fn payments() -> OpenApi {
        OpenApi::read(include_str!("../clients/payments.json"))
    }

    fn answer(status: u16, body: &[u8], served_by: &str) -> io::Result<Answer> {
        Ok(Answer { status, body: body.into(), served_by: served_by.into() })
    }

    /// Places an order while the catalog ends its call with a status.
    fn place(body: &str, status: u16) -> (Orders, Reply) {
        let orders = Orders::new("orders@1.0.0".into());
        let reply = orders.place(body, |call| match call {
            Call::GetItem(message) => {
                assert_eq!(message, protobuf::of_text(1, text(body, "item").unwrap()));
                answer(status, b"\x0a\x03tea\x10\xde\x02", "catalog@1.0.0")
            }
            Call::Charge(body) => {
                payments().check_request("post", "/charges", body);
                answer(201, body.as_bytes(), "payments@1.0.0")
            }
        });
        own().check_answer("post", "/orders", reply.status, &reply.body);
        (orders, reply)
    }

    #[test]
    fn an_order_is_priced_charged_and_remembered() {
        let (orders, reply) = place("{\"item\":\"tea\"}", grpc::OK);
        assert_eq!(reply.status, 201);
        assert!(reply.body.ends_with("\"chain\":[\"orders@1.0.0\",\"catalog@1.0.0\",\"payments@1.0.0\"]}"));
        let listed = orders.list();
        assert!(listed.body.contains("\"item\":\"tea\",\"price_cents\":350"));
        own().check_answer("get", "/orders", listed.status, &listed.body);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for body in ["", "{}", "{\"item\":\"../tea\"}", "{\"item\":7}"] {
            assert_eq!(place(body, grpc::OK).1.status, 400, "{body}");
        }
    }

    #[test]
    fn a_failure_of_the_catalog_is_passed_on() {
        let (orders, reply) = place("{\"item\":\"tea\"}", 14);
        assert_eq!(reply.status, 502);
        assert!(orders.list().body.contains("\"orders\":[]"));
    }

    #[test]
    fn the_catalog_is_asked_as_its_contract_says() {
        let contract = include_str!("../clients/catalog.proto");
        for line in [
            "package shop.catalog.v1;",
            "service Catalog {",
            "rpc GetItem(GetItemRequest) returns (Item);",
            "message GetItemRequest {\n  string id = 1;\n}",
            "uint32 price_cents = 2;",
        ] {
            assert!(contract.contains(line), "{line}");
        }
    }

    #[test]
    fn a_price_that_cannot_be_charged_is_the_mistake_of_the_catalog() {
        for item in [&b""[..], b"\x10\x80\xc2\xd7\x2f", b"\x12\x043.50", b"\x10"] {
            let reply = Orders::new("orders@1.0.0".into()).place("{\"item\":\"tea\"}", |call| match call {
                Call::GetItem(_) => answer(grpc::OK, item, "catalog@1.0.0"),
                Call::Charge(body) => panic!("{body} was charged"),
            });
            assert_eq!(reply.status, 502, "{item:?}");
        }
    }

    #[test]
    fn amounts_have_two_digits_of_cents() {
        assert_eq!(charge("o-1", 1_205), "{\"order\":\"o-1\",\"amount\":\"12.05\"}");
    }
}
