//! What an instance can reach: it tries, and says what worked.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lockstep_confine::Confinement;
use lockstep_domain::InstanceId;
use lockstep_domain::run::{HealthCheck, Probe};
use lockstep_runtime::{Follow, InstanceSpec, Unpacked};
use rustix::fs::{Mode, OFlags};

use crate::common::{get, pid_of};
use crate::fixture::Fixture;

/// What each attempt of a script begins with.
const TRY: &str = r#"try() { name=$1; shift; if sh -c "$*" >/dev/null 2>&1; then echo "$name works"; else echo "$name fails"; fi; }
"#;

/// Tells whether this kernel can keep instances apart; where it cannot there is nothing to be tried.
fn can_confine() -> bool {
    let can = lockstep_confine::available() == Confinement::Whole;
    if !can {
        eprintln!("this kernel cannot confine: nothing was tried");
    }
    can
}

/// A specification that runs a script and then lives on.
fn script(fixture: &Fixture, script: &str) -> InstanceSpec {
    let mut spec = fixture.spec(&[]);
    let text = format!("{TRY}{script}\necho all tried\nexec sleep 1000");
    spec.run.command = vec!["sh".to_owned(), "-c".to_owned(), text];
    spec.run.health = HealthCheck::new(Probe::Command { command: vec!["true".to_owned()] });
    spec
}

/// Runs a script as an instance and returns what its attempts said.
async fn attempts(fixture: &Fixture, spec: InstanceSpec) -> (InstanceId, Vec<String>) {
    let id = fixture.start(spec).await;
    let mut log = fixture.log(&id, Follow::Yes);
    let mut said = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        match line.split_once(" out ") {
            Some((_, "all tried")) => return (id, said),
            Some((_, text)) => said.push(text.to_owned()),
            None => {}
        }
    }
    panic!("it ended before everything was tried: {:?}", fixture.driver().instance(&id));
}

fn release(fixture: &Fixture) -> PathBuf {
    fixture.root().canonicalize().unwrap().join("releases").join("07".repeat(32))
}

#[tokio::test]
async fn an_instance_reaches_nothing_of_lockstep_and_of_its_neighbours() {
    if !can_confine() {
        return;
    }
    let fixture = Fixture::new().await;
    fs::create_dir(fixture.root().join("secrets")).unwrap();
    fs::write(fixture.root().join("secrets/password"), "correct horse").unwrap();
    fs::write(fixture.root().join("journal.db"), "records").unwrap();
    let neighbour = fixture.start_healthy(&[]).await;
    let (root, release) = (fixture.root().canonicalize().unwrap(), release(&fixture));
    let (root, code, folder) = (root.display(), release.display(), fixture.folder(&neighbour.id));
    let (folder, pid, server) = (folder.display(), pid_of(&neighbour), std::process::id());
    let tries = format!(
        "try 'read a secret' cat {root}/secrets/password
         try 'read the journal' cat {root}/journal.db
         try 'list the data folder' ls {root}
         try 'write into the data folder' 'echo x > {root}/x'
         try 'read the variables of a neighbour' cat {folder}/spec.json
         try 'write into the folder of a neighbour' 'echo x > {folder}/work/x'
         try 'read its own specification' cat ../spec.json
         try 'read the environment of the server' cat /proc/{server}/environ
         try 'read the environment of a neighbour' cat /proc/{pid}/environ
         try 'reach the data folder around a corner' cat /proc/{server}/root/{root}/secrets/password
         try 'signal the server' kill -0 {server}
         try 'signal a neighbour' kill -0 {pid}
         try 'write its code' 'echo x >> {code}/service'
         try 'replace its code' 'cp {code}/service x; mv x {code}/service'
         try 'add to its code' 'echo x > {code}/new'
         try 'remove its code' rm -f {code}/service
         try 'write its code by another name' 'ln {code}/service y && echo x >> y'
         try 'write into /etc' 'echo x > /etc/lockstep-test'
         try 'write into the home folder of the server' 'echo x > {home}/lockstep-test'",
        home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned()),
    );
    let (_, said) = attempts(&fixture, script(&fixture, &tries)).await;
    assert_eq!(said.len(), tries.lines().count());
    let worked: Vec<&String> = said.iter().filter(|line| line.ends_with(" works")).collect();
    assert!(worked.is_empty(), "{worked:#?}");
    assert!(matches!(fixture.driver().unpacked(&"07".repeat(32).parse().unwrap()).await, Unpacked::Good(_)));
}

/// Whoever starts the server may have left something open to all that comes after it.
#[tokio::test]
async fn an_instance_inherits_nothing_that_is_open() {
    let fixture = Fixture::new().await;
    let secret = fixture.root().join("secret");
    fs::write(&secret, "correct horse").unwrap();
    let open = rustix::fs::open(&secret, OFlags::RDONLY, Mode::empty()).unwrap();
    let tries = format!("try 'find what is open' readlink /proc/self/fd/{}", open.as_raw_fd());
    let (_, said) = attempts(&fixture, script(&fixture, &tries)).await;
    assert_eq!(said, ["find what is open fails"]);
}

