//! The data folders of services on disk: which there are, how large they are, and taking one away for good.
//!
//! What services wrote is looked at and never trusted: sizes are counted up to a bound. Invariant: nothing outside of the
//! folder of a service in an environment is removed, whatever links it has made there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{EnvironmentName, ServiceName};
use lockstep_files::tree;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;

/// Where what is removed lies until it is gone; no environment has such a name.
const REMOVED: &str = ".removed";
/// Bytes of a block, as the system counts what a file takes on disk.
const BLOCK: u64 = 512;
/// Names that are tried for a folder on its way out, while others are.
const MAX_TRIES: u64 = 1_000;

/// The data folders below one root: `ENVIRONMENT/SERVICE/FOLDER`.
#[derive(Debug, Clone)]
pub struct DataFolders {
    root: PathBuf,
}

/// How much is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataSize {
    /// What it takes on disk.
    pub bytes: u64,
    /// Files, folders and links in it.
    pub entries: u64,
    /// Whether there is more that was not counted.
    pub at_least: bool,
}

impl DataFolders {
    /// Names the folders below a root, which need not be there.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns where the data folders of a service in an environment are.
    #[must_use]
    pub fn of(&self, environment: &EnvironmentName, service: &ServiceName) -> PathBuf {
        self.root.join(environment.as_str()).join(service.as_str())
    }

