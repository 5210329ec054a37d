//! Reads the contracts of a checkout: those that the service offers, and those of others that it was built against.
//!
//! Comparing them is not done here. Invariant: what is returned can be read as its format, and no file outside the
//! service's folder in the checkout is ever read; a reference that leads out of it is left unresolved.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lockstep_contract::{
    Files, InputError, Parsed, Snapshot, Source, assemble, is_wanted, unknown_operations,
};
use lockstep_domain::ServiceName;
use lockstep_domain::contract::{ContractKind, ContractSettings};
use lockstep_files::foreign;
use lockstep_manifest::{ContractOrigin, ContractSource, RegistrySubject, RelativePath, Requirement};

use crate::check::Checked;
use crate::command::{Commands, Turn, command_text};
use crate::failure::{BuildFault, describe_end, io_fault};
use crate::guard::masked;
use crate::request::{LargestContract, Phase};
use crate::workplace::Workplace;

/// Most files of one contract.
const MAX_FILES: usize = 10_000;
/// What to do when a contract is larger than the server reads.
const ALLOW_MORE: &str =
    "split it, or let whoever runs the server allow more: lockstep server --largest-contract MIB";
/// Longest time of a command that prints a contract: it starts a program that was just built.
const PRINT_TIME_MS: u64 = 5 * 60 * 1_000;
/// Most entries looked at below one folder.
const MAX_ENTRIES: usize = 1_000_000;

/// The contracts of a service at one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts {
    /// What it offers, in the order of the manifest.
    pub offered: Vec<TakenContract>,
    /// What it was built against, by provider.
    pub used: BTreeMap<ServiceName, TakenContract>,
}

/// A contract as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenContract {
    /// Its path below the folder of the manifest, or the command that printed it.
    pub name: String,
    /// What it says.
    pub snapshot: Snapshot,
}

/// What keeps a contract from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractProblem {
    /// The field of the manifest that names the contract.
    pub field: String,
    /// What is wrong, where, and what to do.
    pub error: InputError,
}

impl fmt::Display for ContractProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.error)?;
        self.error.hint.as_ref().map_or(Ok(()), |hint| write!(f, " (hint: {hint})"))
    }
}

/// What is needed to read the contracts of a checkout.
pub(crate) struct Taking<'a> {
    pub(crate) checked: &'a Checked,
    /// The folder of the service in the checkout.
    pub(crate) folder: &'a Path,
    pub(crate) commands: &'a Commands<'a>,
    pub(crate) place: &'a Workplace<'a>,
    pub(crate) largest: LargestContract,
}

type Taken<T> = Result<T, Vec<ContractProblem>>;

