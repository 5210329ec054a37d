//! Reads `[[service.NAME.fault]]` of a table: what requests of a service meet on purpose, and until when.

use lockstep_domain::ServiceName;
use lockstep_domain::injection::{Fault, Injected};
use lockstep_domain::routes::FULL_WEIGHT;
use lockstep_domain::version_rules::{Pattern, Takes};

use super::duration;
use super::service::{pair, share};
use crate::reader::{Field, Table};

/// Reads the faults of a service behind those of the services before it.
pub(super) fn read(elements: &[Field<'_>], service: &ServiceName, faults: &mut Vec<Fault>) {
    for element in elements {
        let number = u32::try_from(faults.len()).unwrap_or(u32::MAX).saturating_add(1);
        let read = element.table().and_then(|table| fault(element, &table, (number, service)));
        faults.extend(read);
    }
}

fn fault(element: &Field<'_>, table: &Table<'_>, (number, service): (u32, &ServiceName)) -> Option<Fault> {
    let abort = table.get("abort", "abort = 503");
    let delay = table.get("delay", "delay = \"2s\"");
    let does = match (abort, delay) {
        (Some(abort), None) => abort.integer(400..=599).map(Injected::Abort),
        (None, Some(delay)) => duration(&delay).map(Injected::DelayMs),
        _ => {
            element.wrong_because("a fault has one of abort and delay", "abort = 503");
            None
        }
    };
    let said = table.get("share", "share = \"10%\"");
    let share = said.map_or(Some(FULL_WEIGHT), |field| share(&field));
    let header = table.get("header", "header = { x-user = \"jason\" }");
    let header = header.map_or(Some(None), |field| pattern(&field).map(Some));
    let until = table.require("until", "until = 2026-12-01T10:00:00Z").and_then(|field| field.moment());
    table.check_asked();
    let fault = Fault {
        number,
        service: service.clone(),
        does: does?,
        share: share?,
        header: header?,
        until: until?,
    };
    fault.check().map_err(|error| element.wrong(error)).ok().map(|()| fault)
}

fn pattern(field: &Field<'_>) -> Option<Pattern> {
    let (field, name, value) = pair(field)?;
    match Takes::header(name, value).map_err(|error| field.wrong(error)).ok()? {
        Takes::Header(pattern) => Some(pattern),
        Takes::Cookie(_) | Takes::Share(_) | Takes::Mirror(_) | Takes::Lane(_) => None,
    }
}
