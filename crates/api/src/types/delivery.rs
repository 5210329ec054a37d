//! DORA's figures of how software is delivered.

use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// DORA's five figures of what was delivered to an environment in a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// The environment.
    pub environment: EnvironmentName,
    /// The service, where it is about one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// From when on: not from before there was the environment.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The figures, in the order of DORA.
    pub figures: Vec<DeliveryFigure>,
}

/// One of the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryFigure {
    /// Its name, as DORA calls it.
    pub name: String,
    /// What is counted.
    pub definition: String,
    /// The number; missing where there is nothing to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<DeliveryAmount>,
    /// Out of how many it is made: commits of the lead time, deployments of all others.
    pub counted: usize,
    /// How many could not be counted because something of them is not known.
    pub left_out: usize,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryAmount {
    /// So many a day.
    PerDay(f64),
    /// The median of times, in milliseconds.
    MedianMs(u64),
    /// A part of a whole, from 0 to 1.
    Share(f64),
}
