//! What becomes of variables and secrets when one goes back, and what is said about it.

use crate::simulation::{Stage, deploy, service};
use lockstep_domain::intent::{ConfigChoice, ConfigValue};
use lockstep_domain::plan::kept_from_moving;
use lockstep_domain::run::Values;
use lockstep_domain::variables::{VariableValue, of_way_back, revocable};
use lockstep_domain::{CallAddress, ConfigRevision, Event, Intent, Plan};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn set(values: &[(&str, ConfigValue)]) -> Intent {
    let set = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Intent::Configure { service: service("orders"), set, unset: vec![] }
}

fn secret(name: &str) -> ConfigValue {
    ConfigValue::Secret(name.into())
}

fn plain(text: &str) -> ConfigValue {
    ConfigValue::Plain(text.into())
}

fn back(config: ConfigChoice) -> Intent {
    Intent::RollBackService { service: service("orders"), to: "1.0.0".parse().unwrap(), config }
}

/// 1.0.0 ran with an old address and key; a day later both were changed, and 1.1.0 came after that.
fn rotated() -> Stage {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.release("orders@1.2.0", &[]);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &set(&[("DB", plain("old:5432")), ("API_KEY", secret("aa"))]), None);
    stage.now = stage.now.plus_ms(DAY_MS);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &set(&[("DB", plain("new:5432")), ("API_KEY", secret("bb"))]), None);
    stage
}

fn revoke(stage: &mut Stage, secret: &str) {
    stage.record(Event::SecretRevoked {
        environment: "staging".parse().unwrap(),
        service: service("orders"),
        key: "API_KEY".into(),
        secret: secret.into(),
        reason: "it leaked".into(),
    });
}

fn changes(plan: &Plan) -> Vec<String> {
    let shown = |value: &Option<VariableValue>| match value {
        None => "unset".to_owned(),
        Some(VariableValue::Plain(text)) => text.clone(),
        Some(VariableValue::Secret(age)) if age.until.is_some() => "an older secret".to_owned(),
        Some(VariableValue::Secret(_)) => "the newest secret".to_owned(),
    };
    plan.variables.iter().map(|c| format!("{}: {} -> {}", c.key, shown(&c.from), shown(&c.to))).collect()
}

#[test]
fn going_back_keeps_secrets_that_were_set_since_and_names_them() {
    let mut stage = rotated();
    let plan = stage.plan("staging", &back(ConfigChoice::AsItRan), None).unwrap();
    assert_eq!(changes(&plan), ["DB: new:5432 -> old:5432"]);
    let kept: Vec<_> = plan.secrets_kept.iter().map(ToString::to_string).collect();
    let said = "secret API_KEY of orders: the newer value stays, set on 2 Jan 00:16; \
                --old-secrets brings back the one of 1 Jan 00:16";
    assert_eq!(kept, [format!("{said}, with which it is warm")]);
    let text = serde_json::to_string(&plan.secrets_kept).unwrap();
    assert!(!text.contains("\"aa\"") && !text.contains("\"bb\""), "no name of a secret value: {text}");
    let asked = of_way_back(stage.env("staging"), &"orders@1.0.0".parse().unwrap());
    assert_eq!((asked.0, asked.1), (plan.variables, vec![said.to_owned()]));
    stage.run("staging", &back(ConfigChoice::AsItRan), None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c3)");
    let values = stage.env("staging").configuration(&service("orders"), ConfigRevision(3)).unwrap();
    assert_eq!((&values["API_KEY"], &values["DB"]), (&secret("bb"), &plain("old:5432")));
    // What was recorded for it is there the next time.
    stage.run("staging", &Intent::Undo, None);
    assert_eq!(stage.runs("staging"), "orders@1.1.0 (c2)");
    stage.run("staging", &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c3)");
}

