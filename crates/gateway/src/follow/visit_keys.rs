//! The keys that a table names for visits: from the disk, else from the server, so that a gateway starts without one.

use std::fs;
use std::path::PathBuf;

use lockstep_domain::EnvironmentName;

use super::client::Server;
use super::looking::Looking;
use super::store::TableStore;
use crate::gateway::Gateway;
use crate::visit::VisitKey;

/// Longest stored file: more keys than there are at once.
const MAX_FILE_BYTES: u64 = 4_096;

/// Keeps the keys of a gateway those that its table names. Without them visitors are drawn anew, and nobody is refused.
pub(super) struct Tending<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) environment: &'a EnvironmentName,
    /// The server, unless it is not to be asked.
    pub(super) server: Option<&'a Server>,
    pub(super) store: &'a TableStore,
}

impl Tending<'_> {
    /// Looks again and again, and gets what is missing.
    pub(super) async fn run(&self) {
        let mut looking = Looking::new(self.environment, "visitors are not kept");
        loop {
            looking.rest(self.look().await).await;
        }
    }

    /// Looks once.
    pub(super) async fn look(&self) -> Result<(), String> {
        let lacks = || self.gateway.lacks_visit_keys(self.environment);
        if !lacks() {
            return Ok(());
        }
        if let Some(stored) = self.store.visit_keys(self.environment) {
            self.gateway
                .sign_visits(self.environment, stored.iter().filter_map(|it| VisitKey::parse(it)).collect());
            if !lacks() {
                return Ok(());
            }
        }
        let server = self.server.ok_or("the keys of visits are not stored here")?;
        let given = server.visit_keys(self.environment).await;
        let texts =
            given.map_err(|error| format!("the keys of visits are not given by the server: {error}"))?;
        let keys = texts.iter().filter_map(|it| VisitKey::parse(it)).collect();
        self.gateway.sign_visits(self.environment, keys);
        if let Err(error) =
            self.store.keep_secret(&self.store.visit_path(self.environment), &texts.join("\n"))
        {
            tracing::error!(environment = %self.environment, %error, "the keys of visits are used but not stored");
        }
        if lacks() {
            Err("the server gives other keys of visits than its table names".into())
        } else {
            Ok(())
        }
    }
}

impl TableStore {
    fn visit_path(&self, environment: &EnvironmentName) -> PathBuf {
        self.folder().join(format!("{environment}.visits.key"))
    }

    /// Reads stored keys; what cannot be used is as good as none.
    fn visit_keys(&self, environment: &EnvironmentName) -> Option<Vec<String>> {
        let path = self.visit_path(environment);
        let length = fs::metadata(&path).ok()?.len();
        let text = fs::read_to_string(&path).ok().filter(|_| length <= MAX_FILE_BYTES)?;
        let keys: Vec<String> = text.lines().map(str::to_owned).collect();
        keys.iter().all(|key| VisitKey::parse(key).is_some()).then_some(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_stored_for_their_owner_alone_and_what_is_damaged_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = TableStore::new(folder.path().join("tables"));
        let production: EnvironmentName = "production".parse().unwrap();
        assert!(store.visit_keys(&production).is_none());
        let (path, keys) = (store.visit_path(&production), vec!["0".repeat(64), "1".repeat(64)]);
        store.keep_secret(&path, &keys.join("\n")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.visit_keys(&production), Some(keys));
        fs::write(&path, "0123").unwrap();
        assert!(store.visit_keys(&production).is_none());
    }
}
