//! The objects of AsyncAPI 2.0 to 2.6 and 3.0 with all their fields.

use serde_json::Map;

use super::model::is_same;
use crate::field::{Field, Treatment, fields};
use crate::openapi::cursor::Cursor;

/// An object of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Document,
    Server,
    Channel,
    Parameter,
    Operation,
    Reply,
    ReplyAddress,
    Message,
    CorrelationId,
    KafkaChannel,
    KafkaMessage,
}

impl Object {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Document => DOCUMENT,
            Self::Server => SERVER,
            Self::Channel => CHANNEL,
            Self::Parameter => PARAMETER,
            Self::Operation => OPERATION,
            Self::Reply => REPLY,
            Self::ReplyAddress => REPLY_ADDRESS,
            Self::Message => MESSAGE,
            Self::CorrelationId => CORRELATION_ID,
            Self::KafkaChannel => KAFKA_CHANNEL,
            Self::KafkaMessage => KAFKA_MESSAGE,
        }
    }

    /// The fields of two objects that are neither compared nor harmless and differ, or may, each with the reason.
    pub(super) fn open(self, old: Option<&Cursor<'_>>, new: Option<&Cursor<'_>>) -> Vec<(String, String)> {
        let nothing = Map::new();
        // What is there on one side only is compared with an object that says nothing.
        let members =
            |side: Option<&Cursor<'_>>| side.map_or(Some(&nothing), |side| side.value().as_object()).cloned();
        let (Some(before), Some(after)) = (members(old), members(new)) else { return Vec::new() };
        let added = after.keys().filter(|name| !before.contains_key(*name));
        let open = before.keys().chain(added).filter_map(|name| Some((name.clone(), self.why_open(name)?)));
        open.filter(|(name, _)| !is_same(under(old, name).as_ref(), under(new, name).as_ref())).collect()
    }

    fn why_open(self, name: &str) -> Option<String> {
        let title = self.fields()[0].object;
        match self.fields().iter().find(|field| field.name == name).map(|field| field.treatment) {
            Some(Treatment::NotChecked) => {
                Some(format!("`{name}` of the {title} is not compared, and differs"))
            }
            Some(_) => None,
            None if name.starts_with("x-") => None,
            None => {
                Some(format!("`{name}` is no field of the {title} in any version that is read, and differs"))
            }
        }
    }
}

fn under<'l>(side: Option<&Cursor<'l>>, name: &str) -> Option<Cursor<'l>> {
    side.and_then(|side| side.direct(name))
}

/// All fields of this format.
pub(crate) fn all() -> impl Iterator<Item = &'static Field> {
    [
        DOCUMENT,
        SERVER,
        CHANNEL,
        PARAMETER,
        OPERATION,
        REPLY,
        REPLY_ADDRESS,
        MESSAGE,
        CORRELATION_ID,
        KAFKA_CHANNEL,
        KAFKA_MESSAGE,
    ]
    .into_iter()
    .flatten()
}

static DOCUMENT: &[Field] = fields! { "AsyncAPI":
    "async-2 async-3" {
        "asyncapi" harmless "it says which version this is, and every version is read by its own list; one that is not known is not checked";
        "id" harmless "it names the application, and no message carries it";
        "info" harmless "it describes";
        "servers" compared "asyncapi-server-removed";
        "defaultContentType" compared "asyncapi-content-type-changed";
        "channels" compared "asyncapi-operation-removed";
        "components" compared "message-type-narrowed";
    }
    "async-3" { "operations" compared "asyncapi-operation-removed"; }
    "async-2" {
        "tags" harmless "they arrange documentation";
        "externalDocs" harmless "it describes";
    }
};

static SERVER: &[Field] = fields! { "Server":
    "async-2" { "url" compared "asyncapi-server-changed"; }
    "async-3" {
        "host" compared "asyncapi-server-changed";
        "pathname" compared "asyncapi-server-changed";
        "title" harmless "it describes";
        "summary" harmless "it describes";
        "externalDocs" harmless "it describes";
    }
    "async-2 async-3" {
        "protocol" compared "asyncapi-server-protocol-changed";
        "protocolVersion" compared "asyncapi-server-changed";
        "description" harmless "it describes";
        "variables" open "";
        "security" open "";
        "tags" harmless "they arrange documentation";
        "bindings" open "";
    }
};

