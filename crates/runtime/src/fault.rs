//! Whose doing it was that something could not be started: what the system says, as a fault.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use lockstep_domain::InstanceState;
use lockstep_domain::fault::Fault;
use rustix::io::Errno;

use crate::machine::Trouble;

/// A disk with less room than this is full for whoever writes a log and a few files.
const FULL_BYTES: u64 = 1024 * 1024;

/// Says whose doing an error is that has nothing to do with the program of an instance.
#[must_use]
pub fn of_place(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => Fault::Disk,
        _ => Fault::Host,
    }
}

/// Says whether an error of the place is the disk's, or else the host's: by the first cause that the system has told.
#[must_use]
pub fn of_error(error: &(dyn Error + 'static)) -> Fault {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(told) = error.downcast_ref::<io::Error>() {
            return of_place(told);
        }
        cause = error.source();
    }
    Fault::Host
}

/// Writes an error with all its causes on one line.
#[must_use]
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Says whose doing it is that a program was not started: a host that has no room for another process, or the program.
pub(crate) fn of_program(error: &io::Error) -> Fault {
    let lacks_room =
        [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    match of_place(error) {
        Fault::Host if lacks_room.contains(&error.raw_os_error()) => Fault::Host,
        Fault::Host => Fault::Start,
        other => other,
    }
}

/// A failure on a disk that is full is not the instance's own doing: it may just not have been able to write.
pub(crate) fn excused(state: InstanceState, folder: &Path) -> InstanceState {
    match state {
        InstanceState::Failed { reason, fault } if fault.is_own() && is_full(folder) => {
            InstanceState::failed(format!("{reason} (the disk is full)"), Fault::Disk)
        }
        other => other,
    }
}

fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BYTES)
}

impl Trouble {
    /// Makes a trouble of the place.
    pub(crate) fn of_place(why: impl Into<String>, error: &io::Error) -> Self {
        Self { why: why.into(), fault: of_place(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_host_without_room_are_not_the_programs_doing() {
        let of = |errno: Errno| of_program(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!([Errno::NOSPC, Errno::DQUOT, Errno::ROFS].map(of), [Fault::Disk; 3]);
        assert_eq!([Errno::AGAIN, Errno::NOMEM, Errno::MFILE].map(of), [Fault::Host; 3]);
        assert_eq!([Errno::NOENT, Errno::ACCESS, Errno::NOEXEC].map(of), [Fault::Start; 3]);
    }
}