    /// Lists the services that have a folder, with their environments.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn owners(&self) -> io::Result<Vec<(EnvironmentName, ServiceName)>> {
        let mut owners = Vec::new();
        for environment in names(&self.root)?.iter().filter_map(|name| name.parse().ok()) {
            let environment: EnvironmentName = environment;
            let services = names(&self.root.join(environment.as_str()))?;
            let services = services.iter().filter_map(|name| name.parse().ok());
            owners.extend(services.map(|service| (environment.clone(), service)));
        }
        Ok(owners)
    }

    /// Lists what lies at the top of the folder of a service in an environment.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn tops(&self, environment: &EnvironmentName, service: &ServiceName) -> io::Result<Vec<WorkPath>> {
        let names = names(&self.of(environment, service))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Takes a data folder out of the way, in one step, and returns what is to be [cleared](Self::clear) then; `None` when it
    /// is not there.
    ///
    /// # Errors
    /// When a link stands on the way to it, or it cannot be moved; it is where it was then.
    pub fn take_away(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        folder: &WorkPath,
    ) -> io::Result<Option<PathBuf>> {
        let path = self.of(environment, service).join(folder.as_str());
        let steps = [environment.as_str(), service.as_str()].into_iter().chain(folder.as_str().split('/'));
        let steps: Vec<&str> = steps.collect();
        let (name, above) = steps.split_last().expect("there are at least an environment and a service");
        let taken = match open_without_links(&self.root, above) {
            Ok(above) => self.put_aside(&above, name)?,
            Err(Errno::NOENT) => None,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let why =
                    "a link or file stands on the way to it; look where it leads, and remove it by hand";
                return Err(io::Error::other(format!("`{}`: {why}", path.display())));
            }
            Err(error) => return Err(error.into()),
        };
        for empty in path.ancestors().skip(1).take(steps.len() - 1) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
        }
        Ok(taken)
    }

    fn put_aside(&self, above: &OwnedFd, name: &str) -> io::Result<Option<PathBuf>> {
        let aside = self.root.join(REMOVED);
        DirBuilder::new().mode(0o700).recursive(true).create(&aside)?;
        for number in 0..MAX_TRIES {
            let to = aside.join(number.to_string());
            match renameat_with(above, name, CWD, &to, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(Some(to)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Removes what was taken away with everything in it. What is cut off goes on with the next start.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self, taken: &Path) -> io::Result<()> {
        tree::remove(taken)?;
        // Others may lie in it.
        let _ = fs::remove_dir(self.root.join(REMOVED));
        Ok(())
    }

    /// Removes what was taken away and not cleared, by a server that ended meanwhile.
    pub(crate) fn clear_left_over(&self) {
        let aside = self.root.join(REMOVED);
        for name in names(&aside).unwrap_or_default() {
            if let Err(error) = self.clear(&aside.join(name)) {
                tracing::warn!(folder = %aside.display(), %error, "a data folder that was taken away could not be removed");
            }
        }
    }
}

/// Opens a folder below another; no step on the way may be a link.
fn open_without_links(root: &Path, steps: &[&str]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, root, flags, Mode::empty())?;
    for step in steps {
        folder = openat(&folder, *step, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

/// Counts what lies below a folder, up to so many entries, which are taken off. `None` when there is no such folder.
#[must_use]
pub fn measure(folder: &Path, entries_left: &mut u64) -> Option<DataSize> {
    let mut size = DataSize::default();
    if !folder.is_dir() {
        return None;
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            size.at_least = true;
            continue;
        };
        for entry in entries.flatten() {
            if *entries_left == 0 {
                return Some(DataSize { at_least: true, ..size });
            }
            *entries_left -= 1;
            let Ok(metadata) = entry.metadata() else { continue };
            size.entries += 1;
            size.bytes += metadata.blocks() * BLOCK;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Some(size)
}

/// The names in a folder that are text; none when there is no such folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|it| it.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Place {
        data: DataFolders,
        folder: tempfile::TempDir,
    }

    impl Place {
        fn with(paths: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for path in paths {
                fs::create_dir_all(folder.path().join("data").join(path)).unwrap();
            }
            Self { data: DataFolders::at(folder.path().join("data")), folder }
        }

        fn remove(&self, folder: &str) -> io::Result<()> {
            let (environment, service) = ("production".parse().unwrap(), "orders".parse().unwrap());
            let taken = self.data.take_away(&environment, &service, &folder.parse().unwrap())?;
            taken.map_or(Ok(()), |taken| self.data.clear(&taken))
        }

        fn has(&self, path: &str) -> bool {
            self.folder.path().join("data").join(path).symlink_metadata().is_ok()
        }
    }

    #[test]
    fn what_is_removed_is_gone_with_empty_folders_above_it_and_nothing_else() {
        let place =
            Place::with(&["production/orders/storage/db/x", "production/orders/var", "staging/orders/var"]);
        place.remove("storage/db").unwrap();
        assert!(!place.has("production/orders/storage") && place.has("production/orders/var"));
        place.remove("var").unwrap();
        assert!(!place.has("production") && place.has("staging/orders/var") && !place.has(REMOVED));
        place.remove("var").unwrap();
    }

    #[test]
    fn a_link_on_the_way_leads_nowhere() {
        let place = Place::with(&["production/orders/a", "staging/orders/db"]);
        let target = place.folder.path().join("data/staging/orders");
        symlink(&target, place.folder.path().join("data/production/orders/a/b")).unwrap();
        assert!(place.remove("a/b/db").unwrap_err().to_string().contains("link"));
        assert!(place.has("staging/orders/db"));
        // A link itself goes, and what it leads to stays.
        place.remove("a/b").unwrap();
        assert!(!place.has("production/orders/a") && place.has("staging/orders/db"));
    }

    #[test]
    fn a_removal_that_was_cut_off_goes_on_with_the_next_start() {
        let place = Place::with(&[".removed/0/deep", ".removed/1", "production/orders/var/deep"]);
        fs::write(place.folder.path().join("data/.removed/2"), "a file").unwrap();
        place.remove("var").unwrap();
        assert!(place.has(".removed/0/deep") && !place.has("production"));
        assert_eq!(place.data.owners().unwrap(), []);
        place.data.clear_left_over();
        assert!(!place.has(REMOVED));
    }

    #[test]
    fn sizes_are_counted_up_to_a_bound() {
        let place = Place::with(&["production/orders/var/in", "production/orders/empty"]);
        let var = place.folder.path().join("data/production/orders/var");
        fs::write(var.join("in/file"), vec![1; 10_000]).unwrap();
        symlink("/", var.join("link")).unwrap();
        let mut left = 100;
        let size = measure(&var, &mut left).unwrap();
        assert!(size.bytes >= 8_192 && size.entries == 3 && !size.at_least, "{size:?}");
        assert_eq!(left, 97);
        let size = measure(&var, &mut 1).unwrap();
        assert!(size.entries == 1 && size.at_least, "{size:?}");
        assert_eq!(measure(&var.with_file_name("gone"), &mut left), None);
        assert_eq!(measure(&var.with_file_name("empty"), &mut 0), Some(DataSize::default()));
    }
}
