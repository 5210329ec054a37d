//! Which pieces of a recipe a host lacks, as it says it.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::known::Known;
use super::recipe::{Key, Recipe};

/// A bit for each piece of a recipe that has a key, in their order, the lowest of a byte first; in Base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lacking(String);

impl Lacking {
    /// What of a recipe is not known.
    pub(crate) fn of(recipe: &Recipe, known: &Known) -> Self {
        let lacking: Vec<bool> = keys(recipe).map(|key| !known.has(key)).collect();
        let byte = |bits: &[bool]| bits.iter().rev().fold(0_u8, |byte, bit| (byte << 1) | u8::from(*bit));
        Self(STANDARD.encode(lacking.chunks(8).map(byte).collect::<Vec<u8>>()))
    }

    /// Returns the keys of what is lacking. Whatever a host says, it is of the recipe: what it does not speak of is lacking.
    pub(crate) fn keys(&self, recipe: &Recipe) -> HashSet<Key> {
        let bits = STANDARD.decode(&self.0).unwrap_or_default();
        let is_lacking = |index: usize| bits.get(index / 8).is_none_or(|byte| byte >> (index % 8) & 1 == 1);
        keys(recipe).enumerate().filter(|(index, _)| is_lacking(*index)).map(|(_, key)| *key).collect()
    }
}

fn keys(recipe: &Recipe) -> impl Iterator<Item = &Key> {
    recipe.pieces.iter().filter_map(|piece| piece.key.as_ref())
}
