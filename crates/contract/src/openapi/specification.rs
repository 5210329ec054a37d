//! The objects of Swagger 2.0 and OpenAPI 3.0, 3.1 and 3.2 with all their fields.
//!
//! A [`Pair`](super::pair::Pair) of objects is made by saying which object it is; whatever differs in it and is not compared is told
//! then. So no object can be compared without its list.

use crate::field::{Field, fields};

/// An object of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Contract,
    PathItem,
    Operation,
    Parameter,
    RequestBody,
    MediaType,
    Encoding,
    Response,
    Header,
    SecurityScheme,
    /// One of Swagger 2 beside one of a later version: what is said of tokens stands elsewhere, and is compared there.
    SchemeOfTwoVersions,
    OAuthFlows,
    OAuthFlow,
    Schema,
    Server,
    ServerVariable,
}

impl Object {
    /// The fields of the object; what begins with `x-` is an extension and belongs to none.
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Contract => CONTRACT,
            Self::PathItem => PATH_ITEM,
            Self::Operation => OPERATION,
            Self::Parameter => PARAMETER,
            Self::RequestBody => REQUEST_BODY,
            Self::MediaType => MEDIA_TYPE,
            Self::Encoding => ENCODING,
            Self::Response => RESPONSE,
            Self::Header => HEADER,
            Self::SecurityScheme => SECURITY_SCHEME,
            Self::SchemeOfTwoVersions => SCHEME_OF_TWO_VERSIONS,
            Self::OAuthFlows => OAUTH_FLOWS,
            Self::OAuthFlow => OAUTH_FLOW,
            Self::Schema => crate::schema::specification::KEYWORDS,
            Self::Server => SERVER,
            Self::ServerVariable => SERVER_VARIABLE,
        }
    }

    /// The field of this name.
    pub(super) fn field(self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// Why what is not compared in it is not, where there is more to say.
    pub(super) fn why_open(self, name: &str) -> &'static str {
        let is_address = name.ends_with("Url");
        match self {
            Self::SecurityScheme | Self::OAuthFlow | Self::SchemeOfTwoVersions if is_address => {
                ": whether the old one still gives tokens, and whether they are taken, is not said"
            }
            _ => "",
        }
    }

    /// What the specification calls it.
    pub(super) fn title(self) -> &'static str {
        self.fields()[0].object
    }
}

/// All fields of this format, the schemas' included.
pub(crate) fn all() -> impl Iterator<Item = &'static Field> {
    let lists = [
        CONTRACT,
        PATH_ITEM,
        OPERATION,
        PARAMETER,
        REQUEST_BODY,
        MEDIA_TYPE,
        ENCODING,
        RESPONSE,
        HEADER,
        SECURITY_SCHEME,
        OAUTH_FLOWS,
        OAUTH_FLOW,
        SERVER,
        SERVER_VARIABLE,
        TOLD,
    ];
    lists.into_iter().flatten().chain(crate::schema::specification::KEYWORDS)
}

static CONTRACT: &[Field] = fields! { "OpenAPI":
    "2.0" {
        "swagger" harmless "it says which version this is, and every version is read by its own list";
        "host" compared "server-removed";
        "basePath" compared "base-path-changed" = "\"/\"";
        "schemes" compared "server-removed";
        "consumes" compared "request-media-type-removed";
        "produces" compared "response-media-type-removed";
        "definitions" compared "request-type-narrowed";
        "parameters" compared "required-request-parameter-added";
        "responses" compared "response-type-widened";
        "securityDefinitions" compared "security-scheme-changed";
    }
    "3.0 3.1 3.2" {
        "openapi" harmless "it says which version this is, and every version is read by its own list; one that is not known is not checked";
        "servers" compared "server-removed";
        "components" compared "request-type-narrowed";
    }
    "3.1 3.2" {
        "jsonSchemaDialect" open "" = "\"https://spec.openapis.org/oas/3.1/dialect/base\"";
        "webhooks" compared "webhook-removed";
    }
    "3.2" { "$self" open ""; }
    "2.0 3.0 3.1 3.2" {
        "info" harmless "it describes; no request or response carries it";
        "paths" compared "operation-removed";
        "security" compared "security-added";
        "tags" harmless "they arrange documentation";
        "externalDocs" harmless "it describes";
    }
};

static PATH_ITEM: &[Field] = fields! { "Path Item":
    "2.0 3.0 3.1 3.2" {
        "$ref" compared "operation-removed";
        "get" compared "operation-removed";
        "put" compared "operation-removed";
        "post" compared "operation-removed";
        "delete" compared "operation-removed";
        "options" compared "operation-removed";
        "head" compared "operation-removed";
        "patch" compared "operation-removed";
        "parameters" compared "required-request-parameter-added";
    }
    "3.0 3.1 3.2" {
        "trace" compared "operation-removed";
        "servers" compared "server-removed";
        "summary" harmless "it describes";
        "description" harmless "it describes";
    }
    "3.2" {
        "query" compared "operation-removed";
        "additionalOperations" compared "operation-removed";
    }
};

