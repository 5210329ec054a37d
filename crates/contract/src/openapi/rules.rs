//! The rules about OpenAPI documents beside those about schemas.

use crate::{Bump, Flow, Kind, Level, Rule};
pub(crate) static PARAMETER_DEFAULT_CHANGED: &Rule = &Rule { id: "request-parameter-default-changed", kind: Kind::OpenApi, level: Level::Error, flow: Flow::Request, bump: Bump::Major, summary: "the default of a parameter is another", explanation: "", example: "" };
