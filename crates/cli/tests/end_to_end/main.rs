//! What must not go wrong when something else does: kills at any point, bad input of every kind, contracts that break.
//!
//! All of it with the real binary, real git repositories, real instances, real sockets. One target, so that it is linked
//! once and its support is shared.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod access;
mod acme;
mod affinity;
mod approvals;
mod artifacts;
mod backup;
mod bad_input;
mod caches;
mod calls;
mod catalogue;
mod chain_deaths;
mod check_run;
mod collect;
mod compose;
mod contracts;
mod crash;
mod crossing;
mod data;
mod database_rules;
mod databases;
mod disk_states;
mod draining;
mod explaining;
mod external;
mod faults;
mod folders;
mod forecasts;
mod foreign;
mod gateways;
mod going_back;
mod grpc;
mod host;
mod host_and_port;
mod https;
mod images;
mod instances;
mod jobs;
mod journal;
mod kept_manifests;
mod lanes;
mod limits;
mod maintenance;
mod meeting;
mod mirrors;
mod no_repository;
mod numbers;
mod passwords;
mod processes;
mod propagation;
mod readiness;
mod registries;
mod renaming;
mod repositories;
mod resources;
mod route_rules;
mod routes;
mod schedules;
mod shapes;
mod smallest;
mod static_files;
mod stopping;
mod support;
mod switching;
mod taking_over;
mod tcp;
mod tls;
mod users;
mod values;
mod verdicts;
mod visits;
mod workers;
