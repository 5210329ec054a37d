//! What an instance is to run: the request to a driver, and the file that a supervisor reads.
//!
//! Variables may hold secrets: they are stored in a file that only the owner can read, and never printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use lockstep_confine::User;
use lockstep_domain::external::VARIABLE;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::listeners::CallAddresses;
use lockstep_domain::name::{JobName, ResourceName};
use lockstep_domain::reference::{self, Called, Own, Reader, Reference, ReferenceError};
use lockstep_domain::resource::address::Address;
use lockstep_domain::run::{Kind, MAX_FILLED_BYTES, Port, Probe, RunSpec, Values};
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{Arm, Digest, EnvironmentName, InstanceId, ServiceName};
use lockstep_files::foreign;
use serde::{Deserialize, Serialize};

use crate::logs::LogLimits;
use crate::own::{Ours, PROGRAM};
use crate::resource::ResourceRun;
use crate::rooms::Rooms;
use crate::users::SpecUser;

/// The format of an instance that something is run before, or whose program is that of its supervisor.
pub(crate) const FORMAT: u32 = 15;
/// The format of what Lockstep itself runs on a host.
const FORMAT_OF_OWN: u32 = 14;
/// The format of an instance that listens on another address than that of loopback.
const FORMAT_ELSEWHERE: u32 = 13;
/// The format of an instance that is asked for its health in HTTP/2 behind something else, or of a relay that shows a certificate.
const FORMAT_BEHIND_TLS: u32 = 12;
/// The format of an instance that is asked for its health in HTTP/2.
const FORMAT_WITH_HTTP2: u32 = 11;
/// The format of a relay to a service that somebody else runs, which is asked for its health otherwise.
const FORMAT_OF_RELAY: u32 = 10;
/// The format of a worker that says how its work goes.
const FORMAT_OF_WORK: u32 = 9;
/// The format of an instance of an image, which has a root of its own.
const FORMAT_OF_IMAGE: u32 = 8;
/// The format with limits, or with a user.
const FORMAT_WITH_LIMITS: u32 = 7;
/// The format of a `spec.json` of a resource.
const FORMAT_OF_RESOURCE: u32 = 6;
/// The format with listeners at which the instance calls others.
const FORMAT_WITH_CALLS: u32 = 5;
/// The format of a worker or a job, which may have no port.
const FORMAT_OF_WORKER: u32 = 4;
/// The format with files that were filled in.
const FORMAT_WITH_FILES: u32 = 3;
/// The format without. Format 1 has no `rooms`: its process runs in the release itself. An older program must not take over an
/// instance that it would run differently, hence the new numbers.
const FORMAT_WITHOUT_FILES: u32 = 2;

/// The first port that needs no right of its own.
const FIRST_OPEN_PORT: u16 = 1024;
/// Where instances listen, unless their host says otherwise.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a driver is asked to start. Written down it holds whatever is secret in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The id, never used before on this driver.
    pub id: InstanceId,
    /// The environment that the instance belongs to.
    pub environment: EnvironmentName,
    /// What it is a copy of.
    pub arm: Arm,
    /// The job that it is a run of.
    pub job: Option<JobName>,
    /// How the version is run.
    pub run: RunSpec,
    /// Resolved configuration; it overrides the variables in `run`. Values may be secret.
    pub variables: BTreeMap<String, String>,
    /// Configuration with references; it is filled in, and overrides the variables in `run` as well.
    pub filled: BTreeMap<String, String>,
    /// Where the services that are required are called.
    pub urls: BTreeMap<ServiceName, String>,
    /// Where they are called by host and port, as far as that is asked for.
    pub calls: Option<CallAddresses>,
    /// Where its port is taken from.
    pub ports: InstancePorts,
    /// The address of the host that it listens on; loopback where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// The artifact, already unpacked by this driver.
    pub release: Digest,
    /// Where the resources are that it needs.
    #[serde(with = "addresses")]
    pub resources: BTreeMap<ResourceName, Address>,
    /// The resource that it is the process of: nothing is unpacked for it then, and `run` has only its port, times and stop.
    pub resource: Option<ResourceRun>,
    /// What of Lockstep itself it is: nothing is unpacked for it then, and its program is [`own::PROGRAM`](crate::own::PROGRAM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Ours>,
    /// Under whose name its data folders are kept; the arm's service where nothing is said.
    pub data_of: Option<ServiceName>,
}

