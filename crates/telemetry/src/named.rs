//! A place that an option names, with what it is sent and whom to trust in variables beside it.

use lockstep_reach::{AddressError, PlainHttp, Reach, ServerAddress, Trust};

use crate::collector::Fields;
use crate::settings::{SettingsError, Variables, fields_of, is_plain};

/// Longest part of an address that is repeated to who wrote it.
const MAX_SHOWN: usize = 100;

/// By which names a place is set.
#[derive(Debug)]
pub(crate) struct Named {
    /// The option with its address.
    pub(crate) setting: &'static str,
    /// The variable with the fields that it is sent.
    pub(crate) headers: &'static str,
    /// The variable with the file of its authority.
    pub(crate) certificate: &'static str,
    /// The port that it usually has.
    pub(crate) port: u16,
    /// What else is to be known of ports.
    pub(crate) about_ports: &'static str,
}

impl Named {
    /// Reads where it is and what it is sent; notes what is wrong.
    pub(crate) fn read(&self, variables: &mut Variables<'_>, endpoint: &str) -> Option<(Reach, Fields)> {
        let address = self.address(variables, endpoint);
        let fields = variables.one(self.headers).map(|value| fields_of(variables, self.headers, &value));
        let (fields, address) = (fields.unwrap_or_default(), address?);
        if is_plain(&fields, &address) {
            let (setting, address) = (self.headers.to_owned(), address.to_string());
            variables.wrong.push(SettingsError::Plain { setting, address });
            return None;
        }
        let trust = Trust::new(variables.one(self.certificate).map(Into::into));
        let reach = Reach::new(address, trust, None, PlainHttp::default());
        let reach = reach.map_err(|error| variables.wrong.push(SettingsError::Reach(error))).ok()?;
        Some((reach, fields))
    }

    fn address(&self, variables: &mut Variables<'_>, endpoint: &str) -> Option<ServerAddress> {
        let wrong = |error: AddressError| {
            let (value, why) = self.no_address(endpoint, &error);
            variables.wrong.push(SettingsError::Address { setting: self.setting.to_owned(), value, why });
        };
        endpoint.trim().parse().map_err(wrong).ok()
    }

    /// Says what an address is that is none, and what to write instead.
    pub(crate) fn no_address(&self, endpoint: &str, error: &AddressError) -> (String, String) {
        let shown = || endpoint.trim().chars().take(MAX_SHOWN).collect();
        let Self { headers, port, about_ports, .. } = self;
        match error {
            AddressError::Scheme { instead } => {
                (shown(), format!("write http://{instead}, or https:// where it speaks TLS{about_ports}"))
            }
            AddressError::Secret => {
                let why = "an address has no user and no password: a key is given in";
                ("…".to_owned(), format!("{why} {headers} (NAME=VALUE)"))
            }
            AddressError::Part(why) => (shown(), format!("write http://HOST:{port} or https://HOST: {why}")),
        }
    }
}
