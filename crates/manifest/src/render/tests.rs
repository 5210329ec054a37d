//! Generated manifests, written and read back.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_domain::adaptive::AdaptiveRule;
use lockstep_domain::approach::{Approach, Believes, InstanceTls, ProxyVersion};
use lockstep_domain::breaker::BreakerRule;
use lockstep_domain::check::{Check, CheckRequest, Expect};
use lockstep_domain::contract::{MessageRole, ProtobufPolicy, ServerVersion, SqlDialect, UnknownFields};
use lockstep_domain::criticality::Criticality;
use lockstep_domain::database::{Applied, Database};
use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::external::{Clients, External, VersionQuestion};
use lockstep_domain::host_wish::HostWish;
use lockstep_domain::image_run::ImageRun;
use lockstep_domain::job::{Job, When};
use lockstep_domain::limits::Limits;
use lockstep_domain::name::{DatabaseName, ProcessName};
use lockstep_domain::outliers::EjectionRule;
use lockstep_domain::priority::{Priority, Shares};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::routes::actions::{
    Actions, FieldChanges, Redirect, Respond, Rewrite, Scheme, plain_text,
};
use lockstep_domain::routes::compress::{Coding, Compress};
use lockstep_domain::routes::conditions::{Conditions, Wanted, WantedValue};
use lockstep_domain::routes::cors::Cors;
use lockstep_domain::routes::hedge::{Hedge, LEAST_MS, Percentile};
use lockstep_domain::routes::limits::{RateBy, RateLimit, RouteLimits};
use lockstep_domain::routes::policy::{Policy, RouteTimeouts};
use lockstep_domain::routes::retries::{Retries, RetryOn};
use lockstep_domain::routes::service_policy::{Balance, Degrade, ServicePolicy, StandIn};
use lockstep_domain::routes::{Affinity, PathType, Patience, PrefixHandling, RouteRule};
use lockstep_domain::run::{Kind, Probe, Values};
use lockstep_domain::schedule::{Missed, Overlap, Schedule};
use lockstep_domain::static_files::StaticFiles;
use lockstep_domain::visit::Visit;
use lockstep_domain::work::{Metrics, Queue};
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{ServiceName, VersionRange};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::RegistrySubject;
use crate::cache::CacheFolder;
use crate::parse::parse;
use crate::path::RelativePath;

fn from_text<T>(pattern: &'static str) -> impl Strategy<Value = T>
where
    T: std::str::FromStr + std::fmt::Debug,
    T::Err: std::fmt::Debug,
{
    pattern.prop_map(|text| text.parse().unwrap())
}

fn service() -> impl Strategy<Value = ServiceName> {
    from_text("[a-z]([a-z0-9-]{0,8}[a-z0-9])?")
}

fn range() -> impl Strategy<Value = VersionRange> {
    prop_oneof![from_text("[~^]?[0-9]\\.(0|[1-9][0-9]{0,2})"), from_text(">=1\\.[0-9], <2"), from_text("\\*")]
}

fn text() -> impl Strategy<Value = String> {
    let plain = any::<String>().prop_map(|text| text.replace('\0', "").replace("${", ""));
    prop_oneof![9 => plain, 1 => Just("$${x} ${self.port}".to_owned())]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![text(), "[a-z./-]{1,9}", Just("&&".to_owned()), "\\$[A-Z]{3}"];
    let program =
        prop_oneof!["\\./[a-z]{1,9}", Just("sh".to_owned()), text().prop_map(|text| format!("x{text}"))];
    (program, vec(word, 0..4)).prop_map(|(program, rest)| std::iter::once(program).chain(rest).collect())
}

fn path() -> impl Strategy<Value = RelativePath> {
    from_text("[a-z]{1,6}(/[a-zé ]{1,6}){0,2}")
}

fn folder() -> impl Strategy<Value = Option<RelativePath>> {
    option::of(path())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        Just(Pattern::everything()),
        from_text("[a-z]{1,6}(/[a-z*?]{1,6}){0,2}"),
        from_text("\\{a,b\\}/[a-z]{1,5}")
    ]
}

fn duration_ms() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..5_000, (1_u64..100).prop_map(|m| m * 60_000), 1..=crate::value::MAX_DURATION_MS]
}

fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[A-Z_][A-Z0-9_]{1,8}", text(), 0..3).prop_map(|mut variables| {
        variables.retain(|name, _| name != "PORT" && name != "HOST" && !name.starts_with("LOCKSTEP_"));
        variables
    })
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set("[A-Z][A-Z0-9_]{0,8}", 0..3).prop_map(|set| set.into_iter().collect())
}

fn build() -> impl Strategy<Value = Build> {
    let step = (words(), folder()).prop_map(|(command, folder)| Step { command, folder });
    let parts = (
        btree_map("[a-z0-9][a-z0-9.+_-]{0,8}", range(), 0..3),
        names(),
        names(),
        variables(),
        vec(step, 0..3),
        ((vec(path(), 0..3), caches()), elsewhere(), elsewhere()),
        (duration_ms(), duration_ms(), duration_ms()),
    );
    parts.prop_map(|(tools, mut variables, mut optional_variables, env, steps, taken, limits)| {
        variables.retain(|name| !env.contains_key(name));
        optional_variables.retain(|name| !env.contains_key(name) && !variables.contains(name));
        let ((sources, cache), lfs, submodules) = taken;
        let (timeout_ms, log_limit_bytes, disk_limit_bytes) = limits;
        Build {
            tools,
            variables,
            optional_variables,
            env,
            sources,
            cache,
            lfs,
            submodules,
            steps,
            timeout_ms,
            log_limit_bytes,
            disk_limit_bytes,
        }
    })
}