static CHANNEL: &[Field] = fields! { "Channel":
    "async-2" {
        "$ref" compared "asyncapi-operation-removed";
        "subscribe" compared "asyncapi-operation-removed";
        "publish" compared "asyncapi-operation-removed";
    }
    "async-3" {
        "address" compared "asyncapi-operation-removed";
        "messages" compared "asyncapi-message-removed";
        "title" harmless "it describes";
        "summary" harmless "it describes";
        "tags" harmless "they arrange documentation";
        "externalDocs" harmless "it describes";
    }
    "async-2 async-3" {
        "description" harmless "it describes";
        "servers" open "";
        "parameters" compared "asyncapi-parameter-changed";
        "bindings" compared "asyncapi-binding-changed";
    }
};

static PARAMETER: &[Field] = fields! { "Parameter":
    "async-2" { "schema" compared "message-enum-value-removed"; }
    "async-3" {
        "enum" compared "asyncapi-parameter-changed";
        "default" compared "asyncapi-parameter-details-changed";
        "examples" harmless "they are examples";
    }
    "async-2 async-3" {
        "description" harmless "it describes";
        "location" compared "asyncapi-parameter-details-changed";
    }
};

static OPERATION: &[Field] = fields! { "Operation":
    "async-2" {
        "operationId" harmless "it names the operation in tools, and no message carries it";
        "message" compared "asyncapi-message-removed";
    }
    "async-3" {
        "action" compared "asyncapi-operation-removed";
        "channel" compared "asyncapi-operation-removed";
        "messages" compared "asyncapi-message-removed";
        "reply" compared "asyncapi-reply-removed";
        "title" harmless "it describes";
    }
    "async-2 async-3" {
        "summary" harmless "it describes";
        "description" harmless "it describes";
        "security" open "";
        "tags" harmless "they arrange documentation";
        "externalDocs" harmless "it describes";
        "bindings" open "";
        "traits" open "";
    }
};

static REPLY: &[Field] = fields! { "Operation Reply":
    "async-3" {
        "address" compared "asyncapi-reply-address-changed";
        "channel" compared "asyncapi-reply-address-changed";
        "messages" compared "asyncapi-message-removed";
    }
};

static REPLY_ADDRESS: &[Field] = fields! { "Operation Reply Address":
    "async-3" {
        "location" compared "asyncapi-reply-address-changed";
        "description" harmless "it describes";
    }
};

static MESSAGE: &[Field] = fields! { "Message":
    "async-2" {
        "messageId" harmless "it names the message in tools, and no message carries it";
        "schemaFormat" compared "asyncapi-payload-format-changed";
    }
    "async-2 async-3" {
        "headers" compared "message-property-became-required";
        "payload" compared "message-type-narrowed";
        "correlationId" compared "asyncapi-correlation-id-changed";
        "contentType" compared "asyncapi-content-type-changed";
        "name" compared "asyncapi-message-renamed";
        "title" harmless "it describes";
        "summary" harmless "it describes";
        "description" harmless "it describes";
        "tags" harmless "they arrange documentation";
        "externalDocs" harmless "it describes";
        "bindings" compared "asyncapi-binding-changed";
        "examples" harmless "they are examples";
        "traits" compared "message-property-became-required";
    }
};

static CORRELATION_ID: &[Field] = fields! { "Correlation ID":
    "async-2 async-3" {
        "location" compared "asyncapi-correlation-id-changed";
        "description" harmless "it describes";
    }
};

static KAFKA_CHANNEL: &[Field] = fields! { "Kafka Channel Binding":
    "kafka-0.5" {
        "topic" compared "asyncapi-binding-changed";
        "partitions" compared "asyncapi-topic-changed";
        "replicas" compared "asyncapi-topic-changed";
        "topicConfiguration" compared "asyncapi-topic-changed";
        "bindingVersion" harmless "it says which version of the binding this is; a field that is not known is not checked";
    }
};

static KAFKA_MESSAGE: &[Field] = fields! { "Kafka Message Binding":
    "kafka-0.5" {
        "key" compared "message-type-narrowed";
        "schemaIdLocation" compared "asyncapi-binding-changed";
        "schemaIdPayloadEncoding" compared "asyncapi-binding-changed";
        "schemaLookupStrategy" compared "asyncapi-binding-changed";
        "bindingVersion" harmless "it says which version of the binding this is; a field that is not known is not checked";
    }
};
