//! Shares such as `5%`, `0.5%`, `25`: read without rounding into parts of 10,000.

pub(crate) use lockstep_domain::share::{in_10000, percent};
