//! A temporary folder with a server that can be killed and started again where it was.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::repository::{Repository, manifest, service};
use super::{announced, eventually, get, processes};

/// The environment that all tests use: it accepts every version.
pub(crate) const ENVIRONMENT: &str = "development";

/// How the server of a place is started, now and again.
#[derive(Default)]
struct Launch {
    token: Option<&'static str>,
    /// Whether it makes a token for itself; else, without one that is given, it demands none.
    own_token: bool,
    arguments: Vec<String>,
    variables: Env,
    /// What `ulimit` is told before, such as `-n 1024`.
    limit: Option<&'static str>,
}

pub(crate) struct Place {
    folder: TempDir,
    launch: Launch,
    server: Child,
    address: String,
}

/// Names and values of variables.
pub(crate) type Env = Vec<(&'static str, String)>;

impl Place {
    /// Starts a server with a fresh data folder.
    pub(crate) fn begin() -> Self {
        Self::begin_in(tempfile::tempdir().unwrap())
    }

    /// Starts a server with its data folder in a given one.
    pub(crate) fn begin_in(folder: TempDir) -> Self {
        Self::start(folder, Launch::default())
    }

    /// Starts a server that demands a token; the commands of the place have it.
    pub(crate) fn begin_with_token(token: &'static str) -> Self {
        let launch = Launch { token: Some(token), ..Launch::default() };
        Self::start(tempfile::tempdir().unwrap(), launch)
    }

    /// Starts a server that makes a token for itself; with these variables commands find it.
    pub(crate) fn begin_with_own_token(folder: TempDir, env: Env) -> Self {
        Self::start(folder, Launch { own_token: true, variables: env, ..Launch::default() })
    }

    /// Starts a server that demands a token and is asked by a name of its own as well.
    pub(crate) fn begin_public(token: &'static str, name: &str) -> Self {
        let arguments = vec!["--public-host".to_owned(), name.to_owned()];
        let launch = Launch { token: Some(token), arguments, ..Launch::default() };
        Self::start(tempfile::tempdir().unwrap(), launch)
    }

    /// Starts a server with variables, with its data folder in a given one.
    pub(crate) fn begin_with(folder: TempDir, env: Env) -> Self {
        Self::start(folder, Launch { variables: env, ..Launch::default() })
    }

    /// Starts a server with more arguments and variables.
    pub(crate) fn begin_asking(arguments: &[&str], variables: Env) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let launch = Launch { arguments, variables, ..Launch::default() };
        Self::start(tempfile::tempdir().unwrap(), launch)
    }

    /// Starts a server that demands a token, under a limit, as `ulimit` is told it.
    pub(crate) fn begin_limited_with_token(limit: &'static str, token: &'static str) -> Self {
        let launch = Launch { limit: Some(limit), token: Some(token), ..Launch::default() };
        Self::start(tempfile::tempdir().unwrap(), launch)
    }

    /// Starts a server under a limit, as `ulimit` is told it.
    pub(crate) fn begin_limited(limit: &'static str) -> Self {
        let launch = Launch { limit: Some(limit), ..Launch::default() };
        Self::start(tempfile::tempdir().unwrap(), launch)
    }

    /// Starts a server with more arguments, with its data folder in a given one.
    pub(crate) fn begin_in_asking(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self::start(folder, Launch { arguments, ..Launch::default() })
    }

    /// Starts a server whose services have users of their own, where it is root, with its data folder in a given one.
    pub(crate) fn begin_with_users(folder: TempDir) -> Self {
        Self::begin_in_asking(folder, &["--service-users", "own"])
    }

    /// Starts a server, with its data folder in a given one, that must not start; returns its exit code and what it said.
    pub(crate) fn refused_in(folder: &TempDir) -> (i32, String) {
        let started = start_server(folder.path(), "127.0.0.1:0", &Launch::default());
        let failed = started.expect_err("it must not start");
        (failed.code, failed.log)
    }

    fn start(folder: TempDir, launch: Launch) -> Self {
        let (server, address) = start_server(folder.path(), "127.0.0.1:0", &launch)
            .unwrap_or_else(|failed| panic!("the server did not start:\n{}", failed.log));
        Self { folder, launch, server, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn server_process(&self) -> u32 {
        self.server.id()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn data(&self) -> String {
        self.path("data")
    }

    pub(crate) fn repository(&self, name: &str) -> Repository {
        Repository::begin(self.folder.path().join(name))
    }

    /// Goes on with another data folder in the place of the old one; the server must be down.
    pub(crate) fn exchange_data(&self, with: &str) {
        let data = self.data();
        std::fs::rename(&data, self.path("lost")).unwrap();
        std::fs::rename(with, data).unwrap();
    }

    pub(crate) fn kill_server(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Ends the server in the ordinary way, as it should end.
    pub(crate) fn stop_server(&mut self) {
        self.ask_server_to_stop();
        assert_eq!(self.server_ended(), Some(0), "the exit code of the server");
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_server_to_stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.server);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the server has ended; returns its exit code.
    pub(crate) fn server_ended(&mut self) -> Option<i32> {
        eventually("the server ends", || self.server.try_wait().unwrap()).code()
    }

    pub(crate) fn start_server(&mut self) {
        (self.server, _) = start_server(self.folder.path(), &self.address, &self.launch)
            .unwrap_or_else(|failed| panic!("the server did not start again:\n{}", failed.log));
    }

    /// Starts the server once with more arguments.
    pub(crate) fn start_server_asking(&mut self, arguments: &[&str]) {
        let usual = self.launch.arguments.clone();
        self.launch.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.start_server();
        self.launch.arguments = usual;
    }

    /// Starts a server that must not start; returns its exit code and what it said.
    pub(crate) fn refused_server(&self) -> (i32, String) {
        let failed =
            start_server(self.folder.path(), &self.address, &self.launch).expect_err("it must not start");
        (failed.code, failed.log)
    }

    /// Starts the server again and returns what it said when it was ready, up to a line with these words.
    pub(crate) fn start_server_saying(&mut self, words: &str) -> String {
        let mut server = server_command(self.folder.path(), &self.address, &self.launch).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        while !said.lines().last().is_some_and(|line| line.contains(words)) {
            said += &lines.next().unwrap_or_else(|| panic!("the server never said {words:?}:\n{said}"));
            said += "\n";
        }
        std::thread::spawn(move || lines.for_each(|line| eprintln!("server: {line}")));
        self.server = server;
        said
    }

    /// Runs a command that must succeed, and returns what it wrote to standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.ended(arguments);
        assert_eq!(code, 0, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        out
    }

    /// Runs a command that must end with an exit code, and returns what it wrote to standard error.
    pub(crate) fn fail(&self, arguments: &[&str], expected: i32) -> String {
        let (code, out, err) = self.ended(arguments);
        assert_eq!(code, expected, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        err
    }

    /// Runs a command that must succeed, and returns all that it wrote.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.ended(arguments);
        assert_eq!(code, 0, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        format!("{err}{out}")
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.json_ending(arguments, 0)
    }

    /// What `history` says of an environment that is recorded: without what is still being counted, which grows while one looks.
    pub(crate) fn recorded_history(&self, environment: &str) -> Value {
        let mut history = self.json(&["history", environment]);
        history.as_object_mut().unwrap().remove("proving");
        history
    }

    /// Runs a command that must end with an exit code, and returns the document that it wrote to standard output.
    pub(crate) fn json_ending(&self, arguments: &[&str], expected: i32) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let (code, out, err) = self.ended(&arguments);
        assert_eq!(code, expected, "lockstep {}\n{out}\n{err}", arguments.join(" "));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    fn ended(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Makes a command that asks this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args(arguments).env_remove("LOCKSTEP_TOKEN");
        self.launch.token.map(|token| command.env("LOCKSTEP_TOKEN", token));
        command.env("LOCKSTEP_SERVER", self.url()).env("LOCKSTEP_ACTOR", "ann@example.org");
        command
    }

    /// Cuts a version of a service; returns it as `service@number`.
    pub(crate) fn release(&self, service: &str) -> String {
        let build = self.json(&["release", service]);
        format!("{service}@{}", build["version"].as_str().unwrap())
    }

    /// Cuts a version of a branch, tag or commit; returns it as `service@number`.
    pub(crate) fn release_of(&self, service: &str, reference: &str) -> String {
        let build = self.json(&["release", service, "--ref", reference]);
        format!("{service}@{}", build["version"].as_str().unwrap())
    }

    /// Cuts a version of a commit that has one already.
    pub(crate) fn release_again(&self, service: &str) -> String {
        let build = self.json(&["release", service, "--bump", "patch"]);
        format!("{service}@{}", build["version"].as_str().unwrap())
    }

    /// Makes a service that answers `one`, and deploys its first version.
    pub(crate) fn deployed(&self, name: &str) -> Repository {
        let repository = self.repository(name);
        repository.write("lockstep.toml", &manifest(name, "", ""));
        repository.write("service.py", &service("one"));
        let version = self.first_release(&repository, name);
        self.run(&["deploy", &version, "--env", ENVIRONMENT]);
        repository
    }

    /// Registers a repository with one commit and cuts its first version.
    pub(crate) fn first_release(&self, repository: &Repository, service: &str) -> String {
        repository.commit("feat: begin");
        self.run(&["service", "add", repository.folder()]);
        self.release(service)
    }

    /// Begins a first build of `store` whose step goes on with this command of the shell; returns its id once the step runs.
    pub(crate) fn begin_build(&self, then: &str) -> (Repository, String) {
        let repository = self.repository("store");
        std::fs::create_dir(self.path("signs")).unwrap();
        let begun = self.path("signs/begun");
        let step = format!("touch {begun}; {then}");
        let build =
            format!("[build]\nsteps = [[\"sh\", \"-c\", \"{step}\"]]\n[package]\ninclude = [\"service.py\"]");
        repository.write("lockstep.toml", &manifest("store", "", &build));
        repository.write("service.py", &service("one"));
        repository.commit("feat: begin");
        self.run(&["service", "add", repository.folder()]);
        let id = self.json(&["release", "store", "--no-wait"])["id"].as_str().unwrap().to_owned();
        eventually("the step runs", || std::fs::exists(&begun).unwrap().then_some(()));
        (repository, id)
    }

    /// Begins to deploy versions all at once or with more options, and returns the number of the operation.
    pub(crate) fn begin_operation(&self, arguments: &[&str]) -> u64 {
        let answer = self.json(&[arguments, &["--no-wait"]].concat());
        answer["operation"]["id"].as_u64().unwrap()
    }

    /// Waits until an operation is over; returns its last phase.
    pub(crate) fn settled(&self, operation: u64) -> Value {
        eventually("the operation settles", || {
            let all = self.json(&["operations"]);
            let all = all.as_array().unwrap();
            let phase = &all.iter().find(|one| one["id"] == operation).unwrap()["phase"];
            matches!(phase["phase"].as_str(), Some("done" | "reverted")).then(|| phase.clone())
        })
    }

    pub(crate) fn status(&self) -> Value {
        self.json(&["status", ENVIRONMENT])
    }

    /// Asks for a path through the gateway that runs inside the server.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        let status = self.status();
        get(status["gateway"].as_str().unwrap().trim_start_matches("http://"), path, 0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        processes::end_all(self.folder.path().to_str().unwrap());
    }
}

/// Makes a command of Lockstep, under a limit where there is one.
fn program(limit: Option<&str>) -> Command {
    let program = env!("CARGO_BIN_EXE_lockstep");
    let Some(limit) = limit else { return Command::new(program) };
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), program]);
    shell
}

struct NotStarted {
    code: i32,
    log: String,
}

fn server_command(folder: &Path, listen: &str, launch: &Launch) -> Command {
    let mut command = program(launch.limit);
    command.args(["server", "--listen", listen, "--data"]).arg(folder.join("data"));
    command.env_remove("LOCKSTEP_TOKEN");
    if !launch.arguments.iter().any(|argument| argument == "--first-gateway-port") {
        command.args(["--first-gateway-port", "0"]);
    }
    // What tests write and where their programs are is for this user alone.
    if !launch.arguments.iter().any(|argument| argument == "--service-users") {
        command.args(["--service-users", "server"]);
    }
    command.args(&launch.arguments).envs(launch.variables.iter().map(|(name, value)| (name, value)));
    match launch.token {
        Some(token) => command.env("LOCKSTEP_TOKEN", token),
        None if launch.own_token => &mut command,
        None => command.arg("--no-token"),
    };
    command.stderr(Stdio::piped());
    command
}

fn start_server(folder: &Path, listen: &str, launch: &Launch) -> Result<(Child, String), NotStarted> {
    let mut server = server_command(folder, listen, launch).spawn().unwrap();
    match announced(server.stderr.take().unwrap(), "server") {
        Ok(address) => Ok((server, address)),
        Err(log) => Err(NotStarted { code: server.wait().unwrap().code().unwrap(), log }),
    }
}
