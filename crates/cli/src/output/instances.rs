//! Instances in tables.

use lockstep_domain::{Instance, InstanceState};

use super::style::Style;
use super::table::Table;

/// Instances of one environment; where one of them is on a host, each says on which.
pub(crate) fn of_environment(instances: &[&Instance], style: &Style) -> Table {
    if instances.iter().all(|instance| instance.host.is_none()) {
        let mut table = Table::new(["INSTANCE", "STATE", "ADDRESS", "SINCE", "RESTARTS"]);
        for it in instances {
            table.row([id(it), state(&it.state), address(it), style.ago(it.since), it.restarts.to_string()]);
        }
        return table;
    }
    let mut table = Table::new(["INSTANCE", "STATE", "HOST", "ADDRESS", "SINCE", "RESTARTS"]);
    for it in instances {
        let (since, restarts) = (style.ago(it.since), it.restarts.to_string());
        table.row([id(it), state(&it.state), host(it), address(it), since, restarts]);
    }
    table
}

/// Instances of one host.
pub(crate) fn of_host<'a>(instances: impl Iterator<Item = &'a Instance>, style: &Style) -> Table {
    let mut table = Table::new(["INSTANCE", "ENVIRONMENT", "STATE", "ADDRESS", "SINCE", "RESTARTS"]);
    for it in instances {
        let (since, restarts) = (style.ago(it.since), it.restarts.to_string());
        table.row([id(it), it.environment.to_string(), state(&it.state), address(it), since, restarts]);
    }
    table
}

fn id(instance: &Instance) -> String {
    instance.id.to_string()
}

/// On which host it is; the machine of the server has no name, and what found no place is nowhere.
fn host(instance: &Instance) -> String {
    match (&instance.host, instance.address) {
        (Some(host), _) => host.to_string(),
        (None, Some(_)) => "the server's".to_owned(),
        (None, None) => String::new(),
    }
}

fn address(instance: &Instance) -> String {
    instance.address.map_or_else(String::new, |address| address.to_string())
}

fn state(state: &InstanceState) -> String {
    let what = state.what_happened().unwrap_or_default();
    match state {
        InstanceState::Starting => "starting".into(),
        InstanceState::Healthy => "healthy".into(),
        InstanceState::Unhealthy { .. } => format!("unhealthy: {what}"),
        InstanceState::Stopping => "stopping".into(),
        InstanceState::Stopped => "stopped".into(),
        InstanceState::Completed => "completed".into(),
        InstanceState::Failed { .. } => format!("failed: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{Arm, ConfigRevision, Timestamp, VersionNumber};

    use super::*;

    fn instance(id: &str, host: Option<&str>) -> Instance {
        Instance {
            id: id.parse().unwrap(),
            environment: "production".parse().unwrap(),
            arm: Arm {
                service: "orders".parse().unwrap(),
                version: VersionNumber::new(1, 4, 0),
                config: ConfigRevision(0),
                process: None,
            },
            state: InstanceState::Healthy,
            address: Some("10.0.0.5:20000".parse().unwrap()),
            since: Timestamp(0),
            restarts: 0,
            job: None,
            resource: None,
            host: host.map(|host| host.parse().unwrap()),
        }
    }

    #[test]
    fn a_host_is_named_where_one_instance_is_on_one_and_nowhere_else() {
        let style = Style::plain();
        let (on_host, on_server) = (instance("orders-a", Some("web1")), instance("orders-b", None));
        assert_eq!(
            of_environment(&[&on_server], &style).render(&style),
            "INSTANCE  STATE    ADDRESS         SINCE     RESTARTS\n\
             orders-b  healthy  10.0.0.5:20000  just now  0\n"
        );
        assert_eq!(
            of_environment(&[&on_host, &on_server], &style).render(&style),
            "INSTANCE  STATE    HOST          ADDRESS         SINCE     RESTARTS\n\
             orders-a  healthy  web1          10.0.0.5:20000  just now  0\n\
             orders-b  healthy  the server's  10.0.0.5:20000  just now  0\n"
        );
        let nowhere = Instance { address: None, ..on_server };
        let text = of_environment(&[&on_host, &nowhere], &style).render(&style);
        assert!(text.ends_with("orders-b  healthy                        just now  0\n"), "{text}");
    }
}
