//! What is kept of a request itself: what routes of the table decide by.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_domain::lane::TableWhen;
use lockstep_domain::routes::conditions::{Conditions, RequestView, Sort, Wanted, WantedValue};
use lockstep_domain::routes::{CALLER_PATH_PREFIX, RouteTable, SplitTakes};

/// Longest host and path that are kept. A path that is longer is cut.
const MAX_HOST: usize = 128;
const MAX_PATH: usize = 256;
/// Most names that are looked for in each request.
const MAX_NAMES: usize = 32;
/// Most bytes of all values that are kept of a request.
const MAX_VALUES: usize = 512;
/// Header fields whose values let somebody in: only whether they are there is kept.
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-csrf-token",
];

/// What the conditions of a table ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// In the order of their numbers in [`Facts`].
    pub(super) names: Vec<AskedName>,
    /// Whether a route asks for the client's network.
    pub(crate) clients: bool,
}

/// A header field, cookie or query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AskedName {
    pub(super) sort: Sort,
    pub(super) name: String,
    /// Whether its value is asked for, or only whether it is there.
    asks_value: bool,
    /// Whether its value is kept.
    by_value: bool,
}

impl Asked {
    /// Takes all names of a table, in no more than so many sorts and names as are looked for.
    pub(crate) fn of(table: &RouteTable) -> Self {
        let mut names: BTreeMap<(u8, &str), (Sort, bool)> = BTreeMap::new();
        let mut add = |sort: Sort, name, asks_value: bool| {
            names.entry((sort as u8, name)).or_insert((sort, false)).1 |= asks_value;
        };
        for Conditions { headers, query, cookies, .. } in table.routes.iter().map(|route| &route.rule.when) {
            for (sort, list) in [(Sort::Header, headers), (Sort::Query, query), (Sort::Cookie, cookies)] {
                for Wanted { name, value } in list {
                    add(sort, name, *value != WantedValue::Present);
                }
            }
        }
        for rule in table.services.values().flat_map(|routes| &routes.version_rules) {
            match &rule.takes {
                SplitTakes::Header(pattern) => add(Sort::Header, &pattern.name, true),
                SplitTakes::Cookie(pattern) => add(Sort::Cookie, &pattern.name, true),
                SplitTakes::Places(_) | SplitTakes::Lane => {}
            }
        }
        for when in table.lanes.iter().flat_map(|lane| &lane.when) {
            match when {
                TableWhen::Header(pattern) => add(Sort::Header, &pattern.name, true),
                TableWhen::Cookie(pattern) => add(Sort::Cookie, &pattern.name, true),
                TableWhen::User(_) | TableWhen::Places(_) => {}
            }
        }
        let name = |((_, name), (sort, asks_value)): ((u8, &str), (Sort, bool))| {
            let by_value = asks_value && !(sort == Sort::Header && CREDENTIALS.contains(&name));
            AskedName { sort, name: name.to_owned(), asks_value, by_value }
        };
        let clients = table.routes.iter().any(|route| !route.rule.when.clients.is_empty());
        Self { names: names.into_iter().map(name).take(MAX_NAMES).collect(), clients }
    }
}

impl Asked {
    /// Tells whether the value of a name decides something.
    pub(super) fn value_of(&self, sort: Sort, name: &str) -> bool {
        let is_it = |asked: &&AskedName| asked.sort == sort && asked.name == name;
        self.names.iter().find(is_it).is_none_or(|asked| asked.asks_value)
    }
}

/// What is kept of a request itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(super) method: String,
    pub(super) host: String,
    /// Without the token of an instance.
    pub(super) path: String,
    /// Whether host and path are here as a whole.
    pub(super) is_whole: bool,
    /// What was looked for.
    pub(super) asked: Option<Arc<Asked>>,
    /// Pairs: the number of a name of `asked` that is there, and how many bytes of its value are kept.
    found: Vec<u8>,
    values: Vec<u8>,
}

/// Stands for the length of a value that is not kept.
const WITHOUT_VALUE: u8 = u8::MAX;

impl Facts {
    /// Notes a request, in the place of another one. `token` bytes of the path say who asks, and are not kept.
    pub(crate) fn note(
        &mut self,
        view: &impl RequestView,
        (host, path, token): (&str, &str, usize),
        asked: &Arc<Asked>,
    ) {
        // A token that is wrong here may be right elsewhere.
        let is_token = token == 0 && path.starts_with(CALLER_PATH_PREFIX);
        let path = if is_token { CALLER_PATH_PREFIX } else { &path[token..] };
        let path = if path.is_empty() { "/" } else { path };
        keep(&mut self.method, view.method(), MAX_HOST);
        self.is_whole = keep(&mut self.host, host, MAX_HOST) & keep(&mut self.path, path, MAX_PATH);
        self.found.clear();
        self.values.clear();
        if !asked.names.is_empty() {
            self.look_for(view, asked);
        }
        if self.asked.as_ref().is_none_or(|known| !Arc::ptr_eq(known, asked)) {
            self.asked = Some(Arc::clone(asked));
        }
    }

    /// Notes nothing, in the place of another request.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn look_for(&mut self, view: &impl RequestView, asked: &Asked) {
        for (number, AskedName { sort, name, by_value, .. }) in (0_u8..).zip(&asked.names) {
            let mut take = |value: &[u8]| self.found_one(number, Some(value).filter(|_| *by_value));
            match sort {
                Sort::Header => {
                    view.any_header(name, &mut |line| {
                        take(line);
                        false
                    });
                }
                Sort::Cookie => view.cookie(name).into_iter().for_each(take),
                Sort::Query => view.parameter(name).into_iter().for_each(|value| take(&value)),
            }
        }
    }

    fn found_one(&mut self, number: u8, value: Option<&[u8]>) {
        let room = MAX_VALUES.saturating_sub(self.values.len()).min(usize::from(WITHOUT_VALUE) - 1);
        if self.found.len() / 2 >= 2 * MAX_NAMES {
            return;
        }
        match value.filter(|value| value.len() <= room) {
            Some(value) => {
                self.found.extend([number, u8::try_from(value.len()).unwrap_or(WITHOUT_VALUE)]);
                self.values.extend_from_slice(value);
            }
            None => self.found.extend([number, WITHOUT_VALUE]),
        }
    }

    /// Goes through what was found: the number of its name, and its value where that is kept.
    pub(super) fn found(&self) -> impl Iterator<Item = (usize, Option<&[u8]>)> {
        let mut at = 0;
        self.found.chunks_exact(2).map(move |pair| {
            let value = (pair[1] != WITHOUT_VALUE).then(|| {
                let end = at + usize::from(pair[1]);
                let value = &self.values[at..end];
                at = end;
                value
            });
            (usize::from(pair[0]), value)
        })
    }
}

/// Tells whether a text was kept as a whole.
fn keep(place: &mut String, text: &str, most: usize) -> bool {
    place.clear();
    place.push_str(&text[..text.floor_char_boundary(most)]);
    place.len() == text.len()
}
