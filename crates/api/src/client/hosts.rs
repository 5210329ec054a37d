//! Hosts. Adding and checking one takes as long as its line needs for the program, so no time bounds their answers.

use lockstep_domain::{EnvironmentName, HostName};
use serde_json::json;

use super::{Answer, Client};
use crate::types::{
    AddHost, ChangeHost, HostFindings, HostView, PrefetchRequest, Prefetched, RemoveHost, TurnHost,
};

impl Client {
    /// Lists the hosts.
    pub fn hosts(&self) -> Answer<Vec<HostView>> {
        self.get("/hosts")
    }

    /// Looks at a host, and adds it when instances could run there.
    pub fn add_host(&self, request: &AddHost) -> Answer<HostView> {
        self.post("/hosts", request)
    }

    /// Returns a host.
    pub fn host(&self, host: &HostName) -> Answer<HostView> {
        self.get(&format!("/hosts/{host}"))
    }

    /// Changes what is decided about a host.
    pub fn change_host(&self, host: &HostName, request: &ChangeHost) -> Answer<HostView> {
        self.post(&format!("/hosts/{host}/change"), request)
    }

    /// Opens, cordons or drains a host.
    pub fn turn_host(&self, host: &HostName, request: &TurnHost) -> Answer<HostView> {
        self.post(&format!("/hosts/{host}/turn"), request)
    }

    /// Lets the server look at a host now.
    pub fn check_host(&self, host: &HostName) -> Answer<HostFindings> {
        self.post(&format!("/hosts/{host}/check"), &json!({}))
    }

    /// Takes a host from another server that has it.
    pub fn take_host_over(&self, host: &HostName) -> Answer<HostView> {
        self.post(&format!("/hosts/{host}/take-over"), &json!({}))
    }

    /// Begins to bring artifacts to where an environment runs.
    pub fn prefetch(
        &self,
        environment: &EnvironmentName,
        request: &PrefetchRequest,
    ) -> Answer<Vec<Prefetched>> {
        self.post(&format!("/environments/{environment}/prefetch"), request)
    }

    /// Returns how far artifacts have come that were asked for ahead.
    pub fn prefetched(&self, environment: &EnvironmentName) -> Answer<Vec<Prefetched>> {
        self.get(&format!("/environments/{environment}/prefetch"))
    }

    /// Removes a host; returns those that are left.
    pub fn remove_host(&self, host: &HostName, request: &RemoveHost) -> Answer<Vec<HostView>> {
        self.post(&format!("/hosts/{host}/remove"), request)
    }
}
