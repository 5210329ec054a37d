//! What starts a service elsewhere: a Dockerfile, a Procfile, a unit of systemd.

use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS, When};
use lockstep_domain::run::{Kind, Probe};
use lockstep_domain::work_path::WorkPath;

use super::call::{Call, shell_words};
use super::dockerfile::{Image, join};
use super::draft::{Draft, Worker};
use super::{RepositoryView, is_program, listen, way};

/// The process of a Procfile that takes requests.
const WEB: &str = "web";

/// Starts a draft the way the first of them does, and names it; `None` where there is none.
pub(super) fn start(view: &RepositoryView, draft: Draft) -> Option<(String, Draft)> {
    dockerfile(view, draft.clone()).or_else(|| procfile(view, draft.clone())).or_else(|| unit(view, draft))
}

fn dockerfile(view: &RepositoryView, mut draft: Draft) -> Option<(String, Draft)> {
    let file = view.first(&["Dockerfile", "dockerfile", "Containerfile"])?;
    let image = Image::read(view.text(file)?, None)?;
    let words = Call::with(image.entrypoint.as_ref(), image.command.as_ref());
    let words = words.filter(|words| !serves_pages(words) || !draft.is_started());
    if words.is_none() && !draft.is_started() {
        return None;
    }
    as_image(&mut draft, view, &image, words.as_deref(), file);
    Some((file.to_owned(), draft))
}

/// Tells whether it is a server that only serves what a build made, of which the language knows.
pub(crate) fn serves_pages(words: &[String]) -> bool {
    let servers = ["nginx", "httpd", "httpd-foreground", "apache2-foreground"];
    words.first().is_some_and(|program| servers.iter().any(|name| is_program(program, name)))
}

/// Forgets that Lockstep would serve what a build makes: a program does, out of all files.
fn no_pages(draft: &mut Draft) {
    if draft.pages.take().is_some()
        && draft.package.include.iter().all(|pattern| pattern.as_str().ends_with("/**"))
    {
        draft.package.include = "**".parse().into_iter().collect();
        draft.assumptions.retain(|text| !text.contains("Lockstep serves"));
    }
}

/// Takes over all that an image says.
pub(crate) fn as_image(
    draft: &mut Draft,
    view: &RepositoryView,
    image: &Image,
    words: Option<&[String]>,
    file: &str,
) {
    draft.ports.clone_from(&image.ports);
    way::variables(draft, &image.variables, image, &image.ports);
    // What an image has in its working folder may lie deeper in the repository.
    let root = image.in_context(&image.workdir).filter(|root| !root.is_empty() && view.has_folder(root));
    if let Some(root) = root.filter(|root| root.bytes().all(|b| b.is_ascii_graphic() && b != b':'))
        && view.files.keys().any(|path| path.starts_with(&format!("{root}/")) && path.ends_with(".py"))
    {
        draft.python_path(&root);
    }
    if let Some(words) = words {
        no_pages(draft);
        way::start(draft, view, image, words, &image.ports);
        draft.assume(format!("`{}` runs the service, as {file} says", draft.command.join(" ")));
    }
    if let Some((options, call)) = &image.health {
        draft.health = way::health(call, options, view, image).or(draft.health.take());
    }
    if let Some(signal) = &image.stop_signal {
        match way::signal(signal) {
            Some(signal) => draft.stop.signal = signal,
            None => draft.ask(
                "run.stop",
                format!("{file} ends it with {signal}: which of TERM, INT, QUIT and HUP ends it well?"),
            ),
        }
    }
    for volume in &image.volumes {
        keep(draft, &join(&image.workdir, volume), &image.workdir);
    }
    packages_of_system(draft, image);
}

/// Keeps a folder of an image, where it lies below the working folder.
fn keep(draft: &mut Draft, path: &str, workdir: &str) {
    let below = path
        .strip_prefix(&format!("{}/", workdir.trim_end_matches('/')))
        .and_then(|path| path.parse::<WorkPath>().ok());
    match below {
        Some(path) if draft.data.iter().all(|other| !other.overlaps(&path)) => draft.data.push(path),
        Some(_) => {}
        None => draft.ask("run.data", format!("The image keeps {path}, which is not below its working folder: in which folder below it does the service keep its data?")),
    }
}

/// Programs that a build of the image installs have to be on the host.
fn packages_of_system(draft: &mut Draft, image: &Image) {
    let installs = ["apt-get install", "apk add", "dnf install", "yum install", "apt install"];
    let step = image.steps.iter().find(|step| installs.iter().any(|word| step.contains(word)));
    if let Some(step) = step {
        let at = installs.iter().find_map(|word| Some(step.find(word)? + word.len())).unwrap_or_default();
        let rest = step[at..].split(['&', ';', '|']).next().unwrap_or_default();
        let named: Vec<&str> =
            rest.split_whitespace().filter(|word| !word.starts_with('-') && *word != "\\").take(8).collect();
        if !named.is_empty() {
            draft.ask(
                "run",
                format!("The image installs {}: are they on the host where it runs?", named.join(", ")),
            );
        }
    }
}

