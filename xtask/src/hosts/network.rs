//! The network of a set: a bridge in a namespace of its own, of which the machine sees one interface.
//!
//! So no bridge, rule or address of the machine is touched, and with the namespace all of it is gone.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::name::{PREFIX, SetName};
use super::set::Set;
use super::subnet::{self, LENGTH, Subnet};
use super::tool;

/// The bridge, within the namespace.
pub(crate) const BRIDGE: &str = "bridge";
/// The other end of the machine's interface, within the namespace.
const TO_MACHINE: &str = "machine";

/// Chooses a network that nothing on this machine uses.
pub(crate) fn free_subnet(sets: &[Set]) -> Result<Subnet> {
    let taken: Vec<Subnet> = sets.iter().filter_map(|set| set.subnet().ok()).collect();
    let routes = tool::json(&["ip", "-j", "-4", "route", "show", "table", "all"])?;
    Subnet::first_free(&taken, &subnet::prefixes(&routes)).context(
        "all of 10.213.0.0/24 to 10.213.31.0/24 is in use on this machine (`ip route show table all`)",
    )
}

/// The mark on the machine's interface, set when everything else is done.
fn mark(set: &SetName) -> String {
    set.namespace()
}

/// Says whether the network was made to its end.
pub(crate) fn is_whole(set: &SetName, subnet: Subnet) -> bool {
    let interface = subnet.interface();
    let link = tool::json(&["ip", "-j", "link", "show", "dev", &interface]);
    link.is_ok_and(|link| link[0]["ifalias"] == mark(set).as_str()) && namespaces().contains(&set.namespace())
}

/// Makes the network of a set, after what is left of one was removed.
pub(crate) fn make(set: &SetName, subnet: Subnet) -> Result<()> {
    steps(set, subnet).iter().try_for_each(|step| {
        let words: Vec<&str> = std::iter::once("ip").chain(step.split(' ')).collect();
        tool::run(&words).map(drop)
    })
}

/// What is said to `ip`, in this order.
fn steps(set: &SetName, subnet: Subnet) -> Vec<String> {
    let (namespace, interface) = (set.namespace(), subnet.interface());
    let machine = subnet.of_machine();
    vec![
        format!("netns add {namespace}"),
        format!("-n {namespace} link add {BRIDGE} type bridge"),
        // Only hosts have addresses here, and the bridge is no host.
        format!("-n {namespace} link set {BRIDGE} addrgenmode none up"),
        format!("link add {interface} type veth peer name {TO_MACHINE} netns {namespace}"),
        format!("-n {namespace} link set {TO_MACHINE} addrgenmode none master {BRIDGE} up"),
        format!("link set {interface} addrgenmode none up"),
        format!("address add {machine}/{LENGTH} dev {interface}"),
        format!("link set {interface} alias {}", mark(set)),
    ]
}

/// Cuts all hosts of a set off at once.
pub(crate) fn unplug_all(set: &SetName) -> Result<()> {
    if !namespaces().contains(&set.namespace()) {
        return Ok(());
    }
    let namespace = set.namespace();
    let links = tool::json(&["ip", "-j", "-n", &namespace, "link", "show", "type", "veth"])?;
    for link in names(&links) {
        // The other end of one that was deleted is gone as well; what stays goes with the namespace.
        tool::succeeds(&["ip", "-n", &namespace, "link", "delete", link]);
    }
    Ok(())
}

fn names(links: &Value) -> Vec<&str> {
    let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
    links.iter().filter_map(|link| link["ifname"].as_str()).collect()
}

/// Removes the namespaces of a set and of its hosts, with all interfaces.
pub(crate) fn remove(set: &SetName) -> Result<()> {
    let ours = namespaces().into_iter().filter(|name| SetName::of(name).as_ref() == Some(set));
    ours.into_iter().try_for_each(|name| remove_namespace(&name))
}

/// Removes a namespace if it is there.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    if namespaces().iter().any(|one| one == name) {
        tool::run(&["ip", "netns", "delete", name])?;
    }
    Ok(())
}

/// The network namespaces of all sets and hosts.
pub(crate) fn namespaces() -> Vec<String> {
    let listed = tool::run(&["ip", "netns", "list"]).unwrap_or_default();
    ours(&listed)
}

/// Reads what `ip netns list` says: a name and perhaps an identifier on each line.
fn ours(listed: &str) -> Vec<String> {
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_gets_one_interface_and_everything_else_is_in_the_namespace() {
        let set: SetName = "try".parse().unwrap();
        let steps = steps(&set, Subnet::numbered(2));
        let outside: Vec<&String> =
            steps.iter().filter(|step| !step.starts_with("-n lockstep-hosts-try ")).collect();
        assert_eq!(
            outside,
            [
                "netns add lockstep-hosts-try",
                "link add lsh2 type veth peer name machine netns lockstep-hosts-try",
                "link set lsh2 addrgenmode none up",
                "address add 10.213.2.1/24 dev lsh2",
                "link set lsh2 alias lockstep-hosts-try",
            ]
        );
    }

    #[test]
    fn only_namespaces_of_ours_are_ours() {
        let listed = "lockstep-hosts-a-web1 (id: 3)\ncni-1234\nlockstep-hosts-a (id: 0)\nlockstep\n";
        assert_eq!(ours(listed), ["lockstep-hosts-a-web1", "lockstep-hosts-a"]);
    }
}
