//! The rules of AsyncAPI documents, as data. What messages hold is told by the rules of their own format.

use crate::rules::rules;

rules! { AsyncApi, Message;
    OPERATION_REMOVED: "asyncapi-operation-removed", Error, Major, "the application no longer sends to, or receives from, an address",
        "Consumers wait for messages that no longer come, or messages of producers are read by nobody. Keep the operation until nobody is at the other end.",
        "before: operations: {paid: {action: send, channel: payments}}\nafter:  operations: {}";
    OPERATION_ADDED: "asyncapi-operation-added", Info, Minor, "the application sends to, or receives from, another address",
        "Nobody breaks.", "before: operations: {}\nafter:  operations: {paid: {action: send, channel: payments}}";
    MESSAGE_REMOVED: "asyncapi-message-removed", Error, Major, "a message is no longer sent, or no longer accepted",
        "Of what is sent, consumers wait in vain; of what is received, producers send what nobody reads any more.",
        "before: messages: [Paid, Refunded]\nafter:  messages: [Paid]";
    MESSAGE_ACCEPTED: "asyncapi-message-accepted", Info, Minor, "another message is accepted",
        "Nobody has to send it.", "before: messages: [Paid]\nafter:  messages: [Paid, Refunded]";
    MESSAGE_SENT: "asyncapi-message-added", Error, Major, "another message is sent to an address that has consumers",
        "Consumers of the older document get a message that they do not know. Teach them first, or send it to an address of its own.",
        "before: messages: [Paid]\nafter:  messages: [Paid, Refunded]";
    NAME_CHANGED: "asyncapi-message-renamed", Info, Patch, "the only message of an operation has another name",
        "The name is not part of what is sent; generated code has another type.", "before: name: Paid\nafter:  name: OrderPaid";
    CONTENT_TYPE_CHANGED: "asyncapi-content-type-changed", Error, Major, "a message is written in another format",
        "Whoever reads the one cannot read the other. Use another address, or send both for a while.",
        "before: contentType: application/json\nafter:  contentType: application/cbor";
    FORMAT_CHANGED: "asyncapi-payload-format-changed", Error, Major, "a payload is described by another kind of schema",
        "Avro, Protobuf and JSON are other bytes. Use another address, or send both for a while.",
        "before: schemaFormat: application/vnd.apache.avro;version=1.9.0\nafter:  (JSON Schema)";
    CORRELATION_CHANGED: "asyncapi-correlation-id-changed", Error, Major, "the id that ties messages together is elsewhere, or gone",
        "Whoever reads looks for it where it was.",
        "before: correlationId: {location: '$message.header#/id'}\nafter:  correlationId: {location: '$message.payload#/id'}";
    CORRELATION_ADDED: "asyncapi-correlation-id-added", Info, Minor, "messages have an id that ties them together",
        "Nobody who reads them waits for it.", "before: {}\nafter:  correlationId: {location: '$message.header#/id'}";
    BINDING_CHANGED: "asyncapi-binding-changed", Error, Major, "messages travel otherwise",
        "The topic is another one, or the schema's id stands elsewhere: who kept to the older document finds nothing, or cannot read it.",
        "before: bindings: {kafka: {topic: orders}}\nafter:  bindings: {kafka: {topic: orders.v2}}";
    PARTITIONS_CHANGED: "asyncapi-topic-changed", Warning, Minor, "a topic is set up otherwise",
        "With other partitions the messages of one key are in order only before or only after the change; with other retention or clean-up they are kept for another time.",
        "before: partitions: 3\nafter:  partitions: 12";
    PARAMETER_CHANGED: "asyncapi-parameter-changed", Error, Major, "a parameter of an address takes other values",
        "Messages go to addresses that nobody listens to, or are sent to addresses where nobody listens any more.",
        "before: enum: [eu, us]\nafter:  enum: [eu, us, asia], of an address that is sent to";
    PARAMETER_DETAILS: "asyncapi-parameter-details-changed", Warning, Minor, "a parameter of an address is found elsewhere, or has another default",
        "The addresses are the same; what fills them in is not.", "before: location: '$message.header#/region'\nafter:  location: '$message.payload#/region'";
    REPLY_REMOVED: "asyncapi-reply-removed", Error, Major, "there is no reply any more",
        "Whoever sent a request waits for an answer that does not come.", "before: reply: {channel: answers}\nafter:  {}";
    REPLY_DEMANDED: "asyncapi-reply-demanded", Error, Major, "the application waits for a reply that consumers do not give",
        "Consumers of the older document read the message and do not answer.", "before: action: send\nafter:  action: send, reply: {channel: answers}";
    REPLY_ADDED: "asyncapi-reply-added", Info, Minor, "there is a reply, or none is waited for", "Nobody waits for it.", "before: action: receive\nafter:  action: receive, reply: {channel: answers}";
    REPLY_ADDRESS_CHANGED: "asyncapi-reply-address-changed", Error, Major, "replies go elsewhere",
        "Whoever waits for them, waits at the wrong address.", "before: address: {location: '$message.header#/replyTo'}\nafter:  address: {location: '$message.header#/answer'}";
    SERVER_PROTOCOL_CHANGED: "asyncapi-server-protocol-changed", Error, Major, "a server speaks another protocol",
        "Nobody who kept to the older document can connect.", "before: protocol: kafka\nafter:  protocol: amqp";
    SERVER_CHANGED: "asyncapi-server-changed", Warning, Minor, "a server is reached elsewhere, or is of another version",
        "Where brokers are is a matter of the environment; whoever took it from the document must change.", "before: host: a:9092\nafter:  host: b:9092";
    SERVER_REMOVED: "asyncapi-server-removed", Warning, Minor, "a server is no longer named",
        "Where brokers are is a matter of the environment; whoever took it from the document must change.", "before: servers: {a: {}, b: {}}\nafter:  servers: {a: {}}";
    SERVER_ADDED: "asyncapi-server-added", Info, Patch, "a server is named", "Nobody has to use it.", "before: servers: {a: {}}\nafter:  servers: {a: {}, b: {}}";
}