fn caches() -> impl Strategy<Value = Vec<CacheFolder>> {
    let folder =
        ("(~/)?", path()).prop_map(|(home, path)| format!("{home}{path}").parse::<CacheFolder>().unwrap());
    vec(folder, 0..3).prop_map(|mut folders| {
        let mut taken: Vec<CacheFolder> = Vec::new();
        folders.retain(|folder| {
            let is_apart = !taken.iter().any(|other| other.overlaps(folder));
            taken.extend(is_apart.then(|| folder.clone()));
            is_apart
        });
        folders
    })
}

fn elsewhere() -> impl Strategy<Value = Elsewhere> {
    prop::sample::select(vec![Elsewhere::Refused, Elsewhere::Fetched, Elsewhere::Left])
}

fn suite() -> impl Strategy<Value = TestSuite> {
    let kind = from_text::<EvidenceKind>("[a-z][a-z0-9-]{0,8}");
    (kind, words(), folder(), option::of(pattern()), duration_ms()).prop_map(
        |(kind, command, folder, report, timeout_ms)| TestSuite { kind, command, folder, report, timeout_ms },
    )
}

fn package() -> impl Strategy<Value = Package> {
    (folder(), vec(pattern(), 1..3), vec(pattern(), 0..3)).prop_map(|(root, include, exclude)| Package {
        root,
        include,
        exclude,
    })
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Tcp),
        "/[a-z?=]{0,9}".prop_map(|path| Probe::Http { path }),
        words().prop_map(|command| Probe::Command { command }),
        "([a-z]{1,3}\\.[A-Z][a-z]{1,3})?".prop_map(|service| Probe::Grpc { service }),
    ]
}

/// What kind of a service it is, who comes first, what is asked for its health, and where it listens.
fn nature() -> impl Strategy<Value = (Kind, Replace, Probe, Port)> {
    let port = || prop_oneof![Just(Port::Assigned), (1_u16..).prop_map(Port::Fixed)];
    let web = (prop::sample::select(vec![Replace::NewFirst, Replace::OldFirst]), probe(), port())
        .prop_map(|(replace, probe, port)| (Kind::Web, replace, probe, port));
    let replaces = vec![Replace::NewFirst, Replace::OldFirst, Replace::SideBySide];
    let of_work = prop_oneof![
        probe(),
        (1_u64..100).prop_map(|for_ms| Probe::Lives { for_ms }),
        (from_text::<WorkPath>("[a-z]{1,5}"), duration_ms())
            .prop_map(|(path, fresh_ms)| Probe::File { path, fresh_ms }),
    ];
    let worker = (prop::sample::select(replaces), of_work, port()).prop_map(|(replace, probe, port)| {
        let port = if probe.needs_a_port() { port } else { Port::Assigned };
        (Kind::Worker, replace, probe, port)
    });
    prop_oneof![web, worker]
}

fn run() -> impl Strategy<Value = RunSpec> {
    let health = (Just(Probe::Tcp), duration_ms(), duration_ms(), duration_ms(), 1_u32..9).prop_map(
        |(probe, interval_ms, timeout_ms, start_timeout_ms, unhealthy_after)| HealthCheck {
            probe,
            interval_ms,
            timeout_ms,
            start_timeout_ms,
            unhealthy_after,
        },
    );
    let signal =
        prop::sample::select(vec![StopSignal::Term, StopSignal::Int, StopSignal::Quit, StopSignal::Hup]);
    let stop = (signal, duration_ms()).prop_map(|(signal, timeout_ms)| Stop { signal, timeout_ms });
    let restart = (0_u32..9, duration_ms(), duration_ms(), duration_ms()).prop_map(
        |(max_restarts, backoff_ms, more, reset_after_ms)| Restart {
            max_restarts,
            backoff_ms,
            max_backoff_ms: backoff_ms.max(more),
            reset_after_ms,
        },
    );
    let data = vec("[a-z]{1,5}(/[a-z]{1,5})?", 0..3).prop_map(|paths| {
        let mut folders: Vec<WorkPath> = Vec::new();
        for folder in paths.iter().map(|path| path.parse::<WorkPath>().unwrap()) {
            if !folders.iter().any(|other| other.overlaps(&folder)) {
                folders.push(folder);
            }
        }
        folders
    });
    let files = option::of(from_text("[a-z]{1,5}\\.conf")).prop_map(|file| file.into_iter().collect());
    let replace_after = prop_oneof![Just(ReplaceAfter::Never), duration_ms().prop_map(ReplaceAfter::Ms)];
    (
        words(),
        variables(),
        nature(),
        health,
        stop,
        restart,
        data,
        files,
        replace_after,
        (
            limits(),
            user(),
            work(),
            prop::sample::select(&Protocol::ALL[..]),
            (option::of(gateway()).boxed(), approach().boxed(), hosts().boxed()),
        ),
    )
        .prop_map(
            |(
                command,
                variables,
                nature,
                health,
                stop,
                restart,
                data,
                files,
                replace_after,
                (limits, user, work, protocol, (gateway, approach, hosts)),
            )| {
                let (kind, replace, probe, port) = nature;
                let start_timeout_ms = health.start_timeout_ms.max(100);
                let health = HealthCheck { probe, start_timeout_ms, ..health };
                // A file that says how one instance is lies in no folder that all share.
                let apart = |folder: &WorkPath| match &health.probe {
                    Probe::File { path, .. } => !folder.overlaps(path),
                    _ => true,
                };
                let data = data.into_iter().filter(apart).collect();
                let run = RunSpec {
                    kind,
                    prepare: prepared(&health, &command),
                    command,
                    variables,
                    port,
                    health,
                    stop,
                    restart,
                    data,
                    files,
                    values: Values::Verbatim,
                    replace,
                    replace_after,
                    static_files: None,
                    external: None,
                    limits,
                    user,
                    hosts,
                    image: None,
                    work: if kind == Kind::Worker { work } else { WorkSigns::default() },
                    protocol: Protocol::default(),
                    gateway: None,
                    approach,
                };
                let mut run = run.with_values_noted();
                run.protocol = protocol;
                run.gateway = gateway.filter(|_| kind.is_web() && protocol.is_http()).map(Arc::new);
                if run.listens_on().is_none() {
                    run.texts_mut().for_each(|text| *text = text.replace("${self.port}", "${self.version}"));
                }
                run
            },
        )
}

