//! Real hosts, booted: they can be logged in to, lose their line and their power, keep their disk, and leave nothing behind.
//!
//! Where the machine cannot boot hosts, the tests say why and are skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod bad_lines;
mod set;

use std::io::{ErrorKind, Read as _, Write as _};

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::set::Set;

/// How long anything that is waited for may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

#[test]
fn a_host_keeps_its_disk_and_its_key_when_the_plug_is_pulled_and_others_go_on() {
    let set = Set::of("life");
    if !set.is_up(&["2", "--no-linger=web2"]) {
        return;
    }
    assert_eq!(set.run(&["ssh", "web1", "id -un; cat /proc/1/comm; hostname"]), "deploy\nsystemd\nweb1\n");
    assert_eq!(set.run(&["root", "web2", "--", "id", "-un"]), "root\n");
    assert_eq!([set.host("web1")["lingering"].clone(), set.host("web2")["lingering"].clone()], [true, false]);
    set.run(&["ssh", "web1", "echo kept > note"]);
    let before = set.host("web1");

    set.run(&["stop", "web1"]);
    let off = set.host("web1");
    assert_eq!((&off["state"], &off["init"]), (&Value::from("off"), &Value::Null));
    assert!(!set.try_to(&["ssh", "web1", "true"]).status.success());
    assert_eq!(set.run(&["ssh", "web2", "hostname"]), "web2\n");
    let refused = set.try_to(&["reboot", "web1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hosts start web1"));

    set.run(&["start", "web1"]);
    assert_eq!(set.run(&["ssh", "web1", "cat note"]), "kept\n");
    assert_eq!(set.host("web1")["host_key"], before["host_key"]);
    assert_ne!(set.host("web1")["init"], before["init"]);

    let boot = || set.run(&["ssh", "web1", "cat note /proc/sys/kernel/random/boot_id"]);
    let first = boot();
    set.run(&["reboot", "web1"]);
    assert_ne!(boot(), first);

    assert!(set.is_up(&["2"]), "what is up stays up");
    set.run(&["down"]);
    set.run(&["down"]);
    assert_eq!(set.left_over(), [""; 0]);
}

#[test]
fn a_line_that_is_cut_closes_no_connection_and_one_that_is_slow_takes_its_time() {
    let set = Set::of("line");
    if !set.is_up(&["1"]) {
        return;
    }
    let mut connection = set.connect("web1").unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut bytes = [0; 4096];
    let read = connection.read(&mut bytes).unwrap();
    assert!(bytes[..read].starts_with(b"SSH-2.0-"));

    set.run(&["cut", "web1"]);
    assert_eq!(set.host("web1")["line"], "cut");
    connection.write_all(b"SSH-2.0-test\r\n").unwrap();
    let silence = connection.read(&mut bytes).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");

    set.run(&["mend", "web1"]);
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(connection.read(&mut bytes).unwrap() > 0, "the answer comes when the line is whole");

    set.run(&["netem", "web1", "--delay", "300ms", "--loss", "1%"]);
    assert_eq!(set.host("web1")["line"], "slow");
    let begin = Instant::now();
    set.connect("web1").unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    set.run(&["netem", "web1", "off"]);
    assert_eq!(set.host("web1")["line"], "open");
    assert_eq!(set.run(&["ssh", "web1", "hostname"]), "web1\n");
}

#[test]
fn what_a_killed_command_leaves_behind_is_found_by_the_next() {
    let set = Set::of("killed");
    if !set.is_up(&["1"]) {
        return;
    }
    for marker in [
        "/run/netns/lockstep-hosts-SET",
        "/run/netns/lockstep-hosts-SET-web1",
        "/var/cache/lockstep-hosts/sets/SET/web2",
    ] {
        set.run(&["down"]);
        let mut up = set.command(&["up", "2"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let marker = marker.replace("SET", set.name());
        wait_until(&marker, || Path::new(&marker).exists());
        end(&mut up);
        assert!(set.is_up(&["2"]), "after {marker}");
        assert_eq!(set.run(&["ssh", "web2", "hostname"]), "web2\n", "after {marker}");
    }
    set.run(&["down"]);
    assert_eq!(set.left_over(), [""; 0]);
}

#[test]
fn a_set_goes_with_the_process_that_it_belongs_to() {
    let (set, other) = (Set::of("owned"), Set::of("other"));
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let id = owner.id().to_string();
    let up = set.is_up(&["1", "--for-process", &id]);
    if up {
        other.run(&["down"]);
        assert_eq!(set.host("web1")["state"], "up", "its process is there");
    }
    end(&mut owner);
    if up {
        other.run(&["down"]);
        assert_eq!(set.left_over(), [""; 0]);
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