static OPERATION: &[Field] = fields! { "Operation":
    "2.0" {
        "consumes" compared "request-media-type-removed";
        "produces" compared "response-media-type-removed";
        "schemes" compared "server-removed";
    }
    "2.0 3.0 3.1 3.2" {
        "tags" compared "operation-tags-changed";
        "summary" harmless "it describes";
        "description" harmless "it describes";
        "externalDocs" harmless "it describes";
        "operationId" compared "operation-id-changed";
        "parameters" compared "required-request-parameter-added";
        "responses" compared "response-success-status-removed";
        "deprecated" compared "operation-deprecated";
        "security" compared "security-added";
    }
    "3.0 3.1 3.2" {
        "requestBody" compared "required-request-body-added";
        "callbacks" compared "webhook-removed";
        "servers" compared "server-removed";
    }
};

static PARAMETER: &[Field] = fields! { "Parameter":
    "2.0" {
        "type" compared "request-type-narrowed";
        "format" compared "request-format-narrowed";
        "items" compared "request-type-narrowed";
        "collectionFormat" compared "request-parameter-style-changed" = "\"csv\"";
        "default" compared "request-parameter-default-changed";
        "maximum" compared "request-maximum-lowered";
        "exclusiveMaximum" compared "request-maximum-lowered";
        "minimum" compared "request-minimum-raised";
        "exclusiveMinimum" compared "request-minimum-raised";
        "maxLength" compared "request-max-length-lowered";
        "minLength" compared "request-min-length-raised";
        "pattern" compared "request-pattern-narrowed";
        "maxItems" compared "request-max-items-lowered";
        "minItems" compared "request-min-items-raised";
        "uniqueItems" compared "request-unique-items-required";
        "enum" compared "request-enum-value-removed";
        "multipleOf" compared "request-multiple-of-narrowed";
    }
    "2.0 3.0 3.1 3.2" {
        "$ref" compared "request-type-narrowed";
        "name" compared "request-parameter-removed";
        "in" compared "request-parameter-removed";
        "required" compared "request-parameter-became-required";
        "schema" compared "request-type-narrowed";
        "description" harmless "it describes";
        "allowEmptyValue" compared "request-parameter-style-changed";
    }
    "3.0 3.1 3.2" {
        "deprecated" harmless "it advises; what may be sent stays the same";
        "style" compared "request-parameter-style-changed";
        "explode" compared "request-parameter-style-changed";
        "allowReserved" compared "request-parameter-style-changed";
        "content" compared "request-type-narrowed";
        "example" harmless "it is an example";
        "examples" harmless "they are examples";
    }
};

static REQUEST_BODY: &[Field] = fields! { "Request Body":
    "3.0 3.1 3.2" {
        "$ref" compared "request-type-narrowed";
        "description" harmless "it describes";
        "content" compared "request-media-type-removed";
        "required" compared "request-body-became-required";
    }
};

static MEDIA_TYPE: &[Field] = fields! { "Media Type":
    "3.0 3.1 3.2" {
        "$ref" compared "request-type-narrowed";
        "schema" compared "request-type-narrowed";
        "example" harmless "it is an example";
        "examples" harmless "they are examples";
        "encoding" compared "request-encoding-changed";
    }
    "3.2" {
        "itemSchema" open "";
        "prefixEncoding" open "";
        "itemEncoding" open "";
    }
};

static ENCODING: &[Field] = fields! { "Encoding":
    "3.0 3.1 3.2" {
        "contentType" compared "request-encoding-changed";
        "headers" open "";
        "style" compared "request-encoding-changed";
        "explode" compared "request-encoding-changed";
        "allowReserved" compared "request-encoding-changed";
    }
    "3.2" {
        "encoding" open "";
        "prefixEncoding" open "";
        "itemEncoding" open "";
    }
};

static RESPONSE: &[Field] = fields! { "Response":
    "2.0" { "schema" compared "response-type-widened"; }
    "2.0 3.0" { "examples" harmless "they are examples"; }
    "2.0 3.0 3.1 3.2" {
        "$ref" compared "response-type-widened";
        "description" harmless "it describes";
        "headers" compared "required-response-header-removed";
    }
    "3.0 3.1 3.2" {
        "content" compared "response-media-type-removed";
        "links" compared "links-changed";
    }
    "3.2" { "summary" harmless "it describes"; }
};

