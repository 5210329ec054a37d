//! Which operation of a contract a request is for.

use lockstep_domain::watch::WatchedOperation;

/// The path of an operation, taken apart.
#[derive(Debug)]
pub(crate) struct Template {
    method: Option<String>,
    /// `None` stands for any one segment.
    segments: Vec<Option<String>>,
}

impl Template {
    pub(crate) fn of(operation: &WatchedOperation) -> Self {
        let is_variable = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
        let segment = |text: &str| (!is_variable(text)).then(|| text.to_owned());
        let segments = segments(&operation.path).map(segment).collect();
        Self { method: operation.method.clone(), segments }
    }

    /// Tells whether a request is for it. A slash at the end makes no difference.
    pub(crate) fn fits(&self, method: &str, path: &str) -> bool {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let mut given = segments(path);
        let each = self.segments.iter().all(|wanted| match (given.next(), wanted) {
            (Some(given), Some(wanted)) => given == wanted,
            (Some(given), None) => !given.is_empty(),
            (None, _) => false,
        });
        each && given.next().is_none()
    }
}

fn segments(path: &str) -> std::str::Split<'_, char> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path).split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(operation: &str, request: &str) -> bool {
        let (method, path) = operation.split_once(' ').unwrap();
        let method = Some(method.to_owned()).filter(|it| it != "*");
        let class = operation.parse().unwrap();
        let template = Template::of(&WatchedOperation { class, method, path: path.into() });
        let (method, path) = request.split_once(' ').unwrap();
        template.fits(method, path)
    }

    #[test]
    fn a_variable_stands_for_one_segment() {
        for (operation, request) in [
            ("GET /orders/{id}", "GET /orders/7"),
            ("GET /orders/{id}", "GET /orders/7/"),
            ("GET /orders/{id}/items", "GET /orders/7/items"),
            ("* /", "PUT /"),
            ("GET /a/", "GET /a"),
        ] {
            assert!(fits(operation, request), "{operation} {request}");
        }
        for (operation, request) in [
            ("GET /orders/{id}", "POST /orders/7"),
            ("GET /orders/{id}", "GET /orders"),
            ("GET /orders/{id}", "GET /orders/"),
            ("GET /orders/{id}", "GET /orders//"),
            ("GET /orders/{id}", "GET /orders/7/items"),
            ("GET /orders", "GET /Orders"),
            ("GET /", "GET /orders"),
        ] {
            assert!(!fits(operation, request), "{operation} {request}");
        }
    }
}
