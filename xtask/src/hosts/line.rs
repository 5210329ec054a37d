//! The line between a host and the bridge: plugged in, cut, slow, or gone with the host.
//!
//! A slow line has a program in the middle (`wire.py`), between the host's port and a port that is made for it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::network::{self, BRIDGE};
use super::process;
use super::set::Place;
use super::tool;
use crate::processes::{Signal, signal};

const WIRE: &str = include_str!("wire.py");
/// The longest delay that makes sense; a host behind a longer one cannot be told from one that is gone.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How many packets Linux sends as one where nobody says otherwise.
const SEGMENTS: u32 = 65_535;
/// How long the program in the middle has to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Frames go both ways.
    Open,
    /// They go, with delay or loss.
    Slow,
    /// None goes, and nobody is told.
    Cut,
    /// There is none: the host is off.
    None,
}

/// A share of packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss(f64);

/// Reads `2%`.
pub(crate) fn loss(text: &str) -> Result<Loss, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| Loss(percent / 100.0)).ok_or_else(|| "a loss is written as `2%`".to_owned())
}

/// Reads `200ms` or `1.5s`.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_suffix("ms") {
        Some(number) => number.parse::<f64>().map(|ms| ms / 1000.0).ok(),
        None => text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok()),
    };
    let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    delay
        .filter(|delay| *delay <= LONGEST_DELAY)
        .ok_or_else(|| "a delay is written as `200ms` or `1.5s`, up to 60s".to_owned())
}

/// Makes the namespace of a host and the line from there to the bridge.
pub(crate) fn plug(place: &Place) -> Result<()> {
    plug_steps(place).iter().try_for_each(|step| ip(step))
}

fn plug_steps(place: &Place) -> [String; 3] {
    let (namespace, bridge, port) = (place.machine(), place.set.name().namespace(), place.host.port());
    let hardware = place.host.hardware_address();
    [
        format!("netns add {namespace}"),
        // The host itself gives its end an address when it boots, and takes it away when it ends in good order.
        format!("-n {bridge} link add {port} type veth peer name eth0 address {hardware} netns {namespace}"),
        format!("-n {bridge} link set {port} addrgenmode none master {BRIDGE} up"),
    ]
}

/// Pulls the line out; what is under way is lost.
pub(crate) fn unplug(place: &Place) -> Result<()> {
    let links = links(place);
    for port in [place.host.port(), slow_port(place)].iter().filter(|port| find(&links, port).is_some()) {
        ip(&format!("-n {} link delete {port}", place.set.name().namespace()))?;
    }
    Ok(())
}

/// Removes the namespace of a host, when no process is left in it.
pub(crate) fn remove(place: &Place) -> Result<()> {
    network::remove_namespace(&place.machine())
}

/// How the line of a host is.
pub(crate) fn state(place: &Place) -> State {
    let links = links(place);
    if find(&links, &place.host.port()).is_none() {
        return State::None;
    }
    let slow = find(&links, &slow_port(place)).is_some();
    match find(&links, &port_at_bridge(place, &links)) {
        Some(link) if link["master"] != BRIDGE => State::Cut,
        _ if slow => State::Slow,
        _ => State::Open,
    }
}

/// Takes the port off the bridge: neither side is told, so connections stay and hear nothing.
pub(crate) fn cut(place: &Place) -> Result<()> {
    ensure_plugged(place)?;
    let port = port_at_bridge(place, &links(place));
    ip(&format!("-n {} link set {port} nomaster", place.set.name().namespace()))
}

/// Puts it back.
pub(crate) fn mend(place: &Place) -> Result<()> {
    ensure_plugged(place)?;
    let port = port_at_bridge(place, &links(place));
    ip(&format!("-n {} link set {port} master {BRIDGE}", place.set.name().namespace()))
}

/// Puts the program in the middle; a line that was cut stays cut.
pub(crate) fn slow_down(place: &Place, round_trip: Duration, loss: Loss) -> Result<()> {
    ensure_plugged(place)?;
    quicken(place)?;
    let was_cut = state(place) == State::Cut;
    slow_steps(place).iter().try_for_each(|step| ip(step))?;
    if was_cut {
        cut(place)?;
    }
    start_wire(place, round_trip, loss)
}

fn slow_steps(place: &Place) -> [String; 6] {
    let (bridge, port, namespace) = (place.set.name().namespace(), place.host.port(), place.machine());
    let (inner, outer) = (inner_port(place), slow_port(place));
    [
        format!("-n {bridge} link add {inner} type veth peer name {outer}"),
        format!("-n {bridge} link set {inner} addrgenmode none up"),
        format!("-n {bridge} link set {port} nomaster"),
        // Both ends send packets as a wire has them, not 64 kB at once: what is lost is then one packet.
        format!("-n {bridge} link set {outer} gso_max_segs 1"),
        format!("-n {namespace} link set eth0 gso_max_segs 1"),
        format!("-n {bridge} link set {outer} addrgenmode none master {BRIDGE} up"),
    ]
}