/// By what a worker shows how its work goes.
fn work() -> impl Strategy<Value = WorkSigns> {
    let place = prop_oneof![
        "/[a-z?=]{0,9}".prop_map(|path| MetricsPlace::Http { path }),
        from_text("[a-z]{1,5}\\.prom").prop_map(|path| MetricsPlace::File { path }),
    ];
    let series = |name| from_text::<Series>(name);
    let metrics = (place, series("done_[a-z]{1,5}(\\{a=\"[a-z ]{0,3}\"\\})?"), series("failed_[a-z]{1,5}"))
        .prop_map(|(place, done, failed)| Metrics { place, done, failed });
    let queue = (words(), 1_000_u64..100_000, 1_u64..60_000)
        .prop_map(|(command, interval_ms, timeout_ms)| Queue { command, interval_ms, timeout_ms });
    (option::of(metrics), option::of(queue)).prop_map(|(metrics, queue)| WorkSigns { metrics, queue })
}

/// A file of an image cannot be looked at, and only workers say how their work goes.
fn saying(mut run: RunSpec) -> RunSpec {
    if run.kind != Kind::Worker {
        run.work = WorkSigns::default();
    }
    if let (Some(_), Some(metrics)) = (&run.image, &mut run.work.metrics) {
        metrics.place = MetricsPlace::Http { path: "/metrics".to_owned() };
    }
    // Who is asked by requests speaks HTTP, and so does who has routes or a contract of answers.
    let is_asked = matches!(run.health.probe, Probe::Http { .. } | Probe::Grpc { .. });
    if run.listens_on().is_none() || (!run.protocol.is_http() && (is_asked || run.kind.is_web())) {
        run.protocol = Protocol::Http1;
    }
    // A check of health has no certificate to show.
    let shows = run.approach.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    if run.listens_on().is_none() || (is_asked && shows) {
        run.approach = Approach::default();
    }
    run
}

/// What comes before anything else on a connection.
fn approach() -> impl Strategy<Value = Approach> {
    let pem = "-----BEGIN CERTIFICATE-----\\n[A-Za-z0-9+/\\n]{0,40}\\n-----END CERTIFICATE-----\\n";
    let checked = ("[a-z]{1,8}(\\.[a-z]{1,5})?", option::of(pem), option::of("[a-z]{1,8}"));
    let checked = checked.prop_map(|(name, ca_pem, certificate)| InstanceTls {
        server_name: Some(name),
        ca_pem,
        certificate: certificate.map(|name| name.parse().unwrap()),
        believes: Believes::Checked,
    });
    let any =
        InstanceTls { server_name: None, ca_pem: None, certificate: None, believes: Believes::Everybody };
    let proxy = prop::sample::select(vec![ProxyVersion::V1, ProxyVersion::V2]);
    (option::of(prop_oneof![checked, Just(any)].prop_map(Box::new)), option::of(proxy))
        .prop_map(|(tls, proxy_protocol)| Approach { proxy_protocol, tls })
}

fn hosts() -> impl Strategy<Value = HostWish> {
    let labels = || prop::collection::btree_set(("[a-d]", "[a-z0-9.-]{0,3}[a-z0-9]"), 0..3);
    (labels(), labels()).prop_map(|(require, avoid)| {
        let read = |(name, value): &(String, String)| format!("{name}={value}").parse().unwrap();
        let avoid = avoid.difference(&require).map(read).collect();
        HostWish { require: require.iter().map(read).collect(), avoid }
    })
}

