//! What a plan does at databases, for people.

use std::fmt::Write as _;

use lockstep_domain::database::{Act, Contraction, Lines, Reversal, Reverted, Taken, list};
use lockstep_domain::job::PlannedJob;

use crate::output::style::printable;

/// Writes what a step at a database will apply, a line.
pub(super) fn step_text(planned: &PlannedJob) -> String {
    let Some(run) = planned.database.as_deref() else { return String::new() };
    let cut = |name: &String| match run.left_out.get(name) {
        None => name.clone(),
        Some(lines) => format!("{name} (without {}: its way down)", Lines::all(lines)),
    };
    let expected: Vec<_> = run.expected.iter().map(cut).collect();
    let expected = printable(&expected.join(", ")).into_owned();
    match &run.act {
        Act::Apply { .. } if expected.is_empty() => {
            "  nothing is missing, as far as it is known\n".to_owned()
        }
        Act::Apply { .. } => format!("  applies {expected}\n"),
        Act::Revert { .. } => format!("  takes back {expected}\n"),
        act => format!("  {}\n", printable(&act.to_string())),
    }
}

/// Writes whose migrations will run, and which text of each.
fn contents(contraction: &Contraction) -> String {
    let Contraction { version, artifact, migrations, contents, .. } = contraction;
    let mut text = String::new();
    if let (Some(version), Some(artifact)) = (version, artifact) {
        let _ = writeln!(text, "  as {version} brings them (artifact {})", artifact.short());
    }
    for (name, digest) in migrations.iter().filter_map(|name| Some((name, contents.get(name)?))) {
        let _ = writeln!(text, "  applies {} (SHA-256 {})", printable(name), digest.short());
    }
    text
}

/// Writes what a plan takes of a database.
pub(crate) fn taken_text(taken: Taken<'_>) -> String {
    match taken {
        Taken::Contraction(contraction) => contraction_text(contraction),
        Taken::Reversal(reversal) => reversal_text(reversal),
    }
}

/// Writes what taking migrations back takes, and what it opens.
fn reversal_text(reversal: &Reversal) -> String {
    let Reversal { database, version, artifact, migrations, to, lost, again, .. } = reversal;
    let count = migrations.len();
    let stays = to.as_deref().map_or("nothing of it stays".into(), |to| format!("`{}` stays", printable(to)));
    let mut text = format!(
        "WAY DOWN: {count} {} of database {database}; {stays}\n",
        if count == 1 { "migration is taken back" } else { "migrations are taken back, in this order" }
    );
    let artifact = artifact.as_ref().map(|it| format!(" (artifact {})", it.short())).unwrap_or_default();
    let _ = writeln!(text, "  as {version} brings the ways down{artifact}");
    migrations.iter().for_each(|reverted| way_text(&mut text, reverted));
    if !lost.is_empty() {
        let _ = writeln!(
            text,
            "  these cannot be gone back to afterwards, only a deployment applies it anew: {}",
            list(lost)
        );
    }
    for (place, versions) in &reversal.lost_elsewhere {
        let _ = writeln!(text, "  nor these in {place}, which has the same database: {}", list(versions));
    }
    if !again.is_empty() {
        let _ = writeln!(text, "  these can come back again: {}", list(again));
    }
    for (what, numbers) in [
        ("cannot be gone back to as a whole", &reversal.baselines_lost),
        ("fit the database again", &reversal.baselines_again),
    ] {
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        if !numbers.is_empty() {
            let _ = writeln!(text, "  these baselines {what}: {}", numbers.join(", "));
        }
    }
    let _ = writeln!(text, "  approved by --approve {}", reversal.code());
    text
}

fn way_text(text: &mut String, reverted: &Reverted) {
    let Reverted { migration, way, .. } = reverted;
    let (name, file) = (printable(migration), printable(&way.file));
    let _ = writeln!(text, "  {name} by {file} (SHA-256 {})", way.digest.short());
    if !way.not_understood.is_empty() {
        let _ = writeln!(text, "    NOT UNDERSTOOD, so it may take anything: read it before you approve it");
    }
    let said = [("", &way.not_understood), ("takes: ", &way.takes), ("is not as before: ", &way.leaves)];
    for (what, words) in said {
        for word in words {
            let _ = writeln!(text, "    {what}{}", printable(word));
        }
    }
    if way.only_adds() && way.takes.is_empty() {
        let _ = writeln!(text, "    takes nothing away");
    }
}

/// Writes what a contraction takes for ever.
fn contraction_text(contraction: &Contraction) -> String {
    let Contraction { database, migrations, one_way, not_understood, lost, lost_up_to, stays_from, .. } =
        contraction;
    let mut text = format!(
        "POINT OF NO RETURN: {} of database {database} cannot be taken back\n",
        printable(&migrations.join(", "))
    );
    text.push_str(&contents(contraction));
    for (migration, reasons) in not_understood {
        let name = printable(migration);
        let _ = writeln!(
            text,
            "  {name}: NOT UNDERSTOOD, so it may take anything: read it before you approve it"
        );
        for reason in reasons {
            let _ = writeln!(text, "    {}", printable(reason));
        }
    }
    for (migration, reasons) in one_way {
        for reason in reasons {
            let _ = writeln!(text, "  {}: {}", printable(migration), printable(reason));
        }
    }
    if !lost.is_empty() {
        let _ = writeln!(text, "  these cannot come back afterwards: {}", list(lost));
    }
    for (place, versions) in &contraction.lost_elsewhere {
        let _ = writeln!(text, "  nor these in {place}, which has the same database: {}", list(versions));
    }
    let _ = match lost_up_to {
        Some(lost) => writeln!(
            text,
            "  baseline {lost} cannot be gone back to as a whole any more; the last one that stays is {stays_from}"
        ),
        None => writeln!(text, "  every baseline can still be gone back to"),
    };
    let _ = writeln!(text, "  approved by --approve {}", contraction.code());
    text
}
