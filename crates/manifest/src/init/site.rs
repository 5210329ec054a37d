//! Pages without a program of their own.

use super::{Draft, RepositoryView, package};

const FOLDERS: [&str; 7] = ["public", "site", "www", "html", "dist", "docs", ""];
/// What lies beside pages in the root of a repository, and is for nobody who looks at them.
const NOT_PAGES: [&str; 3] = ["lockstep.toml", "Dockerfile", "*.md"];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let folder =
        FOLDERS.iter().find(|folder| view.has(format!("{folder}/index.html").trim_start_matches('/')))?;
    let mut draft = Draft::default();
    draft.serve(folder, None);
    if folder.is_empty() {
        draft.package.exclude = NOT_PAGES.iter().filter_map(|pattern| pattern.parse().ok()).collect();
        draft.ask("run", "Is everything in the folder for everybody? Lockstep serves all of it, but for what [package] excludes.");
    } else {
        draft.package = package(&[&format!("{folder}/**")]);
    }
    let shown = if folder.is_empty() { "the folder" } else { folder };
    draft.assume(format!("the pages are in {shown}, and Lockstep serves them"));
    Some(draft)
}
