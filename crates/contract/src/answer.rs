//! Whether answers of a service are what its contract says: the contract is read once, and answers are compared one by one.
//!
//! Words about an answer show names that the contract has, and nothing else of the body.

use crate::openapi;
use crate::parsed::{Form, Parsed};

/// How an answer compares with a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is what the contract says.
    AsPromised,
    /// It is not: what is wrong, for people.
    Broken(String),
    /// The contract says nothing of it, or it cannot be decided.
    Unknown,
}

/// Compares answers with a contract that has been read.
pub struct AnswerCheck<'l>(openapi::Answers<'l>);

impl<'l> AnswerCheck<'l> {
    /// Prepares to compare; `None` for formats that say nothing of answers over HTTP.
    #[must_use]
    pub fn of(contract: &'l Parsed<'l>) -> Option<Self> {
        match &contract.form {
            Form::OpenApi(contract) => Some(Self(openapi::Answers::of(contract))),
            _ => None,
        }
    }

    /// Tells whether the contract says anything of the answers of an operation such as `GET /orders/{id}`; the names of
    /// its variables make no difference.
    #[must_use]
    pub fn speaks_of(&self, operation: &str) -> bool {
        self.0.speaks_of(operation)
    }

    /// Compares an answer: its status, its media type without parameters in lower case, and its body.
    pub fn check(&mut self, operation: &str, status: u16, media_type: &str, body: &str) -> Answered {
        self.0.check(operation, status, media_type, body)
    }
}

impl std::fmt::Debug for AnswerCheck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerCheck").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Source};

    const CONTRACT: &str = r##"
openapi: 3.0.3
info: {title: orders, version: "1"}
paths:
  /orders/{id}:
    get:
      responses:
        "200":
          description: one
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Order"}
        "4XX": {description: no, content: {application/problem+json: {schema: {type: object, required: [why]}}}}
  /ping:
    get: {responses: {"204": {description: nothing}}}
components:
  schemas:
    Order:
      type: object
      required: [id, total, items]
      properties:
        id: {type: integer}
        secret: {type: string, writeOnly: true}
        total: {type: number, minimum: 0}
        state: {type: string, enum: [open, paid]}
        note: {type: string, nullable: true}
        items: {type: array, items: {type: object, required: [price], properties: {price: {type: number}}}}
        labels: {type: object, additionalProperties: {type: string}}
        kind: {oneOf: [{type: object, required: [a]}, {type: object, required: [b]}]}
"##;

    fn check(status: u16, media_type: &str, body: &str) -> Answered {
        let source = Source::file("openapi.yaml", CONTRACT.as_bytes());
        let parsed = Parsed::read(&source, Kind::OpenApi).unwrap();
        let mut check = AnswerCheck::of(&parsed).unwrap();
        assert!(check.speaks_of("GET /orders/{order}") && !check.speaks_of("GET /ping"));
        check.check("GET /orders/{order}", status, media_type, body)
    }

    fn wrong(body: &str) -> String {
        match check(200, "application/json", body) {
            Answered::Broken(why) => why,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn what_the_contract_says_is_as_promised() {
        for body in [
            r#"{"id":1,"total":2.5,"items":[]}"#,
            r#"{"id":1,"total":0,"items":[{"price":1}],"note":null,"state":"paid","more":[1]}"#,
            r#"{"id":1,"total":0,"items":[],"labels":{"a":"b"},"kind":{"b":1}}"#,
        ] {
            assert_eq!(check(200, "application/json", body), Answered::AsPromised, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_the_body_is_shown() {
        assert_eq!(wrong(r#"{"id":1,"items":[]}"#), "`total` is missing; required by the contract");
        assert_eq!(wrong(r#"{"id":"x-7","total":1,"items":[]}"#), "`id` is string, expected number");
        assert_eq!(wrong(r#"{"id":1.5,"total":1,"items":[]}"#), "`id` is no integer");
        assert_eq!(
            wrong(r#"{"id":1,"total":1,"items":[{"price":1},{}]}"#),
            "`items[].price` is missing; required by the contract"
        );
        assert_eq!(
            wrong(r#"{"id":1,"total":1,"items":[],"state":"ann@example.org"}"#),
            "`state` is none of the values that the contract lists"
        );
        assert_eq!(wrong(r#"{"id":1,"total":-1,"items":[]}"#), "`total` is not as the contract bounds it");
        assert_eq!(
            wrong(r#"{"id":1,"total":1,"items":[],"labels":{"ann@example.org":7}}"#),
            "`labels.*` is number, expected string"
        );
        assert_eq!(
            wrong(r#"{"id":1,"total":1,"items":[],"kind":{}}"#),
            "`kind` has none of the forms that the contract gives it"
        );
        assert_eq!(wrong("[]"), "the body is array, expected object");
        assert_eq!(wrong("<html>"), "the body is not JSON");
        assert_eq!(wrong(""), "the body is not JSON");
    }

    #[test]
    fn another_media_type_is_broken_and_what_nothing_is_said_of_is_unknown() {
        assert_eq!(
            check(200, "text/html", "<html>"),
            Answered::Broken("it is `text/html`, and the contract says `application/json`".into())
        );
        assert_eq!(check(500, "application/json", "{}"), Answered::Unknown);
        assert!(matches!(check(404, "application/problem+json", "{}"), Answered::Broken(_)));
    }

    #[test]
    fn no_answer_takes_long_or_ends_the_check_of_others() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let source = Source::file("openapi.yaml", CONTRACT.as_bytes());
        let parsed = Parsed::read(&source, Kind::OpenApi).unwrap();
        let mut check = AnswerCheck::of(&parsed).unwrap();
        let mut ask = |body: &str| check.check("GET /orders/{id}", 200, "application/json", body);
        let many = format!(r#"{{"id":1,"total":1,"items":[{}]}}"#, vec!["{\"price\":1}"; 5_000].join(","));
        for _ in 0..200 {
            assert_eq!(ask(&many), Answered::AsPromised);
        }
        assert!(matches!(ask(&deep), Answered::Broken(_)));
        assert_eq!(ask(r#"{"id":1,"total":2.5,"items":[]}"#), Answered::AsPromised);
    }
}
