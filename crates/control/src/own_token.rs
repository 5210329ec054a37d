//! The token that a server makes for itself, so that nobody is an operator only because they have an account on its host.
//!
//! Invariant: the file is for its owner alone, and the token is in nothing else.

use std::io;
use std::path::{Path, PathBuf};

use lockstep_api::Token;
use lockstep_api::types::ScrapeToken;
use lockstep_files::whole;

use crate::random::random_hex;
use crate::secrets::{MODE, read_own};
use crate::{Control, OpenError};

/// The file below the data folder; among the secrets, so that it is in backups.
pub(crate) const FILE: &str = "api.token";
/// The file of the token that is good for reading metrics alone.
const SCRAPE_FILE: &str = "scrape.token";
/// How that token begins, so that whoever finds it knows what it is.
const SCRAPE_PREFIX: &str = "lockstep-scrape-";
/// Bytes of a token that is made.
const TOKEN_BYTES: usize = 32;
/// Longest token that is read: a person may have put their own there.
const MAX_BYTES: u64 = 4_096;

impl Control {
    /// Returns the token that this server made for itself, and its file; makes one where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no token.
    pub fn own_token(&self) -> Result<(Token, PathBuf), OpenError> {
        let path = self.config.folder.join("secrets").join(FILE);
        let token =
            read_or_make(&path, "").map_err(|source| OpenError::Folder { path: path.clone(), source })?;
        // Told once; the first word stays.
        let _ = self.own_token_file.set(path.clone());
        Ok((token, path))
    }

    /// Returns the token that is good for reading metrics alone; makes one where there is none. None where nobody is asked for a token.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no token.
    pub fn scrape_token(&self, asks: bool) -> Result<Option<Token>, OpenError> {
        if !asks {
            return Ok(None);
        }
        let path = self.scrape_token_file();
        let token = read_or_make(&path, SCRAPE_PREFIX)
            .map_err(|source| OpenError::Folder { path: path.clone(), source })?;
        let _ = self.own_scrape_token.set(token.clone());
        Ok(Some(token))
    }

    /// Shows the token that is good for reading metrics alone to an operator: the one that holds, whatever has become of its file.
    #[must_use]
    pub fn scrape_token_view(&self) -> ScrapeToken {
        let file = self.scrape_token_file();
        let token = self.own_scrape_token.get().map(|token| token.reveal().to_owned());
        ScrapeToken { token, file: file.display().to_string() }
    }

    fn scrape_token_file(&self) -> PathBuf {
        self.config.folder.join("secrets").join(SCRAPE_FILE)
    }
}

fn read_or_make(path: &Path, prefix: &str) -> io::Result<Token> {
    let exchange = "remove it and start again: another one is made";
    let Some(text) = read_own(path, MAX_BYTES, exchange)? else { return make(path, prefix) };
    let why = "it is not a token; remove it and start again: another one is made";
    Token::of_word(text.trim_end()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, why))
}

fn make(path: &Path, prefix: &str) -> io::Result<Token> {
    let token = format!("{prefix}{}", random_hex(TOKEN_BYTES)?);
    whole::put(path, format!("{token}\n").as_bytes(), MODE)?;
    Ok(Token::new(token))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let token = read_or_make(&path, "").unwrap();
        assert_eq!(token.reveal().len(), 2 * TOKEN_BYTES);
        assert_eq!(read_or_make(&path, "").unwrap().reveal(), token.reveal());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        read_or_make(&path, "").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_token_is_neither_used_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for damaged in ["", "\n", "two words", "a\nb"] {
            fs::write(&path, damaged).unwrap();
            assert!(read_or_make(&path, "").is_err(), "{damaged:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(read_or_make(&path, "").is_err(), "a link is not followed");
    }
}
