//! nginx of a compose file, as a service of its own that the nginx of the host runs.

use std::collections::BTreeMap;

use super::{KEPT, Maker, below};
use crate::compose::file::{Service, in_project};
use crate::compose::front::{self, Around, Source};
use crate::compose::places::Named;
use crate::compose::roles::name_of;
use crate::init::dockerfile::Image;
use crate::init::draft::Draft;
use crate::init::{self, RepositoryView};
use crate::model::{Package, Step};

/// The configuration of nginx that is written.
const TEMPLATE: &str = "nginx.lockstep.conf";
impl Maker<'_> {
    pub(super) fn front(&mut self, service: &Service, image: &Image) {
        let texts = configurations(service, image, self.view);
        if texts.is_empty() {
            self.remarks.not_taken(
                service.line,
                "no configuration of nginx is mounted or copied, so it would serve nothing of yours",
                "mount one, or let the services have routes",
            );
            return;
        }
        let folder = self.folder_of_front(service);
        let mut draft = Draft { is_told: true, ..Draft::default() };
        let folders = self.pages(service, image, &folder, &mut draft);
        let mut named = Named::default();
        let around = Around {
            places: &self.roles.places,
            line: service.line,
            variables: service.environment.iter().map(|setting| setting.name.clone()).collect(),
            folders,
        };
        let is_main = |kind: &Config| *kind == Config::Main;
        let source = |(text, kind): &'_ (String, Config)| (text.clone(), *kind == Config::Template);
        let main: Vec<(String, bool)> = texts.iter().filter(|(_, kind)| is_main(kind)).map(source).collect();
        let rest: Vec<(String, bool)> = texts.iter().filter(|(_, kind)| !is_main(kind)).map(source).collect();
        let main = main.first().map(|(text, _)| Source { text, is_template: false });
        let rest: Vec<Source<'_>> =
            rest.iter().map(|(text, is_template)| Source { text, is_template: *is_template }).collect();
        let template = front::template(main.as_ref(), &rest, &around, &mut named, self.remarks);
        draft.command = ["nginx", "-p", ".", "-e", "stderr", "-c", TEMPLATE, "-g", "daemon off;"]
            .map(str::to_owned)
            .into();
        draft.stop.signal = lockstep_domain::run::StopSignal::Quit;
        draft.files = TEMPLATE.parse().into_iter().collect();
        draft.package = Package {
            include: TEMPLATE
                .parse()
                .into_iter()
                .chain(draft.package.include.into_iter().filter(|pattern| pattern.as_str() != "**"))
                .collect(),
            ..Package::default()
        };
        let configuration = self.settings(service, image, &BTreeMap::new(), &mut draft, &mut named);
        draft.assume(format!("nginx of the host serves by {}", below(&folder, TEMPLATE)));
        let routes = self.routes(service);
        let mut manifest = init::manifest(&RepositoryView::default(), name_of(service), routes, &mut draft);
        self.requirements(service, &named, &mut manifest);
        self.import.files.insert(below(&folder, TEMPLATE), template);
        let place = below(&folder, crate::MANIFEST_FILE);
        let sign = format!("{} of {}", service.name, self.file);
        self.write(service, folder, place, false, &manifest, draft, &sign, "nginx", configuration);
    }

    /// A folder for nginx alone: that of its configuration, or one that is made for it.
    fn folder_of_front(&self, service: &Service) -> String {
        let of_mount =
            service.mounts.iter().filter(|mount| mount.target.starts_with("/etc/nginx")).find_map(|mount| {
                let path = mount.in_project()?;
                if self.view.has_folder(&path) {
                    Some(path)
                } else {
                    path.rsplit_once('/').map(|(folder, _)| folder.to_owned())
                }
            });
        let of_build = service.build.as_ref().map(|build| build.context.clone());
        let is_free = |folder: &String| {
            !folder.is_empty()
                && self.sharing(folder) == 0
                && !self.view.has(&below(folder, crate::MANIFEST_FILE))
                || self.view.has(&below(folder, TEMPLATE))
        };
        of_build.or(of_mount).filter(is_free).unwrap_or_else(|| format!("{KEPT}/{}", name_of(service)))
    }

    /// Pages that it serves itself: where each folder of the container is here.
    fn pages(
        &mut self,
        service: &Service,
        image: &Image,
        folder: &str,
        draft: &mut Draft,
    ) -> BTreeMap<String, String> {
        let mut folders = BTreeMap::new();
        let mounted =
            service.mounts.iter().filter_map(|mount| Some((mount.target.clone(), mount.in_project()?)));
        let context = service.build.as_ref().map(|build| build.context.clone()).unwrap_or_default();
        let copied = image.copies.iter().filter_map(|copied| {
            Some((copied.target.clone(), in_project(&below(&context, copied.sources.first()?))?))
        });
        let all: Vec<(String, String)> = mounted
            .chain(copied)
            .filter(|(target, path)| {
                !target.starts_with("/etc/") && (self.view.has_folder(path) || path.is_empty())
            })
            .collect();
        for (number, (target, path)) in all.into_iter().enumerate() {
            let target = target.trim_end_matches('/').to_owned();
            let own = path.strip_prefix(&format!("{folder}/")).map(str::to_owned);
            let here =
                own.unwrap_or_else(|| if number == 0 { "html".to_owned() } else { format!("html-{number}") });
            if !path.starts_with(&format!("{folder}/")) {
                let up = "../".repeat(folder.split('/').count());
                draft.build.steps.push(Step {
                    command: ["cp", "-R", &format!("{up}{path}"), &here].map(str::to_owned).into(),
                    folder: None,
                });
                draft.build.sources.extend(below(&self.view.place, &path).parse());
            }
            draft.package.include.extend(format!("{here}/**").parse());
            folders.insert(target, here);
        }
        folders
    }
}

/// What a configuration is of nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compose) enum Config {
    Main,
    Servers,
    Template,
}

/// The configurations of nginx that are put into its container.
pub(in crate::compose) fn configurations(
    service: &Service,
    image: &Image,
    view: &RepositoryView,
) -> Vec<(String, Config)> {
    let context = service.build.as_ref().map(|build| build.context.clone()).unwrap_or_default();
    let context = &context;
    let copied = image.copies.iter().flat_map(|copied| {
        copied
            .sources
            .iter()
            .map(move |source| (copied.target.clone(), below(context, source.trim_start_matches("./"))))
    });
    let mounted = service.mounts.iter().filter_map(|mount| Some((mount.target.clone(), mount.in_project()?)));
    let mut all = Vec::new();
    for (target, path) in copied.chain(mounted).filter(|(target, _)| target.starts_with("/etc/nginx")) {
        let kind = |name: &str| match () {
            () if target.contains("templates") || name.ends_with(".template") => Config::Template,
            () if name.ends_with("nginx.conf") && !target.contains("conf.d") && !target.contains("sites") => {
                Config::Main
            }
            () => Config::Servers,
        };
        if let Some(text) = view.text(&path) {
            let name = if target.ends_with(".conf") || target.ends_with(".template") {
                target.as_str()
            } else {
                path.as_str()
            };
            all.push((text.to_owned(), kind(name)));
        } else {
            let begin = format!("{}/", path.trim_end_matches('/'));
            let inside = view.texts().filter(|(file, _)| {
                file.starts_with(&begin) && (file.ends_with(".conf") || file.ends_with(".template"))
            });
            all.extend(inside.map(|(file, text)| (text.to_owned(), kind(file))));
        }
    }
    all
}