impl InstanceSpec {
    /// Fills in the references, now that the port is known.
    ///
    /// # Errors
    /// When something is not known that they refer to.
    pub(crate) fn with_port(mut self, port: Option<u16>) -> Result<Self, ReferenceError> {
        let filled = std::mem::take(&mut self.filled);
        for (key, text) in filled {
            let value = self.fill(&text, port)?;
            self.variables.insert(key, value);
        }
        if self.run.values == Values::Filled {
            let mut run = self.run.clone();
            for text in run.texts_mut() {
                *text = self.fill(text, port)?;
            }
            run.values = Values::Verbatim;
            self.run = run;
            // It may refer to variables, which are known by now.
            if let Some(mut external) = self.run.external.take() {
                external.address = self.fill(&external.address, port)?;
                let certificate = external.certificate.map(|text| self.fill(&text, port)).transpose()?;
                external.certificate = certificate;
                self.run.external = Some(external);
            }
        }
        Ok(self)
    }

    /// Returns the value of a variable as the instance will get it; `None` where it has none, or what it refers to is not known yet.
    #[must_use]
    pub fn value_of(&self, variable: &str) -> Option<String> {
        if let Some(text) = self.filled.get(variable) {
            return self.fill(text, None).ok();
        }
        let written = || self.run.variables.get(variable);
        match (self.variables.get(variable), self.run.values) {
            (Some(value), _) => Some(value.clone()),
            (None, Values::Filled) => self.fill(written()?, None).ok(),
            (None, Values::Verbatim) => written().cloned(),
        }
    }

    fn fill(&self, text: &str, port: Option<u16>) -> Result<String, ReferenceError> {
        reference::fill(text, |reference| match reference {
            Reference::Own(own) => self.own(*own, port),
            Reference::Service(service, called) => self.called(service, *called),
            Reference::Resource(name, detail) => Some(self.resources.get(name)?.detail(*detail)),
            Reference::Variable(name) => self.variable(name, port),
        })
    }

    fn called(&self, service: &ServiceName, called: Called) -> Option<String> {
        let listener = || self.calls.as_ref()?.services.get(service);
        match called {
            Called::Url => self.urls.get(service).cloned(),
            Called::Host => listener().map(|listener| listener.ip().to_string()),
            Called::Port => listener().map(|listener| listener.port().to_string()),
        }
    }

    /// Lists the services that are to be called by host and port, in values and in files of the artifact. What is wrong with one
    /// of them is said when it is filled in.
    #[must_use]
    pub(crate) fn listened_for(&self, release: &Path) -> BTreeSet<ServiceName> {
        let values =
            self.run.texts().filter(|_| self.run.values == Values::Filled).chain(self.filled.values());
        let release = self.files_below(release);
        let files = self.run.files.iter().filter_map(|path| read_file(&release, path).ok());
        let texts = values.cloned().chain(files);
        let all = texts.filter_map(|text| reference::references(&text, Reader::Shell).ok());
        all.flatten().filter_map(|reference| reference.listened_for().cloned()).collect()
    }

    /// Fills in a file of the artifact, once everything else is filled in.
    ///
    /// # Errors
    /// When it cannot be read, or something is not known that it refers to.
    pub(crate) fn fill_file(&self, release: &Path, path: &WorkPath, port: Option<u16>) -> io::Result<String> {
        self.fill(&read_file(&self.files_below(release), path)?, port).map_err(io::Error::other)
    }

    /// Where the files of a release lie: those of an image below its root.
    fn files_below(&self, release: &Path) -> PathBuf {
        if self.run.image.is_some() { release.join(lockstep_archive::ROOT) } else { release.to_owned() }
    }

    /// Returns the address that it listens on.
    pub(crate) fn listen_ip(&self) -> IpAddr {
        self.listen.unwrap_or(LOOPBACK)
    }

