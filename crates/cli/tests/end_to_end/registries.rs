//! Contracts that a schema registry keeps: named in the manifest, taken at each release.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use super::support::place::Place;
use super::support::repository::{Repository, manifest, service};

/// A registry that answers every question with one schema, as long as it has one; the requests that it heard.
struct Registry {
    address: String,
    schema: Arc<Mutex<Option<String>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn open(schema: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let schema = Arc::new(Mutex::new(Some(schema.to_owned())));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, requests) = (Arc::clone(&schema), Arc::clone(&heard));
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                requests.lock().unwrap().push(head.join("\n"));
                let (status, body) = match &*kept.lock().unwrap() {
                    Some(schema) => {
                        ("200 OK", json!({"subject": "s", "id": 1, "version": 1, "schema": schema}))
                    }
                    None => ("404 Not Found", json!({"error_code": 40401, "message": "Subject not found."})),
                };
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, schema, heard }
    }

    fn keep(&self, schema: Option<&str>) {
        *self.schema.lock().unwrap() = schema.map(str::to_owned);
    }
}

fn state(symbols: &str) -> String {
    format!(
        r#"{{"type":"record","name":"shop.Order","fields":[{{"name":"state","type":{{"type":"enum","name":"State","symbols":[{symbols}]}}}}]}}"#
    )
}

fn orders(place: &Place, contract: &str, more: &str) -> Repository {
    let orders = place.repository("orders");
    orders.write(
        "lockstep.toml",
        &manifest("orders", "", &format!("{more}[contract]\navro = {{ {contract}, role = \"writer\" }}")),
    );
    orders.write("service.py", &service("orders"));
    orders
}

#[test]
fn a_schema_of_a_registry_is_taken_and_compared_at_each_release() {
    let place = Place::begin();
    let registry = Registry::open(&state("\"NEW\""));
    let contract = format!("registry = \"{}\", subject = \"orders/a-value\"", registry.address);
    let orders = orders(&place, &contract, "");
    assert_eq!(place.first_release(&orders, "orders"), "orders@1.0.0");
    let first = registry.heard.lock().unwrap()[0].clone();
    assert!(first.starts_with("GET /subjects/orders%2Fa-value/versions/latest "), "{first}");
    assert!(!first.to_ascii_lowercase().contains("authorization"), "{first}");
    // Nothing in the repository says that consumers break; the registry does.
    registry.keep(Some(&state("\"NEW\",\"PAID\"")));
    orders.write("notes.txt", "more");
    orders.commit("feat: pay");
    let refused = place.fail(&["release", "orders", "--bump", "minor"], 1);
    assert!(refused.contains("`PAID` is written"), "{refused}");
    assert_eq!(place.release("orders"), "orders@2.0.0");
    let shown = place.run(&["show", "orders@2.0.0"]);
    assert!(shown.contains(&format!("orders/a-value of {}", registry.address)), "{shown}");
    // A subject that is gone stops a release, and says how to ask.
    registry.keep(None);
    orders.write("notes.txt", "and more");
    orders.commit("fix: more");
    let gone = place.fail(&["release", "orders"], 1);
    assert!(gone.contains("the registry gave no schema of `orders/a-value`"), "{gone}");
    assert!(gone.contains("lockstep contract registry http://127.0.0.1:"), "{gone}");
}

#[test]
fn a_password_of_a_registry_comes_from_a_variable_of_the_build() {
    let place = Place::begin_asking(
        &["--build-variable", "REGISTRY_USER=orders"],
        vec![("REGISTRY_USER", "me:secret".to_owned())],
    );
    let registry = Registry::open(&state("\"NEW\""));
    let contract =
        format!("registry = \"{}\", subject = \"orders\", user = \"REGISTRY_USER\"", registry.address);
    let orders = orders(&place, &contract, "[build]\nvariables = [\"REGISTRY_USER\"]\n");
    assert_eq!(place.first_release(&orders, "orders"), "orders@1.0.0");
    let first = registry.heard.lock().unwrap()[0].to_ascii_lowercase();
    assert!(first.contains("authorization: basic bwu6c2vjcmv0"), "{first}");
}
