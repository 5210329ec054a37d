//! Names of services in paths: a former name means the service that was called so.

use lockstep_domain::name::{JobName, ResourceName};
use lockstep_domain::{
    CertificateName, Digest, EnvironmentName, GatewayName, HostName, InstanceId, LaneName, OperationId,
    ServiceName, VersionNumber, WatchingName, World,
};

/// A parameter of a path, or several.
pub(crate) trait Named {
    /// Returns it with the present names of services.
    #[must_use]
    fn named_now(self, world: &World) -> Self;
}

impl Named for ServiceName {
    fn named_now(self, world: &World) -> Self {
        world.current_name(&self).clone()
    }
}

macro_rules! no_service {
    ($($name:ty),*) => {
        $(impl Named for $name {
            fn named_now(self, _: &World) -> Self {
                self
            }
        })*
    };
}

no_service!(
    CertificateName,
    Digest,
    EnvironmentName,
    GatewayName,
    HostName,
    InstanceId,
    JobName,
    LaneName,
    OperationId,
    ResourceName,
    String,
    VersionNumber,
    WatchingName
);

impl<A: Named, B: Named> Named for (A, B) {
    fn named_now(self, world: &World) -> Self {
        (self.0.named_now(world), self.1.named_now(world))
    }
}

impl<A: Named, B: Named, C: Named> Named for (A, B, C) {
    fn named_now(self, world: &World) -> Self {
        (self.0.named_now(world), self.1.named_now(world), self.2.named_now(world))
    }
}
