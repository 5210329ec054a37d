//! What is mounted, and how a tree is removed without removing what is mounted in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::tool;

/// How long a mount may stay busy after the last process in it ended.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where.
    pub(crate) point: PathBuf,
    /// The kind of file system.
    pub(crate) kind: String,
    /// The options of the mount and of the file system, with commas between them.
    pub(crate) options: String,
}

impl Mount {
    /// Says whether it has an option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }
}

/// Everything that is mounted for this process.
pub(crate) fn all() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("cannot read what is mounted")?;
    Ok(text.lines().filter_map(read).collect())
}

fn read(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut of_file_system = after.split(' ');
    let (kind, _, super_options) = (of_file_system.next()?, of_file_system.next()?, of_file_system.next()?);
    let mut of_mount = before.split(' ').skip(4);
    let (point, options) = (of_mount.next()?, of_mount.next()?);
    let point = PathBuf::from(point.replace("\\040", " "));
    Some(Mount { point, kind: kind.to_owned(), options: format!("{options},{super_options}") })
}

/// Ends every mount at a path and below it, the deepest first.
pub(crate) fn end_below(path: &Path) -> Result<()> {
    let mut points: Vec<PathBuf> = all()?.into_iter().map(|mount| mount.point).collect();
    points.retain(|point| point.starts_with(path));
    points.iter().rev().try_for_each(|point| end(point))
}

fn end(point: &Path) -> Result<()> {
    let begin = Instant::now();
    let point = point.to_string_lossy();
    while !tool::succeeds(&["umount", &point]) {
        if begin.elapsed() > PATIENCE {
            return tool::run(&["umount", &point]).map(drop);
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Removes a folder with everything in it; never looks into what is mounted there.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    end_below(folder)?;
    let busy = all()?.into_iter().any(|mount| mount.point.starts_with(folder));
    ensure!(!busy, "something is still mounted in {}", folder.display());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_with_and_without_optional_fields() {
        let mount = |line| read(line).unwrap();
        let plain = mount("41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate");
        assert_eq!((plain.point.to_str(), plain.kind.as_str()), (Some("/sys/fs/cgroup/unified"), "cgroup2"));
        assert!(plain.has("rw") && plain.has("nsdelegate") && !plain.has("ns"));
        let shared = mount("44 27 0:39 /x /a\\040b ro shared:1 master:2 - overlay overlay rw,lowerdir=/r");
        assert_eq!(shared.point, Path::new("/a b"));
        assert!(shared.has("lowerdir=/r") && shared.has("ro"));
        assert_eq!(read("nonsense"), None);
    }
}
