//! The services in folders below one that is none itself.

use super::{RepositoryView, look};

/// A service in a folder below.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Nested {
    /// Its folder.
    pub folder: String,
    /// What was found there.
    pub sign: String,
}

/// How deep services are looked for.
const MAX_DEPTH: usize = 3;
/// Most folders that are looked into.
const MAX_FOLDERS: usize = 400;

/// Finds the outermost folders that hold a service.
pub(super) fn services(view: &RepositoryView) -> Vec<Nested> {
    let mut found: Vec<Nested> = Vec::new();
    let signs = [
        "Dockerfile",
        "Procfile",
        "Cargo.toml",
        "go.mod",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "package.json",
        "pyproject.toml",
        "requirements.txt",
        "Gemfile",
        "composer.json",
        "manage.py",
        "config.ru",
        "index.html",
    ];
    let is_sign = |path: &&String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        signs.contains(&name) || name.ends_with(".csproj")
    };
    let mut folders: Vec<&str> =
        view.files.keys().filter(is_sign).filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
    folders.sort_by_key(|folder| (folder.split('/').count(), *folder));
    folders.dedup();
    for folder in
        folders.into_iter().filter(|folder| folder.split('/').count() <= MAX_DEPTH).take(MAX_FOLDERS)
    {
        let is_inside = |one: &Nested| folder.starts_with(&format!("{}/", one.folder));
        if found.iter().any(is_inside) {
            continue;
        }
        let (sign, draft) = look(&view.below(folder));
        if draft.is_some_and(|draft| draft.is_started()) {
            found.push(Nested { folder: folder.to_owned(), sign });
        }
    }
    found
}