#[test]
fn old_secrets_come_back_when_they_are_asked_for_and_by_undoing_what_changed_them() {
    let mut stage = rotated();
    // The newest baseline changed nothing but the configuration: to undo it is to ask for the values before.
    let plan = stage.plan("staging", &Intent::Undo, None).unwrap();
    assert_eq!(changes(&plan), ["API_KEY: the newest secret -> an older secret", "DB: new:5432 -> old:5432"]);
    assert_eq!(plan.secrets_kept, []);
    // Going back to the same baseline is no such wish.
    let to = |to, config| Intent::RollBackEnvironment { to, config };
    let plan = stage.plan("staging", &to(3, ConfigChoice::AsItRan), None).unwrap();
    assert_eq!((changes(&plan), plan.secrets_kept.len()), (vec!["DB: new:5432 -> old:5432".to_owned()], 1));
    let only = Intent::Configure {
        service: service("orders"),
        set: [("API_KEY".to_owned(), secret("cc"))].into(),
        unset: vec![],
    };
    stage.run("staging", &only, None);
    let refusals = stage.plan("staging", &to(4, ConfigChoice::AsItRan), None).unwrap_err();
    let words = "`staging` runs this already but for secrets that were set since: API_KEY of orders";
    assert_eq!(refusals[0].to_string(), words);
    assert_eq!(refusals[0].hint().unwrap(), "to bring the old ones back, add --old-secrets");
    let plan = stage.plan("staging", &to(4, ConfigChoice::WithOldSecrets), None).unwrap();
    assert_eq!(changes(&plan), ["API_KEY: the newest secret -> an older secret"]);
    stage.run("staging", &Intent::Undo, None);
    assert_eq!(stage.runs("staging"), "orders@1.1.0 (c2)");
}

/// An older value is in force on purpose: going back to one that is newer than that brings that one.
#[test]
fn newer_is_what_was_set_later_and_not_what_is_in_force() {
    let mut stage = rotated();
    stage.run("staging", &set(&[("API_KEY", secret("cc"))]), None);
    stage.run("staging", &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::WithOldSecrets }, None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c1)");
    let plan = stage
        .plan("staging", &Intent::RollBackEnvironment { to: 4, config: ConfigChoice::AsItRan }, None)
        .unwrap();
    assert_eq!((plan.secrets_kept.len(), plan.target[&service("orders")].config), (0, ConfigRevision(2)));
}

#[test]
fn what_is_warm_with_the_old_secret_is_told() {
    let mut stage = Stage::new();
    stage.release("orders@1.0.0", &[]);
    stage.release("orders@1.1.0", &[]);
    stage.run("staging", &set(&[("API_KEY", secret("aa"))]), None);
    stage.run("staging", &deploy(&["orders@1.0.0"]), None);
    stage.run("staging", &deploy(&["orders@1.1.0"]), None);
    stage.run("staging", &set(&[("API_KEY", secret("bb"))]), None);
    let plan = stage.plan("staging", &back(ConfigChoice::AsItRan), None).unwrap();
    assert!(plan.secrets_kept[0].to_string().ends_with(", with which it is warm"), "{:?}", plan.secrets_kept);
    assert_eq!(plan.moves().next().unwrap().readiness, lockstep_domain::operation::Readiness::Cold);
    let plan = stage.plan("staging", &back(ConfigChoice::WithOldSecrets), None).unwrap();
    assert_eq!(plan.moves().next().unwrap().readiness, lockstep_domain::operation::Readiness::Warm);
}

#[test]
fn going_back_with_old_secrets_names_every_variable_that_changes() {
    let stage = rotated();
    let plan = stage.plan("staging", &back(ConfigChoice::WithOldSecrets), None).unwrap();
    assert_eq!(changes(&plan), ["API_KEY: the newest secret -> an older secret", "DB: new:5432 -> old:5432"]);
    let Some(VariableValue::Secret(age)) = &plan.variables[0].to else { panic!("{:?}", plan.variables) };
    assert!(age.until.unwrap().since_ms(age.since.unwrap()) >= DAY_MS);
    let text = serde_json::to_string(&plan.variables).unwrap();
    assert!(!text.contains("\"aa\"") && !text.contains("\"bb\""), "no name of a secret value: {text}");
}