#[tokio::test]
async fn an_ordinary_service_finds_its_code_and_places_to_write() {
    let fixture = Fixture::new().await;
    let mut spec = script(
        &fixture,
        "try 'run its code by a relative path' test -x ./service
         try 'read its code by a relative path' cat lockstep-package.json
         try 'read its code by where it is' 'cat $(readlink -f service)'
         try 'write beside its code' 'echo x > app.db && cat app.db'
         try 'make a folder' 'mkdir -p cache/a && echo x > cache/a/b'
         try 'write temporary files' 'echo x > $(mktemp)'
         try 'cache' 'mkdir -p $XDG_CACHE_HOME/x'
         try 'read the system' cat /etc/passwd
         try 'throw away' 'echo x > /dev/null'
         try 'open its output again' 'echo x > /dev/stdout'
         try 'signal itself' 'sleep 100 & kill $!'
         try 'read its own environment' cat /proc/self/environ
         try 'write a data folder' 'echo x > var/kept && mkdir -p storage/db/x'
         try 'move between its folders' 'echo x > moved && mv moved var/moved && mv var/moved $TMPDIR/moved'",
    );
    spec.run.data = vec!["var".parse().unwrap(), "storage/db".parse().unwrap()];
    let (_, said) = attempts(&fixture, spec).await;
    assert_eq!(said.len(), 14);
    let failed: Vec<&String> = said.iter().filter(|line| !line.ends_with(" works")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_data_folder_is_shared_by_the_service_in_its_environment_and_outlives_everything() {
    let fixture = Fixture::new().await;
    let with_data = |text: &str, environment: &str| {
        let mut spec = script(&fixture, text);
        spec.run.data = vec!["var".parse().unwrap()];
        spec.environment = environment.parse().unwrap();
        spec
    };
    let (first, _) = attempts(&fixture, with_data("echo kept > var/file; echo x > own", "testing")).await;
    let look = "try data cat var/file\ntry own cat own";
    let (second, said) = attempts(&fixture, with_data(look, "testing")).await;
    assert_eq!(said, ["data works", "own fails"]);
    let (_, said) = attempts(&fixture, with_data(look, "production")).await;
    assert_eq!(said, ["data fails", "own fails"]);
    for id in [first, second] {
        fixture.stop(&id).await;
        fixture.driver().remove(&id).await.unwrap();
    }
    let (_, said) = attempts(&fixture, with_data(look, "testing")).await;
    assert_eq!(said, ["data works", "own fails"]);
}

#[tokio::test]
async fn a_service_that_replaced_its_links_is_as_released_when_it_is_started_again() {
    let fixture = Fixture::new().await;
    let text = "try 'is as released' test -L service
                try 'was here before' test -e kept
                rm service; echo x > service; touch kept; test -e again || { touch again; exit 3; }";
    let id = fixture.start(script(&fixture, text)).await;
    let mut log = fixture.log(&id, Follow::Yes);
    let mut said = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        said.push(line);
        if said.last().unwrap().ends_with("all tried") {
            break;
        }
    }
    let count = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("is as released works"), count("was here before works")), (2, 1), "{said:#?}");
    assert_eq!(count("is as released again"), 1, "{said:#?}");
}

#[tokio::test]
async fn a_changed_release_is_not_run_and_unpacking_again_makes_a_good_one_beside() {
    let fixture = Fixture::new().await;
    let running = fixture.start_healthy(&[]).await;
    fs::write(release(&fixture).join("added"), "x").unwrap();
    let digest = "07".repeat(32).parse().unwrap();
    assert_eq!(fixture.driver().unpacked(&digest).await, Unpacked::Changed("\"added\" was added".to_owned()));
    let id = fixture.start(fixture.spec(&[])).await;
    let reason = fixture.wait_failed(&id).await;
    assert!(reason.contains("must not be run: \"added\" was added"), "{reason}");
    fixture.unpack().await;
    let good = fixture.start_healthy(&[]).await;
    assert!(get(good.address.unwrap()).contains(&format!("LOCKSTEP_INSTANCE={}", good.id)));
    assert!(release(&fixture).join("added").exists(), "nothing changes under the feet of an instance");
    assert!(pid_of(&running) > 0);
}

/// Whoever is of the same user can reach the socket, but not the mark.
#[tokio::test]
async fn who_cannot_write_the_stop_mark_cannot_stop_an_instance() {
    let fixture = Fixture::new().await;
    let instance = fixture.start_healthy(&[]).await;
    let control = |folder: &Path| {
        std::env::set_current_dir(folder).unwrap();
        UnixStream::connect("control").unwrap()
    };
    let mut stream = control(&fixture.folder(&instance.id));
    std::io::Write::write_all(&mut stream, b"\"stop\"\n").unwrap();
    // The next connection is served after the request, so its answer shows what became of it.
    let mut answer = String::new();
    let mut next = std::io::BufReader::new(control(&fixture.folder(&instance.id)));
    std::io::BufRead::read_line(&mut next, &mut answer).unwrap();
    assert!(answer.contains("healthy"), "{answer}");
    assert!(fixture.driver().instance(&instance.id).unwrap().state.is_healthy());
}