impl Taking<'_> {
    /// True when every contract is a file of the commit, so that nothing has to be built first.
    pub(crate) fn needs_no_build(&self) -> bool {
        let offered = self.checked.manifest.contracts.iter().map(|contract| match &contract.origin {
            ContractOrigin::Path(path) => Some(path),
            ContractOrigin::Command(_) | ContractOrigin::Registry(_) => None,
        });
        let used = self.checked.manifest.requires.values().filter_map(|needed| needed.contract.as_ref());
        offered
            .chain(used.map(Some))
            .all(|path| path.is_some_and(|path| self.folder.join(path.as_str()).exists()))
    }

    /// Reads all contracts and asks whether they are accepted.
    pub(crate) fn take(
        &self,
        accept: &dyn Fn(&Contracts) -> Result<(), String>,
    ) -> Result<Contracts, BuildFault> {
        let contracts = self.read_all()?;
        accept(&contracts).map_err(BuildFault::Unwanted)?;
        Ok(contracts)
    }

    fn read_all(&self) -> Result<Contracts, BuildFault> {
        let mut contracts = Contracts::default();
        let mut problems = Vec::new();
        let sources = &self.checked.manifest.contracts;
        for (index, contract) in sources.iter().enumerate() {
            let turn = Turn { phase: Phase::Contract, number: index + 1, count: sources.len() };
            match self.offered(turn, contract)? {
                Ok(taken) => contracts.offered.extend(taken),
                Err(more) => problems.extend(more),
            }
        }
        for (provider, needed) in &self.checked.manifest.requires {
            match self.used(provider, needed) {
                Ok(taken) => contracts.used.extend(taken.map(|taken| (provider.clone(), taken))),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(contracts) } else { Err(BuildFault::Contracts(problems)) }
    }

    /// Reads what one line of the manifest names: one contract, or one for each message of a folder.
    fn offered(
        &self,
        turn: Turn,
        contract: &ContractSource,
    ) -> Result<Taken<Vec<TakenContract>>, BuildFault> {
        let field = format!("contract.{}", contract.kind);
        let problem = |error| vec![ContractProblem { field: field.clone(), error }];
        let named = match &contract.origin {
            ContractOrigin::Command(command) => {
                let printed = self.print(turn, command, contract.kind)?;
                printed.map(|source| vec![(command_text(command), source)]).map_err(problem)
            }
            ContractOrigin::Registry(subject) => {
                let name = format!("{} of {}", subject.subject, subject.address);
                let answered = self.ask_registry(turn, subject, contract.kind)?;
                answered.map(|source| vec![(name, source)]).map_err(problem)
            }
            ContractOrigin::Path(path) => self
                .at_path(path, contract.kind)
                .map_err(|errors| errors.into_iter().flat_map(&problem).collect()),
        };
        Ok(named.and_then(|named| {
            let read = named.into_iter().map(|(name, source)| {
                check(contract.kind, &source, &[])
                    .map_err(|errors| errors.into_iter().flat_map(&problem).collect::<Vec<_>>())?;
                let snapshot = Snapshot { kind: contract.kind, settings: contract.settings, source };
                Ok(TakenContract { name, snapshot })
            });
            all(read)
        }))
    }

    fn at_path(
        &self,
        path: &RelativePath,
        kind: ContractKind,
    ) -> Result<Vec<(String, Source)>, Vec<InputError>> {
        let files = self.files();
        let path = path.as_str();
        let messages = match kind {
            ContractKind::JsonSchema => files.list(path),
            _ => Ok(None),
        };
        let Some(messages) = messages.map_err(|why| vec![InputError::new(path, why)])? else {
            return Ok(vec![(path.to_owned(), files.contract(path, Some(kind))?)]);
        };
        let endings = [".json", ".yaml", ".yml", ".jsonschema"];
        let schemas = messages.iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
        let schemas: Vec<_> = schemas
            .map(|path| Ok((path.clone(), files.contract(path, Some(kind))?)))
            .collect::<Result<_, Vec<InputError>>>()?;
        if schemas.is_empty() {
            return Err(vec![InputError::new(path, "there is no JSON Schema in this folder")]);
        }
        Ok(schemas)
    }

    /// Takes the newest schema of a subject, as a command of the manifest would: confined, with bounds, and what it says in the log.
    fn ask_registry(
        &self,
        turn: Turn,
        subject: &RegistrySubject,
        kind: ContractKind,
    ) -> Result<Result<Source, InputError>, BuildFault> {
        let RegistrySubject { address, subject, user } = subject;
        let Some(program) = self.place.guard_program() else {
            let why = "the path of the program that asks registries is no text";
            return Ok(Err(InputError::new(address.as_str(), why)));
        };
        let words = [program, "contract", "registry", address, subject].map(str::to_owned);
        let user = user.iter().flat_map(|user| ["--user-variable".to_owned(), user.clone()]);
        let command: Vec<String> = words.into_iter().chain(user).collect();
        let answered = self.print(turn, &command, kind)?;
        Ok(answered.map_err(|error| {
            let why = format!("the registry gave no schema of `{subject}`: {}", error.message);
            let asked = command_text(&[&["lockstep".to_owned()], &command[1..]].concat());
            let hint = format!("the log of the build says why; ask it yourself: {asked}");
            InputError::new(address.as_str(), why).with_hint(error.hint.unwrap_or(hint))
        }))
    }

    /// Runs a command of the manifest and takes what it prints.
    fn print(
        &self,
        turn: Turn,
        command: &[String],
        kind: ContractKind,
    ) -> Result<Result<Source, InputError>, BuildFault> {
        let output = self.place.root().join(format!("contract-{}", turn.number));
        remove(&output).map_err(|error| io_fault(&output, "removed", error))?;
        let bounds = self.commands.bounds(PRINT_TIME_MS);
        let report =
            self.commands.run_into(turn, command, self.folder.to_owned(), bounds, Some(output.clone()))?;
        let name = command_text(command);
        if !report.is_success() {
            let why = format!("the command {}", describe_end(&report.end, bounds));
            return Ok(Err(InputError::new(name, why)));
        }
        let limited =
            foreign::open_no_link(&output).and_then(|file| read_limited(file, self.largest.bytes()));
        let bytes = limited.map_err(|error| io_fault(&output, "read", error))?;
        remove(&output).map_err(|error| io_fault(&output, "removed", error))?;
        if bytes.len() > self.largest.bytes() {
            let why = format!("the command printed more than {}", self.largest);
            return Ok(Err(InputError::new(name, why).with_hint(ALLOW_MORE)));
        }
        let bytes = masked(self.commands.secrets(), &bytes);
        Ok(Ok(Source::file(printed_name(kind), bytes)))
    }

    fn used(&self, provider: &ServiceName, needed: &Requirement) -> Taken<Option<TakenContract>> {
        let Some(path) = &needed.contract else { return Ok(None) };
        let problem = |errors: Vec<InputError>| -> Vec<ContractProblem> {
            let field = format!("requires.{provider}.contract");
            errors.into_iter().map(|error| ContractProblem { field: field.clone(), error }).collect()
        };
        let source = self.files().contract(path.as_str(), None).map_err(problem)?;
        let kind = lockstep_contract::detect(&source).ok_or_else(|| {
            let error = InputError::new(path.as_str(), "the format of the contract cannot be told");
            problem(vec![
                error.with_hint("OpenAPI, AsyncAPI, .proto, GraphQL SDL, Avro and JSON Schema are known"),
            ])
        })?;
        check(kind, &source, &needed.operations).map_err(problem)?;
        let snapshot = Snapshot { kind, settings: ContractSettings::default(), source };
        Ok(Some(TakenContract { name: path.as_str().to_owned(), snapshot }))
    }

    fn files(&self) -> Checkout<'_> {
        Checkout { folder: self.folder, secrets: self.commands.secrets(), largest: self.largest }
    }
}

