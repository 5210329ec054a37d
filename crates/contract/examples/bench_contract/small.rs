//! Pairs of small contracts in one thread: what a matrix of versions is made of.

use std::hint::black_box;
use std::time::Duration;

use lockstep_contract::{
    Kind, Options, Parsed, Source, diff_as, diff_parsed, fit_as, fit_parsed, operations_parsed,
};

use crate::fastest;

/// Pairs in one round.
const PAIRS: u32 = 1_000;
const ROUNDS: usize = 5;

/// A contract and how its next version differs: the text that is replaced, and by what.
struct Sample {
    name: &'static str,
    kind: Kind,
    file: &'static str,
    text: &'static str,
    change: (&'static str, &'static str),
}

const SAMPLES: [Sample; 6] = [
    Sample {
        name: "openapi, JSON",
        kind: Kind::OpenApi,
        file: "a.json",
        text: OPENAPI_JSON,
        change: ("\"maximum\":100", "\"maximum\":50"),
    },
    Sample {
        name: "openapi, YAML",
        kind: Kind::OpenApi,
        file: "a.yaml",
        text: OPENAPI_YAML,
        change: ("maximum: 100", "maximum: 50"),
    },
    Sample {
        name: "protobuf",
        kind: Kind::Protobuf,
        file: "a.proto",
        text: PROTOBUF,
        change: ("int64 amount", "string amount"),
    },
    Sample {
        name: "graphql",
        kind: Kind::GraphQl,
        file: "a.graphql",
        text: GRAPHQL,
        change: ("total: Int!", "total: Int"),
    },
    Sample {
        name: "sql",
        kind: Kind::Sql,
        file: "1.sql",
        text: "CREATE TABLE orders (id BIGINT PRIMARY KEY, note TEXT, total INTEGER NOT NULL);",
        change: (", note TEXT", ""),
    },
    Sample {
        name: "json_schema",
        kind: Kind::JsonSchema,
        file: "a.json",
        text: r#"{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"total":{"type":"integer","maximum":100}}}"#,
        change: ("\"maximum\":100", "\"maximum\":50"),
    },
];

/// Prints pairs a second, by format and by what is done.
pub(crate) fn table() {
    println!("\nsmall: pairs a second in one thread; one change a pair");
    println!(
        "{:<16} {:>6} {:>14} {:>12} {:>13} {:>12}",
        "", "bytes", "read+compare", "compare", "read+fit one", "fit one"
    );
    for sample in &SAMPLES {
        row(sample);
    }
}

fn row(sample: &Sample) {
    let Sample { name, kind, file, text, change: (from, to) } = *sample;
    let changed = text.replace(from, to);
    assert_ne!(text, changed, "{name} changes");
    let (old, new) = (Source::file(file, text.as_bytes()), Source::file(file, changed.into_bytes()));
    let options = Options::default();
    let read = |source| Parsed::read(source, kind).expect("valid");
    let (before, after) = (read(&old), read(&new));
    let one: Vec<String> = operations_parsed(&before).into_iter().take(1).collect();
    let rate = |work: &mut dyn FnMut()| {
        let time = fastest(ROUNDS, || (0..PAIRS).for_each(|_| work()));
        a_second(time)
    };
    let whole = rate(&mut || drop(black_box(diff_as(kind, &old, &new, &options).expect("valid"))));
    let parsed = rate(&mut || drop(black_box(diff_parsed(&before, &after, &options).expect("valid"))));
    // Nobody else uses a database.
    let fits = (kind != Kind::Sql).then(|| {
        let whole = rate(&mut || drop(black_box(fit_as(kind, &old, &one, &new, &options).expect("valid"))));
        let parsed =
            rate(&mut || drop(black_box(fit_parsed(&before, &one, &after, &options).expect("valid"))));
        (whole, parsed)
    });
    let (fit, fit_of_parsed) =
        fits.map_or(("-".to_owned(), "-".to_owned()), |(a, b)| (format!("{a:.0}"), format!("{b:.0}")));
    println!("{name:<16} {:>6} {whole:>14.0} {parsed:>12.0} {fit:>13} {fit_of_parsed:>12}", text.len());
}

fn a_second(time: Duration) -> f64 {
    f64::from(PAIRS) / time.as_secs_f64()
}

pub(crate) const OPENAPI_JSON: &str = r##"{"openapi":"3.0.3","info":{"title":"payments","version":"1"},"paths":{"/charges":{"post":{"security":[{"token":[]}],"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Charge"}}}},"responses":{"201":{"description":"made","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Charge"}}}}}}},"/charges/{id}":{"get":{"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],"responses":{"200":{"description":"one","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Charge"}}}}}}}},"components":{"schemas":{"Charge":{"type":"object","required":["amount"],"properties":{"id":{"type":"string"},"amount":{"type":"integer","maximum":100},"state":{"type":"string","enum":["open","paid"]}}}},"securitySchemes":{"token":{"type":"http","scheme":"bearer"}}}}"##;

const OPENAPI_YAML: &str = "openapi: 3.0.3
info: {title: payments, version: '1'}
paths:
  /charges:
    post:
      security: [{token: []}]
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: '#/components/schemas/Charge'}
      responses:
        '201':
          description: made
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Charge'}
  /charges/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
      responses:
        '200':
          description: one
          content:
            application/json:
              schema: {$ref: '#/components/schemas/Charge'}
components:
  schemas:
    Charge:
      type: object
      required: [amount]
      properties:
        id: {type: string}
        amount: {type: integer, maximum: 100}
        state: {type: string, enum: [open, paid]}
  securitySchemes:
    token: {type: http, scheme: bearer}
";

const PROTOBUF: &str = r#"syntax = "proto3";
package payments.v1;
service Payments {
  rpc Charge(ChargeRequest) returns (ChargeAnswer);
  rpc Refund(RefundRequest) returns (ChargeAnswer);
}
message ChargeRequest { string order = 1; int64 amount = 2; State state = 3; }
message RefundRequest { string charge = 1; }
message ChargeAnswer { string id = 1; State state = 2; }
enum State { STATE_UNSPECIFIED = 0; STATE_OPEN = 1; STATE_PAID = 2; }
"#;

const GRAPHQL: &str = "type Query { order(id: ID!): Order orders(filter: Filter): [Order!]! }
type Mutation { cancel(id: ID!): Order }
type Order { id: ID! total: Int! state: State lines: [Line!]! }
type Line { name: String! count: Int! }
enum State { OPEN PAID }
input Filter { text: String state: State }
";
