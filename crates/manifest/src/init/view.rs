//! What is known of a repository.

use std::collections::BTreeMap;

/// What is known of a repository.
#[derive(Debug, Clone, Default)]
pub struct RepositoryView {
    /// The name of its folder.
    pub folder: String,
    /// Its files by path, with `/` between the parts, and their text where the caller read it. [`worth_reading`] says
    /// where that helps.
    pub files: BTreeMap<String, Option<String>>,
    /// Where the folder is in its repository, with `/` between the parts; empty for the root.
    pub place: String,
    /// The description files of the folders above it, by their paths from the root of the repository.
    pub above: BTreeMap<String, String>,
}

/// Files that say how something is built or started, wherever they lie.
const DESCRIPTIONS: [&str; 34] = [
    "Cargo.toml",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "setup.py",
    "setup.cfg",
    "Pipfile",
    "Makefile",
    "Dockerfile",
    "dockerfile",
    "Containerfile",
    "Procfile",
    "Gemfile",
    "config.ru",
    "composer.json",
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
    ".env",
    "artisan",
    "rails",
    "Caddyfile",
    "Gemfile.lock",
    "gradle.properties",
    "application.properties",
    "Rakefile",
];
const SOURCES: [&str; 22] = [
    "rs",
    "go",
    "java",
    "kt",
    "js",
    "mjs",
    "cjs",
    "ts",
    "py",
    "rb",
    "php",
    "cs",
    "csproj",
    "properties",
    "yaml",
    "yml",
    "conf",
    "service",
    "env",
    "html",
    "template",
    "sh",
];
/// How deep source files are read.
const SOURCE_DEPTH: usize = 7;
/// The same for languages with a folder for each part of a package's name.
const PACKAGE_DEPTH: usize = 16;

/// Tells whether the text of a file helps to propose a manifest: build files, and source files near the root.
#[must_use]
pub fn worth_reading(path: &str) -> bool {
    let depth = path.split('/').count();
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_description = DESCRIPTIONS.contains(&name)
        || name.starts_with("Dockerfile")
        || name.ends_with(".env")
        || name.starts_with(".env");
    let deepest = if matches!(extension, "java" | "kt") { PACKAGE_DEPTH } else { SOURCE_DEPTH };
    depth <= deepest && (is_description || SOURCES.contains(&extension))
}

impl RepositoryView {
    /// Returns the compose file in the folder, by the name that Compose looks for first.
    #[must_use]
    pub fn compose_file(&self) -> Option<&'static str> {
        COMPOSE_FILES.into_iter().find(|name| self.has(name))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Tells whether something lies below a folder.
    pub(crate) fn has_folder(&self, path: &str) -> bool {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.files.range(below.clone()..).next().is_some_and(|(file, _)| file.starts_with(&below))
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Goes through the texts that were read.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Tells whether any text that was read contains a word.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.texts().any(|(_, text)| text.contains(word))
    }

    /// Tells whether a program or a configuration reads a variable: what says so of an image does not count.
    pub(crate) fn mentions_variable(&self, name: &str) -> bool {
        let counts = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or(path);
            !file.contains("ockerfile")
                && !file.starts_with("docker-compose")
                && !file.starts_with("compose.")
                && !file.starts_with(".env")
        };
        self.texts().any(|(path, text)| counts(path) && has_word(text, name))
    }

    /// Returns the first of some paths that there is.
    pub(crate) fn first<'p>(&self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().copied().find(|path| self.has(path))
    }

    /// Tells whether it has pages for a browser.
    pub(crate) fn has_pages(&self) -> bool {
        let is_page = |path: &String| {
            let folders = ["templates/", "views/", "public/", "static/", "www/", "wwwroot/", "app/views/"];
            let is_near = path.split('/').count() <= 5;
            let is_test = path
                .split('/')
                .any(|part| part.starts_with("test") || part == "docs" || part == "node_modules");
            let endings = [
                ".html",
                ".ejs",
                ".erb",
                ".pug",
                ".hbs",
                ".twig",
                ".jinja",
                ".j2",
                ".cshtml",
                ".razor",
                ".tmpl",
                ".jsp",
                ".mustache",
            ];
            let is_placed =
                folders.iter().any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")));
            is_near
                && !is_test
                && endings.iter().any(|ending| path.ends_with(ending))
                && (is_placed || path.ends_with("index.html") || path.ends_with(".cshtml"))
        };
        self.files.keys().any(is_page)
    }

    /// Returns what lies in a folder, as a view of its own.
    pub(crate) fn below(&self, folder: &str) -> Self {
        let folder = folder.trim_matches('/');
        if folder.is_empty() {
            return self.clone();
        }
        let begin = format!("{folder}/");
        let of = |(path, text): (&String, &Option<String>)| {
            Some((path.strip_prefix(&begin)?.to_owned(), text.clone()))
        };
        let files = self
            .files
            .range(begin.clone()..)
            .take_while(|(path, _)| path.starts_with(&begin))
            .filter_map(of)
            .collect();
        let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
        let place =
            if self.place.is_empty() { folder.to_owned() } else { format!("{}/{folder}", self.place) };
        let mut above = self.above.clone();
        above.extend(self.descriptions_above(folder));
        Self { folder: name, files, place, above }
    }

    /// Description files of the folders on the way to one, by their paths from the root of the repository.
    fn descriptions_above(&self, folder: &str) -> Vec<(String, String)> {
        let outer = if self.place.is_empty() { String::new() } else { format!("{}/", self.place) };
        let mut folders = vec![String::new()];
        let parts: Vec<&str> = folder.split('/').collect();
        folders.extend((1..parts.len()).map(|many| format!("{}/", parts[..many].join("/"))));
        let names = ABOVE.iter().flat_map(|name| folders.iter().map(move |folder| format!("{folder}{name}")));
        names.filter_map(|path| Some((format!("{outer}{path}"), self.text(&path)?.to_owned()))).collect()
    }

    /// Returns the nearest description file of a name in the folders above, with its folder.
    pub(crate) fn nearest_above(&self, name: &str) -> Option<(String, &str)> {
        let parts: Vec<&str> = self.place.split('/').collect();
        (0..parts.len()).rev().find_map(|many| {
            let folder = parts[..many].join("/");
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            Some((folder, self.above.get(&path)?.as_str()))
        })
    }
}

/// How compose files are named, in the order in which Compose looks for them.
pub const COMPOSE_FILES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Files of the folders above that say something of the ones below.
pub const ABOVE: [&str; 8] = [
    "pom.xml",
    "settings.gradle",
    "settings.gradle.kts",
    "build.gradle",
    "build.gradle.kts",
    "Cargo.toml",
    "gradle.properties",
    "package.json",
];

/// Tells whether a text has a word that is no part of a longer one.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    })
}