/// Checks that a contract can be read and has these operations.
fn check(kind: ContractKind, source: &Source, operations: &[String]) -> Result<(), Vec<InputError>> {
    let parsed = Parsed::read(source, kind)?;
    let file = source.entry().map(|(path, _)| path).unwrap_or_default();
    let unknown = unknown_operations(&parsed, operations).into_iter().map(|unknown| {
        let error =
            InputError::new(file, format!("there is no operation `{}` in this contract", unknown.name));
        error.with_hint(unknown.hint().unwrap_or_else(|| "name an operation as the contract does".into()))
    });
    let unknown: Vec<_> = unknown.collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown) }
}

/// All results, or all problems.
fn all<T>(results: impl Iterator<Item = Taken<T>>) -> Taken<Vec<T>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(problems) => bad.extend(problems),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// A file name from which people and parsers see what was printed.
const fn printed_name(kind: ContractKind) -> &'static str {
    match kind {
        ContractKind::OpenApi => "openapi",
        ContractKind::Protobuf => "schema.proto",
        ContractKind::GraphQl => "schema.graphql",
        ContractKind::Sql => "schema.sql",
        ContractKind::JsonSchema => "schema.json",
        ContractKind::Avro => "schema.avsc",
        ContractKind::AsyncApi => "asyncapi",
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_limited(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files of a service in its checkout, with secrets masked: contracts are kept and shown.
struct Checkout<'a> {
    folder: &'a Path,
    secrets: &'a [String],
    largest: LargestContract,
}

impl Checkout<'_> {
    /// The real place of a path, when it is there and inside the checkout.
    fn inside(&self, path: &str) -> Result<Option<PathBuf>, String> {
        let whole = self.folder.join(path);
        let real = match whole.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let root = self.folder.canonicalize().map_err(|error| error.to_string())?;
        if real.starts_with(root) {
            Ok(Some(real))
        } else {
            Err("it leads out of the service's folder".into())
        }
    }

    /// Reads the contract at a path: a document with what it refers to, or what a folder holds of the kind. What a
    /// document refers to and is not there is the comparison's to report.
    fn contract(&self, path: &str, kind: Option<ContractKind>) -> Result<Source, Vec<InputError>> {
        let mut room = Room { files: MAX_FILES, bytes: self.largest.bytes(), largest: self.largest };
        let Some(listed) = self.list(path).map_err(|why| vec![InputError::new(path, why)])? else {
            let entry = self.read(path, &mut room).map_err(|error| vec![error])?;
            let entry = entry.ok_or_else(|| vec![InputError::new(path, "there is no such file")])?;
            let source = Source::gather(path, entry, |path| self.read_referred(path, &mut room));
            return source.map_err(|error| vec![error]);
        };
        let (mut files, mut errors) = (Files::new(), Vec::new());
        for path in listed.into_iter().filter(|path| is_wanted(path)) {
            match self.read(&path, &mut room) {
                Ok(bytes) => files.extend(bytes.map(|bytes| (path, bytes))),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        assemble(files, kind).map_err(|why| vec![InputError::new(path, why)])
    }

    /// Lists the files below a folder, with their whole paths; `None` when it is none. Links are not followed.
    fn list(&self, folder: &str) -> Result<Option<Vec<String>>, String> {
        let Some(root) = self.inside(folder)?.filter(|path| path.is_dir()) else { return Ok(None) };
        let mut found = Vec::new();
        let mut open = vec![(root, folder.trim_end_matches('/').to_owned())];
        let mut entries = 0;
        while let Some((place, name)) = open.pop() {
            for entry in fs::read_dir(&place).map_err(|error| error.to_string())? {
                let entry = entry.map_err(|error| error.to_string())?;
                let kind = entry.file_type().map_err(|error| error.to_string())?;
                let Ok(own) = entry.file_name().into_string() else { continue };
                let path = if name == "." { own } else { format!("{name}/{own}") };
                entries += 1;
                if entries > MAX_ENTRIES {
                    return Err(format!("there are more than {MAX_ENTRIES} files and folders in it"));
                }
                if kind.is_dir() {
                    open.push((entry.path(), path));
                } else if kind.is_file() {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(Some(found))
    }

    /// Reads a file that a document seems to refer to. It may be nothing but data that looks like a reference, so what is no
    /// file of the service is not there.
    fn read_referred(&self, path: &str, room: &mut Room) -> Result<Option<Vec<u8>>, InputError> {
        match self.inside(path) {
            Ok(Some(real)) if real.is_file() => self.read(path, room),
            _ => Ok(None),
        }
    }

    fn read(&self, path: &str, room: &mut Room) -> Result<Option<Vec<u8>>, InputError> {
        let failed = |why: String| InputError::new(path, why);
        let file = match foreign::open_below(self.folder, Path::new(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let bytes = read_limited(file, room.bytes).map_err(|error| failed(error.to_string()))?;
        room.spend(bytes.len()).map_err(failed)?;
        Ok(Some(masked(self.secrets, &bytes)))
    }
}

/// What a contract may still have.
struct Room {
    files: usize,
    bytes: usize,
    largest: LargestContract,
}

impl Room {
    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let files = self.files.checked_sub(1);
        self.files = files.ok_or_else(|| format!("the contract has more than {MAX_FILES} files"))?;
        let left = self.bytes.checked_sub(bytes);
        self.bytes =
            left.ok_or_else(|| format!("the contract has more than {}: {ALLOW_MORE}", self.largest))?;
        Ok(())
    }
}
