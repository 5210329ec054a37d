//! What was started on a host, in a file: known to the next server before the host is reached again.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use lockstep_domain::{Instance, InstanceId, InstanceState};
use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

/// Largest file that is read: far more instances than a host can have.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// An instance that was started on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// As it was last seen.
    pub(super) instance: Instance,
    /// Where it was told to call others; holds what gateways recognise it by.
    pub(super) call_url: String,
    /// Whether the host may not have heard of it yet.
    #[serde(skip)]
    pub(super) starting: bool,
    /// Where it listened when the gateway of its host said that it carries connections there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) carried: Option<SocketAddr>,
}

/// All of a host.
pub(super) type All = BTreeMap<InstanceId, Kept>;

/// The file of a host.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    /// The record that added the host: a file of a host of the same name before it says nothing.
    record: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    record: u64,
    instances: All,
}

impl KeptFile {
    pub(super) fn at(path: PathBuf, record: u64) -> Self {
        Self { path, record }
    }

    /// Reads what is kept; `None` when there is nothing, so nobody knows what was started there.
    ///
    /// # Errors
    /// When there is a file that cannot be read or understood.
    pub(super) fn read(&self) -> io::Result<Option<All>> {
        let text = match foreign::open(&self.path).and_then(|file| foreign::read(file, MAX_BYTES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let content: Content = serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((content.record == self.record).then_some(content.instances))
    }

    /// Reads what is kept. What cannot be understood is put aside and is as good as nothing: whatever the host shows counts then.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(super) fn read_or_put_aside(&self) -> io::Result<Option<All>> {
        match self.read() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.path.with_extension("json.broken");
                tracing::error!(
                    path = %self.path.display(), %error, aside = %aside.display(),
                    "what was started on the host is not known any more; the file is put aside, and what the host shows counts"
                );
                std::fs::rename(&self.path, aside)?;
                Ok(None)
            }
            other => other,
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When it cannot be written; the former file stays.
    pub(super) fn write(&self, all: &All) -> io::Result<()> {
        let content = Content { record: self.record, instances: all.clone() };
        whole::put(&self.path, &serde_json::to_vec(&content)?, 0o600)
    }
}

/// What is seen of a host, taken into what is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether anything changed.
    pub(super) changed: bool,
    /// What runs there and was never started by this server: it is ended.
    pub(super) strays: Vec<InstanceId>,
}

/// Takes in what a host shows. `adopt` when nobody knows what was started there.
pub(super) fn take_in(all: &mut All, seen: &[Instance], adopt: bool) -> Taken {
    let mut taken = Taken::default();
    let before = all.len();
    all.retain(|id, kept| kept.starting || seen.iter().any(|instance| instance.id == *id));
    taken.changed = all.len() != before;
    for instance in seen {
        match all.get_mut(&instance.id) {
            Some(kept) if kept.instance == *instance => {}
            Some(kept) => {
                kept.instance = instance.clone();
                taken.changed = true;
            }
            None if adopt => {
                let (instance, call_url) = (instance.clone(), String::new());
                let kept = Kept { instance, call_url, starting: false, carried: None };
                all.insert(kept.instance.id.clone(), kept);
                taken.changed = true;
            }
            None if instance.state.is_over() || instance.state == InstanceState::Stopping => {}
            None => taken.strays.push(instance.id.clone()),
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_domain::Timestamp;

    fn instance(id: &str, state: InstanceState) -> Instance {
        let (environment, host) = ("staging".parse().unwrap(), "web1".parse().ok());
        Instance { environment, since: Timestamp(1), host, ..crate::testing::instance(id, state) }
    }

    fn begun(id: &str) -> (InstanceId, Kept) {
        let instance = instance(id, InstanceState::Starting);
        let call_url = "http://127.0.0.1:8500/x".into();
        (instance.id.clone(), Kept { instance, call_url, starting: true, carried: None })
    }

    #[test]
    fn what_is_being_started_is_kept_although_the_host_does_not_show_it() {
        let mut all = All::from([begun("orders-1")]);
        assert_eq!(take_in(&mut all, &[], false), Taken::default());
        let healthy = instance("orders-1", InstanceState::Healthy);
        assert!(take_in(&mut all, std::slice::from_ref(&healthy), false).changed);
        assert_eq!(all[&healthy.id].instance, healthy);
        assert_eq!(all[&healthy.id].call_url, "http://127.0.0.1:8500/x");
        all.get_mut(&healthy.id).unwrap().starting = false;
        assert!(take_in(&mut all, &[], false).changed);
        assert!(all.is_empty(), "the host says that it is gone");
    }

    #[test]
    fn what_nobody_started_is_ended_and_is_nobodys_instance() {
        let mut all = All::from([begun("orders-1")]);
        let stray = instance("orders-2", InstanceState::Healthy);
        let taken = take_in(&mut all, std::slice::from_ref(&stray), false);
        assert_eq!((taken.strays, all.len()), (vec![stray.id.clone()], 1));
        let over = instance("orders-3", InstanceState::Stopped);
        assert_eq!(take_in(&mut all, &[over], false).strays, []);
        let mut lost = All::new();
        assert_eq!(take_in(&mut lost, std::slice::from_ref(&stray), true).strays, [], "nobody knows better");
        assert!(lost.contains_key(&stray.id));
    }

    #[test]
    fn a_file_is_of_one_host_and_survives_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeptFile::at(folder.path().join("web1.json"), 7);
        assert_eq!(file.read().unwrap(), None);
        let mut all = All::from([begun("orders-1")]);
        file.write(&all).unwrap();
        all.values_mut().for_each(|kept| kept.starting = false);
        assert_eq!(file.read().unwrap(), Some(all));
        assert_eq!(KeptFile::at(folder.path().join("web1.json"), 8).read().unwrap(), None);
        std::fs::write(folder.path().join("web1.json"), "{").unwrap();
        assert!(file.read().is_err(), "what cannot be understood is no empty host");
        assert_eq!(file.read_or_put_aside().unwrap(), None);
        assert!(folder.path().join("web1.json.broken").exists());
    }
}
