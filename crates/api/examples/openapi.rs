//! Prints the OpenAPI document; `cargo xtask openapi` writes it to `crates/api/openapi.json`.

fn main() {
    let document = serde_json::to_string_pretty(&lockstep_api::endpoints::openapi()).unwrap_or_default();
    println!("{document}");
}
