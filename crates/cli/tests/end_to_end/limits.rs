//! Limits on real processes: memory, open files, processes and processors, said and held, by control groups where this host has
//! them and by the limits of processes where it has not.

use std::fs;
use std::path::PathBuf;

use super::support::place::{ENVIRONMENT, Place};
use super::support::processes::{self, is_alive, kill};
use super::support::repository::{Repository, manifest, misbehaving};
use super::support::{eventually, get};

/// A service with limits that does something at its start and before each answer.
fn service(place: &Place, limits: &str, (at_start, at_request): (&str, &str)) -> Repository {
    let repository = place.repository("shop");
    change(&repository, limits, (at_start, at_request));
    repository
}

fn change(repository: &Repository, limits: &str, (at_start, at_request): (&str, &str)) {
    let more = format!("limits = {{ {limits} }}\nrestart = {{ max = 1, backoff = \"10ms\" }}");
    repository.write("lockstep.toml", &manifest("shop", &more, ""));
    let text = misbehaving("TEXT", at_start, at_request).replace("b'TEXT'", "str(answer).encode()");
    repository.write("service.py", &text);
}

fn answer(place: &Place) -> String {
    let address = place.status()["gateway"].as_str().unwrap().to_owned();
    get(address.trim_start_matches("http://"), "/shop", 1).unwrap().1
}

/// The control groups of the place, where this host lets Lockstep make some.
fn groups(place: &Place) -> Option<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let ids = processes::of_supervisors(&place.data());
    let folder = PathBuf::from(mount).join("lockstep");
    let all: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    let is_ours = |path: &PathBuf| ids.keys().any(|id| path.to_str().unwrap().ends_with(id.as_str()));
    Some(all.into_iter().filter(is_ours).collect())
}

#[test]
fn a_version_that_needs_more_memory_than_its_limit_is_taken_back_and_its_limit_is_named() {
    let place = Place::begin();
    let repository = service(&place, "memory = \"96 MB\"", ("answer = 1", "pass"));
    let version = place.first_release(&repository, "shop");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(answer(&place), "1");
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("limits: shop@1.0.0: memory 96 MB"), "{status}");

    change(&repository, "memory = \"96 MB\"", ("answer = len(bytearray(300_000_000))", "pass"));
    repository.commit("fix: needs a lot");
    let version = place.release("shop");
    let said = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 1);
    let by_group = said.contains("it needed more than its limit, memory 96 MB");
    let by_process = said.contains("each of its processes is refused more than memory 96 MB")
        && said.contains("MemoryError");
    assert!(by_group || by_process, "{said}");
    assert_eq!(answer(&place), "1");
    let held = place.run(&["deploy", &version, "--env", ENVIRONMENT, "--dry-run", "--release-holds"]);
    assert!(held.contains("shop@1.0.1"), "{held}");
}

