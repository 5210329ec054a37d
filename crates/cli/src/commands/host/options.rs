//! What is typed about a host, read strictly before anything is asked.

use lockstep_domain::host::Labels;

use crate::context::Context;
use crate::failure::Failure;

/// What a fingerprint begins with: `ssh` shows no others by itself.
const FINGERPRINT: &str = "SHA256:";
/// Characters of a SHA-256 digest in base64 without its padding.
const DIGEST_LENGTH: usize = 43;

/// Reads a folder of a host.
pub(super) fn folder(text: &str) -> Result<String, String> {
    let is_plain = text.starts_with('/') && !text.chars().any(char::is_control);
    if is_plain { Ok(text.to_owned()) } else { Err("a folder on the host is an absolute path".to_owned()) }
}

/// Reads the name of a file with a key on the machine of the server: relative to the folder that the command is typed in. Nothing stays nothing.
pub(super) fn key(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    let text = path.to_str().ok_or_else(|| "the name of a file with a key is UTF-8".to_owned())?;
    if text.ends_with(".pub") {
        return Err(format!("`{text}` looks like a public key; name the file with the private one"));
    }
    Ok(text.to_owned())
}

/// Reads a fingerprint as `ssh-keygen -l` and `lockstep host check` show it, with or without what stands around it.
pub(super) fn fingerprint(text: &str) -> Result<String, String> {
    let is_digest = |word: &&str| {
        word.strip_prefix(FINGERPRINT).is_some_and(|digest| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
            digest.len() == DIGEST_LENGTH && digest.chars().all(allowed)
        })
    };
    text.split_whitespace().find(is_digest).map(str::to_owned).ok_or_else(|| {
        "expected SHA256:... with 43 characters, as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says it on the host".to_owned()
    })
}

/// Joins labels that were typed in several places; `None` where none were.
pub(super) fn labels(given: &[Labels]) -> Result<Option<Labels>, Failure> {
    if given.is_empty() {
        return Ok(None);
    }
    let all: Vec<_> = given.iter().map(ToString::to_string).collect();
    let labels: Labels =
        all.join(",").parse().map_err(|error| Failure::usage(format!("--label: {error}")))?;
    Ok(Some(labels))
}

/// Says where a key is looked for, where that is not the machine that the command is typed on.
pub(super) fn say_where_key_is(ctx: &Context, key: Option<&str>) {
    let is_here = ctx.globals.server.loopback_port().is_some();
    if let Some(key) = key.filter(|key| !key.is_empty() && !is_here) {
        ctx.out.message(&format!(
            "the key {key} is looked for on the machine of the server, {}",
            ctx.globals.server.host()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+";

    #[test]
    fn a_fingerprint_is_taken_as_it_is_shown_and_no_other_kind_is() {
        for shown in
            [DIGEST.to_owned(), format!("ssh-ed25519 {DIGEST}"), format!("256 {DIGEST} root@web1 (ED25519)")]
        {
            assert_eq!(fingerprint(&shown).as_deref(), Ok(DIGEST), "{shown}");
        }
        for wrong in ["", "SHA256:", "MD5:aa:bb", "SHA256:AAAA", &DIGEST[7..], &format!("{DIGEST}=")] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_an_absolute_path_and_no_public_one() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(key("keys/deploy").unwrap(), here.join("keys/deploy").display().to_string());
        assert_eq!(key("/keys/deploy").as_deref(), Ok("/keys/deploy"));
        assert_eq!(key("").as_deref(), Ok(""));
        assert!(key("/keys/deploy.pub").is_err());
    }

    #[test]
    fn labels_of_several_places_are_joined_and_none_stands_twice() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Labels>>();
        let joined = labels(&parse(&["zone=a", "role=web,disk=fast"])).unwrap().unwrap();
        assert_eq!(joined.to_string(), "disk=fast,role=web,zone=a");
        assert_eq!(labels(&[]).unwrap(), None);
        assert_eq!(labels(&parse(&[""])).unwrap(), Some(Labels::default()));
        assert!(labels(&parse(&["zone=a", "zone=b"])).is_err());
    }
}
