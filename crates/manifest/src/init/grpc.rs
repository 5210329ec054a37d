//! Services that answer calls of gRPC: known by what makes a server in their languages.

use lockstep_domain::run::{HealthCheck, Probe};

use super::{Draft, RepositoryView};

/// What makes a server in Python, Node, Go, Rust, .NET and Java.
const SERVERS: [&str; 9] = [
    "grpc.server(",
    "grpc.aio.server(",
    "new grpc.Server(",
    "grpc.NewServer(",
    "tonic::transport::Server",
    "MapGrpcService<",
    "import io.grpc.Server;",
    "import io.grpc.ServerBuilder;",
    "NettyServerBuilder",
];
/// What says that the server has the health service.
const HEALTH: [&str; 7] = [
    "grpc_health",
    "grpc.health.v1",
    "grpc/health",
    "tonic_health",
    "AddGrpcHealthChecks",
    "HealthStatusManager",
    "grpc-js-health-check",
];

/// Tells whether it answers calls of gRPC.
pub(super) fn serves(view: &RepositoryView) -> bool {
    SERVERS.iter().any(|sign| view.mentions(sign))
}

/// Says how it is asked for its health.
pub(super) fn health(view: &RepositoryView, draft: &mut Draft) -> HealthCheck {
    if HEALTH.iter().any(|sign| view.mentions(sign)) {
        draft.assume("it has the health service of gRPC, and that says whether an instance is healthy");
        return HealthCheck::new(Probe::Grpc { service: String::new() });
    }
    draft.assume(
        "it answers calls of gRPC, and an instance counts as healthy when its port accepts connections",
    );
    HealthCheck::new(Probe::Tcp)
}
