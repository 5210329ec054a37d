//! Writes `[[check]]`.

use lockstep_domain::check::{Check, Expect};

use super::{Writer, duration, inline, quoted};

impl Writer<'_> {
    pub(super) fn check(&mut self, check: &Check) {
        self.table("check", "[[check]]");
        self.field("name", quoted(&check.name));
        self.field("request", quoted(&check.request.to_string()));
        if let Some(host) = &check.host {
            self.field("host", quoted(host));
        }
        self.field("every", duration(check.every_ms));
        self.field("expect", expect(&check.expect));
    }
}

fn expect(expect: &Expect) -> String {
    let status = expect.status.map(|status| ("status", status.to_string()));
    let contains = expect.contains.as_deref().map(|text| ("contains", quoted(text)));
    inline(status.into_iter().chain([("within", duration(expect.within_ms))]).chain(contains))
}
