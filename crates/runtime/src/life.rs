//! Health of what listens nowhere: whether its process has lived for a time, or touches a file again and again.
//!
//! The clock of the host may be set while a process runs, so a file that was touched in the future is no fresher than one that
//! was touched as long ago.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockstep_domain::work_path::WorkPath;
use lockstep_files::foreign;

/// Accepts a process that has run for so long.
///
/// # Errors
///
/// Says how long it has run.
pub(crate) fn lives(age: Duration, wanted: Duration) -> Result<(), String> {
    if age >= wanted {
        return Ok(());
    }
    Err(format!("it has run for {} ms, and is healthy after {} ms", age.as_millis(), wanted.as_millis()))
}

/// Accepts a file that was touched by this process, and not too long ago.
///
/// # Errors
///
/// Says what is wrong with it.
pub(crate) fn touches(work: &Path, path: &WorkPath, fresh: Duration, age: Duration) -> Result<(), String> {
    let file = foreign::open_below(work, Path::new(path.as_str())).and_then(|file| file.metadata());
    let metadata = file.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    is_fresh(since_touched(&metadata, SystemTime::now()), fresh, age).map_err(|why| format!("`{path}` {why}"))
}

fn since_touched(metadata: &Metadata, now: SystemTime) -> Duration {
    let Ok(touched) = metadata.modified() else { return Duration::MAX };
    now.duration_since(touched).unwrap_or_else(|ahead| ahead.duration())
}

fn is_fresh(since: Duration, fresh: Duration, age: Duration) -> Result<(), String> {
    if since > age {
        return Err("was not touched since the process started".to_owned());
    }
    if since > fresh {
        let (since, fresh) = (since.as_millis(), fresh.as_millis());
        return Err(format!("was touched {since} ms ago, and is fresh for {fresh} ms"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_process_is_healthy_once_it_has_lived_long_enough() {
        assert_eq!(lives(5 * SECOND, 5 * SECOND), Ok(()));
        let error = lives(4 * SECOND, 5 * SECOND).unwrap_err();
        assert_eq!(error, "it has run for 4000 ms, and is healthy after 5000 ms");
    }

    #[test]
    fn a_file_of_the_process_before_is_not_fresh() {
        assert_eq!(is_fresh(SECOND, 30 * SECOND, 2 * SECOND), Ok(()));
        assert!(
            is_fresh(3 * SECOND, 30 * SECOND, 2 * SECOND).unwrap_err().contains("since the process started")
        );
        assert!(
            is_fresh(31 * SECOND, 30 * SECOND, 60 * SECOND).unwrap_err().contains("is fresh for 30000 ms")
        );
    }

    #[test]
    fn a_file_of_the_future_is_no_fresher_than_one_of_the_past() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("alive")).unwrap();
        let at = SystemTime::now() + 3_600 * SECOND;
        file.set_modified(at).unwrap();
        let metadata = file.metadata().unwrap();
        assert!(since_touched(&metadata, SystemTime::now()) > 3_000 * SECOND);
        let path = "alive".parse().unwrap();
        assert!(touches(folder.path(), &path, 30 * SECOND, 60 * SECOND).is_err());
        file.set_modified(SystemTime::now()).unwrap();
        assert_eq!(touches(folder.path(), &path, 30 * SECOND, 60 * SECOND), Ok(()));
        assert!(touches(folder.path(), &"gone".parse().unwrap(), SECOND, SECOND).is_err());
    }
}
