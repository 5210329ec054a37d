//! Proposes a manifest for a service whose versions are images, by what an image says of itself.

use lockstep_domain::image_run::ImageRun;
use lockstep_domain::run::{HealthCheck, Probe};
use lockstep_domain::work_path::WorkPath;

use super::{Draft, Proposal, RepositoryView, manifest, route, service_name, written};

/// What an image says of how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSays {
    /// What it was asked for by: a name in a registry, or of a file or folder.
    pub reference: String,
    /// The names of its variables.
    pub variables: Vec<String>,
    /// On which ports it listens, as `8080/tcp`.
    pub ports: Vec<String>,
    /// Which folders it writes to.
    pub volumes: Vec<String>,
    /// The command that asks for its health.
    pub health: Vec<String>,
    /// Whether it says what it runs.
    pub has_command: bool,
}

/// Proposes a manifest.
#[must_use]
pub fn propose_of_image(says: &ImageSays) -> Proposal {
    let name = service_name(short_name(&says.reference));
    let nothing = RepositoryView::default();
    let mut draft = Draft { image: Some(ImageRun::default()), ..Draft::default() };
    draft.assume(format!("the versions of {name} are images, as {}", says.reference));
    listening(says, &mut draft);
    volumes(says, &mut draft);
    if !says.health.is_empty() {
        draft.assume("its HEALTHCHECK says whether an instance is healthy");
        draft.health = Some(HealthCheck::new(Probe::Command { command: says.health.clone() }));
    }
    if !says.has_command {
        draft.ask("run.image", "Which command runs it? The image has neither ENTRYPOINT nor CMD: [run] command = \"/bin/server\"");
    }
    let routes = route(&nothing, &name, &mut draft);
    let manifest = manifest(&nothing, name, routes, &mut draft);
    written(&manifest, draft, "an image")
}

/// Finds out how it is told its port: a variable `PORT` of its own is set to what it is to listen on.
fn listening(says: &ImageSays, draft: &mut Draft) {
    if says.variables.iter().any(|name| name == "PORT") {
        draft.is_told = true;
        draft.assume("it listens on the port in PORT, which the image has as a variable");
        return;
    }
    let number = |port: &String| port.strip_suffix("/tcp").unwrap_or(port).parse().ok();
    draft.ports = says.ports.iter().filter_map(number).collect();
    if let [first, others @ ..] = &draft.ports[..]
        && !others.is_empty()
    {
        let text =
            format!("Is {first} the port that takes requests? The image names {} too.", listed(others));
        draft.ask("run.port", text);
    }
}

fn listed(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn volumes(says: &ImageSays, draft: &mut Draft) {
    for volume in &says.volumes {
        let Ok(path) = volume.trim_matches('/').parse::<WorkPath>() else {
            draft.ask(
                "run.image",
                format!(
                    "What is to be kept of its volume {volume}? It is no folder that can be kept: [run] data"
                ),
            );
            continue;
        };
        if draft.data.iter().all(|other| !other.overlaps(&path)) {
            draft.assume(format!("what it writes to its volume {volume} is kept over all versions"));
            draft.data.push(path);
        }
    }
}

/// The last part of a name, without tag and digest; of a file, without its end and the number in its name.
fn short_name(reference: &str) -> &str {
    let last = reference.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = last.split(['@', ':']).next().unwrap_or_default();
    let ends = [".tar.gz", ".tar.zst", ".tgz", ".tar"];
    ends.iter().find_map(|end| last.strip_suffix(end)).map_or(last, without_number)
}

fn without_number(name: &str) -> &str {
    let begins = |(at, rest): &(usize, &str)| *at > 0 && rest[1..].starts_with(|c: char| c.is_ascii_digit());
    let parts = name.match_indices(['-', '_']).map(|(at, _)| (at, &name[at..]));
    parts.into_iter().find(begins).map_or(name, |(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(reference: &str) -> ImageSays {
        ImageSays { reference: reference.into(), has_command: true, ..ImageSays::default() }
    }

    #[test]
    fn a_service_is_called_as_its_image() {
        for (reference, name) in [
            ("registry.example:5000/team/orders:1.4", "orders"),
            ("orders@sha256:00", "orders"),
            ("./images/orders.tar.gz", "orders"),
            ("./images/shop-orders-1.4.tar", "shop-orders"),
            ("1-2.tar", "service"),
            ("layout/", "layout"),
            ("", "service"),
        ] {
            let text = propose_of_image(&says(reference)).text;
            assert!(text.contains(&format!("name = \"{name}\"")), "{reference}: {text}");
        }
    }

    #[test]
    fn what_an_image_says_is_taken_and_the_rest_is_asked() {
        let all = ImageSays {
            ports: vec!["8080/tcp".into(), "53/udp".into(), "9000/tcp".into()],
            volumes: vec!["/var/lib/store".into(), "/".into()],
            health: vec!["/bin/true".into()],
            has_command: false,
            ..says("store")
        };
        let Proposal { text, questions, .. } = propose_of_image(&all);
        for part in ["image = true", "port = 8080", "\"var/lib/store\"", "/bin/true", "path = \"/store\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(questions.len(), 4, "{questions:?}");
        crate::parse::parse(&text, "lockstep.toml").unwrap();
    }

    #[test]
    fn an_image_that_has_the_variable_is_told_its_port() {
        let told =
            ImageSays { variables: vec!["PORT".into()], ports: vec!["8080/tcp".into()], ..says("store") };
        let Proposal { text, questions, .. } = propose_of_image(&told);
        assert!(!text.contains("port ="), "{text}");
        assert!(questions.is_empty(), "{questions:?}");
    }
}
