//! Wire types: what is asked and answered, where it is not a domain type already. A file a noun.

mod builds;
mod certificates;
mod compat;
mod data;
mod environments;
mod externals;
mod gateways;
mod health;
mod history;
mod keys;
mod mirrors;
mod operations;
mod resources;
mod schedules;
mod services;
mod store;
mod uploads;
mod version_rules;

pub use builds::*;
pub use certificates::*;
pub use compat::*;
pub use data::*;
pub use environments::*;
pub use externals::*;
pub use gateways::*;
pub use health::*;
pub use history::*;
pub use keys::*;
pub use mirrors::*;
pub use operations::*;
pub use resources::*;
pub use schedules::*;
pub use services::*;
pub use store::*;
pub use uploads::*;
pub use version_rules::*;
