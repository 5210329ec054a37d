//! `[run]` of a service whose versions are images: `image = true`. What the manifest does not say, the image does.

use lockstep_domain::image_run::ImageRun;
use lockstep_domain::reference::Scope;
use lockstep_domain::work_path::WorkPath;

use super::reference::filled_command;
use crate::reader::{Field, Table};

const IMAGE: &str = "image = true; versions are images, released by lockstep release NAME --image WHAT";
const ARGUMENTS: &str = "arguments = \"--verbose\"; in the place of those of the image";

/// Reads whether versions are images.
pub(super) fn is_one(table: &Table<'_>) -> bool {
    table.get("image", IMAGE).and_then(|field| field.boolean()).unwrap_or_default()
}

/// Reads whether versions are images, unless it is said for all processes, and with which arguments they are run; `None` where they are
/// none.
pub(super) fn of(table: &Table<'_>, scope: &Scope<'_>, shared: bool) -> Option<ImageRun> {
    let is_image = shared || is_one(table);
    let arguments = table.get("arguments", ARGUMENTS);
    if !is_image {
        if let Some(field) = arguments {
            field
                .wrong_because("only an image has arguments that can be replaced", "write the whole command");
        }
        return None;
    }
    if let (Some(field), Some(_)) = (&arguments, table.get("command", "")) {
        field
            .wrong_because("`command` takes the place of all that the image says", "add them to the command");
    }
    let arguments = arguments.and_then(|field| filled_command(&field, scope));
    Some(ImageRun { arguments, ..ImageRun::default() })
}

/// Reads a path of an image: from its root on, with or without the slash.
pub(super) fn path(field: &Field<'_>) -> Option<WorkPath> {
    let text = field.text()?;
    match text.strip_prefix('/').unwrap_or(text).parse() {
        Ok(path) => Some(path),
        Err(error) => {
            field.wrong(error);
            None
        }
    }
}
