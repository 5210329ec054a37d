//! The addresses by which instances call: with a token that proves that an instance calls, and the name of what it is a copy of.

use std::fmt::Write as _;

use super::CALLER_PATH_PREFIX;
use crate::instance::{Arm, ConfigRevision};

/// What the path of an instance's call begins with: `/@~TOKEN.orders.c3.1.4.0/@payments/charges`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerToken<'p> {
    /// What proves that an instance calls.
    pub token: &'p str,
    /// The name of what it is a copy of; instances that older releases started have none.
    pub caller: Option<&'p str>,
    /// How many bytes of the path it is; what follows begins with `/` or is empty.
    pub length: usize,
}

/// Takes the token of an instance off the front of a path in its one form.
#[must_use]
pub fn caller_token(path: &str) -> Option<CallerToken<'_>> {
    let segment = path.strip_prefix(CALLER_PATH_PREFIX)?.split('/').next()?;
    let (token, caller) =
        segment.split_once('.').map_or((segment, None), |(token, name)| (token, Some(name)));
    Some(CallerToken { token, caller, length: CALLER_PATH_PREFIX.len() + segment.len() })
}

/// Writes the name of an arm for a path. All of it is unreserved there (RFC 3986, 2.3).
#[must_use]
pub fn caller_name(arm: &Arm) -> String {
    let Arm { service, version, config, process } = arm;
    let mut name = service.to_string();
    if let Some(process) = process {
        let _ = write!(name, "~{process}");
    }
    let _ = write!(name, ".{config}.{version}");
    name
}

/// Reads such a name.
#[must_use]
pub fn arm_of_caller(name: &str) -> Option<Arm> {
    let (who, rest) = name.split_once('.')?;
    let (config, version) = rest.strip_prefix('c')?.split_once('.')?;
    let (service, process) =
        who.split_once('~').map_or((who, None), |(service, process)| (service, Some(process)));
    Some(Arm {
        service: service.parse().ok()?,
        version: version.parse().ok()?,
        config: ConfigRevision(config.parse().ok()?),
        process: process.map(str::parse).transpose().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_first_segment_and_may_say_who_calls() {
        let read = |path| caller_token(path).map(|it| (it.token, it.caller, it.length));
        assert_eq!(read("/@~abc/@orders/7"), Some(("abc", None, 6)));
        assert_eq!(read("/@~abc"), Some(("abc", None, 6)));
        assert_eq!(read("/@~"), Some(("", None, 3)));
        assert_eq!(read("/@orders/@~abc"), None);
        assert_eq!(read("/@~abc.web.c1.1.0.0/@orders"), Some(("abc", Some("web.c1.1.0.0"), 19)));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (version, process) in [("1.4.0", None), ("2.0.0-rc.1", Some("worker")), ("0.1.0-a-b", None)] {
            let arm = Arm {
                service: "order-desk".parse().unwrap(),
                version: version.parse().unwrap(),
                config: ConfigRevision(12),
                process: process.map(|it: &str| it.parse().unwrap()),
            };
            let name = caller_name(&arm);
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
                "{name}"
            );
            assert_eq!(arm_of_caller(&name), Some(arm));
        }
        for bad in [
            "",
            "web",
            "web.1.0.0",
            "web.c.1.0.0",
            "web.c1.1.0",
            "Web.c1.1.0.0",
            "web~.c1.1.0.0",
            "a b.c1.1.0.0",
        ] {
            assert_eq!(arm_of_caller(bad), None, "{bad}");
        }
    }
}
