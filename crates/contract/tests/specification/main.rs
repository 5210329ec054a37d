//! Walks the lists of the specifications with a pair for every field, in both directions: nothing that differs may pass unseen.

mod asyncapi;
mod avro;
mod drafts;
mod graphql;
mod openapi;
mod protobuf;
mod schema;
mod walk;