    fn variable(&self, name: &str, port: Option<u16>) -> Option<String> {
        match name {
            "PORT" if self.run.listens_on().is_some() => port.map(|port| port.to_string()),
            "HOST" if self.run.listens_on().is_some() => Some(self.listen_ip().to_string()),
            _ => self.variables.get(name).or_else(|| self.run.variables.get(name)).cloned(),
        }
    }

    fn own(&self, own: Own, port: Option<u16>) -> Option<String> {
        Some(match own {
            Own::Host => self.listen_ip().to_string(),
            // A job listens on nothing, and what is made for its service has to be filled all the same.
            Own::Port if self.run.kind == Kind::Job => "0".to_owned(),
            Own::Port => port?.to_string(),
            Own::Service => self.arm.service.to_string(),
            Own::Version => self.arm.version.to_string(),
            Own::Environment => self.environment.to_string(),
            Own::Instance => self.id.to_string(),
        })
    }
}

/// Addresses of resources, written as the URLs that they are read from.
mod addresses {
    use std::collections::BTreeMap;

    use lockstep_domain::name::ResourceName;
    use lockstep_domain::resource::Detail;
    use lockstep_domain::resource::address::Address;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    type Addresses = BTreeMap<ResourceName, Address>;

    pub(super) fn serialize<S: Serializer>(addresses: &Addresses, serializer: S) -> Result<S::Ok, S::Error> {
        let urls = addresses.iter().map(|(name, address)| (name, address.detail(Detail::Url)));
        urls.collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Addresses, D::Error> {
        let urls = BTreeMap::<ResourceName, String>::deserialize(deserializer)?;
        let read = |(name, url): (ResourceName, String)| Ok((name, url.parse().map_err(D::Error::custom)?));
        urls.into_iter().map(read).collect()
    }
}

fn read_file(release: &Path, path: &WorkPath) -> io::Result<String> {
    foreign::read_text(foreign::open_below(release, Path::new(path.as_str()))?, MAX_FILLED_BYTES)
}

impl fmt::Debug for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceSpec")
            .field("id", &self.id)
            .field("environment", &self.environment)
            .field("arm", &self.arm)
            .field("command", &self.run.command)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("release", &self.release)
            .finish_non_exhaustive()
    }
}

/// The contents of `spec.json`: everything that a supervisor knows of its instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpecFile {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The id.
    pub(crate) id: InstanceId,
    /// The environment that the instance belongs to.
    pub(crate) environment: EnvironmentName,
    /// What it is a copy of.
    pub(crate) arm: Arm,
    /// The job that it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobName>,
    /// The resource that it is the process of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<ResourceRun>,
    /// What of Lockstep itself it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own: Option<Ours>,
    /// How the version is run.
    pub(crate) run: RunSpec,
    /// Resolved configuration; it overrides the variables in `run`.
    pub(crate) variables: BTreeMap<String, String>,
    /// The artifact.
    pub(crate) release: Digest,
    /// The folder of the unpacked artifact.
    pub(crate) release_folder: PathBuf,
    /// The port that the driver chose, if it has one at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// The address that it listens on; loopback where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<IpAddr>,
    /// How much log is kept.
    pub(crate) log: LogLimits,
    /// Where it works; `None` in files of the first format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rooms: Option<Rooms>,
    /// Files of the artifact as they stand in the working folder; what they were filled with may be secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) files: BTreeMap<WorkPath, String>,
    /// Where it calls others by host and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<CallAddresses>,
    /// Its control group, or why it has none. An older program leaves the group alone, which harms nothing that has no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<GroupOf>,
    /// Whom it runs as; the user of the server where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<SpecUser>,
}

/// The control group of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupOf {
    /// Its folder.
    At(PathBuf),
    /// None, and why.
    Nothing(String),
}

