//! What of a repository a service is made of: its folder, and what its manifest names besides.

use lockstep_domain::ServiceName;
use lockstep_manifest::Manifest;

use crate::repository::SourceFolder;

/// The parts of a repository that a service is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The service.
    pub service: ServiceName,
    /// Its folder.
    pub folder: SourceFolder,
    /// Files and folders from the root of the repository; one that is empty is all of it.
    more: Vec<String>,
}

impl Scope {
    /// Takes what a manifest in a folder names.
    #[must_use]
    pub fn of(manifest: &Manifest, folder: &SourceFolder) -> Self {
        let more = manifest.build.sources.iter().map(|path| match path.as_str() {
            "." => String::new(),
            path => path.to_owned(),
        });
        Self { service: manifest.name.clone(), folder: folder.clone(), more: more.collect() }
    }

    /// The same service where its folder was before it was moved.
    #[must_use]
    pub(crate) fn in_folder(&self, folder: SourceFolder) -> Self {
        Self { folder, ..self.clone() }
    }

    /// Tells whether it is the whole repository.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.all().any(str::is_empty)
    }

    /// The paths that git is given; none means everything.
    pub(crate) fn paths(&self) -> Vec<&str> {
        if self.is_everything() { Vec::new() } else { self.all().collect() }
    }

    /// What its manifest names besides its folder.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        self.more.iter().map(String::as_str).filter(|path| !path.is_empty())
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.folder.as_str()).chain(self.more.iter().map(String::as_str))
    }

    /// What a checkout is told to have, in the form of `.gitignore`; `None` means everything.
    pub(crate) fn patterns(&self) -> Option<String> {
        let pattern = |path: &str| {
            let plain = |c: char| !matches!(c, '*' | '?' | '[' | '\\' | ' ');
            let escaped = path.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]));
            format!("/{}\n", escaped.collect::<String>())
        };
        (!self.is_everything()).then(|| self.all().map(pattern).collect())
    }

    /// The parts whose content is the content of the service, each as git names it at a commit.
    pub(crate) fn objects(&self, commit: &str) -> Vec<String> {
        if self.is_everything() {
            return vec![format!("{commit}^{{tree}}")];
        }
        self.all().map(|path| format!("{commit}:{path}")).collect()
    }
}