#[test]
fn open_files_are_held_and_what_this_host_does_not_hold_is_said_before_and_after() {
    let place = Place::begin();
    let count = "
        found = []
        try:
            while len(found) < 500: found.append(open('/dev/null'))
        except OSError as error: answer = f'{len(found)} {error.errno}'
        for file in found: file.close()";
    let limits = "memory = \"1 GB\", cpu = 1.5, processes = 200, open_files = 64";
    let repository = service(&place, limits, ("answer = 0", count));
    let version = place.first_release(&repository, "shop");
    let planned = place.run(&["deploy", &version, "--env", ENVIRONMENT, "--dry-run"]);
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let (opened, why) =
        answer(&place).split_once(' ').map(|(a, b)| (a.parse::<u32>().unwrap(), b.to_owned())).unwrap();
    assert!((40..64).contains(&opened) && why == "24", "{opened} {why}");
    let status = place.json(&["status", ENVIRONMENT]);
    let limits = &status["limits"][0];
    let said = |field: &str| {
        limits[field].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (held, open) = (said("held"), said("open"));
    for word in ["memory 1 GB", "cpu 1.5", "processes 200", "open files 64"] {
        assert!(held.iter().chain(&open).any(|line| line.starts_with(word)), "{word}: {limits}");
    }
    for open in open {
        assert!(planned.contains(&open), "{open}: {planned}");
        assert!(place.run(&["status", ENVIRONMENT]).contains(&open), "{open}");
    }
    assert!(
        place.run(&["show", "shop@1.0.0"]).contains("memory 1 GB, cpu 1.5, processes 200, open files 64")
    );
    let checked = place.run(&["check", repository.folder()]);
    assert!(checked.contains("limits: memory 1 GB, cpu 1.5, processes 200, open files 64"), "{checked}");
}

#[test]
fn a_job_has_the_limits_of_its_service_unless_it_says_its_own() {
    let place = Place::begin();
    let repository = service(&place, "open_files = 64, memory = \"200 MB\"", ("answer = 0", "pass"));
    let job = |limits: &str| {
        format!("[[job]]\nname = \"count\"\nwhen = \"by-hand\"\ncommand = \"sh -c 'ulimit -n'\"\n{limits}")
    };
    repository.write("lockstep.toml", &manifest("shop", "limits = { open_files = 64 }", &job("")));
    let version = place.first_release(&repository, "shop");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let run = |place: &Place| place.run(&["job", "run", "shop", "count", "--env", ENVIRONMENT]);
    run(&place);
    let job = job("limits = { open_files = 128 }");
    repository.write("lockstep.toml", &manifest("shop", "limits = { open_files = 64 }", &job));
    repository.commit("fix: a job that opens more");
    let version = place.release("shop");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    run(&place);
    let logs = |id: &str| place.run(&["logs", id, "--env", ENVIRONMENT]);
    let runs = place.json(&["job", "list", "--env", ENVIRONMENT]);
    assert!(runs.to_string().contains("count"), "{runs}");
    let ended = fs::read_dir(place.path("data/runtime/ended/development/shop.count")).unwrap();
    let mut said: Vec<_> = ended
        .map(|entry| logs(entry.unwrap().file_name().to_str().unwrap()))
        .map(|log| log.lines().find_map(|line| line.split(" out ").nth(1).map(str::to_owned)).unwrap())
        .collect();
    said.sort();
    assert_eq!(said, ["128", "64"]);
}

/// Its processes leave session, parent, group and environment: only a control group still knows them.
#[test]
fn nothing_of_an_instance_outlives_it_however_it_hides_and_whoever_was_killed() {
    let mut place = Place::begin();
    let hide = "import subprocess
subprocess.Popen(['sh', '-c', 'setsid env -i sh -c \"env -i sleep 54321 & echo $! > /proc/$PPID/fd/1\" & sleep 0.05'], env={})
answer = 1";
    let repository = service(&place, "open_files = 512", (hide, "pass"));
    let version = place.first_release(&repository, "shop");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let Some(made) = groups(&place).filter(|made| !made.is_empty()) else {
        return eprintln!("left out: this host lets Lockstep make no control groups");
    };
    let members = || {
        let all = made.iter().flat_map(|group| fs::read_to_string(group.join("cgroup.procs")));
        all.flat_map(|text| text.lines().map(|line| line.parse::<i32>().unwrap()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let hidden = eventually("it has hidden", || Some(members()).filter(|found| found.len() >= 2));
    let pids: Vec<_> = hidden.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)).collect();
    // With its supervisor dead, what hides is a child of nobody who knows it.
    for supervisor in processes::of_supervisors(&place.data()).into_values() {
        kill(supervisor);
    }
    place.kill_server();
    place.start_server();
    eventually("a supervisor has taken over", || {
        (!processes::of_supervisors(&place.data()).is_empty()).then_some(())
    });
    place.run(&["remove", "shop", "--env", ENVIRONMENT]);
    eventually("everything has ended", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
    eventually("its groups are gone", || made.iter().all(|group| !group.exists()).then_some(()));
}