impl SpecFile {
    /// Makes the file of a request, with what the driver has chosen.
    #[must_use]
    pub(crate) fn new(
        spec: InstanceSpec,
        release_folder: PathBuf,
        port: Option<u16>,
        log: LogLimits,
        rooms: Rooms,
        files: BTreeMap<WorkPath, String>,
        user: Option<SpecUser>,
    ) -> Self {
        let InstanceSpec {
            id,
            environment,
            arm,
            job,
            resource,
            own,
            run,
            variables,
            release,
            calls,
            listen,
            ..
        } = spec;
        let by_http2 = !run.protocol.is_http1() || matches!(run.health.probe, Probe::Grpc { .. });
        let shows = run.external.as_ref().is_some_and(|external| external.certificate.is_some());
        // Such a program lies in what older supervisors hide.
        let is_of_supervisor = own.is_none() && run.command.first().is_some_and(|it| it == PROGRAM);
        let format = match run.kind {
            _ if run.prepare.is_some() || is_of_supervisor => FORMAT,
            _ if own.is_some() => FORMAT_OF_OWN,
            _ if listen.is_some() => FORMAT_ELSEWHERE,
            _ if shows || (by_http2 && run.protocol.is_http() && !run.approach.is_plain()) => {
                FORMAT_BEHIND_TLS
            }
            _ if by_http2 => FORMAT_WITH_HTTP2,
            _ if run.external.is_some() => FORMAT_OF_RELAY,
            _ if !run.work.is_none() => FORMAT_OF_WORK,
            _ if run.image.is_some() => FORMAT_OF_IMAGE,
            _ if user.is_some() || !run.limits.is_none() => FORMAT_WITH_LIMITS,
            _ if resource.is_some() => FORMAT_OF_RESOURCE,
            _ if calls.is_some() => FORMAT_WITH_CALLS,
            Kind::Worker | Kind::Job => FORMAT_OF_WORKER,
            Kind::Web if files.is_empty() => FORMAT_WITHOUT_FILES,
            Kind::Web => FORMAT_WITH_FILES,
        };
        let rooms = Some(rooms);
        // What gateways are asked for is nothing to who runs it.
        let run = RunSpec { gateway: None, ..run };
        Self {
            format,
            id,
            environment,
            arm,
            job,
            resource,
            own,
            run,
            variables,
            release,
            release_folder,
            port,
            listen,
            log,
            rooms,
            files,
            calls,
            group: None,
            user,
        }
    }

    /// Tells whether a request asks for what is already in this file.
    #[must_use]
    pub(crate) fn is_for(&self, spec: &InstanceSpec) -> bool {
        self.id == spec.id
            && self.environment == spec.environment
            && self.arm == spec.arm
            && self.job == spec.job
            && self.resource == spec.resource
            && self.own == spec.own
            && self.run == spec.run
            && self.variables == spec.variables
            && self.release == spec.release
            && self.calls == spec.calls
            && self.listen == spec.listen
    }

    /// Tells whether its program is ours, which serves its files or passes requests on.
    #[must_use]
    pub(crate) fn is_served(&self) -> bool {
        self.run.static_files.is_some() || self.run.external.is_some()
    }

    /// Returns where it listens; `None` where it listens on nothing.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.listen.unwrap_or(LOOPBACK), self.port?))
    }

    /// Returns whom the processes run as; `None` is the user of this process.
    #[must_use]
    pub(crate) fn user(&self) -> Option<User> {
        let SpecUser { id, group, .. } = self.user.as_ref()?;
        let binds = matches!(self.run.port, Port::Fixed(port) if port < FIRST_OPEN_PORT);
        Some(User { id: *id, group: *group, binds })
    }

    /// Returns every variable that the process gets from the version and its configuration, with port and host.
    #[must_use]
    pub(crate) fn process_variables(&self) -> BTreeMap<String, String> {
        let mut all = self.run.variables.clone();
        all.extend(self.variables.clone());
        if let Some(port) = self.port {
            all.insert("PORT".to_owned(), port.to_string());
            all.insert("HOST".to_owned(), self.listen.unwrap_or(LOOPBACK).to_string());
        }
        all.insert("LOCKSTEP_INSTANCE".to_owned(), self.id.to_string());
        // It may hold a secret, so it is no argument, which every user of the machine sees.
        let external = self.run.external.as_ref().and_then(|it| serde_json::to_string(it).ok());
        all.extend(external.map(|external| (VARIABLE.to_owned(), external)));
        all
    }
}

impl fmt::Debug for SpecFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpecFile")
            .field("id", &self.id)
            .field("arm", &self.arm)
            .field("port", &self.port)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