fn start_wire(place: &Place, round_trip: Duration, loss: Loss) -> Result<()> {
    let bridge = place.set.name().namespace();
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &bridge, "python3", "-c", WIRE])
        .args(wire_arguments(place, round_trip, loss));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().context("cannot run `ip netns exec`")?;
    let mut said = String::new();
    let stdout = child.stdout.take().context("the wire has no output")?;
    BufReader::new(stdout).read_line(&mut said).context("the wire cannot be heard")?;
    ensure!(said.trim() == "ready", "the program that makes the line of {} slow did not start", place.host);
    Ok(())
}

fn wire_arguments(place: &Place, round_trip: Duration, loss: Loss) -> [String; 5] {
    let each_way_ms = round_trip.as_secs_f64() * 1000.0 / 2.0;
    let machine = process::argument(&place.machine());
    [machine, place.host.port(), inner_port(place), each_way_ms.to_string(), loss.0.to_string()]
}

/// Takes the program out of the middle; a line that was cut stays cut.
pub(crate) fn quicken(place: &Place) -> Result<()> {
    let links = links(place);
    let slow = find(&links, &slow_port(place));
    let was_cut = slow.is_some_and(|link| link["master"] != BRIDGE);
    end_wire(place)?;
    if slow.is_none() {
        return Ok(());
    }
    ip(&format!("-n {} link delete {}", place.set.name().namespace(), slow_port(place)))?;
    ip(&format!("-n {} link set eth0 gso_max_segs {SEGMENTS}", place.machine()))?;
    if was_cut { Ok(()) } else { mend(place) }
}

fn end_wire(place: &Place) -> Result<()> {
    let wires =
        process::of(&place.machine()).into_iter().filter(|process| process.program.starts_with("python3"));
    let wires: Vec<u32> = wires.map(|process| process.id).collect();
    signal(&wires, Signal::Kill)?;
    process::wait_until_gone(&wires, PATIENCE)
}

fn ensure_plugged(place: &Place) -> Result<()> {
    let host = place.host;
    ensure!(state(place) != State::None, "{host} is off; `cargo xtask hosts start {host}` boots it");
    Ok(())
}

/// The port that is at the bridge while the line is slow.
fn slow_port(place: &Place) -> String {
    format!("{}-slow", place.host.port())
}

/// Its other end, at the program in the middle.
fn inner_port(place: &Place) -> String {
    format!("{}-in", place.host.port())
}

fn port_at_bridge(place: &Place, links: &Value) -> String {
    let slow = slow_port(place);
    if find(links, &slow).is_some() { slow } else { place.host.port() }
}

fn links(place: &Place) -> Value {
    let namespace = place.set.name().namespace();
    tool::json(&["ip", "-j", "-n", &namespace, "link", "show"]).unwrap_or_default()
}

fn find<'a>(links: &'a Value, name: &str) -> Option<&'a Value> {
    links.as_array()?.iter().find(|link| link["ifname"] == name)
}

fn ip(step: &str) -> Result<()> {
    let words: Vec<&str> = std::iter::once("ip").chain(step.split(' ')).collect();
    tool::run(&words).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::name::Host;
    use super::super::set::Set;
    use super::*;

    fn place() -> Place {
        Set::new("try".parse().unwrap()).place(Host::numbered(4))
    }

    #[test]
    fn delays_and_losses_are_read_as_they_are_written_elsewhere() {
        assert_eq!(delay("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(delay("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(loss("2%"), Ok(Loss(0.02)));
        for wrong in ["200", "-1ms", "ms", "61s", "NaNs", "infs"] {
            assert!(delay(wrong).is_err(), "{wrong}");
        }
        for wrong in ["2", "-1%", "101%", "NaN%", "%"] {
            assert!(loss(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn half_of_a_round_trip_is_each_way() {
        let arguments = wire_arguments(&place(), Duration::from_millis(200), Loss(0.02));
        assert_eq!(arguments, ["--machine=lockstep-hosts-try-web4", "host4", "host4-in", "100", "0.02"]);
    }

    #[test]
    fn a_host_is_plugged_into_the_bridge_of_its_set() {
        let steps = plug_steps(&place());
        let bridge = "-n lockstep-hosts-try link";
        assert_eq!(steps[0], "netns add lockstep-hosts-try-web4");
        assert_eq!(
            steps[1],
            format!(
                "{bridge} add host4 type veth peer name eth0 address 02:6c:73:00:00:04 netns lockstep-hosts-try-web4"
            )
        );
        assert_eq!(steps[2], format!("{bridge} set host4 addrgenmode none master bridge up"));
    }

    #[test]
    fn interfaces_have_names_that_linux_allows() {
        for host in Host::all() {
            let place = Set::new("try".parse().unwrap()).place(host);
            assert!([slow_port(&place), inner_port(&place)].iter().all(|name| name.len() <= 15));
        }
    }
}