fn procfile(view: &RepositoryView, mut draft: Draft) -> Option<(String, Draft)> {
    let text = view.text("Procfile")?;
    let line = |line: &str| {
        line.split_once(':').map(|(name, command)| (name.trim().to_owned(), command.trim().to_owned()))
    };
    let processes: Vec<(String, String)> =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(line).collect();
    let (name, command) = processes.iter().find(|(name, _)| name == WEB).or(processes.first())?;
    let image = Image { workdir: "/".into(), ..Image::default() };
    let others = draft.clone();
    way::start(&mut draft, view, &image, &shell_words(command), &[]);
    draft.assume(format!("`{}` runs the service, as the Procfile says", draft.command.join(" ")));
    draft.process = name.parse().ok();
    if name != WEB {
        draft.kind = Kind::Worker;
        draft.assume("nothing of it takes requests: the Procfile has no `web`");
    }
    let rest = processes.iter().filter(|(other, _)| other != name);
    for (name, command) in rest {
        match name.as_str() {
            "release" => draft.jobs.extend(release_job(command, view)),
            _ => match worker(view, &others, name, command) {
                Some(worker) => {
                    draft.assume(format!("{name} is a process that works beside it, as the Procfile says"));
                    draft.workers.push(worker);
                }
                None => draft.ask("name", format!("The Procfile also has {name}: `{command}`, which listens on a port of its own or has a name that no process can have. It is a service of its own: give it a manifest that is kept with it (lockstep service add {name} --manifest FILE --repository PATH).")),
            },
        }
    }
    Some(("Procfile".into(), draft))
}

/// What a Procfile starts beside what takes requests: nothing tells it a port.
fn worker(view: &RepositoryView, draft: &Draft, name: &str, command: &str) -> Option<Worker> {
    let mut own = Draft { kind: Kind::Worker, variables: std::collections::BTreeMap::new(), ..draft.clone() };
    way::start(
        &mut own,
        view,
        &Image { workdir: "/".into(), ..Image::default() },
        &shell_words(command),
        &[],
    );
    let listens = way::told(&own.command) == listen::Told::Port
        || command.contains("$PORT")
        || command.contains("${PORT");
    let name = name.parse().ok().filter(|_| !listens)?;
    Some(Worker { name, command: own.command, variables: own.variables })
}

fn release_job(command: &str, view: &RepositoryView) -> Option<Job> {
    let command = way::on_host(shell_words(command), view, &mut Draft::default());
    let command = if way::told(&command) == listen::Told::Port { return None } else { command };
    let is_plain = !command.iter().any(|word| word.contains("${"));
    let name = "release".parse().ok()?;
    is_plain.then_some(Job {
        limits: lockstep_domain::limits::Limits::default(),
        name,
        when: When::BeforeSwitch,
        command,
        variables: std::collections::BTreeMap::new(),
        timeout_ms: USUAL_JOB_TIMEOUT_MS,
        schedule: None,
    })
}

fn unit(view: &RepositoryView, mut draft: Draft) -> Option<(String, Draft)> {
    let is_unit = |(path, text): &(&str, &str)| path.ends_with(".service") && text.contains("ExecStart=");
    let (file, text) = view.texts().find(is_unit)?;
    let field = |name: &str| {
        text.lines().filter_map(|line| line.trim().strip_prefix(name)).next_back().map(str::trim)
    };
    let workdir = field("WorkingDirectory=").unwrap_or("/");
    let image = Image { workdir: join("/", workdir), ..Image::default() };
    let command = field("ExecStart=")?.trim_start_matches(['-', '@', '+', '!']);
    if !draft.command.is_empty() && !command_is_of(view, command, workdir) {
        draft.assume(format!(
            "left {file} aside: it starts `{}`",
            command.split_whitespace().next().unwrap_or_default()
        ));
    } else {
        let words = shlex::split(command)
            .unwrap_or_default()
            .iter()
            .map(|word| below(word, workdir))
            .collect::<Vec<_>>();
        way::start(&mut draft, view, &image, &words, &[]);
        draft.assume(format!("`{}` runs the service, as {file} says", draft.command.join(" ")));
    }
    let assignments = text.lines().filter_map(|line| line.trim().strip_prefix("Environment="));
    let pairs = assignments
        .flat_map(|text| shlex::split(text).unwrap_or_default())
        .filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    way::variables(&mut draft, &pairs, &image, &[]);
    if let Some(file) = field("EnvironmentFile=") {
        draft.ask(
            "run.env",
            format!(
                "What is in {}? It is read by the unit; set it with lockstep config set.",
                file.trim_start_matches('-')
            ),
        );
    }
    if let Some(signal) = field("KillSignal=").and_then(way::signal) {
        draft.stop.signal = signal;
    }
    if let Some(ms) = field("TimeoutStopSec=").and_then(way::go_duration_ms) {
        draft.stop.timeout_ms = ms;
    }
    if let Some(probe) = draft.health.as_ref().map(|health| &health.probe)
        && matches!(probe, Probe::Tcp)
    {
        draft.health = None;
    }
    Some((file.to_owned(), draft))
}

fn below(word: &str, workdir: &str) -> String {
    let folder = format!("{}/", workdir.trim_end_matches('/'));
    word.strip_prefix(&folder)
        .filter(|_| folder.len() > 1)
        .map_or_else(|| word.to_owned(), |rest| format!("./{rest}"))
}

/// Tells whether the command of a unit starts something of the folder.
fn command_is_of(view: &RepositoryView, command: &str, workdir: &str) -> bool {
    let words = shlex::split(command).unwrap_or_default();
    words.iter().any(|word| view.has(below(word, workdir).trim_start_matches("./")))
}
