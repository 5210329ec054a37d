//! Every endpoint as data, and the OpenAPI 3.1 document made of them.
//!
//! How to add an endpoint: 1. its types in the file of their noun in `types/`; 2. a line in [`endpoints`]; 3. a handler in the server's router
//! (a test there compares both); 4. a method of the client; 5. `cargo xtask openapi` writes the committed document anew.

mod hosts;

use lockstep_domain::branch::BranchPolicy;
use lockstep_domain::plan::FleetFile;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::scheduled::ScheduledRun;
use lockstep_domain::{Operation, Recorded};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::problem::Problem;
use crate::types::{
    AcceptRequest, AddCertificate, AddFault, AddGateway, AddMaintenance, AddResource, AddSilence,
    AddVersionRule, AlertList, ApprovalRequest, BaselineDiff, BlameView, BuildView, CallsView,
    CertificateBundle, CertificateList, ChangeResource, ChartsView, CheckView, CollectReport, CollectRequest,
    CompatAnswer, CompatMatrix, ConfigurationView, CreateEnvironment, CreateLane, DataFolderView,
    DeliveryView, DismissRequest, EndLane, EnvironmentSummary, EnvironmentView, EventView, FaultList,
    GatewayAdded, GatewayIdentityView, Health, History, JournalReport, KeysView, LaneList, LaneView,
    LifecycleView, MaintenanceList, ManifestRequest, MirrorList, OperationAnswer, OperationRequest,
    ReadinessView, RegisterService, ReleaseRequest, RemoveData, RemoveFaults, RemoveMaintenance,
    RemoveRequest, RemoveResource, RemoveVersionRules, RemoveWatching, RenameRequest, Renaming,
    RequestCertificate, ResourceView, RevokeRequest, Revoked, RotateRequest, RuleView, RunResource,
    ScrapeTarget, ScrapeToken, ServiceTraffic, ServiceView, SetRules, SetTarget, SettingsChange, SilenceView,
    StageRequest, TargetView, TestedTarget, Upload, VersionRuleList, VersionView, VisitKeys, WaysBack,
};
use crate::{FILE_MEDIA_TYPE, PREFIX};

/// The methods that are used: one to look, one to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Looks and changes nothing.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    const fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What an endpoint answers.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// A JSON document.
    Json(MakeSchema),
    /// Server-sent events whose data is a JSON document, with ids to resume from (`Last-Event-ID`).
    Events(MakeSchema),
    /// Lines of text, as long as there are more.
    Lines,
    /// A file.
    Bytes,
}

/// What an endpoint takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A JSON document.
    Json(MakeSchema),
    /// A file, as it is.
    Bytes,
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path after [`PREFIX`], with `{parameters}`.
    pub path: &'static str,
    /// Its name, unique.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Parameters of the query, with what they mean.
    pub query: &'static [(&'static str, &'static str)],
    /// What it takes.
    pub body: Takes,
    /// What it answers.
    pub answer: Answer,
    /// Who may ask.
    pub callers: Callers,
}

/// Who may ask at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Whoever has the token of the server; everybody on the host where there is none.
    Operators,
    /// These, and a gateway with its key about its environments.
    OperatorsAndGateways,
    /// These, and whoever has the token for reading metrics.
    OperatorsAndScrapers,
    /// A gateway with its key about its environments, and nobody else.
    Gateways,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn get(path: &'static str, id: &'static str, summary: &'static str, answer: Answer) -> Endpoint {
    Endpoint {
        method: Method::Get,
        path,
        id,
        summary,
        query: &[],
        body: Takes::Nothing,
        answer,
        callers: Callers::Operators,
    }
}

const fn post(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: MakeSchema,
    answer: Answer,
) -> Endpoint {
    Endpoint {
        method: Method::Post,
        path,
        id,
        summary,
        query: &[],
        body: Takes::Json(body),
        answer,
        callers: Callers::Operators,
    }
}

const FOLLOW: &[(&str, &str)] = &[("follow", "true: more is sent until what writes the log ends")];

const LOGS: &[(&str, &str)] = &[
    ("service", "only of this service"),
    ("version", "only of this version"),
    ("within_ms", "only of the last so many milliseconds, by the clock of the server"),
    ("contains", "only lines in which this text is, in small or capital letters"),
    ("trace", "only lines of this trace: that say so, or in which its id is"),
    ("newest", "so many lines of before at most, the newest; at most 10000, 1000 where it is left out"),
    ("follow", "true: more is sent as it is written"),
];