static HEADER: &[Field] = fields! { "Header":
    "2.0" {
        "type" compared "response-type-widened";
        "format" compared "response-format-widened";
        "items" compared "response-type-widened";
        "collectionFormat" open "" = "\"csv\"";
        "default" compared "response-default-changed";
        "maximum" compared "response-maximum-raised";
        "exclusiveMaximum" compared "response-maximum-raised";
        "minimum" compared "response-minimum-lowered";
        "exclusiveMinimum" compared "response-minimum-lowered";
        "maxLength" compared "response-max-length-raised";
        "minLength" compared "response-min-length-lowered";
        "pattern" compared "response-pattern-widened";
        "maxItems" compared "response-max-items-raised";
        "minItems" compared "response-min-items-lowered";
        "uniqueItems" compared "response-unique-items-lifted";
        "enum" compared "response-enum-value-added";
        "multipleOf" compared "response-multiple-of-widened";
    }
    "2.0 3.0 3.1 3.2" { "description" harmless "it describes"; }
    "3.0 3.1 3.2" {
        "$ref" compared "response-type-widened";
        "required" compared "response-header-became-optional";
        "deprecated" harmless "it advises; what is sent stays the same";
        "schema" compared "response-type-widened";
        "content" compared "response-type-widened";
        "style" open "" = "\"simple\"";
        "explode" open "" = "false";
        "allowEmptyValue" harmless "it speaks of parameters in a query and says nothing of a header";
        "allowReserved" harmless "it speaks of parameters in a URL and says nothing of a header";
        "example" harmless "it is an example";
        "examples" harmless "they are examples";
    }
};

static SECURITY_SCHEME: &[Field] = fields! { "Security Scheme":
    "2.0 3.0 3.1 3.2" {
        "$ref" compared "security-scheme-changed";
        "type" compared "security-scheme-changed";
        "description" harmless "it describes";
        "name" compared "security-scheme-changed";
        "in" compared "security-scheme-changed";
    }
    "2.0" {
        "flow" compared "security-flow-removed";
        "authorizationUrl" open "";
        "tokenUrl" open "";
        "scopes" compared "security-flow-added";
    }
    "3.0 3.1 3.2" {
        "scheme" compared "security-scheme-changed";
        "bearerFormat" compared "security-scheme-details-changed";
        "flows" compared "security-flow-removed";
        "openIdConnectUrl" open "";
    }
    "3.2" {
        "oauth2MetadataUrl" open "";
        "deprecated" harmless "it advises; credentials are used as before";
    }
};

static SCHEME_OF_TWO_VERSIONS: &[Field] = fields! { "Security Scheme":
    "2.0 3.0 3.1 3.2" {
        "type" compared "security-scheme-changed";
        "description" harmless "it describes";
        "name" compared "security-scheme-changed";
        "in" compared "security-scheme-changed";
        "scheme" compared "security-scheme-changed";
        "bearerFormat" compared "security-scheme-details-changed";
        "flow" compared "security-flow-removed";
        "flows" compared "security-flow-removed";
        "authorizationUrl" compared "security-flow-removed";
        "tokenUrl" compared "security-flow-removed";
        "scopes" compared "security-flow-removed";
        "openIdConnectUrl" open "";
    }
};

static OAUTH_FLOWS: &[Field] = fields! { "OAuth Flows":
    "3.0 3.1 3.2" {
        "implicit" compared "security-flow-removed";
        "password" compared "security-flow-removed";
        "clientCredentials" compared "security-flow-removed";
        "authorizationCode" compared "security-flow-removed";
    }
    "3.2" { "deviceAuthorization" compared "security-flow-removed"; }
};

static OAUTH_FLOW: &[Field] = fields! { "OAuth Flow":
    "3.0 3.1 3.2" {
        "authorizationUrl" open "";
        "tokenUrl" open "";
        "refreshUrl" open "";
        "scopes" compared "security-flow-added";
    }
    "3.2" { "deviceAuthorizationUrl" open ""; }
};

static SERVER: &[Field] = fields! { "Server":
    "3.0 3.1 3.2" {
        "url" compared "server-removed";
        "description" harmless "it describes";
        "variables" compared "server-removed";
    }
    "3.2" { "name" harmless "it names the server for people"; }
};

static SERVER_VARIABLE: &[Field] = fields! { "Server Variable":
    "3.0 3.1 3.2" {
        "enum" compared "server-removed";
        "default" compared "server-removed";
        "description" harmless "it describes";
    }
};

/// Objects below a field that is harmless as a whole or compared as a whole: none of their fields is looked at by itself.
static TOLD: &[Field] = fields! { "Link":
    "3.0 3.1 3.2" {
        "operationRef" compared "links-changed";
        "operationId" compared "links-changed";
        "parameters" compared "links-changed";
        "requestBody" compared "links-changed";
        "description" harmless "it describes";
        "server" compared "links-changed";
    }
};
