//! Hosts in words and tables.

use lockstep_api::types::{HostConnection, HostSize, HostView};
use lockstep_domain::host::HostSettings;
use lockstep_domain::placement::Misplaced;

use super::instances;
use super::sizes::size;
use super::style::{Style, one_line, printable};
use super::table::Table;
use super::times::{exact, took};

/// Longest cell of a table.
const LONGEST_CELL: usize = 40;
/// Most of how a host is that a list says: what `ssh` says of a failure may be a page.
const LONGEST_STATE: usize = 160;

/// How many instances run there.
pub(crate) fn running(view: &HostView) -> usize {
    view.instances.iter().filter(|instance| !instance.state.is_over()).count()
}

/// How a host is, in words.
pub(crate) fn state(connection: &HostConnection) -> String {
    match connection {
        HostConnection::Connecting => "connecting".to_owned(),
        HostConnection::Here => "here".to_owned(),
        HostConnection::Away { for_ms, why, .. } => format!("away for {}: {}", took(*for_ms), one_line(why)),
    }
}

/// Its environments, for people.
pub(crate) fn environments(settings: &HostSettings) -> String {
    let names: Vec<_> = settings.environments.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// How its instances are reached that start from now on.
pub(crate) fn ways(settings: &HostSettings) -> String {
    let (address, listen) = (settings.address, settings.network.listen(settings.address));
    match listen == address {
        true if address.is_loopback() => format!("its instances listen on {address}"),
        true => format!("its instances listen on {address}, and what goes there is not encrypted"),
        false => format!(
            "its instances listen on {listen}, and gateways of others come in at {address}, within TLS"
        ),
    }
}

/// Lists hosts.
pub(crate) fn table(hosts: &[HostView], style: &Style) -> String {
    if hosts.is_empty() {
        return "there is no host: instances run on the machine of the server; add one: lockstep host add NAME --ssh USER@HOST\n".to_owned();
    }
    let heading = ["HOST", "STATE", "STANCE", "ENVIRONMENTS", "LABELS", "ADDRESS", "INSTANCES", "FREE"];
    let mut table = Table::new(heading).wrapped(LONGEST_CELL);
    for host in hosts {
        let HostSettings { labels, address, .. } = &host.settings;
        table.row([
            host.name.to_string(),
            short_state(&host.connection),
            host.stance.to_string(),
            environments(&host.settings),
            labels.to_string(),
            address.to_string(),
            running(host).to_string(),
            host.size.as_ref().map(|it| size(it.free_bytes)).unwrap_or_default(),
        ]);
    }
    table.render(style)
}

/// The same where there is no room for all of it.
pub(crate) fn short_state(connection: &HostConnection) -> String {
    let text = state(connection);
    match text.char_indices().nth(LONGEST_STATE) {
        Some((end, _)) => format!("{}...", text[..end].trim_end()),
        None => text,
    }
}

/// Shows a host.
pub(crate) fn shown(view: &HostView, style: &Style) -> String {
    let settings = &view.settings;
    let mut text =
        format!("{}  {}, {}\n", style.strong(view.name.as_str()), state(&view.connection), view.stance);
    text.push_str(&next(view, style));
    let mut facts = Table::new(["", ""]).indented(2);
    facts.row(["ssh".into(), connects(settings)]);
    facts.row(["host key".into(), view.fingerprint.clone().unwrap_or_else(|| "not known".into())]);
    facts.row(["address".into(), settings.address.to_string()]);
    facts.row(["network".into(), format!("{}: {}", settings.network, ways(settings))]);
    facts.row(["environments".into(), environments(settings)]);
    if !settings.labels.is_empty() {
        facts.row(["labels".into(), settings.labels.to_string()]);
    }
    facts.row(["added".into(), format!("{} by {}", style.ago(view.added), view.by)]);
    if let Some(turned) = &view.turned {
        let why = if turned.reason.is_empty() { String::new() } else { format!(": {}", turned.reason) };
        facts.row([view.stance.to_string(), format!("{} by {}{why}", style.ago(turned.since), turned.by)]);
    }
    if let Some(ms) = view.evacuates_after_ms {
        facts.row(["evacuated".into(), format!("by itself, when it was not reached for {}", exact(ms))]);
    }
    if let Some(size) = &view.size {
        facts.row(["machine".into(), machine(size)]);
    }
    text.push_str(&facts.render(style));
    text.push_str(&runs(view, style));
    view.misplaced.iter().for_each(|misplaced| text.push_str(&misplaced_line(view, misplaced, style)));
    text + &notes(&view.notes, style)
}

/// Says of an instance that it runs where it should not, and what moves it.
pub(crate) fn misplaced_line(view: &HostView, misplaced: &Misplaced, style: &Style) -> String {
    let of = view.instances.iter().find(|instance| instance.id == misplaced.instance);
    let next = of.map(|it| format!(" (lockstep rebalance {})", it.environment)).unwrap_or_default();
    format!("  {} {}{next}\n", style.warn("host:"), printable(&misplaced.to_string()))
}

/// What to do about a host that is away.
pub(crate) fn next(view: &HostView, style: &Style) -> String {
    match &view.connection {
        HostConnection::Away { hint: Some(hint), .. } => {
            format!("  {} {}\n", style.warn("next:"), printable(hint))
        }
        _ => String::new(),
    }
}

fn connects(settings: &HostSettings) -> String {
    let key = settings.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
    let folder = settings.folder.as_ref().map(|folder| format!(", folder {folder}")).unwrap_or_default();
    format!("{}{key}{folder}", settings.ssh)
}

/// What a host has, in a line.
pub(crate) fn machine(has: &HostSize) -> String {
    let HostSize { name, kernel, architecture, processors, memory_bytes, free_bytes } = has;
    let (memory, free) = (size(*memory_bytes), size(*free_bytes));
    format!(
        "{name}: Linux {kernel} on {architecture}, {processors} processors, {memory} of memory, {free} free"
    )
}

fn runs(view: &HostView, style: &Style) -> String {
    if running(view) == 0 {
        return "  nothing runs there\n".to_owned();
    }
    instances::of_host(view.instances.iter().filter(|instance| !instance.state.is_over()), style)
        .indented(2)
        .render(style)
}

/// What is worth knowing.
pub(crate) fn notes(notes: &[String], style: &Style) -> String {
    notes.iter().map(|note| format!("  {} {}\n", style.strong("note:"), printable(note))).collect()
}
