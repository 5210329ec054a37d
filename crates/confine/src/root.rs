//! A root of its own for a program: the files of an image, with what the program writes lying over them in a folder of the instance.
//!
//! It is made by the step, in a mount namespace of its own; without the right to that, in a user namespace, where the one user of the
//! image stands for whoever runs the server. Invariants: whatever the links of an image say, nothing is made or followed on the host:
//! mount points and files are made after the root was changed and before `/proc` is there, whose links lead to other processes and so to the host;
//! no file of the host can be reached from the new root but what is listed here.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags};
use serde::{Deserialize, Serialize};

use crate::launch::User;

/// The devices that a program may expect anywhere.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// What leads from `/dev` elsewhere.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Which names an image knows.
const HOSTS: &str = "/etc/hosts";
/// What an image is told of the network of the host, anew at each start.
const OF_HOST: [&str; 2] = [HOSTS, "/etc/resolv.conf"];
/// How file systems are mounted in which nobody needs programs or devices.
const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
/// Largest of these that is copied.
const MAX_OF_HOST_BYTES: u64 = 1024 * 1024;

/// Which root a program gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// One that is made for it.
    Own(OwnRoot),
    /// That of a process which has one, for a command that looks after it.
    Of(i32),
}

/// A root that is made for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRoot {
    /// The files of the image. They are not changed.
    pub image: PathBuf,
    /// Where what is written lies.
    pub upper: PathBuf,
    /// A folder that the kernel needs beside it.
    pub scratch: PathBuf,
    /// A folder at which the root is put together.
    pub at: PathBuf,
    /// What of the host is seen in it.
    pub mounts: Vec<Mount>,
    /// Files that are written into it before the program starts.
    pub files: Vec<File>,
    /// Names that are known in it beside those of the host, with their addresses.
    #[serde(default)]
    pub names: Vec<(String, IpAddr)>,
}

/// A folder of the host in a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The folder.
    pub from: PathBuf,
    /// Where it is seen, from the new root on.
    pub to: PathBuf,
    /// Whether it is only read there.
    pub read_only: bool,
}

/// A file in a root. Its text may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where, from the new root on.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
    /// Who may do what.
    pub mode: u32,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether this process may make mounts as it is.
pub(crate) fn is_privileged() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|rights| rights.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Moves this process into its root. Returns as whom the program has yet to be started: nobody else in a user namespace.
pub(crate) fn enter(root: &Root, user: Option<User>) -> io::Result<Option<User>> {
    let user = user.unwrap_or(User { id: 0, group: 0, binds: false });
    let privileged = is_privileged();
    // What programs in images expect; whoever runs the server may have another one.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    match root {
        Root::Own(own) => own.enter(user, privileged)?,
        Root::Of(process) => join(*process, privileged)?,
    }
    rustix::thread::set_no_new_privs(true)?;
    Ok((privileged && user.id != 0).then_some(user))
}

fn join(process: i32, privileged: bool) -> io::Result<()> {
    let space = |name: &str| fs::File::open(format!("/proc/{process}/ns/{name}"));
    let (users, mounts) = (space("user")?, space("mnt")?);
    let enter = |space: &fs::File, kind| rustix::thread::move_into_link_name_space(space.as_fd(), Some(kind));
    if !privileged {
        enter(&users, LinkNameSpaceType::User)?;
    }
    Ok(enter(&mounts, LinkNameSpaceType::Mount)?)
}

impl OwnRoot {
    fn enter(&self, user: User, privileged: bool) -> io::Result<()> {
        separate(user, privileged).map_err(|error| {
            let why = missing_for_roots().map_or_else(|| error.to_string(), str::to_owned);
            io::Error::new(error.kind(), format!("no root of its own can be made for it: {why}"))
        })?;
        let of_host = OF_HOST.map(|path| (Path::new(path), read_of_host(Path::new(path))));
        let parts = Parts::take(self, privileged)?;
        self.put_together(privileged).map_err(saying("its root cannot be put together"))?;
        std::env::set_current_dir(&self.at)?;
        rustix::process::pivot_root(".", ".").map_err(saying_of("its root cannot be changed"))?;
        unmount(".", UnmountFlags::DETACH)?;
        std::env::set_current_dir("/")?;
        parts.attach()?;
        self.write_files(of_host, user, privileged)?;
        // Only now can a link of the image lead to another process.
        parts.attach_processes()
    }

