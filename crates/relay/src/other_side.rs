//! Where the other side is, and whom to believe that it is there.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockstep_domain::external::{Clients, External, check_address};
use lockstep_reach::{PlainHttp, Reach, ReachError, ServerAddress, Trust};

use crate::way::Ways;

/// Why nothing can be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// The service that somebody else runs.
#[derive(Debug)]
pub struct OtherSide {
    pub(crate) reach: Reach,
    /// The path before all that is asked, without a slash at its end. It may hold a secret, and is in no message.
    pub(crate) base: String,
    pub(crate) connect: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) clients: Clients,
    pub(crate) ways: Ways,
    /// What went wrong last, as long as nothing went well since.
    trouble: Mutex<Option<String>>,
}

impl OtherSide {
    /// Reads where it is. The file of authorities is looked for below a folder.
    ///
    /// # Errors
    /// When the address is none, or there is nobody to trust.
    pub fn new(external: &External, folder: &Path) -> Result<Self, Unusable> {
        let unusable = |why: String| Unusable(why);
        check_address(&external.address)
            .map_err(|why| unusable(format!("what `address` is filled with is no address: {why}")))?;
        let address: ServerAddress = external
            .address
            .parse()
            .map_err(|why| unusable(format!("what `address` is filled with is no address: {why}")))?;
        let file = external.ca.as_ref().map(|path| folder.join(path.as_str()));
        let trust = Trust::new(file).showing(external.certificate.clone());
        let reach = Reach::new(address.without_base(), trust, None, PlainHttp::LoopbackOnly);
        Ok(Self {
            reach: reach.map_err(|error| unusable(words(&error)))?,
            base: address.base().to_owned(),
            connect: Duration::from_millis(external.connect_ms),
            timeout: external.timeout_ms.map(Duration::from_millis),
            clients: external.clients,
            ways: Ways::default(),
            trouble: Mutex::default(),
        })
    }

    /// Writes to the log that something begins to go wrong otherwise than before, or goes well again.
    pub(crate) fn note(&self, trouble: Option<&str>) {
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() == trouble {
            return;
        }
        match trouble {
            Some(why) => eprintln!("{why}"),
            None => println!("{self} answers again"),
        }
        *last = trouble.map(str::to_owned);
    }
}

impl fmt::Display for OtherSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reach.address().fmt(f)
    }
}

/// Says why the other side is not there. What is said of servers of ours elsewhere does not hold here.
pub(crate) fn words(error: &ReachError) -> String {
    let (mut text, mut source) = match error {
        ReachError::Unreachable { address, source } => {
            (format!("nobody answers at {address}: {source}"), None)
        }
        other => (other.to_string(), std::error::Error::source(other)),
    };
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
