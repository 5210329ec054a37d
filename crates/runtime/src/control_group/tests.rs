//! The decisions over texts and plain folders, and real groups where this host lets make some.

use std::process::Command;

use super::*;

const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn groups_are_made_where_they_were_handed_over_or_where_nobody_limits_the_server() {
    let found = |own, mounts, has_parent: bool| find(own, mounts, &move |_| has_parent);
    let delegated = found("0::/system.slice/lockstep.service/server\n", UNIFIED, true);
    assert_eq!(delegated, Ok("/sys/fs/cgroup/system.slice/lockstep.service/lockstep".into()));
    assert_eq!(found("4:cpu:/\n0::/\n", MOUNTS, false), Ok("/sys/fs/cgroup/unified/lockstep".into()));
    // The root that a container sees is a group of somebody else.
    let said = found("0::/\n", UNIFIED, true).unwrap_err();
    assert!(said.contains("handed over"), "{said}");
    let said = found("0::/system.slice/lockstep.service\n", UNIFIED, true).unwrap_err();
    assert!(said.contains("handed over"), "{said}");
    assert!(found("4:cpu:/x\n", UNIFIED, true).is_err() && found("0::/\n", "", false).is_err());
    assert!(found("0::/../other\n", "1 2 0:1 /mine /sys/fs/cgroup rw - cgroup2 c rw\n", false).is_err());
}

#[test]
fn an_instance_gets_what_the_kernel_offers_and_the_rest_is_said() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("cgroup.controllers"), "cpuset memory\n").unwrap();
    let folder = host.path().join("lockstep");
    fs::create_dir(&folder).unwrap();
    for (name, text) in
        [("cgroup.procs", ""), ("cgroup.controllers", "memory\n"), ("cgroup.subtree_control", "memory\n")]
    {
        fs::write(folder.join(name), text).unwrap();
    }
    let groups = ControlGroups::find(&GroupChoice::In(folder.clone()), Path::new("/data"));
    assert_eq!(fs::read_to_string(host.path().join("cgroup.subtree_control")).unwrap(), "+memory");
    fs::write(folder.join("cgroup.subtree_control"), "memory\n").unwrap();
    let means = groups.means(false);
    assert!(means.group_memory && !means.group_cpu && !means.group_processes);
    let limits = Limits { cpu_thousandths: Some(500), ..Limits::default() };
    assert!(limits.held(&means).why.contains("no controller for it"));
    let path = groups.of(&"orders-1".parse().unwrap()).unwrap();
    assert_eq!(path.parent(), Some(folder.as_path()));
    assert!(groups.of(&"a".repeat(250).parse().unwrap()).is_none());
}

#[test]
fn what_is_no_control_group_is_not_used() {
    let host = tempfile::tempdir().unwrap();
    let groups = ControlGroups::find(&GroupChoice::In(host.path().to_owned()), Path::new("/data"));
    assert!(groups.of(&"orders-1".parse().unwrap()).is_none());
    let held = Limits { memory_bytes: Some(64_000_000), ..Limits::default() }.held(&groups.means(false));
    assert!(held.why.contains("it is no control group"), "{held}");
}

#[test]
fn the_events_of_a_group_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let group = ControlGroup { path: folder.path().to_owned() };
    assert_eq!(group.happened(), Happened::default());
    fs::write(folder.path().join("memory.events"), "low 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n")
        .unwrap();
    fs::write(folder.path().join("pids.events"), "max 7\n").unwrap();
    let expected = Happened { short_of_memory: 2, killed_for_memory: 3, refused_processes: 7 };
    assert_eq!(group.happened(), expected);
    assert_eq!(
        [quota(1_500), quota(10), quota(1_024_000)],
        ["150000 100000", "1000 100000", "102400000 100000"]
    );
}

/// Runs on hosts where the whole tree is this process's, or a part of it was handed over.
#[test]
fn a_real_group_holds_what_leaves_its_session_and_its_parent() {
    let root = tempfile::tempdir().unwrap();
    let groups = ControlGroups::find(&GroupChoice::Found, root.path());
    let path = match (&groups.folder, groups.of(&"orders-1".parse().unwrap())) {
        (Err(why), _) => return eprintln!("left out: {why}"),
        (Ok(_), path) => path.unwrap(),
    };
    let (group, _) = ControlGroup::begin(&path, &Limits::default(), &Means::default()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read go; setsid sh -c 'env -i sleep 1000 & env -i sleep 1000' & wait"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    group.take_in(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()).unwrap();
    drop(child.stdin.take());
    let deadline = Instant::now() + EMPTY_WITHIN;
    while group.pids().len() < 4 && Instant::now() < deadline {
        thread::yield_now();
    }
    assert!(group.pids().len() >= 4, "{:?}", group.pids());
    assert!(ControlGroup::begun(&path).is_some());
    fs::create_dir(root.path().join("orders-1")).unwrap();
    groups.clean(root.path());
    assert!(path.exists(), "the group of an instance that is there stays");
    fs::remove_dir(root.path().join("orders-1")).unwrap();
    groups.clean(root.path());
    assert!(!path.exists());
    assert!(!child.wait().unwrap().success());
}