#[test]
fn going_back_can_keep_the_configuration_or_take_a_certain_one() {
    let mut stage = rotated();
    let plan = stage.plan("staging", &back(ConfigChoice::Keep), None).unwrap();
    assert_eq!(changes(&plan), [""; 0]);
    let with = |number| back(ConfigChoice::Revision(ConfigRevision(number)));
    assert!(stage.plan("staging", &with(3), None).unwrap_err()[0].to_string().contains("the newest is c2"));
    stage.run("staging", &with(2), None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c2)");
    let several = Intent::RollBackEnvironment { to: 1, config: ConfigChoice::Keep };
    assert!(stage.plan("staging", &several, None).is_err(), "it runs this already");
}

#[test]
fn what_comes_after_says_that_a_newer_configuration_is_not_in_force_and_it_can_be_taken_again() {
    let mut stage = rotated();
    stage.run("staging", &back(ConfigChoice::WithOldSecrets), None);
    let plan = stage.plan("staging", &deploy(&["orders@1.2.0"]), None).unwrap();
    let said = "`orders` goes on with configuration c1, and c2 of 2 Jan 00:16 is newer: \
                lockstep config use orders --revision 2 --env staging";
    assert!(plan.warnings.iter().any(|warning| warning == said), "{:?}", plan.warnings);
    let again = Intent::UseConfiguration { service: service("orders"), revision: ConfigRevision(2) };
    assert_eq!(
        changes(&stage.plan("staging", &again, None).unwrap()),
        ["API_KEY: an older secret -> the newest secret", "DB: old:5432 -> new:5432"]
    );
    stage.run("staging", &again, None);
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c2)");
    let plan = stage.plan("staging", &deploy(&["orders@1.2.0"]), None).unwrap();
    assert!(!plan.warnings.iter().any(|warning| warning.contains("is newer")), "{:?}", plan.warnings);
}

#[test]
fn a_revoked_secret_never_comes_back_and_the_plan_says_what_stands_in_its_place() {
    let mut stage = rotated();
    assert_eq!(stage.env("staging").warm.len(), 2);
    revoke(&mut stage, "aa");
    let warm: Vec<_> = stage.env("staging").warm.keys().map(ToString::to_string).collect();
    assert_eq!(warm, [""; 0], "nothing stays warm with it");
    let plan = stage.plan("staging", &back(ConfigChoice::WithOldSecrets), None).unwrap();
    assert_eq!(changes(&plan), ["DB: new:5432 -> old:5432"]);
    assert!(plan.warnings.iter().any(|w| w.contains("`API_KEY` of `orders` was revoked on 2 Jan 00:16: the value that was set on 2 Jan 00:16 stands in its place")), "{:?}", plan.warnings);
    stage.run("staging", &back(ConfigChoice::AsItRan), None);
    let staging = stage.env("staging");
    assert_eq!(stage.runs("staging"), "orders@1.0.0 (c3)");
    let values = staging.configuration(&service("orders"), ConfigRevision(3)).unwrap();
    assert_eq!((&values["API_KEY"], &values["DB"]), (&secret("bb"), &plain("old:5432")));
    // The next time the configuration that was made for it is there.
    stage.run("staging", &Intent::Undo, None);
    let again =
        stage.plan("staging", &Intent::RollBackEnvironment { to: 2, config: ConfigChoice::AsItRan }, None);
    assert_eq!(again.unwrap().replaced, []);
    let text = serde_json::to_string(&stage.world).unwrap();
    let loaded: lockstep_domain::World = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded, stage.world);
}

#[test]
fn where_no_other_value_is_left_going_back_is_refused_with_the_command_that_helps() {
    let mut stage = rotated();
    revoke(&mut stage, "aa");
    revoke(&mut stage, "bb");
    for intent in [back(ConfigChoice::AsItRan), back(ConfigChoice::Keep), deploy(&["orders@1.2.0"])] {
        let refusals = stage.plan("staging", &intent, None).unwrap_err();
        assert!(refusals[0].to_string().contains("no other value of it was set"), "{refusals:?}");
        let hint = "lockstep config set orders --secret API_KEY --env staging";
        assert_eq!(refusals[0].hint().unwrap(), hint);
    }
    stage.run("staging", &set(&[("API_KEY", secret("cc"))]), None);
    stage.run("staging", &back(ConfigChoice::AsItRan), None);
    let entry = stage.env("staging").entries()[&service("orders")].clone();
    let values = stage.env("staging").configuration(&service("orders"), entry.config).unwrap();
    assert_eq!(values["API_KEY"], secret("cc"));
}

