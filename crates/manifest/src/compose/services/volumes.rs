//! What is put into the container of a service: folders that it keeps, and files of the project.

use std::collections::BTreeMap;

use lockstep_domain::work_path::WorkPath;

use super::{Maker, below};
use crate::compose::file::Service;
use crate::init::RepositoryView;
use crate::init::dockerfile::{Image, join};
use crate::init::draft::Draft;

impl Maker<'_> {
    /// Folders that are kept, and where each path of the container is here.
    pub(super) fn volumes(
        &mut self,
        service: &Service,
        image: &Image,
        inner: &RepositoryView,
        draft: &mut Draft,
    ) -> BTreeMap<String, String> {
        let mut moved = BTreeMap::new();
        for mount in &service.mounts {
            let target = join("/", &mount.target);
            if target.contains("docker.sock") {
                self.remarks.not_taken(
                    mount.line,
                    "the socket of Docker is not given to it",
                    "nothing here is like it",
                );
                continue;
            }
            let of_project = mount.in_project();
            let is_code = mount.is_bind()
                && of_project
                    .as_deref()
                    .is_some_and(|path| self.view.has(path) || self.view.has_folder(path) || path.is_empty());
            if is_code {
                self.mounted_code(
                    mount.line,
                    of_project.as_deref().unwrap_or_default(),
                    &target,
                    image,
                    inner,
                );
                continue;
            }
            if mount.is_bind() && of_project.is_none() {
                self.remarks.not_taken(
                    mount.line,
                    format!("{} of the host is not given to it at {target}", mount.source),
                    "an instance reads what its user may read: name the path in its configuration",
                );
                continue;
            }
            if ["node_modules", "vendor", ".venv", "__pycache__", "/target"]
                .iter()
                .any(|name| target.ends_with(name))
            {
                continue;
            }
            let folder = image.workdir.trim_end_matches('/');
            let inside = target.strip_prefix(&format!("{folder}/")).filter(|_| !folder.is_empty());
            let here = inside.unwrap_or(target.trim_start_matches('/')).to_owned();
            let Ok(path) = here.parse::<WorkPath>() else { continue };
            if draft.data.iter().all(|other| !other.overlaps(&path)) {
                draft.data.push(path);
            }
            if inside.is_none() {
                self.remarks.assume(
                    mount.line,
                    format!("what it keeps in {target} is kept in `{here}` below its working folder"),
                );
                moved.insert(target, here);
            }
        }
        self.questions_of_moved(service, &moved, draft);
        moved
    }

    /// A program that writes to a path of its own has to be told another.
    fn questions_of_moved(&mut self, service: &Service, moved: &BTreeMap<String, String>, draft: &mut Draft) {
        draft.questions.retain(|(_, text)| !moved.keys().any(|path| text.contains(path.as_str())));
        for (path, here) in moved {
            let says = |text: &str| text.contains(path.as_str());
            let is_told = service.environment.iter().any(|setting| says(&setting.value))
                || draft.command.iter().any(|word| says(word));
            if !is_told {
                draft.ask("run.data", format!("How is it told to keep its data in `{here}`? In its container they are in {path}, and no variable says so."));
            }
            for word in &mut draft.command {
                *word = word.replace(path.as_str(), here);
            }
        }
    }

    fn mounted_code(
        &mut self,
        line: usize,
        source: &str,
        target: &str,
        image: &Image,
        inner: &RepositoryView,
    ) {
        let here = image.in_context(target).unwrap_or_default();
        let place =
            inner.place.strip_prefix(&self.view.place).unwrap_or(&inner.place).trim_start_matches('/');
        let same = below(place, &here) == source || source == place;
        if same || (source.is_empty() && place.is_empty()) {
            return;
        }
        self.remarks.not_taken(line, format!("{source} is not put at {target}"), "commit it in the folder of the service, under that path, or name where it is in its configuration");
    }
}