const EVENTS: &[(&str, &str)] = &[
    ("environment", "only of this environment"),
    ("service", "only of what is about this service"),
    ("within_ms", "only of the last so many milliseconds, by the clock of the server"),
    ("newest", "so many of them at most, the newest; at most 1000, 50 where it is left out"),
    ("after", "only what was recorded after this record, and all of that"),
];

/// Lists every endpoint.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    use Answer::{Bytes, Events, Json, Lines};
    let query = |endpoint: Endpoint, query| Endpoint { query, ..endpoint };
    let for_callers = |callers, endpoint: Endpoint| Endpoint { callers, ..endpoint };
    let mut all = vec![
        get("/health", "health", "Says how the server is", Json(of::<Health>)),
        get("/openapi.json", "openapi", "Returns this document", Json(of::<Value>)),
        get("/services", "listServices", "Lists services with their versions", Json(of::<Vec<ServiceView>>)),
        post(
            "/services",
            "registerService",
            "Registers a service from its repository",
            of::<RegisterService>,
            Json(of::<ServiceView>),
        ),
        Endpoint {
            body: Takes::Bytes,
            ..post(
                "/uploads",
                "upload",
                "Takes a file for a request that names it: the archive of a release that was made elsewhere",
                of::<Map<String, Value>>,
                Json(of::<Upload>),
            )
        },
        get("/services/{service}", "getService", "Shows a service", Json(of::<ServiceView>)),
        post(
            "/services/{service}/releases",
            "release",
            "Starts a release: check, build, test, package, record",
            of::<ReleaseRequest>,
            Json(of::<BuildView>),
        ),
        get(
            "/services/{service}/versions/{version}",
            "getVersion",
            "Shows a version with everything known of it",
            Json(of::<VersionView>),
        ),
        get(
            "/services/{service}/versions/{version}/documents/{kind}",
            "getDocument",
            "Returns an attached document",
            Bytes,
        ),
        query(
            get(
                "/services/{service}/versions/{version}/contracts/{kind}",
                "getContract",
                "Returns the snapshot of a contract of a version: JSON with its files and how it is compared",
                Bytes,
            ),
            &[("name", "which one, where the version has several of the kind")],
        ),
        get(
            "/services/{service}/compat/{other}",
            "getCompatibility",
            "Judges the versions of two services with each other, in each direction in which one requires the other",
            Json(of::<Vec<CompatMatrix>>),
        ),
        post(
            "/services/{service}/versions/{version}/stage",
            "moveToStage",
            "Moves a version to a stage by hand",
            of::<StageRequest>,
            Json(of::<VersionView>),
        ),
        post(
            "/services/{service}/versions/{version}/approvals",
            "approve",
            "Approves a version for a stage",
            of::<ApprovalRequest>,
            Json(of::<VersionView>),
        ),
        get("/builds", "listBuilds", "Lists builds, the newest first", Json(of::<Vec<BuildView>>)),
        get("/builds/{build}", "getBuild", "Shows a build", Json(of::<BuildView>)),
        post(
            "/builds/{build}/cancel",
            "cancelBuild",
            "Ends a build; it leaves no process behind",
            of::<Map<String, Value>>,
            Json(of::<BuildView>),
        ),
        query(get("/builds/{build}/log", "getBuildLog", "Returns the log of a build", Lines), FOLLOW),
        get(
            "/builds/{build}/events",
            "watchBuild",
            "Follows a build until it is over",
            Events(of::<BuildView>),
        ),
        get("/environments", "listEnvironments", "Lists environments", Json(of::<Vec<EnvironmentSummary>>)),
        post(
            "/environments",
            "createEnvironment",
            "Creates an environment",
            of::<CreateEnvironment>,
            Json(of::<EnvironmentView>),
        ),
        get(
            "/environments/{environment}",
            "getEnvironment",
            "Shows an environment with everything seen of it",
            Json(of::<EnvironmentView>),
        ),
        post(
            "/environments/{environment}/settings",
            "changeEnvironment",
            "Changes settings of an environment",
            of::<SettingsChange>,
            Json(of::<EnvironmentView>),
        ),
        get(
            "/environments/{environment}/can-deploy/{service}/{version}",
            "canDeploy",
            "Tells whether a version works with what the environment runs",
            Json(of::<CompatAnswer>),
        ),
        query(
            get(
                "/environments/{environment}/can-roll-back/{service}",
                "canRollBack",
                "Tells whether an earlier version can come back to the environment",
                Json(of::<CompatAnswer>),
            ),
            &[("to", "the version; the one that ran before when it is missing")],
        ),
        post(
            "/environments/{environment}/remove",
            "removeEnvironment",
            "Removes an environment that runs nothing; answers with those that are left",
            of::<RemoveRequest>,
            Json(of::<Vec<EnvironmentSummary>>),
        ),
        post(
            "/services/{service}/remove",
            "removeService",
            "Removes a service that runs nowhere; answers with those that are left",
            of::<RemoveRequest>,
            Json(of::<Vec<ServiceView>>),
        ),
        get(
            "/services/{service}/manifest",
            "getManifest",
            "Returns the manifest that is kept with a service outside of its repository",
            Bytes,
        ),
        post(
            "/services/{service}/manifest",
            "keepManifest",
            "Keeps a manifest with a service outside of its repository, or lets the one there count again",
            of::<ManifestRequest>,
            Json(of::<ServiceView>),
        ),
        post(
            "/services/{service}/rename",
            "renameService",
            "Gives a service another name, or says what that would take along; its former names go on meaning it",
            of::<RenameRequest>,
            Json(of::<Renaming>),
        ),
        get(
            "/environments/{environment}/traffic/{service}",
            "getTraffic",
            "Says what gateways counted of a service in the last hour, and what a rollout of it begins with",
            Json(of::<ServiceTraffic>),
        ),
        get(
            "/environments/{environment}/jobs/{service}/{job}/runs",
            "listScheduledRuns",
            "Lists what became of the last times of a job's schedule, the newest first",
            Json(of::<Vec<ScheduledRun>>),
        ),
        get(
            "/environments/{environment}/history",
            "getHistory",
            "Shows the states that really ran",
            Json(of::<History>),
        ),
        query(
            get(
                "/environments/{environment}/ways-back",
                "listWaysBack",
                "Lists what the environment or one of its services can go back to",
                Json(of::<WaysBack>),
            ),
            &[("service", "the service; baselines of the environment when it is missing")],
        ),
        query(
            get(
                "/environments/{environment}/readiness",
                "getReadiness",
                "Says where the environment and its services can go back to now, how fast, and what forbids it",
                Json(of::<ReadinessView>),
            ),
            &[("service", "only this service")],
        ),
        query(
            get(
                "/environments/{environment}/calls",
                "getCalls",
                "Says what instances called while a baseline was current, and whether they pass on for whom they call",
                Json(of::<CallsView>),
            ),
            &[("baseline", "the number of the baseline; the current one when it is missing")],
        ),
        get(
            "/environments/{environment}/readiness/events",
            "watchReadiness",
            "Follows where the environment can go back to: all of it at once, and again whenever something of it changes",
            Events(of::<ReadinessView>),
        ),
        get(
            "/environments/{environment}/fleet",
            "exportFleet",
            "Returns what runs, what it could require, and all rules between their versions, as `lockstep plan --world` reads it",
            Json(of::<FleetFile>),
        ),
        query(
            get(
                "/environments/{environment}/diff",
                "diffBaselines",
                "Compares two baselines",
                Json(of::<BaselineDiff>),
            ),
            &[("from", "the number of one baseline"), ("to", "the number of the other")],
        ),
        get(
            "/environments/{environment}/configurations/{service}",
            "getConfiguration",
            "Shows the configurations of a service",
            Json(of::<ConfigurationView>),
        ),
        post(
            "/environments/{environment}/configurations/{service}/revocations",
            "revokeSecrets",
            "Says that values of a secret variable must never come back",
            of::<RevokeRequest>,
            Json(of::<Revoked>),
        ),
        get(
            "/environments/{environment}/resources",
            "listResources",
            "Lists the databases and the like of an environment",
            Json(of::<Vec<ResourceView>>),
        ),
        post(
            "/environments/{environment}/resources",
            "addResource",
            "Says where a resource is that somebody else runs",
            of::<AddResource>,
            Json(of::<ResourceView>),
        ),
        post(
            "/environments/{environment}/resources/run",
            "runResource",
            "Lets Lockstep run a resource on the host of the server",
            of::<RunResource>,
            Json(of::<ResourceView>),
        ),
        get(
            "/environments/{environment}/resources/{resource}",
            "getResource",
            "Shows a resource",
            Json(of::<ResourceView>),
        ),
        post(
            "/environments/{environment}/resources/{resource}",
            "changeResource",
            "Changes the address of a resource; instances that run keep the former one until they are restarted",
            of::<ChangeResource>,
            Json(of::<ResourceView>),
        ),
        post(
            "/environments/{environment}/resources/{resource}/remove",
            "removeResource",
            "Removes a resource that nothing needs which runs; answers with those that are left",
            of::<RemoveResource>,
            Json(of::<Vec<ResourceView>>),
        ),
        get(
            "/environments/{environment}/version-rules",
            "listVersionRules",
            "Lists the rules that give certain requests a version of their own, and how far each is in force",
            Json(of::<VersionRuleList>),
        ),
        post(
            "/environments/{environment}/version-rules",
            "addVersionRule",
            "Gives certain requests of a service a version of their own; answers with all rules",
            of::<AddVersionRule>,
            Json(of::<VersionRuleList>),
        ),
        post(
            "/environments/{environment}/version-rules/remove",
            "removeVersionRules",
            "Removes rules, all that are named or none; answers with those that are left",
            of::<RemoveVersionRules>,
            Json(of::<VersionRuleList>),
        ),
        get(
            "/environments/{environment}/lanes",
            "listLanes",
            "Lists the lanes of an environment, and how far each is in force",
            Json(of::<LaneList>),
        ),
        post(
            "/environments/{environment}/lanes",
            "createLane",
            "Begins a lane: certain requests get other versions of a few services, wherever in a chain of calls these are asked",
            of::<CreateLane>,
            Json(of::<LaneView>),
        ),
        get(
            "/environments/{environment}/lanes/{lane}",
            "getLane",
            "Shows a lane that is in force",
            Json(of::<LaneView>),
        ),
        post(
            "/environments/{environment}/lanes/{lane}/end",
            "endLane",
            "Ends a lane before its time; answers with those that are left",
            of::<EndLane>,
            Json(of::<LaneList>),
        ),
        get(
            "/environments/{environment}/maintenance",
            "listMaintenance",
            "Lists the answers that clients of an environment get instead of services or versions",
            Json(of::<MaintenanceList>),
        ),
        post(
            "/environments/{environment}/maintenance",
            "addMaintenance",
            "Gives clients an answer instead of a service or a version, until it is ended; answers with all there are",
            of::<AddMaintenance>,
            Json(of::<MaintenanceList>),
        ),
        post(
            "/environments/{environment}/maintenance/remove",
            "removeMaintenance",
            "Ends maintenance, all that is named or none; answers with what is left",
            of::<RemoveMaintenance>,
            Json(of::<MaintenanceList>),
        ),
        get(
            "/environments/{environment}/faults",
            "listFaults",
            "Lists the faults that requests of an environment meet on purpose",
            Json(of::<FaultList>),
        ),
        post(
            "/environments/{environment}/faults",
            "addFault",
            "Injects a fault for some time, where the environment allows it; answers with all faults",
            of::<AddFault>,
            Json(of::<FaultList>),
        ),
        post(
            "/environments/{environment}/faults/remove",
            "removeFaults",
            "Ends faults, all that are named or none; answers with those that are left",
            of::<RemoveFaults>,
            Json(of::<FaultList>),
        ),
        get(
            "/environments/{environment}/mirrors",
            "listMirrors",
            "Lists the versions that get copies of requests, and what was found by them",
            Json(of::<MirrorList>),
        ),
        post(
            "/environments/{environment}/operations",
            "operate",
            "Plans an intent, or carries it out",
            of::<OperationRequest>,
            Json(of::<OperationAnswer>),
        ),
        post(
            "/environments/{environment}/holds/{service}/{version}/release",
            "releaseHold",
            "Releases a hold",
            of::<Map<String, Value>>,
            Json(of::<EnvironmentView>),
        ),
        post(
            "/environments/{environment}/instances/{instance}/stop",
            "stopInstance",
            "Ends an instance: out of the table, drained, told to end; where it is wanted another is started",
            of::<DismissRequest>,
            Json(of::<EnvironmentView>),
        ),
        query(
            for_callers(
                Callers::OperatorsAndGateways,
                get(
                    "/environments/{environment}/routes",
                    "getRoutes",
                    "Returns the route table; for gateways",
                    Json(of::<RouteTable>),
                ),
            ),
            &[
                ("after", "answer only when the revision is higher or of another history, else 204"),
                ("history", "the history that `after` counts in"),
                ("wait_ms", "how long to wait for that, at most 60000"),
            ],
        ),
        post(
            "/environments/{environment}/routes/planned",
            "planRoutes",
            "Returns the route table as it would be once an intent were carried out; nothing is changed",
            of::<OperationRequest>,
            Json(of::<RouteTable>),
        ),
        get(
            "/environments/{environment}/certificates",
            "listCertificates",
            "Lists the certificates that clients are shown, without their keys",
            Json(of::<CertificateList>),
        ),
        post(
            "/environments/{environment}/certificates",
            "addCertificate",
            "Shows a certificate to clients from now on",
            of::<AddCertificate>,
            Json(of::<CertificateList>),
        ),
        post(
            "/environments/{environment}/certificates/request",
            "requestCertificate",
            "Gets a certificate from an authority by ACME, and renews it from now on",
            of::<RequestCertificate>,
            Json(of::<CertificateList>),
        ),
        post(
            "/environments/{environment}/certificates/{certificate}/renew",
            "renewCertificate",
            "Renews a certificate that renews itself now",
            of::<Map<String, Value>>,
            Json(of::<CertificateList>),
        ),
        post(
            "/environments/{environment}/certificates/{certificate}/replace",
            "replaceCertificate",
            "Shows another certificate in place of one",
            of::<AddCertificate>,
            Json(of::<CertificateList>),
        ),
        post(
            "/environments/{environment}/certificates/{certificate}/remove",
            "removeCertificate",
            "Shows a certificate no more",
            of::<Map<String, Value>>,
            Json(of::<CertificateList>),
        ),
        for_callers(
            Callers::Gateways,
            get(
                "/environments/{environment}/gateway-certificates/{digest}",
                "getGatewayCertificate",
                "Returns a certificate with its key; only with the key of a gateway",
                Json(of::<CertificateBundle>),
            ),
        ),
        for_callers(
            Callers::Gateways,
            get(
                "/environments/{environment}/gateway-visit-keys",
                "getGatewayVisitKeys",
                "Returns the keys that visits are signed with; only with the key of a gateway",
                Json(of::<VisitKeys>),
            ),
        ),
        for_callers(
            Callers::Gateways,
            post(
                "/environments/{environment}/gateway-receipts",
                "reportReceipt",
                "Takes a gateway's receipt; only with the key of a gateway",
                of::<GatewayReceipt>,
                Json(of::<Map<String, Value>>),
            ),
        ),
        get("/gateways", "listGateways", "Lists gateways of their own", Json(of::<Vec<GatewayIdentityView>>)),
        post(
            "/gateways",
            "addGateway",
            "Adds a gateway of its own and returns its key, this once",
            of::<AddGateway>,
            Json(of::<GatewayAdded>),
        ),
        post(
            "/gateways/{gateway}/remove",
            "removeGateway",
            "Makes the key of a gateway invalid",
            of::<Map<String, Value>>,
            Json(of::<Vec<GatewayIdentityView>>),
        ),
        query(
            get(
                "/environments/{environment}/instances/{instance}/log",
                "getInstanceLog",
                "Returns the log of an instance",
                Lines,
            ),
            FOLLOW,
        ),
        query(
            get(
                "/environments/{environment}/logs",
                "getLogs",
                "Returns lines of the logs of many instances, each a JSON document (`LogEntry`)",
                Lines,
            ),
            LOGS,
        ),
        get(
            "/notify/targets",
            "listTargetsOfNotices",
            "Lists whom alerts are told",
            Json(of::<Vec<TargetView>>),
        ),
        post(
            "/notify/targets",
            "setTargetOfNotices",
            "Tells alerts to a chat, people, a pager or a program; one of the name is replaced",
            of::<SetTarget>,
            Json(of::<TargetView>),
        ),
        post(
            "/notify/targets/{target}/remove",
            "removeTargetOfNotices",
            "Tells a target no more",
            of::<RemoveWatching>,
            Json(of::<Vec<TargetView>>),
        ),
        post(
            "/notify/targets/{target}/test",
            "testTargetOfNotices",
            "Sends a notice to a target to see whether it arrives",
            of::<Map<String, Value>>,
            Json(of::<TestedTarget>),
        ),
        get(
            "/silences",
            "listSilences",
            "Lists alerts that are not told for a while",
            Json(of::<Vec<SilenceView>>),
        ),
        post(
            "/silences",
            "addSilence",
            "Tells certain alerts to nobody for a while",
            of::<AddSilence>,
            Json(of::<Vec<SilenceView>>),
        ),
        post(
            "/silences/{silence}/end",
            "endSilence",
            "Ends a silence",
            of::<RemoveWatching>,
            Json(of::<Vec<SilenceView>>),
        ),
        query(
            get(
                "/alerts",
                "listAlerts",
                "Shows what is wrong, the worst first, and what fired and recovered lately",
                Json(of::<AlertList>),
            ),
            &[("environment", "only of this environment, and what is of none")],
        ),
        query(
            get(
                "/environments/{environment}/blame/{service}",
                "blame",
                "Ranks what changed before a fault of a service, each with the command that takes it back",
                Json(of::<BlameView>),
            ),
            &[("within_ms", "only changes of the last so many milliseconds, by the clock of the server")],
        ),
        get(
            "/rules",
            "listRules",
            "Lists the rules that say when something is wrong, those that are there by themselves among them",
            Json(of::<Vec<RuleView>>),
        ),
        post(
            "/rules",
            "setRules",
            "Sets rules, all of them or none; one of the same name is replaced",
            of::<SetRules>,
            Json(of::<Vec<RuleView>>),
        ),
        post(
            "/rules/{rule}/remove",
            "removeRule",
            "Removes a rule that somebody set; where it replaced one that is there by itself, that holds again",
            of::<RemoveWatching>,
            Json(of::<Vec<RuleView>>),
        ),
        get(
            "/environments/{environment}/checks",
            "checks",
            "Lists the checks that gateways make by themselves, and what each found",
            Json(of::<Vec<CheckView>>),
        ),
        query(
            get(
                "/environments/{environment}/charts/{service}",
                "charts",
                "Returns curves of the figures of a service and its versions, of up to 31 days",
                Json(of::<ChartsView>),
            ),
            &[
                ("figure", "only this one, such as requests or latency-p99"),
                ("within_ms", "of the last so many milliseconds; of an hour by itself"),
                ("points", "how many points a curve has at most; 300 by itself"),
            ],
        ),
        query(
            get(
                "/environments/{environment}/delivery",
                "delivery",
                "Returns DORA's five figures of what was delivered to an environment, each with its definition",
                Json(of::<DeliveryView>),
            ),
            &[
                ("service", "only of this service"),
                ("within_ms", "of the last so many milliseconds; of 90 days by itself"),
            ],
        ),
        query(
            get("/events", "listEvents", "Lists what happened, the oldest first", Json(of::<Vec<EventView>>)),
            EVENTS,
        ),
        query(
            get(
                "/events/live",
                "followEvents",
                "Sends what happened and then what happens, as it does; the ids are the numbers of the records",
                Events(of::<EventView>),
            ),
            EVENTS,
        ),
        get(
            "/operations",
            "listOperations",
            "Lists operations, the newest first",
            Json(of::<Vec<Operation>>),
        ),
        get("/operations/{operation}", "getOperation", "Shows an operation", Json(of::<Operation>)),
        post(
            "/operations/{operation}/accept",
            "acceptStep",
            "Lets the step go on that an operation waits at, without the evidence that it lacks",
            of::<AcceptRequest>,
            Json(of::<Operation>),
        ),
        get(
            "/operations/{operation}/events",
            "watchOperation",
            "Follows an operation from its first event until it is over",
            Events(of::<Recorded>),
        ),
        get(
            "/journal/verify",
            "verifyJournal",
            "Checks every record of the journal",
            Json(of::<JournalReport>),
        ),
        get("/journal/export", "exportJournal", "Returns the journal as JSON lines", Lines),
        post(
            "/store/collect",
            "collect",
            "Collects blobs, unpacked artifacts and mirrors that nothing needs",
            of::<CollectRequest>,
            Json(of::<CollectReport>),
        ),
        for_callers(
            Callers::OperatorsAndScrapers,
            get(
                "/metrics",
                "metrics",
                "Says what is measured, in the text format of Prometheus or as OpenMetrics; also at /metrics",
                Lines,
            ),
        ),
        query(
            for_callers(
                Callers::OperatorsAndScrapers,
                get(
                    "/targets",
                    "listTargets",
                    "Lists instances with metrics of their own, for the discovery by HTTP of Prometheus",
                    Json(of::<Vec<ScrapeTarget>>),
                ),
            ),
            &[("environment", "only of this environment"), ("service", "only of this service")],
        ),
        get(
            "/scrape-token",
            "getScrapeToken",
            "Returns the token that is good for reading metrics and targets, and for nothing else",
            Json(of::<ScrapeToken>),
        ),
        get(
            "/keys",
            "listKeys",
            "Says which keys there are and what they do; none of them is in it",
            Json(of::<KeysView>),
        ),
        post(
            "/keys/callers/rotate",
            "rotateCallersKey",
            "Exchanges the key from which instances get the tokens that gateways recognise them by",
            of::<RotateRequest>,
            Json(of::<KeysView>),
        ),
        query(
            get(
                "/data",
                "listData",
                "Lists data folders of services, also those that nothing declares any more",
                Json(of::<Vec<DataFolderView>>),
            ),
            &[("environment", "only those of this environment, which may be removed")],
        ),
        post(
            "/data/remove",
            "removeData",
            "Removes a data folder that nothing declares any more; answers with those of the environment that are left",
            of::<RemoveData>,
            Json(of::<Vec<DataFolderView>>),
        ),
        get("/lifecycles", "listLifecycles", "Lists lifecycles", Json(of::<Vec<LifecycleView>>)),
        post(
            "/lifecycles",
            "defineLifecycle",
            "Defines a lifecycle",
            of::<LifecycleView>,
            Json(of::<LifecycleView>),
        ),
        get(
            "/branches",
            "getBranchPolicy",
            "Shows which branches may cut which versions",
            Json(of::<BranchPolicy>),
        ),
        post(
            "/branches",
            "defineBranchPolicy",
            "Defines which branches may cut which versions",
            of::<BranchPolicy>,
            Json(of::<BranchPolicy>),
        ),
    ];
    all.extend(hosts::endpoints());
    all
}

