//! Instances of images: the folders that make their root, and how a program is started in it.
//!
//! What a process writes outside of its data folders and `/tmp` lies over the image, in `work/root`, and goes with the instance.
//! Invariant: the unpacked artifact is only ever read.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use lockstep_archive::ROOT;
use lockstep_confine::root::{File, Mount, OwnRoot};
use lockstep_confine::{Launch, Policy, Root, User};
use lockstep_domain::image_run::ImageRun;

use crate::folder::InstanceFolder;
use crate::process::{MARKER, ProcessIdentity};
use crate::rooms::Rooms;
use crate::spec::SpecFile;

/// Where what Lockstep tells an instance is seen in its root.
const TOLD: &str = "/dev/lockstep";
/// For the user of the image alone: it may hold secrets.
const FILLED_MODE: u32 = 0o600;
/// What the names of services end with: a domain that is nobody's in the world.
const INTERNAL: &str = "internal";
/// A name that is the program's own, whatever service is called so.
const LOCALHOST: &str = "localhost";

/// The folders of the root of an instance.
struct Places {
    upper: PathBuf,
    scratch: PathBuf,
    at: PathBuf,
}

impl Places {
    fn of(folder: &InstanceFolder) -> Self {
        let below = |name: &str| folder.work().join(name);
        Self { upper: below("root"), scratch: below("overlay"), at: below("at") }
    }
}

/// Makes the folders of an instance of an image.
pub(crate) fn furnish(
    folder: &InstanceFolder,
    spec: &SpecFile,
    rooms: &Rooms,
    image: &ImageRun,
) -> io::Result<()> {
    for data in rooms.data_folders(spec) {
        make_folder(&data, 0o700)?;
        give(&data, image)?;
    }
    make_folder(&folder.work(), 0o700)?;
    make_folder(&folder.scratch(), 0o700)?;
    fs::set_permissions(folder.scratch(), Permissions::from_mode(0o1777))?;
    let places = Places::of(folder);
    // The root has the mode of this one.
    make_folder(&places.upper, 0o755)?;
    fs::set_permissions(&places.upper, Permissions::from_mode(0o755))?;
    // The user of the image reads what it is told; nobody else comes so far.
    fs::create_dir_all(folder.told())?;
    fs::set_permissions(folder.told(), Permissions::from_mode(0o755))?;
    make_folder(&places.scratch, 0o700)?;
    make_folder(&places.at, 0o700)
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// A server of root gives a data folder to the user of the image; what is in it stays whose it is.
fn give(path: &Path, image: &ImageRun) -> io::Result<()> {
    let owner = fs::symlink_metadata(path)?;
    if !rustix::process::geteuid().is_root() || (owner.uid(), owner.gid()) == (image.user, image.group) {
        return Ok(());
    }
    lchown(path, Some(image.user), Some(image.group))
}

/// Which root a command of an instance gets: one that is made, or that of its process.
#[derive(Clone, Copy)]
pub(crate) enum In<'a> {
    Own,
    That(&'a ProcessIdentity),
}

/// Makes the launch of a command in the root of an image.
pub(crate) fn launch(
    folder: &InstanceFolder,
    spec: &SpecFile,
    rooms: &Rooms,
    image: &ImageRun,
    line: &[String],
    place: In<'_>,
) -> io::Result<Launch> {
    let (program, arguments) = line.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    Ok(Launch {
        program: program.into(),
        arguments: arguments.to_vec(),
        folder: if image.folder.is_empty() { "/".into() } else { image.folder.clone().into() },
        variables: variables(folder, spec),
        policy: Policy::default(),
        user: Some(User { id: image.user, group: image.group, binds: false }),
        root: Some(match place {
            In::Own => Root::Own(own(folder, spec, rooms)),
            In::That(process) => Root::Of(process.pid),
        }),
    })
}

fn own(folder: &InstanceFolder, spec: &SpecFile, rooms: &Rooms) -> OwnRoot {
    let Places { upper, scratch, at } = Places::of(folder);
    let data = spec.run.data.iter().zip(rooms.data_folders(spec));
    let data =
        data.map(|(path, from)| Mount { from, to: Path::new("/").join(path.as_str()), read_only: false });
    let tmp = Mount { from: folder.scratch(), to: "/tmp".into(), read_only: false };
    let told = Mount { from: folder.told(), to: TOLD.into(), read_only: true };
    let files = spec.files.iter().map(|(path, text)| File {
        path: Path::new("/").join(path.as_str()),
        text: text.clone(),
        mode: FILLED_MODE,
    });
    OwnRoot {
        image: spec.release_folder.join(ROOT),
        upper,
        scratch,
        at,
        mounts: [tmp, told].into_iter().chain(data).collect(),
        files: files.collect(),
        names: names(spec),
    }
}

/// The services that it calls by host and port, by the names that a program may be built with.
fn names(spec: &SpecFile) -> Vec<(String, IpAddr)> {
    let calls = spec.calls.iter().flat_map(|calls| &calls.services);
    let names = calls.flat_map(|(service, at)| {
        [format!("{service}.{INTERNAL}"), service.to_string()].map(|name| (name, at.ip()))
    });
    names.filter(|(name, _)| name != LOCALHOST).collect()
}

/// The environment of a process in an image: nothing of the host's, for its paths lead nowhere there.
fn variables(folder: &InstanceFolder, spec: &SpecFile) -> BTreeMap<String, String> {
    let mut all = spec.process_variables();
    all.insert(MARKER.to_owned(), folder.path().to_string_lossy().into_owned());
    let routed = folder.routed().file_name().map(|name| Path::new(TOLD).join(name)).unwrap_or_default();
    all.insert(super::supervisor::ROUTED_FILE.to_owned(), routed.to_string_lossy().into_owned());
    all
}
