//! A service of a compose file that is an image and nothing here is built for: its versions are the image.

use std::collections::BTreeSet;

use lockstep_domain::image_run::ImageRun;
use lockstep_domain::listeners::is_given_port;
use lockstep_domain::run::{Kind, Probe};
use lockstep_domain::work_path::WorkPath;

use super::super::file::Service;
use super::super::places::{Named, Place};
use super::super::roles::{Built, command, name_of, ports};
use super::{KEPT, Maker};
use crate::compose::beside;
use crate::init;
use crate::init::draft::Draft;
use crate::model::Manifest;

/// The first port at which whoever is not root may listen.
const FIRST_FOR_ALL: u16 = 1024;
/// A folder in which nothing is: the files of the image are not here.
const NOTHING: &str = ".lockstep/nothing";

impl Maker<'_> {
    pub(super) fn given(&mut self, service: &Service, built: &Built, image: &str) {
        let nothing = self.view.below(NOTHING);
        let kind = if built.is_web { Kind::Web } else { Kind::Worker };
        let command = command(service, &built.image).unwrap_or_default();
        let mut draft = Draft { kind, command, image: Some(ImageRun::default()), ..Draft::default() };
        draft.ports = ports(service, &built.image, &self.roles.called);
        let mut named = Named::default();
        self.volumes_of_image(service, &mut draft);
        let mut configuration =
            self.settings(service, &built.image, &std::collections::BTreeMap::new(), &mut draft, &mut named);
        self.addresses_in_command(&mut draft, &mut named);
        beside::in_command(&mut draft.command);
        self.health_and_stop(service, &built.image, &nothing, &mut draft);
        self.jobs(service, &built.image, &mut draft, &mut named, &mut configuration);
        if kind == Kind::Worker {
            draft.health =
                draft.health.take().filter(|health| !matches!(health.probe, Probe::Http { .. } | Probe::Tcp));
        }
        if service.entrypoint.is_none() && !draft.command.is_empty() {
            // What a compose file calls a command takes the place of the arguments alone.
            let arguments = Some(std::mem::take(&mut draft.command));
            draft.image = Some(ImageRun { arguments, ..ImageRun::default() });
        }
        if kind == Kind::Worker && service.command.is_none() && service.entrypoint.is_none() {
            let text = format!(
                "Does it take requests? The file says no port of it, so it is taken to be a worker, which nobody can call; what its image says, `lockstep init --image {image}` shows."
            );
            draft.ask("run.kind", text);
        }
        let routes = self.routes(service);
        let mut manifest = init::manifest(&nothing, name_of(service), routes, &mut draft);
        self.requirements(service, &named, &mut manifest);
        self.by_name(service, &mut manifest, &mut draft);
        let place = format!("{KEPT}/{}.toml", manifest.name);
        let sign = format!("{} of {}", service.name, self.file);
        let what = if built.is_web { "web" } else { "worker" };
        self.write(service, String::new(), place, true, &manifest, draft, &sign, what, configuration);
        if let Some(written) = self.import.services.last_mut() {
            written.image = Some(image.to_owned());
        }
    }

    /// What is built into an image calls others by their names, at the ports that they have there.
    fn by_name(&mut self, service: &Service, manifest: &mut Manifest, draft: &mut Draft) {
        let mut taken = BTreeSet::new();
        for (called, place) in &self.roles.places.0 {
            let Place::Service { name, ports } = place else { continue };
            let (Some(port), Some(needed)) = (ports.first(), manifest.requires.get_mut(name)) else {
                continue;
            };
            if called != name.as_str() || is_given_port(*port) || !taken.insert(*port) {
                continue;
            }
            if *port < FIRST_FOR_ALL {
                draft.ask("requires", format!("Does it call http://{name}:{port}? Then write {name} = {{ version = \"*\", port = {port} }}; only a server of root may listen there."));
                continue;
            }
            needed.port = Some(*port);
            let text = format!(
                "it calls http://{name}:{port}, by the name and the port that {name} has in the file"
            );
            self.remarks.assume(service.line, text);
        }
    }

    /// Volumes are kept where the image has them; what lies on the host is no part of an image.
    fn volumes_of_image(&mut self, service: &Service, draft: &mut Draft) {
        for mount in &service.mounts {
            let target = mount.target.trim_matches('/');
            if mount.is_bind() {
                self.remarks.not_taken(
                    mount.line,
                    format!("{} is not put at {}", mount.source, mount.target),
                    "make an image that has it: FROM, COPY; a text of the image itself is filled in by [run] files",
                );
                continue;
            }
            let Ok(path) = target.parse::<WorkPath>() else { continue };
            if draft.data.iter().all(|other| !other.overlaps(&path)) {
                draft.data.push(path);
            }
        }
    }
}
