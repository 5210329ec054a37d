//! Variables and commands of a service of a compose file: what goes to its manifest, and what to the environment.

use std::collections::BTreeMap;

use lockstep_domain::resource::ResourceKind;

use super::Maker;
use crate::compose::Configured;
use crate::compose::file::{Service, Setting};
use crate::compose::places::{Named, Place};
use crate::compose::roles::ports;
use crate::init::dockerfile::Image;
use crate::init::draft::Draft;
use crate::init::way;
use crate::value::is_shell;

/// Words in names of variables whose values nobody may see.
const SECRETS: [&str; 9] =
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "APIKEY", "PRIVATE", "CREDENTIAL", "ACCESS_KEY"];

impl Maker<'_> {
    /// Variables: to the version what the compose file says, to the environment what is beside it or secret.
    pub(super) fn settings(
        &mut self,
        service: &Service,
        image: &Image,
        moved: &BTreeMap<String, String>,
        draft: &mut Draft,
        named: &mut Named,
    ) -> BTreeMap<String, Configured> {
        let mut configuration = BTreeMap::new();
        let all: BTreeMap<&str, &str> = service
            .environment
            .iter()
            .map(|setting| (setting.name.as_str(), setting.value.as_str()))
            .collect();
        let own_ports = ports(service, image, &self.roles.called);
        for Setting { line, name, value, is_own } in &service.environment {
            if way::is_given(name) || !way::is_variable(name) || value.contains('\0') {
                continue;
            }
            let escaped = value.replace("${", "$${");
            let referring = self.roles.places.in_variable(name, &escaped, &all, named);
            if let Some(new) = referring {
                draft.variables.insert(name.clone(), new);
                continue;
            }
            draft.variables.remove(name);
            if is_secret(name, value) {
                configuration.insert(name.clone(), Configured { value: value.clone(), is_secret: true });
                self.remarks.assume(*line, format!("{name} looks like a secret, so it belongs to the environment and stands in no manifest"));
            } else if !is_own {
                configuration.insert(name.clone(), Configured { value: escaped, is_secret: false });
            } else {
                let mut new = BTreeMap::from([(name.clone(), value.clone())]);
                let mut one = Draft::default();
                for value in new.values_mut() {
                    for (path, here) in moved {
                        *value = value.replace(path.as_str(), here);
                    }
                }
                way::variables(&mut one, &new, image, &own_ports);
                draft.variables.extend(one.variables);
            }
        }
        self.passwords_of_redis(service, &draft.variables);
        for odd in std::mem::take(&mut named.odd_ports) {
            self.remarks.ask(
                service.line,
                format!(
                    "Is {odd} right? Nothing says that it listens there, and it is called where it listens."
                ),
            );
        }
        configuration
    }

    /// A Redis that Lockstep runs asks for a password, and one of a compose file mostly does not.
    fn passwords_of_redis(&mut self, service: &Service, variables: &BTreeMap<String, String>) {
        for place in self.roles.places.0.values() {
            let Place::Resource { name, kind: ResourceKind::Redis, .. } = place else {
                continue;
            };
            let says = |what: &str| {
                variables.values().any(|value| value.contains(&format!("${{resource.{name}.{what}}}")))
            };
            if says("host") && !says("password") && !says("url") {
                self.remarks.ask(service.line, format!("By which variable is it told the password of `{name}`? One that Lockstep runs has one: set that variable to ${{resource.{name}.password}}."));
            }
        }
    }

    /// Puts references into a command. What nobody may see goes by a variable, which a shell reads.
    pub(super) fn addresses_in_command(&self, draft: &mut Draft, named: &mut Named) {
        let is_script = draft.command.first().is_some_and(|program| is_shell(program));
        let mut hidden = Vec::new();
        for word in &mut draft.command {
            let Some(new) = self.roles.places.in_text(word, named) else { continue };
            if !new.contains(".password}") && !new.contains(".url}") {
                *word = new;
            } else if is_script {
                *word = hide_parts(word, &new, &mut draft.variables);
            } else {
                let name = format!("ARGUMENT_{}", hidden.len() + 1);
                draft.variables.insert(name.clone(), new);
                hidden.push((word.clone(), name));
            }
        }
        if hidden.is_empty() {
            return;
        }
        let part = |word: &String| match hidden.iter().find(|(old, _)| old == word) {
            Some((_, name)) => format!("\"${name}\""),
            None if word.starts_with("${self.") => word.clone(),
            None => shlex::try_quote(word).map_or_else(|_| word.clone(), std::borrow::Cow::into_owned),
        };
        let script = draft.command.iter().map(part).collect::<Vec<_>>().join(" ");
        draft.command = vec!["sh".into(), "-c".into(), format!("exec {script}")];
        draft.assume("an address with a password goes to the command by a variable, because every user of the machine sees arguments");
    }
}

fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let named = SECRETS.iter().any(|word| upper.contains(word))
        || upper.ends_with("_KEY")
        || upper.ends_with("_PASS");
    let has_login = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?']).next().is_some_and(|authority| {
            authority.split('@').next().is_some_and(|user| authority.contains('@') && user.contains(':'))
        })
    });
    (named || has_login) && !value.is_empty() && !value.starts_with('/') && !matches!(value, "true" | "false")
}

/// Puts variables in the places of addresses with a password in a script.
fn hide_parts(old: &str, new: &str, variables: &mut BTreeMap<String, String>) -> String {
    let name = format!("ADDRESS_{}", variables.len() + 1);
    // Word by word, so that the rest of the script stays what it is.
    let mut words = Vec::new();
    for (old, new) in old.split(' ').zip(new.split(' ')) {
        if old == new {
            words.push(old.to_owned());
        } else {
            let name = format!("{name}_{}", words.len());
            variables.insert(name.clone(), new.trim_matches(['"', '\'']).to_owned());
            words.push(format!("\"${name}\""));
        }
    }
    words.join(" ")
}
