//! A collector: it takes spans by OTLP over HTTP and reads them by their published description, not by the code that wrote them.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use lockstep_gateway::spans::{SpanOptions, SpansConfig};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

use crate::support::{Instance, Message, Then, raw, wait_until};

/// A span that was taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) nanos: u64,
    pub(crate) is_error: bool,
    pub(crate) flags: u32,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Span {
    pub(crate) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn is_server(&self) -> bool {
        self.kind == 2
    }
}

/// What it was sent.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) spans: Vec<Span>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) requests: Vec<Message>,
}

pub(crate) struct Collector {
    pub(crate) instance: Instance,
    pub(crate) taken: Arc<Mutex<Taken>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::answering(|stream| raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
    }

    /// One that answers as it is said, after it has taken what it was sent.
    pub(crate) fn answering(
        answer: impl Fn(&mut BufReader<TcpStream>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let (kept, kind) = (Arc::clone(&taken), described());
        let instance = Instance::start(move |request, stream| {
            kept.lock().unwrap().take(request, &kind);
            answer(stream)
        });
        Self { instance, taken }
    }

    pub(crate) fn options(&self) -> SpanOptions {
        SpanOptions { endpoint: Some(format!("http://{}", self.instance.address)), ..SpanOptions::default() }
    }

    pub(crate) fn config(&self) -> SpansConfig {
        SpansConfig::read(&self.options(), &|_| None).unwrap().unwrap()
    }

    /// Waits until so many spans came, and returns all.
    pub(crate) fn spans(&self, count: usize) -> Vec<Span> {
        wait_until("the spans came", || self.taken.lock().unwrap().spans.len() >= count);
        let spans = self.taken.lock().unwrap().spans.clone();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

fn described() -> MessageDescriptor {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/spans");
    let files = protox::compile(["trace.proto"], [folder]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name("otlp.ExportTraceServiceRequest").unwrap()
}

impl Taken {
    fn take(&mut self, request: &Message, kind: &MessageDescriptor) {
        let mut body = request.body.clone();
        if request.header("content-encoding") == Some("gzip") {
            body = Vec::new();
            flate2::read::GzDecoder::new(&*request.body).read_to_end(&mut body).unwrap();
        }
        let message = DynamicMessage::decode(kind.clone(), &*body).unwrap();
        for of in list(&message, "resource_spans") {
            self.resource = attributes(&child(&of, "resource"));
            assert_eq!(text(&of, "schema_url"), "https://opentelemetry.io/schemas/1.45.0");
            for scope in list(&of, "scope_spans") {
                assert_eq!(text(&child(&scope, "scope"), "name"), "lockstep-gateway");
                self.spans.extend(list(&scope, "spans").iter().map(span));
            }
        }
        assert_eq!(unknown(&message), 0, "fields that no collector knows");
        self.requests.push(request.clone());
    }
}

fn unknown(message: &DynamicMessage) -> usize {
    let of = |value: &Value| match value {
        Value::Message(message) => unknown(message),
        Value::List(list) => list.iter().filter_map(Value::as_message).map(unknown).sum(),
        _ => 0,
    };
    message.unknown_fields().count() + message.fields().map(|(_, value)| of(value)).sum::<usize>()
}

fn span(message: &DynamicMessage) -> Span {
    let number = |name| message.get_field_by_name(name).unwrap().as_u64().unwrap();
    Span {
        trace: hexadecimal(message, "trace_id"),
        id: hexadecimal(message, "span_id"),
        parent: hexadecimal(message, "parent_span_id"),
        name: text(message, "name"),
        kind: message.get_field_by_name("kind").unwrap().as_enum_number().unwrap(),
        nanos: number("end_time_unix_nano").checked_sub(number("start_time_unix_nano")).unwrap(),
        is_error: child(message, "status").get_field_by_name("code").unwrap().as_enum_number() == Some(2),
        flags: message.get_field_by_name("flags").unwrap().as_u32().unwrap(),
        attributes: attributes(message),
    }
}

fn attributes(message: &DynamicMessage) -> BTreeMap<String, String> {
    let value = |pair: &DynamicMessage| {
        let value = child(pair, "value");
        let found = value.fields().next().unwrap().1.clone();
        match found {
            Value::String(text) => text,
            Value::Bool(flag) => flag.to_string(),
            Value::I64(number) => number.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let all = list(message, "attributes");
    let map: BTreeMap<_, _> = all.iter().map(|pair| (text(pair, "key"), value(pair))).collect();
    assert_eq!(map.len(), all.len(), "each is said once");
    map
}

fn list(message: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    let field = message.get_field_by_name(name).unwrap();
    field.as_list().unwrap().iter().map(|one| one.as_message().unwrap().clone()).collect()
}

fn child(message: &DynamicMessage, name: &str) -> DynamicMessage {
    message.get_field_by_name(name).unwrap().as_message().unwrap().clone()
}

fn text(message: &DynamicMessage, name: &str) -> String {
    message.get_field_by_name(name).unwrap().as_str().unwrap().to_owned()
}

fn hexadecimal(message: &DynamicMessage, name: &str) -> String {
    let field = message.get_field_by_name(name).unwrap();
    field.as_bytes().unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}
