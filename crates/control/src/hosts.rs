//! Hosts: adding, changing, turning and removing them.

use lockstep_api::Problem;
use lockstep_api::types::{AddHost, ChangeHost, HostFindings, HostView, RemoveHost, TurnHost};
use lockstep_domain::{Actor, HostName};

use crate::Control;

impl Control {
    /// Lists the hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        Vec::new()
    }

    /// Shows a host.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn host(&self, _name: &HostName) -> Result<HostView, Problem> {
        unimplemented!()
    }

    /// Looks at a host, and adds it when instances could run there.
    ///
    /// # Errors
    /// When it cannot be reached or used, with everything that is in the way; or there is one of that name.
    pub async fn add_host(&self, _actor: &Actor, _request: &AddHost) -> Result<HostView, Problem> {
        unimplemented!()
    }

    /// Changes what is decided about a host.
    ///
    /// # Errors
    /// When there is none of that name, or the change does not hold.
    pub async fn change_host(
        &self,
        _actor: &Actor,
        _name: &HostName,
        _request: &ChangeHost,
    ) -> Result<HostView, Problem> {
        unimplemented!()
    }

    /// Opens, cordons or drains a host.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn turn_host(&self, _actor: &Actor, _name: &HostName, _request: &TurnHost) -> Result<HostView, Problem> {
        unimplemented!()
    }

    /// Looks at a host now.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be reached.
    pub async fn check_host(&self, _name: &HostName) -> Result<HostFindings, Problem> {
        unimplemented!()
    }

    /// Takes a host from the server that has it: a person said so.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn take_host_over(&self, _actor: &Actor, _name: &HostName) -> Result<HostView, Problem> {
        unimplemented!()
    }

    /// Removes a host on which nothing runs.
    ///
    /// # Errors
    /// When there is none of that name, or something runs there, with what it is.
    pub fn remove_host(&self, _actor: &Actor, _name: &HostName, _request: &RemoveHost) -> Result<Vec<HostView>, Problem> {
        unimplemented!()
    }
}
