//! Who may ask, with the real server: web pages, wrong hosts, tokens, and what builds are given.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use lockstep_api::endpoints::{Method, endpoints};

use crate::support::place::Place;
use crate::support::repository::manifest;
use crate::support::{eventually, processes};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Sends bytes, and returns the status of the answer.
fn status_of(address: &str, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// Makes a request that would be taken; `change` makes it one that must not be.
fn request(method: &str, path: &str, address: &str, change: &[(&str, &str)]) -> String {
    let usual = [("host", address), ("content-type", "application/json"), ("connection", "close")];
    let kept = usual.iter().filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
    let fields: String = kept
        .chain(change)
        .filter(|(_, value)| *value != "-")
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("{method} /api/v1{path} HTTP/1.1\r\n{fields}content-length: 2\r\n\r\n{{}}")
}

fn paths_of(method: Method) -> Vec<String> {
    let of_method = endpoints().into_iter().filter(|endpoint| endpoint.method == method);
    let filled = |path: &str| {
        let parts = path.split('/').map(|part| match part {
            "{environment}" => "production",
            "{version}" => "1.0.0",
            "{operation}" => "1",
            part if part.starts_with('{') => "hello",
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    };
    of_method.map(|endpoint| filled(endpoint.path)).collect()
}

#[test]
fn no_web_page_can_change_anything_by_any_endpoint() {
    let place = Place::begin();
    let address = place.address();
    let own = format!("http://{address}");
    let bad: [(&[(&str, &str)], u16); 20] = [
        (&[("host", "evil.test")], 403),
        (&[("host", "localhost.evil.test:8470")], 403),
        (&[("host", "10.1.2.3")], 403),
        (&[("host", "-")], 400),
        (&[("host", address), ("host", address)], 400),
        (&[("host", "evil.test"), ("host", address)], 400),
        (&[("host", "local host")], 400),
        (&[("host", "localhost@evil.test")], 400),
        (&[("origin", "null")], 403),
        (&[("origin", "http://localhost:3000")], 403),
        (&[("origin", "https://evil.test")], 403),
        (&[("origin", &own), ("origin", &own)], 400),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")], 403),
        (&[("content-type", "-")], 415),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded")], 415),
        (&[("content-type", "multipart/form-data; boundary=x")], 415),
        (&[("content-type", "text/plain; application/json")], 415),
        (&[("content-type", "application/json"), ("content-type", "text/plain")], 400),
    ];
    let before = place.json(&["journal", "verify"]);
    let paths = paths_of(Method::Post);
    assert!(paths.len() > 10);
    for path in &paths {
        for (change, expected) in bad {
            let status = status_of(address, &request("POST", path, address, change));
            assert_eq!(status, expected, "{path} {change:?}");
        }
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            let status =
                status_of(address, &request(method, path, address, &[("origin", "http://evil.test")]));
            assert_eq!(status, 403, "{method} {path}");
        }
    }
    assert_eq!(place.json(&["journal", "verify"]), before);
    // The same request without any of these marks gets further than that.
    for path in &paths {
        let form = if path == "/uploads" { "application/octet-stream" } else { "application/json" };
        let change = [("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("content-type", form)];
        let status = status_of(address, &request("POST", path, address, &change));
        assert!(![403, 415].contains(&status), "{path} {status}");
    }
}

#[test]
fn a_token_is_not_in_the_environment_of_the_server_and_works() {
    let place = Place::begin_with_token(TOKEN);
    let process = format!("/proc/{}", place.server_process());
    for file in ["environ", "cmdline"] {
        let bytes = fs::read(format!("{process}/{file}")).unwrap();
        assert!(!bytes.is_empty());
        assert!(!String::from_utf8_lossy(&bytes).contains(TOKEN), "{file}");
    }
    assert!(place.run(&["status"]).contains("production"));
    let paths = paths_of(Method::Get).into_iter().chain(paths_of(Method::Post));
    let address = place.address();
    for path in paths {
        let status = status_of(address, &request("POST", &path, address, &[]));
        assert_eq!(status, 401, "{path}");
    }
}

#[test]
fn a_token_can_stand_in_a_file_or_a_credential() {
    let place = Place::begin_with_token(TOKEN);
    fs::write(place.path("lockstep-token"), format!("{TOKEN}\n")).unwrap();
    let run = |change: &dyn Fn(&mut Command) -> &mut Command| {
        let mut command = place.command(&["status"]);
        change(command.env_remove("LOCKSTEP_TOKEN"));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let file = place.path("lockstep-token");
    assert_eq!(run(&|command| command.args(["--token-file", &file])).0, 0);
    assert_eq!(run(&|command| command.env("LOCKSTEP_TOKEN_FILE", &file)).0, 0);
    assert_eq!(run(&|command| command.env("CREDENTIALS_DIRECTORY", place.path(""))).0, 0);
    let (code, said) = run(&|command| command.args(["--token-file", &place.path("none")]));
    assert_eq!(code, 2, "{said}");
    assert_eq!(run(&|command| command).0, 7);
}

#[test]
fn a_build_gets_a_variable_of_the_server_only_when_its_operator_allows_it() {
    let variables = vec![("DEPLOY_KEY", "hunter2-hunter2".to_owned())];
    let build = |more: &str| {
        format!(
            "[build]\n{more}\nsteps = [[\"sh\", \"-c\", 'test \"$DEPLOY_KEY\" = hunter2-hunter2']]\n[package]\ninclude = [\"service.py\"]"
        )
    };
    let release = |place: &Place, build: &str| {
        let repository = place.repository("web");
        repository.write("lockstep.toml", &manifest("web", "", build));
        repository.write("service.py", "");
        repository.commit("feat: begin");
        place.run(&["service", "add", repository.folder()]);
        let output = place.command(&["release", "web"]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let place = Place::begin_asking(&[], variables.clone());
    let (code, said) = release(&place, &build("variables = [\"DEPLOY_KEY\"]"));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("lockstep server --build-variable DEPLOY_KEY=web"), "{said}");
    let place = Place::begin_asking(&["--build-variable", "DEPLOY_KEY=api"], variables.clone());
    assert_eq!(release(&place, &build("variables = [\"DEPLOY_KEY\"]")).0, 1);
    let place = Place::begin_asking(&["--build-variable", "DEPLOY_KEY=web"], variables);
    let (code, said) = release(&place, &build("variables = [\"DEPLOY_KEY\"]"));
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_data_folder_that_others_can_use_is_closed_and_everything_new_is_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let place = Place::begin_in(folder);
    let repository = place.repository("web");
    repository.write("lockstep.toml", &manifest("web", "", ""));
    repository.write("service.py", "");
    place.first_release(&repository, "web");
    // What builds, instances and git make is as they make it, below folders of the owner alone.
    let others = ["runtime", "builds", "mirrors"].map(|name| data.join(name));
    let own = |path: &Path| !others.iter().any(|other| path.starts_with(other));
    let mut open = vec![data];
    let mut count = 0;
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
        count += 1;
        if metadata.is_dir() {
            open.extend(
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| own(path)),
            );
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn cancelling_collecting_and_accepting_leave_an_entry_with_who_did_it() {
    let mut place = Place::begin();
    let repository = place.repository("web");
    let wait = "[build]\nsteps = [\"sleep 600\"]\n[package]\ninclude = [\"service.py\"]";
    repository.write("lockstep.toml", &manifest("web", "", wait));
    repository.write("service.py", "");
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder()]);
    let build = place.json(&["release", "web", "--no-wait"])["id"].as_str().unwrap().to_owned();
    place.run(&["build", "cancel", &build]);
    place.run(&["store", "gc", "--dry-run"]);
    place.run(&["store", "gc"]);
    place.stop_server();
    place.run(&["journal", "accept", "--data", &place.data()]);
    place.start_server();
    let journal = place.run(&["journal", "export"]);
    for event in ["build_cancelled", "store_collected", "journal_accepted"] {
        let lines: Vec<_> = journal.lines().filter(|line| line.contains(event)).collect();
        assert_eq!(lines.len(), 1, "{event}");
        assert!(lines[0].contains("ann@example.org"), "{event}");
    }
    place.run(&["journal", "verify"]);
}

#[test]
fn no_build_can_ask_for_the_token() {
    let place = Place::begin_with_token(TOKEN);
    let repository = place.repository("web");
    let build = "[build]\nvariables = [\"LOCKSTEP_TOKEN\"]\nsteps = [[\"sh\", \"-c\", 'env']]\n[package]\ninclude = [\"service.py\"]";
    repository.write("lockstep.toml", &manifest("web", "", build));
    repository.write("service.py", "");
    repository.commit("feat: begin");
    let said = place.fail(&["service", "add", repository.folder()], 2);
    assert!(said.contains("`LOCKSTEP_TOKEN` is Lockstep's own and never given to a build"), "{said}");
    let said = place.fail(&["server", "--build-variable", "LOCKSTEP_TOKEN"], 2);
    assert!(said.contains("never given to a build"), "{said}");
}

#[test]
fn a_server_makes_its_own_token_which_commands_of_its_user_find_and_nobody_else_sees() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_str().unwrap().to_owned();
    let mut place = Place::begin_with_own_token(folder, vec![("XDG_STATE_HOME", state.clone())]);
    let file = place.path("data/secrets/api.token");
    let token = fs::read_to_string(&file).unwrap().trim_end().to_owned();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let status = |place: &Place, state: &str| {
        let output = place
            .command(&["status"])
            .env("XDG_STATE_HOME", state)
            .env_remove("LOCKSTEP_DATA")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(status(&place, &state), (true, String::new()));
    let (found, said) = status(&place, &place.path("another"));
    assert!(!found && said.contains("secrets/api.token of its data folder"), "{said}");
    assert_eq!(status_of(place.address(), &request("GET", "/environments", place.address(), &[])), 401);

    place.stop_server();
    let said = place.start_server_saying("its token is in");
    assert!(said.contains(&file) && !said.contains(&token), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), token);
    for process in processes::of_folder(place.path("").trim_end_matches('/')) {
        for what in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{}/{what}", process.as_raw_nonzero())).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains(&token), "{what} of {process:?}");
        }
    }
    let list = place.command(&["key", "list"]).env("XDG_STATE_HOME", &state).output().unwrap();
    assert!(String::from_utf8(list.stdout).unwrap().contains(&file));
    place.kill_server();
    assert_eq!(status(&place, &state).1.matches(&token).count(), 0, "nobody listens, so nothing is sent");
}

#[test]
fn a_server_is_ready_when_its_gateways_listen_and_says_which_cannot() {
    let mut place = Place::begin();
    let gateway = |name: &str| {
        let view = place.json(&["status", name]);
        view["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned()
    };
    let (development, staging) = (gateway("development"), gateway("staging"));
    place.stop_server();
    let taken = std::net::TcpListener::bind(&staging).unwrap();
    let said = place.start_server_saying("the gateway of staging");
    assert!(said.contains(&format!("the gateway of development listens on http://{development}")), "{said}");
    let warning = said.lines().last().unwrap();
    assert!(
        warning.starts_with("warning: ") && warning.contains(&staging) && warning.contains("--gateway-port"),
        "{said}"
    );
    drop(TcpStream::connect(&development).unwrap());
    assert!(place.run(&["status", "staging"]).contains("not listening"));
    drop(taken);
    eventually("it listens when the port is free", || {
        (!place.run(&["status", "staging"]).contains("not listening")).then_some(())
    });
    place.stop_server();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = admin.local_addr().unwrap().to_string();
    let other = place.path("other");
    let refused = place.fail(
        &["server", "--listen", "127.0.0.1:0", "--data", &other, "--gateway-admin-address", &address],
        6,
    );
    assert!(refused.contains(&address), "{refused}");
}

#[test]
fn who_gives_wrong_tokens_keeps_nobody_behind_the_same_proxy_from_the_server() {
    // 256 files are 64 connections, of which this host may have 48.
    let place = Place::begin_limited_with_token("-n 256", TOKEN);
    let wrong =
        request("GET", "/environments", place.address(), &[("authorization", "Bearer not-the-token")]);
    let give = |times: usize| -> Vec<TcpStream> {
        let one = |_| {
            let mut stream = TcpStream::connect(place.address()).unwrap();
            let _ = stream.write_all(wrong.as_bytes());
            stream
        };
        (0..times).map(one).collect()
    };
    // Each of the first ones takes longer than the one before; all that follow take the longest time.
    for mut stream in give(9) {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let hostile = give(60);
    for _ in 0..5 {
        place.run(&["environments"]);
    }
    drop(hostile);
}