/// Makes the OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = of::<Problem>(&mut generator);
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in endpoints() {
        let item = paths.entry(format!("{PREFIX}{}", endpoint.path)).or_insert_with(|| json!({}));
        item[endpoint.method.key()] = operation(&endpoint, &mut generator, &problem);
    }
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockstep",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Version management for microservices. Errors are RFC 9457 problems with a code, a hint, and all problems at once.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": format!("http://{}", crate::DEFAULT_ADDRESS) }],
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "The token of an operator, needed where the server listens beyond loopback; or the key of a gateway." } }
        }
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "responses": {
            "200": answer(endpoint, generator),
            "default": {
                "description": "What failed, why, and the command to run next",
                "content": { crate::problem::PROBLEM_MEDIA_TYPE: { "schema": problem } }
            }
        }
    });
    let parameters: Vec<_> = parameters(endpoint).collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    let content = match endpoint.body {
        Takes::Nothing => return operation,
        Takes::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Takes::Bytes => json!({ FILE_MEDIA_TYPE: {} }),
    };
    operation["requestBody"] = json!({ "required": true, "content": content });
    operation
}

fn answer(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let content = match endpoint.answer {
        Answer::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Answer::Events(schema) => json!({ "text/event-stream": { "schema": schema(generator) } }),
        Answer::Lines => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Answer::Bytes => json!({ "application/octet-stream": {} }),
    };
    json!({ "description": endpoint.summary, "content": content })
}

fn parameters(endpoint: &Endpoint) -> impl Iterator<Item = Value> {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = endpoint.query.iter().map(|(name, meaning)| {
        json!({ "name": name, "in": "query", "required": false, "description": meaning, "schema": { "type": "string" } })
    });
    in_path.chain(in_query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn endpoints_have_names_of_their_own_and_places_of_their_own() {
        let endpoints = endpoints();
        let ids: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        let places: BTreeSet<_> = endpoints.iter().map(|endpoint| (endpoint.method, endpoint.path)).collect();
        assert_eq!(ids.len(), endpoints.len());
        assert_eq!(places.len(), endpoints.len());
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = openapi();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let mut count = 0;
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
            count += 1;
        }
        assert!(count > 50);
    }

    #[test]
    fn the_committed_document_is_this_one() {
        let committed = include_str!("../openapi.json");
        let made = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
        assert!(committed == made, "run `cargo xtask openapi` to write crates/api/openapi.json anew");
    }
}
