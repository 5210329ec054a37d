//! Variables and commands of a service of a compose file: what goes to its manifest, and what to the environment.

use std::collections::BTreeMap;

use lockstep_domain::resource::ResourceKind;

use super::Maker;
use crate::compose::Configured;
use crate::compose::beside::is_plain;
use crate::compose::file::{Service, Setting};
use crate::compose::places::{Named, Place};
use crate::compose::roles::{name_of, ports};
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
        for Setting { line, name, value, is_own, beside } in &service.environment {
            if !way::is_variable(name) || value.contains('\0') {
                let text = format!("`{name}` is not taken: it is no variable that an instance can have");
                self.remarks.not_taken(*line, text, "letters, digits and _ are a name");
                continue;
            }
            if way::is_given(name) {
                continue;
            }
            if *is_own && way::is_of_image(name) {
                self.remarks.assume(*line, format!("{name} is that of the host, and not what the file says"));
                continue;
            }
            let escaped = value.replace("${", "$${");
            let referring = self.roles.places.in_variable(name, &escaped, &all, named);
            if let Some(new) = referring {
                match stays(&new, *is_own, beside) {
                    Stays::InManifest => drop(draft.variables.insert(name.clone(), new)),
                    Stays::InEnvironment => {
                        drop(configuration.insert(name.clone(), Configured { value: new, is_secret: false }));
                    }
                    Stays::Nowhere => self.remarks.ask(*line, format!("What is {name}? It has the address of another service in it, and something of a file beside that nobody may see, and no value here can have both: let the program read the secret from a variable of its own, or set the whole: lockstep config set {} {name} --secret.", name_of(service))),
                }
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

/// Where a value goes that has a reference in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    InManifest,
    InEnvironment,
    Nowhere,
}

/// What a file beside the compose file says goes to the environment, but for what references say instead.
fn stays(new: &str, is_own: bool, beside: &[(String, String)]) -> Stays {
    let left = || beside.iter().filter(|(_, value)| !is_plain(value) && new.contains(value.as_str()));
    let is_of_file = !is_own && beside.is_empty();
    if left().any(|(name, value)| is_secret(name, value)) || !is_own && has_login(&without_references(new)) {
        Stays::Nowhere
    } else if is_of_file || left().next().is_some() {
        Stays::InEnvironment
    } else {
        Stays::InManifest
    }
}

fn without_references(text: &str) -> String {
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('}').map_or("", |(_, rest)| rest))
}

/// Tells whether an address has a password in it.
fn has_login(value: &str) -> bool {
    let authority = value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let named = SECRETS.iter().any(|word| upper.contains(word))
        || ["_KEY", "_PASS", "_PW", "_PWD", "_SALT"].iter().any(|end| upper.ends_with(end));
    (named || has_login(value))
        && !value.is_empty()
        && !value.starts_with('/')
        && !matches!(value, "true" | "false")
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
