//! The folders in which an instance works: a working folder and a scratch folder of its own, and the data folders that it
//! shares with the other instances of its service in its environment.
//!
//! The working folder shows the release by links, so that relative paths to code work and what is written beside it
//! stays with the instance. Invariant: after [`furnish`] every name of the release and every data folder leads to
//! where it should, whatever the process before has done to the links.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use lockstep_files::foreign;
use serde::{Deserialize, Serialize};

use crate::folder::InstanceFolder;
use crate::give;
use crate::image;
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
    File(Text),
}

/// A file that is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    mode: u32,
}

/// Makes the folders of an instance and sets every link right. Returns what had to be set right again.
///
/// # Errors
///
/// When something cannot be made.
pub(crate) fn furnish(folder: &InstanceFolder, spec: &SpecFile, rooms: &Rooms) -> io::Result<Vec<PathBuf>> {
    if let Some(image) = &spec.run.image {
        return image::furnish(folder, spec, rooms, image).map(|()| Vec::new());
    }
    let user = spec.user();
    for (path, data) in spec.run.data.iter().zip(rooms.data_folders(spec)) {
        user.map_or_else(|| make_folder(&data), |user| give::make(&rooms.data, path, user).map(drop))?;
    }
    for path in [folder.scratch(), folder.work()] {
        make_folder(&path)?;
        user.map_or(Ok(()), |user| lchown(path, Some(user.id), Some(user.group)))?;
    }
    let plan = plan(&spec.release_folder, Path::new(""), &own_places(spec, rooms))?;
    let set_right = || {
        let mut mended = Vec::new();
        make_folder(&folder.home())?;
        set_right(&folder.work(), &plan, &mut mended)?;
        Ok(mended)
    };
    // The process has written there, and may be another instance of the same user that still does.
    user.map_or_else(set_right, |user| give::as_user(user, set_right))
}

/// Lists what a process has made in its working folder: the names that are not of its artifact, nor of a data folder, nor filled in.
///
/// # Errors
///
/// When the artifact or the folder cannot be read.
pub(crate) fn made(folder: &InstanceFolder, spec: &SpecFile, rooms: &Rooms) -> io::Result<Vec<PathBuf>> {
    let places = plan(&spec.release_folder, Path::new(""), &own_places(spec, rooms))?;
    let mut made = Vec::new();
    made_in(&folder.work(), Path::new(""), &places, &mut made)?;
    Ok(made)
}

fn made_in(
    work: &Path,
    below: &Path,
    places: &BTreeMap<OsString, Place>,
    made: &mut Vec<PathBuf>,
) -> io::Result<()> {
    let mut all = names(&work.join(below))?;
    all.sort();
    for name in all {
        match places.get(&name) {
            None => made.push(below.join(name)),
            Some(Place::Folder(inner)) => made_in(work, &below.join(name), inner, made)?,
            Some(Place::Link(_) | Place::File(_)) => {}
        }
    }
    Ok(())
}

/// What does not stand in the working folder as a link into the release: data folders, and files that are filled in.
fn own_places(spec: &SpecFile, rooms: &Rooms) -> BTreeMap<PathBuf, Place> {
    let data = spec.run.data.iter();
    let data = data.map(|path| (path.as_str().into(), Place::Link(rooms.data.join(path.as_str()))));
    let files = spec.files.iter().map(|(path, text)| {
        let mode = mode_of(&spec.release_folder.join(path.as_str()));
        (path.as_str().into(), Place::File(Text { text: text.clone(), mode }))
    });
    data.chain(files).collect()
}

/// A file that is filled in may hold secrets: it is for the owner alone. A program stays one.
fn mode_of(original: &Path) -> u32 {
    let mode = fs::metadata(original).map_or(0, |metadata| metadata.permissions().mode());
    0o600 | (mode & 0o100)
}

/// Plans one folder: the names of the release are links into it, except on the way to a place of its own.
fn plan(
    release: &Path,
    below: &Path,
    own: &BTreeMap<PathBuf, Place>,
) -> io::Result<BTreeMap<OsString, Place>> {
    let mut places = BTreeMap::new();
    for name in names(&release.join(below))? {
        places.insert(name.clone(), Place::Link(release.join(below).join(name)));
    }
    for (path, place) in own {
        let Ok(rest) = path.strip_prefix(below) else { continue };
        let mut parts = rest.iter();
        let Some(first) = parts.next() else { continue };
        let place = match parts.next() {
            None => place.clone(),
            Some(_) => Place::Folder(plan(release, &below.join(first), own)?),
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
                Place::File(text) => write(&path, text)?,
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
        Place::File(Text { text, .. }) => {
            let limit = text.len() as u64;
            foreign::open_no_link(path)
                .and_then(|file| foreign::read(file, limit))
                .is_ok_and(|found| found == text.as_bytes())
        }
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

fn write(path: &Path, Text { text, mode }: &Text) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(path)?;
    file.write_all(text.as_bytes())
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
            Place::File(Text { text, mode }) => vec![format!("{} = {text:?} {mode:o}", name.display())],
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
        let data = ["storage/db", "var", "new/one"];
        let data = data.map(|path| (path.into(), Place::Link(Path::new("/data").join(path))));
        let places = plan(release.path(), Path::new(""), &data.into()).unwrap();
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
        let places = plan(release.path(), Path::new(""), &BTreeMap::new()).unwrap();
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

    #[test]
    fn files_that_are_filled_in_stand_in_the_place_of_the_original_for_the_owner_alone() {
        let (release, work) =
            (release(&["conf/a.conf", "conf/b.conf", "app.py"]), tempfile::tempdir().unwrap());
        let text = Text { text: "port 20001".to_owned(), mode: mode_of(&release.path().join("conf/a.conf")) };
        let own = BTreeMap::from([("conf/a.conf".into(), Place::File(text))]);
        let places = plan(release.path(), Path::new(""), &own).unwrap();
        let mut mended = Vec::new();
        set_right(work.path(), &places, &mut mended).unwrap();
        let filled = work.path().join("conf/a.conf");
        assert_eq!(fs::read_to_string(&filled).unwrap(), "port 20001");
        assert_eq!(fs::symlink_metadata(&filled).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_link(work.path().join("conf/b.conf")).unwrap(),
            release.path().join("conf/b.conf")
        );
        assert_eq!(mended, Vec::<PathBuf>::new());

        for change in ["port 1", "port 20001 and more"] {
            fs::write(&filled, change).unwrap();
            set_right(work.path(), &places, &mut mended).unwrap();
            assert_eq!(fs::read_to_string(&filled).unwrap(), "port 20001");
        }
        fs::remove_file(&filled).unwrap();
        symlink("/etc/passwd", &filled).unwrap();
        set_right(work.path(), &places, &mut mended).unwrap();
        assert!(fs::symlink_metadata(&filled).unwrap().is_file());
        assert_eq!(mended, [filled.clone(), filled.clone(), filled]);
    }
}