fn user() -> impl Strategy<Value = RunUser> {
    prop_oneof![Just(RunUser::Own), "[a-z_][a-z0-9_-]{0,31}".prop_map(RunUser::Named)]
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = (8_000_000_u64..1 << 40, 10_u32..1_024_000, 1_u32..100_000, 16_u32..1_000_000);
    let each = some.prop_map(|(memory, cpu, processes, files)| (memory, cpu, processes, files));
    (each, any::<[bool; 4]>()).prop_map(|((memory, cpu, most, files), said)| Limits {
        memory_bytes: said[0].then_some(memory),
        cpu_thousandths: said[1].then_some(cpu),
        processes: said[2].then_some(most),
        open_files: said[3].then_some(files),
    })
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    let value = prop_oneof![
        Just(WantedValue::Present),
        "[a-z0-9 =\\\\\"]{0,5}x".prop_map(|text| WantedValue::Exact(text.trim().to_owned())),
        Just(WantedValue::Regex("v[0-9]+".into())),
        Just(WantedValue::Regex(r#"a\."b|'"#.into())),
    ];
    let named = btree_map("[a-z_]{1,5}", value, 0..3);
    named.prop_map(|all| all.into_iter().map(|(name, value)| Wanted { name, value }).collect())
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let methods = proptest::collection::btree_set("(GET|PUT|OPTIONS)", 0..3);
    let network = prop_oneof![Just("10.0.0.0/8"), Just("::1/128")];
    let clients = vec(network.prop_map(|it| it.parse().unwrap()), 0..2);
    (methods, wanted(), wanted(), wanted(), clients).prop_map(
        |(methods, headers, query, cookies, clients)| Conditions {
            methods,
            headers,
            query,
            cookies,
            clients,
        },
    )
}

fn changes() -> impl Strategy<Value = FieldChanges> {
    let pairs = || btree_map("x-[a-z]{1,5}", "[a-z\"=]{0,5}", 0..2);
    let remove = proptest::collection::btree_set("x-[a-z]{1,5}", 0..2);
    (pairs(), pairs(), remove).prop_map(|(set, add, remove)| FieldChanges { set, add, remove })
}

fn cors() -> impl Strategy<Value = Cors> {
    let origins = vec("https://(\\*\\.)?[a-z]{1,5}\\.test", 1..3);
    (origins, vec("PUT|DELETE", 0..2), vec("x-[a-z]{1,3}", 0..2), any::<bool>(), option::of(1..86_400_u64))
        .prop_map(|(origins, methods, headers, credentials, max_age_s)| Cors {
            origins,
            methods,
            expose: headers.clone(),
            headers,
            credentials,
            max_age_s,
        })
}

fn actions() -> impl Strategy<Value = Option<Arc<Actions>>> {
    let path = || option::of("(/[a-z]{1,3}){1,2}");
    let own = prop_oneof![
        (option::of("[a-z]{1,3}\\.test"), path(), 1..9_000_u16).prop_map(|(host, path, port)| Actions {
            redirect: Some(Redirect {
                scheme: Some(Scheme::Https),
                host,
                port: Some(port),
                path,
                status: 308
            }),
            ..Actions::default()
        }),
        (400..600_u16, "[a-z\n\"]{0,9}", option::of(Just("text/html".to_owned()))).prop_map(
            |(status, body, kind)| {
                let content_type = kind.unwrap_or_else(plain_text);
                Actions { respond: Some(Respond { status, body, content_type }), ..Actions::default() }
            }
        ),
        "[a-z]{1,3}\\.test".prop_map(|host| Actions {
            rewrite: Some(Rewrite { path: None, host: Some(host) }),
            ..Actions::default()
        }),
        Just(Actions::default()),
    ];
    let sticky = prop_oneof![
        Just((None, None)),
        (1..86_400_u64).prop_map(|seconds| (Some(seconds), None)),
        (1..86_400_u64, prop_oneof![Just("lockstep_visit"), Just("lane")])
            .prop_map(|(for_s, cookie)| (None, Some(Visit { for_s, cookie: cookie.to_owned() }))),
    ];
    let compress = prop_oneof![
        Just(Compress::default()),
        (1..2_000_u64).prop_map(|min_bytes| Compress { min_bytes, ..Compress::default() }),
        Just(Compress { encodings: vec![Coding::Gzip], types: vec!["text/*".into()], min_bytes: 1 }),
    ];
    (own, changes(), changes(), option::of(cors()), sticky, option::of(compress)).prop_map(
        |(own, request_headers, response_headers, cors, (sticky_s, visit), compress)| {
            let all = Actions { request_headers, response_headers, cors, sticky_s, visit, compress, ..own };
            (!all.is_none()).then(|| Arc::new(all))
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let time = || option::of(1..1_000_u64);
    let timeouts = (time(), time(), time(), option::of(1_000..86_400_000_u64));
    let timeouts = timeouts.prop_map(|(connect_ms, head_ms, idle_ms, request_ms)| RouteTimeouts {
        connect_ms,
        head_ms,
        idle_ms,
        request_ms,
    });
    let on =
        prop_oneof![Just(RetryOn::Reset), Just(RetryOn::Timeout), (500..=599_u16).prop_map(RetryOn::Status),];
    let on = proptest::collection::btree_set(on, 0..4);
    let methods = proptest::collection::btree_set("[A-Z]{3,6}", 0..3);
    let retries =
        (0..=3_u8, on, methods, any::<bool>()).prop_map(|(attempts, on, methods, idempotency_key)| Retries {
            attempts,
            on,
            methods,
            idempotency_key,
        });
    let by = prop_oneof![Just(RateBy::Network), Just(RateBy::Key), Just(RateBy::Route)];
    let rate = (1..9_u32, 1..9_000_u64, option::of(1..9_u32), by)
        .prop_map(|(requests, per_ms, burst, by)| RateLimit { requests, per_ms, burst, by });
    let limits = (option::of(0..1_u64 << 40), option::of(1..9_u32), option::of(rate))
        .prop_map(|(body_bytes, concurrency, rate)| RouteLimits { body_bytes, concurrency, rate });
    let fallback = (200..=599_u16, "[ -~]{1,9}", "text/[a-z]{4}")
        .prop_filter("a body", |(status, ..)| !matches!(status, 204 | 205 | 304))
        .prop_map(|(status, body, content_type)| Respond { status, body, content_type });
    let priority = option::of(proptest::sample::select(Priority::ALL.to_vec()));
    let least = prop_oneof![Just(LEAST_MS), 1..900_u64];
    let hedge = prop_oneof![
        (1..900_u64).prop_map(Hedge::AfterMs),
        (50..=99_u8, least)
            .prop_map(|(percent, least_ms)| Hedge::Percentile(Percentile { percent, least_ms })),
    ];
    let upgrades = proptest::sample::subsequence(vec!["tcp", "spdy/3.1", "x-own"], 0..=3)
        .prop_map(|names| names.into_iter().map(|name| name.parse().unwrap()).collect());
    let others = (priority, option::of(hedge), upgrades);
    (timeouts, option::of(retries), limits, option::of(fallback), others).prop_map(
        |(timeouts, retries, limits, fallback, (priority, hedge, upgrades))| {
            let all = Policy { timeouts, retries, limits, fallback, priority, hedge, upgrades };
            if all.hedge_problems().is_empty() { all } else { Policy { hedge: None, ..all } }
        },
    )
}

/// What a version asks of gateways.
fn gateway() -> impl Strategy<Value = ServicePolicy> {
    let rule = (1..=100_u32, 1..100_u32, 1_000..9_000_u64, 0..99_u32, 100..9_000_u64, 0..9_000_u64, 1..9_u32);
    let rule =
        rule.prop_map(|(failures_percent, requests, window_ms, consecutive, open_ms, more, trials)| {
            let longest_ms = open_ms + more;
            BreakerRule { failures_percent, requests, window_ms, consecutive, open_ms, longest_ms, trials }
        });
    let rule = prop_oneof![Just(BreakerRule::default()), rule];
    let to = prop_oneof![Just(StandIn::Previous), Just(StandIn::Nobody)];
    let degrade = (to, 1..9_000_u32).prop_map(|(to, requests)| Degrade { to, requests });
    let degrade = prop_oneof![Just(Degrade::default()), degrade];
    let ejection =
        (0..9_u32, 0..=100_u32, 0..9_u32, 1..99_u32, 1_000..9_000_u64, (1..=100_u32, 0..5_u32, 0..=100_u32))
            .prop_map(
                |(
                    consecutive,
                    failures_percent,
                    slower,
                    requests,
                    window_ms,
                    (most_percent, floor, share),
                )| EjectionRule {
                    floor: floor.max(1),
                    floor_percent: if floor == 0 { share } else { 0 },
                    consecutive,
                    failures_percent,
                    slower,
                    requests,
                    window_ms,
                    most_percent,
                    ..EjectionRule::default()
                },
            );
    let choosing = (
        option::of(ejection),
        prop::sample::select(Balance::ALL.to_vec()),
        option::of(1_000..9_000_u64),
        option::of(1..9_u32),
    );
    let adaptive = (1..9_u32, 9..20_u32, 20..99_u32, 110..900_u32).prop_map(
        |(least, start, most, tolerance_percent)| AdaptiveRule { least, start, most, tolerance_percent },
    );
    let adaptive = option::of(prop_oneof![Just(AdaptiveRule::default()), adaptive]);
    let shares =
        (50..=100_u32, 20..50_u32, 1..20_u32).prop_map(|(normal_percent, low_percent, bulk_percent)| {
            Shares { normal_percent, low_percent, bulk_percent }
        });
    (rule, degrade, choosing, adaptive, option::of(shares)).prop_map(|all| {
        let (rule, degrade, choosing, adaptive_limit, shares) = all;
        let (ejection, balance, slow_start_ms, max_requests) = choosing;
        let breaker = Some(rule);
        let priorities = shares.filter(|_| max_requests.is_some() || adaptive_limit.is_some());
        ServicePolicy {
            breaker,
            degrade,
            ejection,
            balance,
            slow_start_ms,
            max_requests,
            adaptive_limit,
            priorities,
        }
    })
}

fn routes() -> impl Strategy<Value = Vec<RouteRule>> {
    let path = prop_oneof![
        Just((PathType::Prefix, "/".to_owned())),
        "(/[a-z0-9_]{1,5}){1,3}".prop_map(|path| (PathType::Prefix, path)),
        "(/[a-z0-9_]{1,5}){1,3}/?".prop_map(|path| (PathType::Exact, path)),
        "(/[a-z]{1,5}){1,2}/\\{[a-z]{1,3}\\}(/\\{rest\\.\\.\\.\\})?"
            .prop_map(|path| (PathType::Template, path)),
    ];
    let prefix = prop_oneof![Just(PrefixHandling::Keep), Just(PrefixHandling::Strip)];
    let affinity = option::of(Just(Affinity::Client));
    let patience = prop_oneof![
        Just(None),
        Just(Some(Patience::Stream)),
        (1..=86_400_000_u64).prop_map(|limit| Some(Patience::LimitMs(limit))),
    ];
    let host = option::of("(\\*\\.)?[a-z]{1,5}\\.[a-z]{2,5}");
    let route = (host, path, prefix, patience, affinity, conditions(), actions(), policy()).prop_map(
        |(host, (path_type, path), prefix, patience, affinity, mut when, then, policy)| {
            if then.as_ref().is_some_and(|then| then.cors.is_some()) && !when.methods.is_empty() {
                when.methods.insert("OPTIONS".into());
            }
            let prefix = if path_type == PathType::Prefix { prefix } else { PrefixHandling::Keep };
            let rule =
                RouteRule { host, path, path_type, when, then, prefix, patience, affinity, policy: None };
            let policy = (!policy.is_none() && policy.problems(&rule).is_empty()).then(|| Arc::new(policy));
            RouteRule { policy, ..rule }
        },
    );
    vec(route, 0..4).prop_map(|mut routes| {
        let mut taken = BTreeSet::new();
        routes.retain(|route| taken.insert(route.key()));
        routes
    })
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    let expect = (option::of(200_u16..600), 1_u64..30_000, option::of("[a-z{}\" ]{0,9}x"));
    let expect = expect.prop_map(|(status, within_ms, contains)| Expect { status, within_ms, contains });
    let request = from_text::<CheckRequest>("(GET|HEAD) /[a-z0-9/?=&\"]{0,12}");
    let host = option::of("[a-z]{1,9}\\.test");
    let check = ("[a-z]{1,9}", request, host, 1_000_u64..3_600_000, expect);
    let check = check.prop_map(|(name, request, host, every_ms, mut expect)| {
        expect.contains = expect.contains.filter(|_| request.method() == "GET");
        Check { name, request, host, every_ms, expect }
    });
    vec(check, 0..3).prop_map(|mut checks| {
        let mut names = BTreeSet::new();
        checks.retain(|check| names.insert(check.name.clone()));
        checks
    })
}

fn requirement() -> impl Strategy<Value = Requirement> {
    (
        option::of(range()),
        option::of(path()),
        vec("[A-Z]{3,5} /[a-z{}]{1,8}", 0..3),
        option::of(1_u16..17_000),
    )
        .prop_filter("it needs something", |(range, contract, operations, _)| {
            // A port alone says nothing of what is needed.
            range.is_some() || contract.is_some() || !operations.is_empty()
        })
        .prop_map(|(range, contract, mut operations, port)| {
            operations.sort();
            operations.dedup();
            Requirement { range, contract, operations, port }
        })
}

fn contract() -> impl Strategy<Value = ContractSource> {
    let origin = prop_oneof![
        path().prop_map(ContractOrigin::Path),
        words().prop_map(ContractOrigin::Command),
        ("https?://[a-z]{1,8}(:[0-9]{4})?", "[a-z./][a-z ./-]{0,8}", option::of("[A-Z_]{1,8}")).prop_map(
            |(address, subject, user)| ContractOrigin::Registry(RegistrySubject { address, subject, user })
        ),
    ];
    let settings = (
        option::of(prop::sample::select(ProtobufPolicy::ALL)),
        option::of(prop::sample::select(UnknownFields::ALL)),
        option::of(prop::sample::select(MessageRole::ALL)),
        option::of(prop::sample::select(SqlDialect::ALL)),
        option::of((0_u16..30, 0_u16..12).prop_map(|(major, minor)| ServerVersion::new(major, minor))),
        option::of((1_u64..1_000).prop_map(|hours| hours * 3_600_000)),
    );
    (prop::sample::select(ContractKind::ALL), origin, settings).prop_map(
        |(kind, origin, (policy, unknown_fields, role, dialect, version, retention_ms))| {
            let settings = ContractSettings {
                policy: policy.filter(|_| kind == ContractKind::Protobuf),
                unknown_fields: unknown_fields.filter(|_| {
                    matches!(kind, ContractKind::OpenApi | ContractKind::JsonSchema | ContractKind::AsyncApi)
                }),
                role: role.filter(|_| matches!(kind, ContractKind::JsonSchema | ContractKind::Avro)),
                dialect: dialect.filter(|_| kind == ContractKind::Sql),
                version: version.filter(|_| kind == ContractKind::Sql),
                retention_ms: retention_ms.filter(|_| kind.is_of_events()),
            };
            let is_kept =
                matches!(kind, ContractKind::Avro | ContractKind::JsonSchema | ContractKind::Protobuf);
            let origin = match origin {
                ContractOrigin::Registry(_) if !is_kept => ContractOrigin::Command(vec!["print".into()]),
                origin => origin,
            };
            ContractSource { kind, origin, settings }
        },
    )
}

fn accepted() -> impl Strategy<Value = AcceptedBreak> {
    let until = option::of((2000_u32..2100, 1_u32..13, 1_u32..29));
    ("[a-z]{1,6}(-[a-z]{1,6}){0,2}", "/[ -~]{1,12}", "[ -~]{0,8}[a-z]", until).prop_map(
        |(rule, place, reason, until)| AcceptedBreak {
            rule,
            place,
            reason,
            until: until.map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}")),
        },
    )
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let expressions = prop::sample::select(vec!["*/5 * * * *", "30 2 * * 1-5", "@daily", "0 0 L * *"]);
    let zones = prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kolkata"]);
    let policies = (prop::sample::select(&Missed::ALL[..]), prop::sample::select(&Overlap::ALL[..]));
    (expressions, zones, policies).prop_map(|(expression, zone, (missed, overlap))| Schedule {
        missed,
        overlap,
        ..Schedule::new(expression, zone).unwrap()
    })
}

fn job() -> impl Strategy<Value = Job> {
    let when = prop::sample::select(vec![When::BeforeSwitch, When::AfterDeploy, When::ByHand]);
    let parts = (
        from_text("[a-z]{1,9}"),
        when,
        words(),
        variables(),
        duration_ms(),
        option::of(schedule()),
        limits(),
    );
    parts.prop_map(|(name, when, command, variables, timeout_ms, schedule, limits)| {
        let when = if schedule.is_some() { When::OnSchedule } else { when };
        let other = |text: &mut String| *text = text.replace("${self.port}", "${self.version}");
        let mut job = Job { name, when, command, variables, timeout_ms, schedule, limits };
        job.command.iter_mut().chain(job.variables.values_mut()).for_each(other);
        job
    })
}

fn database() -> impl Strategy<Value = Database> {
    let words = || vec("[a-z./{}]{1,6}", 1..3);
    let applied = prop_oneof![
        Just(Applied::ByLockstep),
        Just(Applied::Elsewhere),
        (words(), words(), option::of(words())).prop_map(|(apply, level, revert)| {
            let to = |mut words: Vec<String>| {
                words.push("{to}".to_owned());
                words
            };
            Applied::ByProgram { apply, level, revert: revert.map(to).unwrap_or_default() }
        }),
    ];
    let times = (1_u64..100, 1_u64..100);
    let dialect = option::of(prop::sample::select(SqlDialect::ALL));
    (
        from_text::<DatabaseName>("[a-z]{1,6}"),
        "[a-z]{1,5}(/[a-z]{1,5})?",
        applied,
        "[A-Z_]{1,8}",
        dialect,
        times,
    )
        .prop_map(|(name, folder, applied, variable, dialect, (timeout, lock))| Database {
            name,
            migrations: folder.parse().unwrap(),
            applied,
            variable,
            dialect,
            timeout_ms: timeout * 1_000,
            lock_ms: lock * 1_000,
        })
}

fn resource() -> impl Strategy<Value = ResourceName> {
    from_text("[a-z]([a-z0-9-]{0,8}[a-z0-9])?")
}

fn need() -> impl Strategy<Value = ResourceNeed> {
    prop::sample::select(ResourceKind::ALL.to_vec()).prop_map(|kind| ResourceNeed { kind })
}

fn static_files() -> impl Strategy<Value = StaticFiles> {
    let path = || "[a-z]{1,5}(/[a-z]{1,5})?".prop_map(|path| path.parse::<WorkPath>().unwrap());
    (option::of(path()), option::of(path()), vec(path(), 0..3))
        .prop_map(|(root, fallback, immutable)| StaticFiles { root, fallback, immutable })
}

/// Some are prepared, with a time limit of their own or without.
fn prepared(health: &HealthCheck, command: &[String]) -> Option<Preparation> {
    let timeout_ms = match health.unhealthy_after % 3 {
        0 => return None,
        1 => USUAL_PREPARE_TIMEOUT_MS,
        _ => health.interval_ms,
    };
    Some(Preparation { command: command.to_vec(), timeout_ms })
}

/// Its files are served, where it is a service that is called.
fn serving(run: RunSpec, files: Option<StaticFiles>) -> RunSpec {
    match files {
        Some(files) if run.kind.is_web() => {
            let probe = match run.health.probe {
                Probe::Grpc { .. } => Probe::Tcp,
                probe => probe,
            };
            let (health, protocol) = (HealthCheck { probe, ..run.health }, Protocol::Http1);
            let approach = Approach::default();
            let (command, prepare, static_files) = (Vec::new(), None, Some(files));
            RunSpec { command, prepare, static_files, health, protocol, approach, ..run }.with_values_noted()
        }
        _ => run,
    }
}

fn external() -> impl Strategy<Value = External> {
    let address = prop_oneof![
        "https?://[a-z]{1,8}(\\.[a-z]{2,4})?(:[1-9][0-9]{0,3})?(/[a-z]{1,4}){0,2}",
        Just("${env.PARTNER_URL}".to_owned()),
    ];
    let path = || "[a-z]{1,5}(/[a-z]{1,5})?".prop_map(|path| path.parse::<WorkPath>().unwrap());
    let clients = prop_oneof![Just(Clients::Withheld), Just(Clients::Told)];
    let version = ("(/[a-z]{1,5}){1,2}", option::of("[a-z]{1,4}(\\.[a-z]{1,4})?"))
        .prop_map(|(path, field)| VersionQuestion { path, field });
    let times = (1..60_000_u64, option::of(1..86_400_000_u64));
    let certificate = option::of(Just("${env.PARTNER_IDENTITY}".to_owned()));
    (address, option::of(path()), times, clients, option::of(version), certificate).prop_map(
        |(address, ca, (connect_ms, timeout_ms), clients, version, certificate)| External {
            certificate: certificate.filter(|_| !address.starts_with("http://")),
            address,
            ca,
            connect_ms,
            timeout_ms,
            clients,
            version,
        },
    )
}

/// Somebody else runs it.
fn of_somebody_else(run: RunSpec, external: External) -> RunSpec {
    let probe = match run.health.probe {
        Probe::Command { .. } | Probe::Grpc { .. } => Probe::Tcp,
        probe => probe,
    };
    let health = HealthCheck { probe, ..run.health };
    let run = RunSpec {
        kind: Kind::Web,
        health,
        variables: run.variables,
        stop: run.stop,
        replace_after: ReplaceAfter::Never,
        external: Some(external),
        ..RunSpec::of_jobs()
    };
    run.with_values_noted()
}

/// Its versions are images: with a command of the manifest, with arguments, or with neither.
fn of_image(run: RunSpec, which: u8) -> RunSpec {
    if which > 2 || run.static_files.is_some() || matches!(run.health.probe, Probe::File { .. }) {
        return run;
    }
    let run = RunSpec { user: RunUser::Own, ..run };
    let image = |arguments| Some(ImageRun { arguments, ..ImageRun::default() });
    let run = match which {
        0 => RunSpec { image: image(None), ..run },
        1 if run.kind.has_instances() => {
            RunSpec { image: image(Some(run.command)), command: Vec::new(), ..run }
        }
        _ => RunSpec { image: image(None), command: Vec::new(), ..run },
    };
    run.with_values_noted()
}

/// Nothing of it runs but its jobs.
fn of_jobs(run: RunSpec) -> RunSpec {
    let mut run = RunSpec {
        kind: Kind::Job,
        gateway: None,
        command: Vec::new(),
        prepare: None,
        port: Port::Assigned,
        health: HealthCheck::new(Probe::Ends),
        restart: Restart::default(),
        replace: Replace::NewFirst,
        replace_after: ReplaceAfter::default(),
        work: WorkSigns::default(),
        ..run
    };
    run.texts_mut().for_each(|text| *text = text.replace("${self.port}", "${self.version}"));
    run.with_values_noted()
}

/// Adds workers: beside what takes requests, or in the place of everything else.
fn with_processes(run: RunSpec, others: Vec<(ProcessName, RunSpec)>) -> (RunSpec, Processes) {
    let others: BTreeMap<_, _> = others.into_iter().collect();
    if others.is_empty() || !(run.kind.is_web() || run.kind == Kind::Job) {
        return (run, Processes::default());
    }
    let main = run.kind.is_web().then(|| "front".parse().unwrap());
    let mut run = run;
    if main.is_none() {
        // What processes share is told of a job.
        run.restart = Restart { max_restarts: 3, ..Restart::default() };
    }
    let others = others.into_iter().filter(|(name, _)| Some(name) != main.as_ref());
    let others = others.map(|(name, own)| (name, beside(&run, main.is_some(), own))).collect();
    (run, Processes { main, others })
}

fn beside(run: &RunSpec, has_main: bool, own: RunSpec) -> RunSpec {
    let health = HealthCheck { probe: Probe::Lives { for_ms: 1 }, ..own.health };
    let mut own = RunSpec {
        kind: Kind::Worker,
        gateway: None,
        port: Port::Assigned,
        data: run.data.clone(),
        static_files: None,
        external: None,
        replace: Kind::Worker.usual_replace(),
        health,
        image: run.image.as_ref().map(|_| ImageRun::default()),
        user: if run.image.is_some() { RunUser::Own } else { own.user.clone() },
        ..own
    };
    if !has_main {
        let variables = run.variables.clone().into_iter().chain(own.variables);
        own.variables = variables.collect();
        own.files = run.files.clone();
        own.limits = own.limits.or(run.limits);
        own.user = if own.user.is_own() { run.user.clone() } else { own.user };
        own.hosts = if own.hosts.is_none() { run.hosts.clone() } else { own.hosts };
    }
    if own.listens_on().is_none() {
        own.texts_mut().for_each(|text| *text = text.replace("${self.port}", "${self.version}"));
    }
    saying(own).with_values_noted()
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let parts = (
        service(),
        option::of("[a-zé@ -]{1,20}".prop_filter("an owner is not blank", |owner| !owner.trim().is_empty())),
        build(),
        vec(suite(), 0..3),
        package(),
        run(),
        (
            btree_map(service(), requirement(), 0..4),
            btree_map(resource(), need(), 0..3),
            vec(database(), 0..3),
        ),
        (vec(contract(), 0..5), vec(accepted(), 0..3)),
        (
            (
                (routes(), checks()),
                vec(job(), 0..3),
                any::<bool>(),
                (option::of(static_files()), option::of(external())),
                0_u8..6,
            ),
            vec((from_text::<ProcessName>("[a-z]{1,6}|web"), run()), 0..3),
        ),
    );
    parts.prop_map(
        |(
            name,
            owner,
            build,
            tests,
            package,
            run,
            (mut requires, resources, mut databases),
            (mut contracts, accepts),
            (((routes, mut checks), jobs, only_jobs, (static_files, external), image), others),
        )| {
            requires.remove(&name);
            databases.sort_by(|a, b| a.name.cmp(&b.name));
            databases.dedup_by(|a, b| a.name == b.name);
            let mut ports = BTreeSet::new();
            for requirement in requires.values_mut() {
                requirement.port = requirement.port.filter(|port| ports.insert(*port));
            }
            // Written by kind, and each origin once.
            contracts.sort_by_key(|contract| contract.kind);
            let mut taken = BTreeSet::new();
            contracts.retain(|contract| taken.insert(format!("{:?}{:?}", contract.kind, contract.origin)));
            let mut routes = routes;
            let run = if only_jobs && !jobs.is_empty() { of_jobs(run) } else { serving(run, static_files) };
            let run = saying(of_image(run, image));
            let (run, processes) = with_processes(run, others);
            let (mut build, mut jobs, mut processes) = (build, jobs, processes);
            let run = match external {
                Some(external) if run.kind.is_web() => {
                    build.steps.clear();
                    jobs.clear();
                    processes = Processes::default();
                    of_somebody_else(run, external)
                }
                _ => run,
            };
            if !run.kind.is_web() {
                routes.clear();
                checks.clear();
                contracts.retain(|it| !matches!(it.kind, ContractKind::OpenApi | ContractKind::GraphQl));
            }
            let mut names = BTreeSet::new();
            jobs.retain(|job| names.insert(job.name.clone()));
            Manifest {
                name,
                owner,
                criticality: Criticality::new(u32::try_from(routes.len()).unwrap() + 1).unwrap(),
                build,
                tests,
                package,
                run,
                processes,
                requires,
                resources,
                databases,
                contracts,
                accepts,
                routes,
                checks,
                jobs,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_written_manifest_reads_back_the_same(manifest in manifest()) {
        let text = render(&manifest);
        let read = parse(&text, "lockstep.toml");
        prop_assert_eq!(read.as_ref(), Ok(&manifest), "{}", text);
    }

    #[test]
    fn notes_change_nothing(manifest in manifest(), note in "[ -~\n]{0,40}") {
        let notes = ["name", "build", "build.tools", "test", "package.include", "run", "run.health", "route"];
        let notes = notes.into_iter().map(|path| (path, note.clone())).collect();
        let text = render_with_notes(&manifest, &notes);
        prop_assert_eq!(parse(&text, "lockstep.toml"), Ok(manifest), "{}", text);
    }
}

#[test]
fn only_what_differs_from_the_defaults_is_written() {
    let text = "name = \"orders\"\n\n[run]\ncommand = \"./orders\"\n";
    assert_eq!(render(&parse(text, "lockstep.toml").unwrap()), text);
}
