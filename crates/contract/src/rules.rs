//! The list of rules of a format whose rules all concern one flow.

/// Writes rules as a static each and the list of all: `rules! { KIND, FLOW; NAME: id, level, bump, summary, explanation, example; ... }`.
macro_rules! rules {
    ($kind:ident, $flow:ident; $($name:ident: $id:literal, $level:ident, $bump:ident, $summary:literal, $explanation:literal, $example:literal;)+) => {
        $(
            pub(super) static $name: $crate::Rule = $crate::Rule {
                id: $id,
                kind: $crate::Kind::$kind,
                level: $crate::Level::$level,
                flow: $crate::Flow::$flow,
                bump: $crate::Bump::$bump,
                summary: $summary,
                explanation: $explanation,
                example: $example,
            };
        )+

        /// The rules of this format.
        pub static RULES: &[$crate::Rule] = &[$($name),+];
    };
}

pub(crate) use rules;
