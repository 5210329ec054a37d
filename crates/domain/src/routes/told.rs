//! What a route does, in words.

use super::actions::{Actions, FieldChanges, Redirect, Rewrite};

impl Actions {
    /// Says what is done, a line for each.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        told.extend(self.redirect.as_ref().map(redirect));
        told.extend(self.respond.as_ref().map(|it| format!("answers {} itself", it.status)));
        told.extend(self.rewrite.iter().flat_map(rewrite));
        told.extend(fields("request", &self.request_headers));
        told.extend(fields("response", &self.response_headers));
        told.extend(self.cors.as_ref().map(|it| format!("cors for {}", it.origins.join(", "))));
        told.extend(self.sticky_s.map(|it| format!("gives visitors a key for {it} s")));
        told.extend(self.visit.as_ref().map(|it| {
            format!("keeps visitors on one side of rollouts for {} s (cookie {})", it.for_s, it.cookie)
        }));
        told.extend(self.compress.as_ref().map(|it| {
            let codings: Vec<_> = it.encodings.iter().map(|it| it.as_str()).collect();
            format!("compresses by {}", codings.join(", "))
        }));
        told
    }
}

fn redirect(to: &Redirect) -> String {
    let scheme = to.scheme.map(|it| format!(" scheme {}", it.as_str())).unwrap_or_default();
    let host = to.host.as_ref().map(|it| format!(" host {it}")).unwrap_or_default();
    let port = to.port.map(|it| format!(" port {it}")).unwrap_or_default();
    let path = to.path.as_ref().map(|it| format!(" path {it}")).unwrap_or_default();
    format!("redirects ({}) to{scheme}{host}{port}{path}", to.status)
}

fn rewrite(to: &Rewrite) -> Vec<String> {
    let path = to.path.as_ref().map(|it| format!("rewrites the path to {it}"));
    let host = to.host.as_ref().map(|it| format!("rewrites the host to {it}"));
    path.into_iter().chain(host).collect()
}

fn fields(of: &str, changes: &FieldChanges) -> Vec<String> {
    let set = changes.set.iter().map(|(name, value)| format!("sets {of} field {name}: {value}"));
    let add = changes.add.iter().map(|(name, value)| format!("adds {of} field {name}: {value}"));
    let remove = changes.remove.iter().map(|name| format!("removes {of} field {name}"));
    set.chain(add).chain(remove).collect()
}
