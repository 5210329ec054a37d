//! The folders in which an instance works: a working folder and a scratch folder of its own, and the data folders that it
//! shares with the other instances of its service in its environment.
//!
//! The working folder shows the release by links, so that relative paths to code work and what is written beside it
//! stays with the instance. Invariant: after [`furnish`] every name of the release and every data folder leads to
//! where it should, whatever the process before has done to the links.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::folder::InstanceFolder;
use crate::spec::SpecFile;

/// Where an instance works, beside the folders that its own folder names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rooms {
    /// What no instance may see: the data folder of Lockstep.
    pub(crate) hidden: PathBuf,
    /// Where the data folders of the service in the environment are.
    pub(crate) data: PathBuf,
}

impl Rooms {
    /// Returns the data folders as they are on disk.
    pub(crate) fn data_folders(&self, spec: &SpecFile) -> Vec<PathBuf> {
        spec.run.data.iter().map(|folder| self.data.join(folder.as_str())).collect()
    }
}

/// What stands at a name of the working folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Link(PathBuf),
    Folder(BTreeMap<OsString, Self>),
}

/// Makes the folders of an instance and sets every link right. Returns what had to be set right again.
///
/// # Errors
///
/// When something cannot be made.
pub(crate) fn furnish(folder: &InstanceFolder, spec: &SpecFile, rooms: &Rooms) -> io::Result<Vec<PathBuf>> {
    for data in rooms.data_folders(spec) {
        make_folder(&data)?;
    }
    make_folder(&folder.scratch())?;
    make_folder(&folder.work())?;
    let mut mended = Vec::new();
    let data: Vec<&Path> = spec.run.data.iter().map(|folder| Path::new(folder.as_str())).collect();
    let plan = plan(&spec.release_folder, &rooms.data, Path::new(""), &data)?;
    set_right(&folder.work(), &plan, &mut mended)?;
    Ok(mended)
}

/// Plans one folder: the names of the release are links into it, except on the way to a data folder.
fn plan(
    release: &Path,
    data: &Path,
    below: &Path,
    folders: &[&Path],
) -> io::Result<BTreeMap<OsString, Place>> {
    let mut places = BTreeMap::new();
    for name in names(&release.join(below))? {
        places.insert(name.clone(), Place::Link(release.join(below).join(name)));
    }
    for folder in folders {
        let Ok(rest) = folder.strip_prefix(below) else { continue };
        let mut parts = rest.iter();
        let Some(first) = parts.next() else { continue };
        let path = below.join(first);
        let place = if parts.next().is_none() {
            Place::Link(data.join(path))
        } else {
            Place::Folder(plan(release, data, &path, folders)?)
        };
        places.insert(first.to_owned(), place);
    }
    Ok(places)
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn set_right(folder: &Path, places: &BTreeMap<OsString, Place>, mended: &mut Vec<PathBuf>) -> io::Result<()> {
    for (name, place) in places {
        let path = folder.join(name);
        if !is_right(&path, place) {
            if remove(&path)? {
                mended.push(path.clone());
            }
            match place {
                Place::Link(target) => symlink(target, &path)?,
                Place::Folder(_) => make_folder(&path)?,
            }
        }
        if let Place::Folder(inner) = place {
            set_right(&path, inner, mended)?;
        }
    }
    Ok(())
}

fn is_right(path: &Path, place: &Place) -> bool {
    match place {
        Place::Link(target) => fs::read_link(path).is_ok_and(|found| found == *target),
        Place::Folder(_) => fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()),
    }
}

/// Removes what stands in the way, and tells whether there was anything.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).map(|()| true),
        Ok(_) => fs::remove_file(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: &BTreeMap<OsString, Place>) -> Vec<String> {
        let show = |(name, place): (&OsString, &Place)| match place {
            Place::Link(target) => vec![format!("{} -> {}", name.display(), target.display())],
            Place::Folder(inner) => {
                shown(inner).into_iter().map(|line| format!("{}/{line}", name.display())).collect()
            }
        };
        places.iter().flat_map(show).collect()
    }

    fn release(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn the_release_is_shown_by_links_and_data_folders_hide_what_it_has_there() {
        let release = release(&["app.py", "storage/schema.sql", "storage/db/seed", "var/old"]);
        let data = [Path::new("storage/db"), Path::new("var"), Path::new("new/one")];
        let places = plan(release.path(), Path::new("/data"), Path::new(""), &data).unwrap();
        let lines: Vec<String> =
            shown(&places).iter().map(|line| line.replace(release.path().to_str().unwrap(), "R")).collect();
        assert_eq!(
            lines,
            [
                "app.py -> R/app.py",
                "new/one -> /data/new/one",
                "storage/db -> /data/storage/db",
                "storage/schema.sql -> R/storage/schema.sql",
                "var -> /data/var",
            ]
        );
    }

    #[test]
    fn links_that_were_replaced_are_set_right_and_what_is_beside_them_stays() {
        let (release, work) = (release(&["app.py", "lib/a.py"]), tempfile::tempdir().unwrap());
        let places = plan(release.path(), Path::new("/data"), Path::new(""), &[]).unwrap();
        set_right(work.path(), &places, &mut Vec::new()).unwrap();
        let app = work.path().join("app.py");
        fs::remove_file(&app).unwrap();
        fs::write(&app, "CHANGED").unwrap();
        fs::remove_file(work.path().join("lib")).unwrap();
        fs::create_dir(work.path().join("lib")).unwrap();
        fs::write(work.path().join("app.db"), "kept").unwrap();
        let mut mended = Vec::new();
        set_right(work.path(), &places, &mut mended).unwrap();
        assert_eq!(mended, [app.clone(), work.path().join("lib")]);
        assert_eq!(fs::read_link(&app).unwrap(), release.path().join("app.py"));
        assert!(work.path().join("lib/a.py").exists() && work.path().join("app.db").exists());
        mended.clear();
        set_right(work.path(), &places, &mut mended).unwrap();
        assert!(mended.is_empty());
    }
}
