//! What tests of several files begin with.

use lockstep_domain::{Arm, ConfigRevision, Instance, InstanceState, Timestamp, VersionNumber};

/// Returns a version of a service without a configuration of its own.
pub(crate) fn arm(service: &str) -> Arm {
    Arm {
        service: service.parse().unwrap(),
        version: VersionNumber::new(1, 0, 0),
        config: ConfigRevision(0),
        process: None,
    }
}

/// Returns an instance of `orders` in `production`, on the machine of the server.
pub(crate) fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        id: id.parse().unwrap(),
        environment: "production".parse().unwrap(),
        arm: arm("orders"),
        state,
        address: None,
        since: Timestamp(0),
        restarts: 0,
        job: None,
        resource: None,
        host: None,
    }
}
