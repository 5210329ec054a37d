//! Contracts at work: the number that they owe, what a plan makes of them, and the answers to people.

use serde_json::{Value, json};

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

const PAYMENTS: &str = "[contract]\nopenapi = \"api/openapi.yaml\"";
const ORDERS: &str = "[requires.payments]\nversion = \">=1, <3\"\ncontract = \"clients/payments.yaml\"\n\
                      operations = [\"POST /charges\"]";
const RULE: &str = "request-required-property-added";
const PLACE: &str = "/paths/~1charges/post/requestBody/content/application~1json/schema/properties/currency";

/// Writes a contract with `POST /charges`, whose body has these properties, all required, and with more paths.
fn charges(properties: &[&str], more: &str) -> String {
    let named: String = properties.iter().map(|name| format!("{name}: {{ type: string }}, ")).collect();
    format!(
        "openapi: 3.1.0\ninfo: {{ title: Payments, version: '1' }}\npaths:\n  /charges:\n    post:\n      \
         requestBody:\n        required: true\n        content:\n          application/json:\n            schema:\n              \
         type: object\n              required: [{}]\n              properties: {{ {named} }}\n      \
         responses: {{ '201': {{ description: Charged }} }}\n{more}",
        properties.join(", ")
    )
}

const REFUNDS: &str = "  /refunds:\n    post:\n      responses: { '201': { description: Given back } }\n";

/// Payments, and orders that were built against its first version; both run.
struct Shop {
    place: Place,
    payments: Repository,
    orders: Repository,
}

impl Shop {
    fn open() -> Self {
        let place = Place::begin();
        let (payments, orders) = (place.repository("payments"), place.repository("orders"));
        payments.write("lockstep.toml", &manifest("payments", "", PAYMENTS));
        payments.write("service.py", &service("payments"));
        payments.write("api/openapi.yaml", &charges(&["order"], REFUNDS));
        orders.write("lockstep.toml", &manifest("orders", "", ORDERS));
        orders.write("service.py", &service("orders"));
        orders.write("clients/payments.yaml", &charges(&["order"], ""));
        let versions = [place.first_release(&payments, "payments"), place.first_release(&orders, "orders")];
        place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
        Self { place, payments, orders }
    }

    /// Makes payments demand a currency, under a commit that speaks of a feature.
    fn demand_currency(&self) {
        self.payments.write("api/openapi.yaml", &charges(&["order", "currency"], REFUNDS));
        self.payments.commit("feat: take a currency");
    }

    /// Makes payments demand a currency in 2.0.0, and orders send it in 1.1.0.
    fn move_on(&self) {
        self.demand_currency();
        assert_eq!(self.place.release("payments"), "payments@2.0.0");
        self.orders.write("clients/payments.yaml", &charges(&["order", "currency"], ""));
        self.orders.commit("feat: send a currency");
        assert_eq!(self.place.release("orders"), "orders@1.1.0");
    }

    fn can_i(&self, what: &str, version: &str, expected: i32) -> Value {
        self.place.json_ending(&[what, version, "--env", ENVIRONMENT], expected)
    }
}

