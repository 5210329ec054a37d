//! `hosts` of `[run]` and `[process]`: on which hosts of an environment something runs, by their labels.

use lockstep_domain::host_wish::{HostWish, Label, MAX_WISHES};

use crate::reader::{Field, Table};

const EXAMPLE: &str = "hosts = { require = [\"role=web\"], avoid = [\"disk=slow\"] }";
const REQUIRE: &str = "require = [\"role=web\"]; it runs on no host without that label";
const AVOID: &str = "avoid = [\"disk=slow\"]; it runs on such a host only where no other can take it";

/// Reads which hosts a table wants; `None` where it says nothing.
pub(super) fn of(table: &Table<'_>) -> Option<HostWish> {
    let table = table.table("hosts", EXAMPLE)?;
    let read = |name, example| table.get(name, example).map(|field| labels(&field)).unwrap_or_default();
    let (require, avoid) = (read("require", REQUIRE), read("avoid", AVOID));
    if let (Some(both), Some(field)) =
        (require.iter().find(|it| avoid.contains(it)), table.get("avoid", AVOID))
    {
        field.wrong_because(format_args!("`{both}` is required, too"), "remove one of the two");
    }
    if table.get("require", REQUIRE).is_none() && table.get("avoid", AVOID).is_none() {
        table.missing("require", "it says nothing", EXAMPLE);
    }
    table.finish();
    Some(HostWish { require, avoid })
}

fn labels(field: &Field<'_>) -> Vec<Label> {
    let mut all: Vec<Label> = Vec::new();
    let elements = field.list().unwrap_or_default();
    if elements.len() > MAX_WISHES {
        field.wrong(format_args!("there are at most {MAX_WISHES} labels"));
    }
    for element in elements {
        let Some(label) = element.parse::<Label>() else { continue };
        match all.contains(&label) {
            true => element.wrong(format_args!("`{label}` stands there twice")),
            false => all.push(label),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use lockstep_domain::host_wish::HostWish;

    fn read(hosts: &str) -> Result<HostWish, Vec<String>> {
        let text = format!("name = \"orders\"\n[run]\ncommand = \"./orders\"\nhosts = {hosts}");
        let shown = |problem: crate::Problem| format!("{}: {}", problem.field, problem.message);
        crate::parse(&text, "lockstep.toml")
            .map(|it| it.run.hosts)
            .map_err(|all| all.into_iter().map(shown).collect())
    }

    #[test]
    fn labels_are_read_and_what_is_wrong_is_said_where_it_stands() {
        let wish = read("{ require = [\"role=web\", \"role=api\"], avoid = [\"disk=slow\"] }").unwrap();
        assert_eq!(
            wish.require.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["role=web", "role=api"]
        );
        assert_eq!(wish.avoid[0].to_string(), "disk=slow");
        let wrong = |hosts: &str| read(hosts).unwrap_err().join("\n");
        assert!(wrong("{ require = [\"role\"] }").contains("NAME=VALUE"));
        assert!(wrong("{ require = [\"role=web\", \"role=web\"] }").contains("twice"));
        assert!(wrong("{ require = [\"a=b\"], avoid = [\"a=b\"] }").contains("is required, too"));
        assert!(wrong("{}").contains("it says nothing"));
        assert!(wrong("{ want = [\"a=b\"] }").contains("unknown field"));
    }
}