    /// Puts the names of others before those of the host: the first that is found counts.
    fn with_names(&self, hosts: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let own: String = self.names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        match (own.is_empty(), hosts) {
            (true, hosts) => hosts,
            (false, hosts) => Some([own.into_bytes(), hosts.unwrap_or_default()].concat()),
        }
    }

    /// Writes what the program is told of the host, and the files that are filled in for it.
    fn write_files(
        &self,
        of_host: [(&Path, Option<Vec<u8>>); 2],
        user: User,
        privileged: bool,
    ) -> io::Result<()> {
        for (path, text) in of_host {
            // An image that has a folder there wants none of it.
            let text = if path == Path::new(HOSTS) { self.with_names(text) } else { text };
            if let (Some(text), false) = (text, path.is_dir()) {
                write(path, &text, 0o644).map_err(saying(&path.display().to_string()))?;
            }
        }
        self.files.iter().try_for_each(|file| {
            write(&file.path, file.text.as_bytes(), file.mode)
                .map_err(saying(&file.path.display().to_string()))?;
            if privileged { give(&file.path, user) } else { Ok(()) }
        })?;
        if privileged {
            [rustix::stdio::stdout(), rustix::stdio::stderr()]
                .into_iter()
                .try_for_each(|fd| give_open(fd, user))?;
        }
        Ok(())
    }

    /// Puts what is written over the image, at a place that nobody else sees.
    fn put_together(&self, privileged: bool) -> io::Result<()> {
        let folder = |path: &Path| {
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        // By number: a path may have characters that mean something there.
        let (lower, upper, work) = (folder(&self.image)?, folder(&self.upper)?, folder(&self.scratch)?);
        let place = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let of_user = if privileged { "" } else { ",userxattr" };
        let options = format!(
            "lowerdir={},upperdir={},workdir={}{of_user}",
            place(&lower),
            place(&upper),
            place(&work)
        );
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        Ok(mount("overlay", &self.at, "overlay", flags, CString::new(options)?.as_c_str())?)
    }
}

/// Leaves the mounts of the host, and where that takes a right that is not there, its users too.
fn separate(user: User, privileged: bool) -> io::Result<()> {
    let (id, group) = (rustix::process::getuid(), rustix::process::getgid());
    let own = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    let spaces = if privileged { own } else { own | UnshareFlags::NEWUSER };
    #[expect(
        deprecated,
        reason = "the other one is unsafe for the sake of open files, which are not unshared here"
    )]
    rustix::thread::unshare(spaces)?;
    if !privileged {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{} {} 1", user.id, id.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{} {} 1", user.group, group.as_raw()))?;
    }
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// What is taken along from the host, each as a mount that is nowhere yet.
struct Parts<'a> {
    /// That of an own user namespace cannot be made anew; what is hidden on the host stays so.
    processes: Option<OwnedFd>,
    devices: Vec<(&'static str, OwnedFd)>,
    mounts: Vec<(&'a Mount, OwnedFd)>,
}

impl<'a> Parts<'a> {
    fn take(root: &'a OwnRoot, privileged: bool) -> io::Result<Self> {
        let processes = (!privileged).then(|| copy(Path::new("/proc"))).transpose()?;
        let device = |name: &'static str| match copy(&Path::new("/dev").join(name)) {
            Ok(device) => Some(Ok((name, device))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(saying(&format!("/dev/{name}"))(error))),
        };
        let devices = DEVICES.into_iter().filter_map(device).collect::<io::Result<_>>()?;
        let seen = |mount: &'a Mount| {
            let copied = copy(&mount.from).map_err(saying(&mount.from.display().to_string()))?;
            Ok((mount, copied))
        };
        let mounts = root.mounts.iter().map(seen).collect::<io::Result<_>>()?;
        Ok(Self { processes, devices, mounts })
    }

    fn attach_processes(&self) -> io::Result<()> {
        make_folder(Path::new("/proc"))?;
        match &self.processes {
            Some(processes) => put(processes, Path::new("/proc")),
            None => Ok(mount("proc", "/proc", "proc", QUIET | MountFlags::RDONLY, None)?),
        }
    }

    fn attach(&self) -> io::Result<()> {
        make_folder(Path::new("/dev"))?;
        let of_devices = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("tmpfs", "/dev", "tmpfs", of_devices, c"mode=0755,size=256k")?;
        for (name, device) in &self.devices {
            let path = Path::new("/dev").join(name);
            fs::File::create(&path)?;
            put(device, &path)?;
        }
        DEVICE_LINKS.iter().try_for_each(|(name, target)| symlink(target, Path::new("/dev").join(name)))?;
        for (name, kind, flags, options) in [
            ("/dev/shm", "tmpfs", QUIET, c"mode=1777,size=64m"),
            ("/dev/pts", "devpts", of_devices, c"newinstance,ptmxmode=0666,mode=0620"),
        ] {
            make_folder(Path::new(name))?;
            // Few programs need either; a host that has no terminals is none to fail for.
            let _ = mount(kind, name, kind, flags, options);
        }
        self.mounts.iter().try_for_each(|(wanted, copied)| wanted.attach(copied))
    }
}