/// What each check of an answer is about, and its verdict.
fn checks(answer: &Value) -> Value {
    let of = |check: &Value| json!([check["relation"], check["service"], check["version"], check["verdict"]]);
    answer["checks"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_number_too_small_is_refused_with_what_would_fail_and_whom_it_hurts() {
    let shop = Shop::open();
    shop.demand_currency();
    let refused = shop.place.fail(&["release", "payments", "--bump", "minor"], 1);
    for words in [
        "payments 1.1.0 would be too small a number: it is a minor step from 1.0.0, and its contracts owe a major one",
        "api/openapi.yaml:13: ",
        "`currency`",
        "for example {\"method\":\"POST\",\"path\":\"/charges\"",
        "`orders@1.0.0` in development would break",
        "lockstep release payments --bump major",
        &format!("rule = \"{RULE}\", place = \"{PLACE}\""),
    ] {
        assert!(refused.contains(words), "`{words}` is not in:\n{refused}");
    }
    let build = shop.place.json_ending(&["release", "payments", "--bump", "minor"], 1);
    assert_eq!((&build["state"], &build["version"]), (&json!("failed"), &Value::Null), "{build:#}");
    assert_eq!(build["problem"]["problems"][0]["file"], "api/openapi.yaml", "{build:#}");
    assert_eq!(build["problem"]["problems"][0]["line"], 13, "{build:#}");
}

#[test]
fn an_accepted_break_may_have_the_number_but_not_the_environment() {
    let shop = Shop::open();
    shop.demand_currency();
    let accept = |until: &str| {
        let accepted = format!(
            "{PAYMENTS}\n\n[[contract.accept]]\nrule = \"{RULE}\"\nplace = \"{PLACE}\"\n\
             reason = \"orders comes next week\"\nuntil = {until}"
        );
        shop.payments.write("lockstep.toml", &manifest("payments", "", &accepted));
        shop.payments.commit("chore: accept it");
    };
    accept("2020-01-31");
    shop.place.fail(&["release", "payments", "--bump", "minor"], 1);
    accept("9999-12-31");
    let build = shop.place.json(&["release", "payments", "--bump", "minor"]);
    assert_eq!(build["version"], "1.1.0", "{build:#}");
    let warnings = build["warnings"].to_string();
    assert!(
        warnings.contains("an accepted break since 1.0.0: ") && warnings.contains("orders comes next week"),
        "{warnings}"
    );
    let shown = shop.place.run(&["show", "payments@1.1.0"]);
    assert!(shown.contains(&format!("accepted: {RULE} at {PLACE}: orders comes next week")), "{shown}");
    let refused = shop.place.fail(&["deploy", "payments@1.1.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains("`orders@1.0.0` does not work with payments 1.1.0"), "{refused}");
    assert!(refused.contains("lockstep compat orders payments"), "{refused}");
}

#[test]
fn contracts_raise_the_number_that_commits_owe() {
    let shop = Shop::open();
    let more =
        format!("{REFUNDS}  /receipts:\n    get:\n      responses: {{ '200': {{ description: All }} }}\n");
    shop.payments.write("api/openapi.yaml", &charges(&["order"], &more));
    shop.payments.commit("fix: show receipts");
    let build = shop.place.json(&["release", "payments"]);
    assert_eq!(build["version"], "1.1.0", "{build:#}");
    assert_eq!(
        build["warnings"][0], "1.1.0 is a minor step because of its contracts; its commits say patch",
        "{build:#}"
    );
    shop.payments.write("api/openapi.yaml", &charges(&["order"], ""));
    shop.payments.commit("fix: tidy up");
    assert_eq!(shop.place.release("payments"), "payments@2.0.0");
    // Orders never gave money back, so the break is none of theirs.
    assert_eq!(shop.can_i("can-i-deploy", "payments@2.0.0", 0)["verdict"], "compatible");
}

#[test]
fn below_one_a_break_owes_the_second_number_and_an_addition_is_nothing_to_accept() {
    let place = Place::begin();
    let payments = place.repository("payments");
    payments.write("lockstep.toml", &manifest("payments", "", PAYMENTS));
    payments.write("api/openapi.yaml", &charges(&["order"], ""));
    payments.commit("feat: begin");
    place.run(&["service", "add", payments.folder()]);
    assert_eq!(place.json(&["release", "payments", "--bump", "minor"])["version"], "0.1.0");

    payments.write("api/openapi.yaml", &charges(&["order"], REFUNDS));
    payments.commit("feat: give money back");
    let refused = place.fail(&["release", "payments", "--bump", "patch"], 1);
    assert!(
        refused.contains("0.1.1 would be too small a number") && refused.contains("POST /refunds"),
        "{refused}"
    );
    assert!(refused.contains("--bump minor") && !refused.contains("accept"), "{refused}");
    assert_eq!(place.release("payments"), "payments@0.2.0");

    payments.write("api/openapi.yaml", &charges(&["order"], ""));
    payments.commit("fix: tidy up");
    let refused = place.fail(&["release", "payments", "--bump", "patch"], 1);
    assert!(refused.contains("its contracts owe a minor one") && !refused.contains("accept"), "{refused}");
    let build = place.json(&["release", "payments"]);
    assert_eq!(build["version"], "0.3.0", "{build:#}");
    assert_eq!(build["warnings"][0], "0.3.0 is a minor step because of its contracts; its commits say patch");
}

#[test]
fn a_contract_that_cannot_be_read_stops_the_release_with_file_and_line() {
    let shop = Shop::open();
    shop.payments.write("api/openapi.yaml", "openapi: 3.1.0\npaths:\n  /charges:\n    post: [\n");
    shop.payments.commit("feat: half a contract");
    let refused = shop.place.fail(&["release", "payments"], 1);
    assert!(refused.contains("api/openapi.yaml:5: `contract.openapi`: not valid YAML"), "{refused}");
    let versions = shop.place.json(&["show", "payments"]);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1, "{versions:#}");
}

#[test]
fn plans_and_answers_follow_the_contracts() {
    let shop = Shop::open();
    shop.move_on();
    let matrix = &shop.place.json(&["compat", "orders", "payments"])[0];
    let cells = |row: usize| -> Value {
        let cells = matrix["rows"][row]["cells"].as_array().unwrap();
        cells.iter().map(|cell| json!([cell["verdict"], cell["basis"]])).collect()
    };
    let (yes, no) = (["compatible", "contract"], ["breaking", "contract"]);
    assert_eq!(matrix["providers"], json!(["2.0.0", "1.0.0"]));
    assert_eq!(cells(0), json!([yes, yes]));
    assert_eq!(cells(1), json!([no, yes]));

    // The range of orders 1.0.0 promises payments 2, and its contract knows better.
    let answer = shop.can_i("can-i-deploy", "payments@2.0.0", 1);
    assert_eq!((&answer["verdict"], &answer["live"]), (&json!("breaking"), &json!("1.0.0")));
    assert_eq!(checks(&answer), json!([["consumer", "orders", "1.0.0", "breaking"]]));
    let refused = shop.place.fail(&["deploy", "payments@2.0.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains("`orders@1.0.0` does not work with payments 2.0.0"), "{refused}");

    let both = ["deploy", "payments@2.0.0", "orders@1.1.0", "--env", ENVIRONMENT];
    let plan = shop.place.json(&[&both[..], &["--dry-run"]].concat());
    let waves = &plan["plan"]["waves"];
    assert_eq!((&waves[0][0]["service"], &waves[1][0]["service"]), (&json!("orders"), &json!("payments")));
    shop.place.run(&both);

    let answer = shop.can_i("can-i-roll-back", "payments", 0);
    assert_eq!(checks(&answer), json!([["consumer", "orders", "1.1.0", "compatible"]]));
    let answer = shop.can_i("can-i-roll-back", "orders", 1);
    assert_eq!(answer["version"], "orders@1.0.0");
    assert_eq!(checks(&answer), json!([["provider", "payments", "2.0.0", "breaking"]]));
    shop.place.fail(&["can-i-deploy", "payments@9.9.9", "--env", ENVIRONMENT], 4);
}

#[test]
fn without_a_contract_of_the_provider_a_range_is_a_promise_and_its_absence_is_not_checked() {
    let shop = Shop::open();
    shop.payments.write("lockstep.toml", &manifest("payments", "", ""));
    shop.payments.commit("feat: no contract any more");
    let build = shop.place.json(&["release", "payments"]);
    assert!(
        build["warnings"]
            .to_string()
            .contains("cannot be checked with this contract any more: api/openapi.yaml is gone"),
        "{build:#}"
    );
    let answer = shop.can_i("can-i-deploy", "payments@1.1.0", 0);
    assert_eq!(answer["checks"][0]["basis"], "range", "{answer:#}");
    let shown = shop.place.run(&["compat", "orders", "payments"]);
    assert!(shown.contains("yes*") && shown.contains("* by the declared range"), "{shown}");

    let without_range = ORDERS.replace("version = \">=1, <3\"\n", "");
    shop.orders.write("lockstep.toml", &manifest("orders", "", &without_range));
    shop.orders.commit("feat: promise nothing");
    assert_eq!(shop.place.release("orders"), "orders@1.1.0");
    shop.place.run(&["deploy", "orders@1.1.0", "--env", ENVIRONMENT]);
    let answer = shop.can_i("can-i-deploy", "payments@1.1.0", 3);
    assert_eq!(answer["verdict"], "not_checked", "{answer:#}");
    let refused = shop.place.fail(&["deploy", "payments@1.1.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains("whether `orders@1.1.0` works with payments 1.1.0 is not known"), "{refused}");
}

#[test]
fn operations_that_the_provider_does_not_have_are_refused_with_the_nearest_name() {
    let shop = Shop::open();
    let wrong = ORDERS.replace("POST /charges", "POST /charge");
    shop.orders.write("lockstep.toml", &manifest("orders", "", &wrong));
    shop.orders.commit("feat: call what is not there");
    let refused = shop.place.fail(&["release", "orders"], 1);
    assert!(refused.contains("clients/payments.yaml: `requires.payments.contract`"), "{refused}");
    assert!(refused.contains("did you mean `POST /charges`?"), "{refused}");

    let unwritten = wrong.replace("contract = \"clients/payments.yaml\"\n", "");
    shop.orders.write("lockstep.toml", &manifest("orders", "", &unwritten));
    shop.orders.commit("feat: call it without a contract");
    let refused = shop.place.fail(&["release", "orders"], 1);
    assert!(refused.contains("`POST /charge` is no operation of payments 1.0.0"), "{refused}");
    assert!(refused.contains("did you mean `POST /charges`?"), "{refused}");

    let right = unwritten.replace("POST /charge", "POST /charges");
    shop.orders.write("lockstep.toml", &manifest("orders", "", &right));
    shop.orders.commit("feat: call what is there");
    assert_eq!(shop.place.release("orders"), "orders@1.1.0");
    let shown = shop.place.json(&["show", "orders@1.1.0"]);
    let contract = &shown["requires"]["payments"]["contract"];
    assert_eq!(
        (&contract["name"], &contract["version"]),
        (&json!("api/openapi.yaml"), &json!("1.0.0")),
        "{shown:#}"
    );
}

#[test]
fn going_back_over_a_migration_that_dropped_a_column_is_warned_of() {
    let place = Place::begin();
    let stock = place.repository("stock");
    let sql = "[contract]\nsql = { path = \"migrations\", dialect = \"sqlite\" }";
    stock.write("lockstep.toml", &manifest("stock", "", sql));
    stock.write("service.py", &service("stock"));
    stock.write("migrations/001-items.sql", "CREATE TABLE items (id INTEGER PRIMARY KEY, place TEXT);\n");
    let first = place.first_release(&stock, "stock");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);

    stock.write("migrations/002-colour.sql", "ALTER TABLE items ADD COLUMN colour TEXT;\n");
    stock.commit("feat: know colours");
    assert_eq!(place.release("stock"), "stock@1.1.0");
    let answer = place.json(&["can-i-deploy", "stock@1.1.0", "--env", ENVIRONMENT]);
    assert_eq!(
        (&answer["verdict"], &answer["back"]["verdict"]),
        (&json!("compatible"), &json!("compatible"))
    );
    place.run(&["deploy", "stock@1.1.0", "--env", ENVIRONMENT]);

    stock.write("migrations/003-no-place.sql", "ALTER TABLE items DROP COLUMN place;\n");
    stock.commit("fix: forget places");
    assert_eq!(place.release("stock"), "stock@2.0.0");
    let answer = place.json_ending(&["can-i-deploy", "stock@2.0.0", "--env", ENVIRONMENT], 1);
    assert_eq!(answer["back"]["verdict"], "breaking", "{answer:#}");
    place.run(&["deploy", "stock@2.0.0", "--env", ENVIRONMENT]);

    let answer = place.json_ending(&["can-i-roll-back", "stock", "--env", ENVIRONMENT], 1);
    assert_eq!(checks(&answer), json!([["database", "stock", "2.0.0", "breaking"]]));
    assert_eq!((&answer["version"], &answer["back"]), (&json!("stock@1.1.0"), &Value::Null), "{answer:#}");
    let back = ["rollback", "stock", "--to", "1.1.0", "--env", ENVIRONMENT, "--dry-run"];
    let plan = place.json(&back);
    assert_eq!(
        plan["plan"]["warnings"][0],
        "1.1.0 does not work on the database as stock 2.0.0 leaves it, which stays when code goes back: column `items.place` is gone",
        "{plan:#}"
    );
}

#[test]
fn a_release_that_loses_data_is_no_patch_and_everybody_is_told_what_does_not_come_back() {
    let place = Place::begin();
    let stock = place.repository("stock");
    let sql = "[contract]\nsql = { path = \"migrations\", dialect = \"postgresql\" }";
    stock.write("lockstep.toml", &manifest("stock", "", sql));
    stock.write("service.py", &service("stock"));
    stock.write("migrations/001-items.sql", "CREATE TABLE items (id bigint PRIMARY KEY, place text);\n");
    let first = place.first_release(&stock, "stock");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);

    let anew =
        "ALTER TABLE items DROP COLUMN place;\nALTER TABLE items ADD COLUMN place text;\nTRUNCATE items;\n";
    stock.write("migrations/002-anew.sql", anew);
    stock.commit("fix: begin anew");
    assert_eq!(place.release("stock"), "stock@2.0.0");

    let lost =
        "going back does not bring back the values of `items.place`, lost by migrations/002-anew.sql:1";
    let removed =
        "going back does not bring back the values of `items.id`, removed by migrations/002-anew.sql:3";
    let answer = place.json_ending(&["can-i-deploy", "stock@2.0.0", "--env", ENVIRONMENT], 1);
    assert_eq!(answer["warnings"], json!([removed, lost]), "{answer:#}");
    let plan = place.json(&["deploy", "stock@2.0.0", "--env", ENVIRONMENT, "--dry-run"]);
    let warnings = plan["plan"]["warnings"].as_array().unwrap();
    assert!(warnings.contains(&json!(format!("stock 2.0.0: {lost}"))), "{plan:#}");
    place.run(&["deploy", "stock@2.0.0", "--env", ENVIRONMENT]);
    let answer = place.json_ending(&["can-i-roll-back", "stock", "--env", ENVIRONMENT], 1);
    assert_eq!(answer["warnings"], json!([removed, lost]), "{answer:#}");
}

/// An Avro schema of an order with these states.
fn order(states: &str) -> String {
    format!(
        "{{\"type\": \"record\", \"name\": \"shop.Order\", \"fields\": [{{\"name\": \"state\", \"type\": \
         {{\"type\": \"enum\", \"name\": \"State\", \"symbols\": [{states}]}}}}]}}"
    )
}

#[test]
fn messages_of_a_version_that_went_back_are_asked_about_as_long_as_they_are_kept() {
    let place = Place::begin();
    let (orders, mail) = (place.repository("orders"), place.repository("mail"));
    let contract =
        "[contract]\navro = { path = \"events/order.avsc\", role = \"writer\" }\nretention = \"7d\"";
    orders.write("lockstep.toml", &manifest("orders", "", contract));
    orders.write("service.py", &service("orders"));
    orders.write("events/order.avsc", &order("\"NEW\""));
    mail.write("lockstep.toml", &manifest("mail", "", "[requires.orders]\ncontract = \"events/order.avsc\""));
    mail.write("service.py", &service("mail"));
    mail.write("events/order.avsc", &order("\"NEW\""));
    let versions = [place.first_release(&orders, "orders"), place.first_release(&mail, "mail")];
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);

    orders.write("events/order.avsc", &order("\"NEW\", \"PAID\""));
    orders.commit("feat: say what is paid");
    assert_eq!(place.release("orders"), "orders@2.0.0");
    let refused = place.fail(&["deploy", "orders@2.0.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains("`mail@1.0.0` does not work with orders 2.0.0: `PAID` is written"), "{refused}");

    mail.write("events/order.avsc", &order("\"NEW\", \"PAID\""));
    mail.commit("feat: mail what is paid");
    let mail_next = place.release("mail");
    place.run(&["deploy", &mail_next, "orders@2.0.0", "--env", ENVIRONMENT]);
    place.run(&["rollback", "orders", "--to", "1.0.0", "--env", ENVIRONMENT]);

    let answer = place.json_ending(&["can-i-roll-back", "mail", "--env", ENVIRONMENT], 1);
    let kept = json!(["messages", "orders", "2.0.0", "breaking"]);
    assert!(checks(&answer).as_array().unwrap().contains(&kept), "{answer:#}");
    let refused = place.fail(&["deploy", "mail@1.0.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains("a message of the time of `orders@2.0.0`"), "{refused}");
    // Going back is never kept from anybody by a message that may not be there.
    place.run(&["rollback", "mail", "--to", "1.0.0", "--env", ENVIRONMENT]);
}
