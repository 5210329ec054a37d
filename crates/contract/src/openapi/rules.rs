//! The rules about OpenAPI documents beside those about schemas.

use crate::{Bump, Flow, Kind, Level, Rule};

macro_rules! rules {
    ($($name:ident: $id:literal, $level:ident, $bump:ident, $flow:ident, $summary:literal, $why:literal, $example:literal;)+) => {
        $(pub(crate) static $name: Rule = Rule {
            id: $id,
            kind: Kind::OpenApi,
            level: Level::$level,
            flow: Flow::$flow,
            bump: Bump::$bump,
            summary: $summary,
            explanation: $why,
            example: $example,
        };)+

        /// All rules of this table.
        pub(crate) static OPERATIONS: &[&Rule] = &[$(&$name),+];
    };
}

rules! {
    OPERATION_REMOVED: "operation-removed", Error, Major, Request, "an operation is gone",
        "Every consumer that calls the operation now gets an error. Deprecate it first and name a sunset; once the sunset is past, its removal no longer breaks.",
        "before: paths: {/pets: {get: ..., post: ...}}\nafter:  paths: {/pets: {get: ...}}";
    OPERATION_REMOVED_AFTER_SUNSET: "operation-removed-after-sunset", Info, Minor, Request, "a deprecated operation is gone after its sunset",
        "The contract said until when the operation would be there, and that day is past.",
        "before: get: {deprecated: true, x-sunset: '2024-01-01'}\nafter:  (gone)";
    OPERATION_ADDED: "operation-added", Info, Minor, Request, "an operation is new",
        "Nobody breaks; consumers that call it cannot go back to the old provider.",
        "before: paths: {/pets: {get: ...}}\nafter:  paths: {/pets: {get: ..., post: ...}}";
    OPERATION_DEPRECATED: "operation-deprecated", Info, Minor, Request, "an operation is deprecated",
        "It still works. Consumers should move away from it before its sunset.", "deprecated: true";
    OPERATION_UNDEPRECATED: "operation-undeprecated", Info, Patch, Request, "an operation is no longer deprecated", "It stays.", "deprecated: false";
    SUNSET_REMOVED: "sunset-removed", Error, Major, Request, "the announced end of a deprecated operation is no longer named",
        "The contract promised the operation until that day. Without a day consumers cannot plan, and nothing says that it will be there as long as they were told.",
        "before: {deprecated: true, x-sunset: '2026-12-31'}\nafter:  {deprecated: true}";
    SUNSET_MOVED_FORWARD: "sunset-moved-forward", Error, Major, Request, "an operation ends earlier than announced",
        "The contract promised the operation until the old day, and consumers planned with it.", "before: x-sunset: '2026-12-31'\nafter:  x-sunset: '2026-06-30'";
    OPERATION_ID_CHANGED: "operation-id-changed", Info, Patch, Request, "an operation has another id",
        "Calls do not change; code generated from the contract does.", "operationId: listPets -> getPets";
    TAGS_CHANGED: "operation-tags-changed", Info, Patch, Request, "an operation has other tags", "Calls do not change; documents and generated code may be arranged differently.", "tags: [pets] -> [animals]";
    PATH_PARAMETER_RENAMED: "path-parameter-renamed", Info, Patch, Request, "a parameter in a path has another name", "The path that is sent does not change.", "/pets/{id} -> /pets/{petId}";
    PARAMETER_REMOVED: "request-parameter-removed", Warning, Minor, Request, "a parameter is no longer described",
        "Consumers may still send it; it has no effect any more.", "parameters: [limit, offset] -> [limit]";
    PARAMETER_ADDED: "request-parameter-added", Info, Minor, Request, "an optional parameter is new", "Nobody has to send it.", "parameters: [limit] -> [limit, offset]";
    REQUIRED_PARAMETER_ADDED: "required-request-parameter-added", Error, Major, Request, "a required parameter is new",
        "Consumers of the old contract do not send it and are refused. Make it optional, with a default.", "parameters: [{name: tenant, in: header, required: true}]";
    PARAMETER_BECAME_REQUIRED: "request-parameter-became-required", Error, Major, Request, "an optional parameter is required",
        "Consumers that leave it out are refused.", "required: false -> true";
    PARAMETER_BECAME_OPTIONAL: "request-parameter-became-optional", Info, Minor, Request, "a required parameter is optional", "Nobody breaks.", "required: true -> false";
    PARAMETER_STYLE_CHANGED: "request-parameter-style-changed", Error, Major, Request, "a parameter is written differently",
        "Consumers of the old contract write its values in a way that the provider no longer reads.", "explode: true -> false";
    PARAMETER_DEFAULT: "request-parameter-default-changed", Error, Major, Request, "the default of a parameter is another",
        "Consumers that leave the parameter out now ask for something else without having changed.", "default: 20 -> 100";
    BODY_ADDED: "request-body-added", Info, Minor, Request, "an optional request body is new", "Nobody has to send it.", "requestBody: {required: false}";
    REQUIRED_BODY_ADDED: "required-request-body-added", Error, Major, Request, "a required request body is new",
        "Consumers of the old contract send none and are refused.", "requestBody: {required: true}";
    BODY_REMOVED: "request-body-removed", Error, Major, Request, "the request body is gone",
        "What consumers send is refused or no longer has an effect.", "requestBody: {...} -> (gone)";
    BODY_BECAME_REQUIRED: "request-body-became-required", Error, Major, Request, "the request body is required", "Consumers that send none are refused.", "required: false -> true";
    BODY_BECAME_OPTIONAL: "request-body-became-optional", Info, Minor, Request, "the request body is optional", "Nobody breaks.", "required: true -> false";
    REQUEST_MEDIA_TYPE_REMOVED: "request-media-type-removed", Error, Major, Request, "a request body may no longer be of a media type",
        "Consumers that send it are refused with 415.", "content: [application/json, application/xml] -> [application/json]";
    REQUEST_MEDIA_TYPE_ADDED: "request-media-type-added", Info, Minor, Request, "a request body may be of another media type", "Nobody has to use it.", "content: [application/json] -> [application/json, application/xml]";
    REQUEST_ENCODING_CHANGED: "request-encoding-changed", Error, Major, Request, "a part of a request body is encoded differently",
        "Consumers of the old contract encode the part in a way that the provider no longer reads.", "encoding: {file: {contentType: image/png}}";
    RESPONSE_SUCCESS_REMOVED: "response-success-status-removed", Error, Major, Response, "a successful status is gone",
        "Consumers wait for a status that no longer comes.", "responses: [200, 404] -> [202, 404]";
    RESPONSE_STATUS_REMOVED: "response-status-removed", Warning, Minor, Response, "a status is no longer described", "Consumers that handle it do so in vain.", "responses: [200, 404] -> [200]";
    RESPONSE_SUCCESS_ADDED: "response-success-status-added", Warning, Minor, Response, "another successful status may come",
        "HTTP has consumers treat an unknown status as the first of its class; those that compare numbers may not.", "responses: [200] -> [200, 202]";
    RESPONSE_STATUS_ADDED: "response-status-added", Info, Minor, Response, "another status may come", "HTTP has consumers treat an unknown status as the first of its class.", "responses: [200] -> [200, 429]";
    RESPONSE_MEDIA_TYPE_REMOVED: "response-media-type-removed", Error, Major, Response, "a response is no longer offered in a media type",
        "Consumers that ask for it get another one or an error.", "content: [application/json, text/csv] -> [application/json]";
    RESPONSE_MEDIA_TYPE_ADDED: "response-media-type-added", Info, Minor, Response, "a response is offered in another media type", "It comes only when it is asked for.", "content: [application/json] -> [application/json, text/csv]";
    REQUIRED_HEADER_REMOVED: "required-response-header-removed", Error, Major, Response, "a header that was always there is gone", "Consumers that read it break.", "headers: {Location: {required: true}} -> (gone)";
    HEADER_BECAME_OPTIONAL: "response-header-became-optional", Error, Major, Response, "a header that was always there may be missing", "Consumers that read it break.", "required: true -> false";
    HEADER_REMOVED: "response-header-removed", Warning, Minor, Response, "a header is no longer described", "It was never sure to be there.", "headers: {ETag: {}} -> (gone)";
    HEADER_ADDED: "response-header-added", Info, Minor, Response, "a header is new", "Consumers ignore headers they do not know.", "headers: {} -> {ETag: {}}";
    SECURITY_ADDED: "security-added", Error, Major, Request, "authentication is required that was not",
        "Consumers of the old contract send no credentials, or not these, and are refused. Offer the new way beside the old one first.", "security: [] -> [{token: []}]";
    SECURITY_SCOPE_ADDED: "security-scope-added", Error, Major, Request, "credentials need more scopes", "Tokens that were good are refused.", "security: [{oauth: [read]}] -> [{oauth: [read, write]}]";
    SECURITY_WIDENED: "security-widened", Info, Minor, Request, "another way to authenticate is accepted", "Nobody has to use it.", "security: [{token: []}] -> [{token: []}, {key: []}]";
    SECURITY_SCHEME_CHANGED: "security-scheme-changed", Error, Major, Request, "a security scheme is another",
        "Consumers send their credentials in a way or place that the provider no longer reads.", "in: header -> query";
    SECURITY_SCHEME_DETAILS: "security-scheme-details-changed", Warning, Minor, Request, "details of a security scheme are others",
        "A hint about how tokens look, or a scope that no operation needed, is another; tokens are used as before.", "bearerFormat: JWT -> opaque";
    SECURITY_FLOW_REMOVED: "security-flow-removed", Error, Major, Request, "tokens are no longer given by a flow",
        "Consumers that get their tokens by the flow are refused by the authorization server. Offer the new flow beside the old one first.", "flows: {implicit: ..., authorizationCode: ...} -> {authorizationCode: ...}";
    SECURITY_FLOW_ADDED: "security-flow-added", Info, Minor, Request, "tokens are given by another flow, or for more", "Nobody has to use it.", "flows: {implicit: ...} -> {implicit: ..., authorizationCode: ...}";
    SECURITY_SCOPE_REMOVED: "security-scope-removed", Error, Major, Request, "a scope that operations needed is no longer given",
        "Consumers of the old contract ask for the scope, because operations needed it, and are refused by the authorization server.", "scopes: {read: ..., write: ...} -> {read: ...}";
    BASE_PATH_CHANGED: "base-path-changed", Error, Major, Request, "every path begins with something else",
        "Consumers ask for paths that are not there. Serve the old beginning as well for a while, and name both servers.", "servers: [{url: /v1}] -> [{url: /v2}]";
    REQUEST_XML_CHANGED: "request-xml-changed", Error, Major, Request, "a request body is other XML",
        "An element or attribute is called differently, is written as the other of the two, or stands in another namespace or list. Consumers of the old contract write what is no longer read.", "xml: {name: pet} -> {name: animal}";
    RESPONSE_XML_CHANGED: "response-xml-changed", Error, Major, Response, "a response body is other XML",
        "An element or attribute is called differently, is written as the other of the two, or stands in another namespace or list. Consumers of the old contract look for what is no longer there.", "xml: {name: pet} -> {name: animal}";
    SERVER_REMOVED: "server-removed", Warning, Minor, Request, "a server is no longer named",
        "Where the provider is reached is a matter of the environment; consumers that took it from the contract must change.", "servers: [https://a, https://b] -> [https://a]";
    SERVER_ADDED: "server-added", Info, Patch, Request, "a server is named", "Nobody has to use it.", "servers: [https://a] -> [https://a, https://b]";
    WEBHOOK_REMOVED: "webhook-removed", Error, Major, Response, "a call to consumers is gone",
        "Consumers wait for a call that no longer comes.", "webhooks: {paid: {post: ...}} -> (gone)";
    WEBHOOK_ADDED: "webhook-added", Info, Minor, Response, "a call to consumers is new", "Consumers that do not expect it have not asked for it.", "webhooks: {} -> {paid: {post: ...}}";
    WEBHOOK_INPUT_REDUCED: "webhook-input-reduced", Error, Major, Response, "a call to consumers carries less",
        "A parameter or body that was always sent is gone or may be missing.", "requestBody: {required: true} -> {required: false}";
    WEBHOOK_MEDIA_TYPE_ADDED: "webhook-media-type-added", Error, Major, Response, "a call to consumers may be of another media type", "Consumers cannot choose what they are sent.", "content: [application/json] -> [application/xml]";
    WEBHOOK_ANSWER_REMOVED: "webhook-answer-removed", Error, Major, Request, "consumers may no longer answer a call as they did", "What they answer is refused.", "responses: [200, 204] -> [200]";
    LINKS_CHANGED: "links-changed", Info, Patch, Response, "the links of a response are others", "Links describe; they do not change what is sent.", "links: {...}";
}

/// The rule about defaults of parameters, which the comparison of schemas finds.
pub(crate) static PARAMETER_DEFAULT_CHANGED: &Rule = &PARAMETER_DEFAULT;
