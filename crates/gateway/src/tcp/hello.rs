//! Which name a client gives that begins a handshake of TLS (SNI): its first message is read and not answered, so it stays whole.
//!
//! Only what leads to the name is looked at: whether the rest can be agreed upon is for the instance to say. Pure and bounded.

/// The type of a record that belongs to a handshake.
const HANDSHAKE: u8 = 22;
/// The type of the message that a client begins with.
const CLIENT_HELLO: u8 = 1;
/// The extension with the name.
const SERVER_NAME: usize = 0;
/// A name of a host, the only kind there is.
const HOST_NAME: u8 = 0;
/// Longest first message that is read: those with keys for quantum computers have some 2 KiB.
pub(super) const MAX_HELLO: usize = 16 * 1_024;

/// What the first bytes of a client say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The name of a host, in lower case.
    Name(String),
    /// No name: it gives none, or speaks no TLS, or nothing that can be read.
    Nothing,
    /// That is not known before more bytes came.
    More,
}

/// Reads the name in the first bytes of a connection.
pub(super) fn server_name(bytes: &[u8]) -> Said {
    let Some((message, is_whole)) = message(bytes) else { return Said::Nothing };
    let hello = Reader(&message);
    match hello.name() {
        _ if !hello.begins_well() => Said::Nothing,
        Some(Some(name)) => Said::Name(name),
        Some(None) => Said::Nothing,
        None if is_whole || bytes.len() >= MAX_HELLO => Said::Nothing,
        None => Said::More,
    }
}

/// Puts the first message together, which may lie in several records; tells whether it is whole. `None` when it is none.
fn message(mut bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut message = Vec::new();
    loop {
        match bytes {
            [] => return Some((message, false)),
            [kind, ..] if *kind != HANDSHAKE => return None,
            [_, major, ..] if *major != 3 => return None,
            [_, _, _, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                message.extend_from_slice(&rest[..length.min(rest.len())]);
                let whole = whole_length(&message).is_some_and(|whole| message.len() >= whole);
                if whole || length > rest.len() {
                    return Some((message, whole));
                }
                bytes = &rest[length..];
                if length == 0 {
                    return None;
                }
            }
            _ => return Some((message, false)),
        }
    }
}

fn whole_length(message: &[u8]) -> Option<usize> {
    let [_, length @ ..] = message.get(..4)? else { return None };
    Some(4 + length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn begins_well(&self) -> bool {
        self.0.first().is_none_or(|kind| *kind == CLIENT_HELLO)
    }

    /// Reads the name; `Some(None)` when there is none, `None` when the message ends before.
    fn name(&self) -> Option<Option<String>> {
        let mut rest = Self(self.0);
        // Type and length, version, random number.
        rest.take(4 + 2 + 32)?;
        rest.list(1)?;
        rest.list(2)?;
        rest.list(1)?;
        // Clients of old need not have any extensions.
        let length = rest.number(2)?;
        let mut left = length;
        while left > 0 {
            let (kind, data) = (rest.number(2)?, rest.list(2)?);
            left = left.saturating_sub(4 + data.len());
            if kind == SERVER_NAME {
                return Some(Self(data).host());
            }
        }
        Some(None)
    }

    fn host(&mut self) -> Option<String> {
        let mut names = Self(self.list(2)?);
        let (kind, name) = (names.number(1)?, names.list(2)?);
        let name = std::str::from_utf8(name).ok().filter(|_| kind == usize::from(HOST_NAME))?;
        let form = lockstep_domain::request_host::normalize_host(name).ok()?;
        Some(form.into_owned()).filter(|name| !name.is_empty())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    }

    /// Reads what has its length before it, in so many bytes.
    fn list(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// The first bytes of a real client, in records of at most so many bytes.
    fn hello(name: &str, record: usize) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        assert_eq!(bytes.len(), 5 + length);
        let pieces = bytes[5..].chunks(record).map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&bytes[..3], &length, piece].concat()
        });
        pieces.collect::<Vec<_>>().concat()
    }

    #[test]
    fn who_gives_no_name_has_none_and_who_speaks_no_tls_is_not_waited_for() {
        assert_eq!(server_name(&hello("127.0.0.1", 9_000)), Said::Nothing);
        for begin in [
            &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
            b"EHLO me\r\n",
            b"\x10\x1e\0\x04MQTT",
            b"\x16\x02",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\0\x01\x02",
        ] {
            assert_eq!(server_name(begin), Said::Nothing, "{begin:?}");
        }
        assert_eq!(server_name(b""), Said::More);
        assert_eq!(server_name(b"\x16"), Said::More);
    }

    proptest! {
        #[test]
        fn a_name_is_known_as_soon_as_it_came_however_the_message_is_cut(record in 1_usize..600, at in 0_usize..4_000) {
            let bytes = hello("MQTT.shop.test", record);
            prop_assert_eq!(server_name(&bytes), Said::Name("mqtt.shop.test".into()));
            let part = &bytes[..at.min(bytes.len())];
            prop_assert!(matches!(server_name(part), Said::More | Said::Name(_)), "{}", at);
            let longer = [&bytes[..], b"what follows"].concat();
            prop_assert_eq!(server_name(&longer), Said::Name("mqtt.shop.test".into()));
        }

        #[test]
        fn whatever_a_client_sends_is_read(mut bytes in prop::collection::vec(any::<u8>(), 0..600), like in any::<bool>(), changed in any::<(usize, u8)>()) {
            if like {
                bytes = hello("a.test", 9_000);
                let place = changed.0 % bytes.len();
                bytes[place] = changed.1;
            }
            server_name(&bytes);
        }
    }
}