#[test]
fn what_can_be_revoked_is_every_value_but_the_last_or_that_of_one_revision() {
    let mut stage = rotated();
    let of = |stage: &Stage, revision: Option<u32>| {
        revocable(stage.env("staging"), &service("orders"), "API_KEY", revision.map(ConfigRevision))
    };
    assert_eq!(of(&stage, None).unwrap(), ["aa"]);
    assert_eq!(of(&stage, Some(2)).unwrap(), ["bb"]);
    revoke(&mut stage, "aa");
    assert!(of(&stage, None).is_err() && of(&stage, Some(1)).is_err() && of(&stage, Some(0)).is_err());
    assert!(revocable(stage.env("staging"), &service("orders"), "DB", None).is_err(), "it is no secret");
}

#[test]
fn a_journal_without_times_of_configurations_gets_them_from_its_operations() {
    let stage = rotated();
    let mut world = lockstep_domain::World::default();
    stage.log.iter().for_each(|recorded| world.fold(recorded).unwrap());
    assert_eq!(world, stage.world);
    let staging = world.environment(&"staging".parse().unwrap()).unwrap();
    assert_eq!(staging.configured[&service("orders")].len(), 2);
}

#[test]
fn who_calls_by_host_and_port_is_kept_where_a_gateway_can_listen() {
    let elsewhere: CallAddress = "http://edge.internal:8080".parse().unwrap();
    let mut stage = Stage::new();
    stage.release("payments@1.0.0", &[]);
    stage.release("orders@1.0.0", &[("payments", "*")]);
    let calling = |version: &mut lockstep_domain::service::Version| {
        version.run.variables.insert("PAY".into(), "${service.payments.host}:1".into());
        version.run.values = Values::Filled;
    };
    stage.release_with("orders@1.1.0", &[("payments", "*")], calling);
    let verbatim = |version: &mut lockstep_domain::service::Version| {
        version.run.variables.insert("PAY".into(), "${service.payments.host}".into());
    };
    stage.release_with("orders@1.2.0", &[("payments", "*")], verbatim);
    stage.run("staging", &deploy(&["payments@1.0.0", "orders@1.0.0"]), None);
    assert_eq!(kept_from_moving(&stage.world, stage.env("staging"), &elsewhere), None);
    let mut settings = stage.env("staging").settings.clone();
    settings.gateway_url = elsewhere.clone();
    stage.record(Event::EnvironmentChanged {
        environment: "staging".parse().unwrap(),
        settings: settings.clone(),
    });

    let refused = stage.plan("staging", &deploy(&["orders@1.1.0"]), None).unwrap_err();
    let [refusal] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(
        refusal.to_string(),
        "orders@1.1.0 refers to `${service.payments.host}`, and instances of `staging` call others through http://edge.internal:8080, which is not on their machine"
    );
    assert!(refusal.hint().unwrap().contains("lockstep environment set staging --gateway-url server"));
    assert!(stage.plan("staging", &deploy(&["orders@1.2.0"]), None).is_ok(), "before there were references");
    let port = ConfigValue::Filled("${service.payments.port}".into());
    let refused = stage.plan("staging", &set(&[("PAY", port.clone())]), None).unwrap_err();
    assert!(refused[0].to_string().contains("`${service.payments.port}`"), "{refused:?}");
    let url = ConfigValue::Filled("${service.payments.url}".into());
    assert!(stage.plan("staging", &set(&[("PAY", url)]), None).is_ok());

    settings.gateway_url = "http://127.0.0.1:8080".parse().unwrap();
    stage.record(Event::EnvironmentChanged { environment: "staging".parse().unwrap(), settings });
    stage.run("staging", &set(&[("PAY", port)]), None);
    let kept = kept_from_moving(&stage.world, stage.env("staging"), &elsewhere).unwrap();
    assert!(kept.to_string().contains("orders@1.0.0 refers to `${service.payments.port}`"), "{kept}");
}