impl Mount {
    fn attach(&self, copied: &OwnedFd) -> io::Result<()> {
        let failed =
            || saying_owned(format!("`{}` cannot be put at `{}`", self.from.display(), self.to.display()));
        make_folder(&self.to)?;
        put(copied, &self.to).map_err(failed())?;
        if !self.read_only {
            return Ok(());
        }
        let kept = rustix::fs::statvfs(&self.to)?.f_flag;
        let flag = |is: rustix::fs::StatVfsMountFlags, flag| {
            if kept.contains(is) { flag } else { MountFlags::empty() }
        };
        let flags = MountFlags::RDONLY
            | MountFlags::BIND
            | flag(rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID)
            | flag(rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV)
            | flag(rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC);
        mount_remount(&self.to, flags, c"").map_err(|error| failed()(error.into()))
    }
}

/// Makes a mount of what lies at a path, with what is mounted in it.
fn copy(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn put(copied: &OwnedFd, to: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    Ok(move_mount(copied, "", CWD, to, flags)?)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(saying(&format!("the folder `{}` cannot be made in the image", path.display())))
}

/// Reads what the host says of its network. What is not there, or is too large, is left as the image has it.
fn read_of_host(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let read = fs::File::open(path).ok()?.take(MAX_OF_HOST_BYTES + 1).read_to_end(&mut text).ok()?;
    (read as u64 <= MAX_OF_HOST_BYTES).then_some(text)
}

/// Writes a file in the new root; a link or file in its place goes.
fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    make_folder(path.parent().unwrap_or(Path::new("/")))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text)
}

fn give(path: &Path, user: User) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user.id), Some(user.group))
}

/// Lets the user open what it writes to by its name, as `/dev/stdout`.
fn give_open(fd: BorrowedFd<'_>, user: User) -> io::Result<()> {
    std::os::unix::fs::fchown(fd, Some(user.id), Some(user.group))
}

fn saying(what: &str) -> impl FnOnce(io::Error) -> io::Error {
    saying_owned(what.to_owned())
}

fn saying_owned(what: String) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn saying_of(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> io::Error {
    move |error| saying(what)(error.into())
}

/// Says why no program can get a root of its own here, when that is so.
#[must_use]
pub fn missing_for_roots() -> Option<&'static str> {
    if is_privileged() {
        return None;
    }
    let says = |path: &str, text: &str| fs::read_to_string(path).is_ok_and(|said| said.trim() == text);
    if !Path::new("/proc/self/ns/user").exists() || says("/proc/sys/user/max_user_namespaces", "0") {
        return Some("this kernel makes no user namespaces (user.max_user_namespaces is 0)");
    }
    if says("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some("only root may make user namespaces here (kernel.unprivileged_userns_clone is 0)");
    }
    if says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Some(
            "AppArmor keeps ordinary programs from user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
        );
    }
    None
}
