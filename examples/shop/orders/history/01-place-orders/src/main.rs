//! Takes orders. Reads PORT, HOST, LOCKSTEP_VERSION, LOCKSTEP_URL_CATALOG and LOCKSTEP_URL_PAYMENTS.

#![deny(unsafe_code)]

mod client;
#[cfg(test)]
mod contract;
mod grpc;
mod http;
mod json;
mod orders;
mod protobuf;
mod server;
mod signal;

use std::env;
use std::io;
use std::net::TcpListener;

use client::Services;
use orders::Orders;

fn main() -> io::Result<()> {
    let variable = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let version = variable("LOCKSTEP_VERSION", "unreleased");
    let address = format!("{}:{}", variable("HOST", "127.0.0.1"), variable("PORT", "8080"));
    let services = Services {
        catalog: variable("LOCKSTEP_URL_CATALOG", "http://127.0.0.1:8500/@catalog"),
        payments: variable("LOCKSTEP_URL_PAYMENTS", "http://127.0.0.1:8500/@payments"),
    };
    signal::watch();
    let listener = TcpListener::bind(&address)?;
    eprintln!("orders@{version} listens on {address}");
    server::serve(listener, Orders::new(format!("orders@{version}")), services)
}
