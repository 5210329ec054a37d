//! A PHP service, run by PHP's own server.

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;

const ENTRIES: [&str; 5] =
    ["public/index.php", "web/index.php", "htdocs/index.php", "index.php", "src/index.php"];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let entry = view.first(&ENTRIES);
    if entry.is_none() && !view.has("composer.json") {
        return None;
    }
    let mut draft = Draft {
        build: Build { tools: tool("php", None), ..Build::default() },
        package: package(&["**"]),
        is_page: true,
        ..Draft::default()
    };
    if view.has("composer.json") {
        draft.build.tools.extend(tool("composer", None));
        draft.build.steps =
            steps(&["composer install --no-dev --no-interaction --optimize-autoloader".into()]);
    }
    if let Some(entry) = entry {
        let folder = entry.strip_suffix("/index.php").unwrap_or(".");
        draft.command = words(&format!("php -S ${{self.host}}:${{self.port}} -t {folder}"));
        if view.has("artisan") {
            draft.command = words("php artisan serve --host=${self.host} --port=${self.port}");
        }
        draft.variables.insert("PHP_CLI_SERVER_WORKERS".into(), "8".into());
        draft.assume(format!(
            "`{}` runs the service: PHP's own server, which is for development",
            draft.command.join(" ")
        ));
    }
    if view.has("phpunit.xml") || view.has("phpunit.xml.dist") {
        draft.tests = unit_tests("vendor/bin/phpunit --log-junit junit.xml", Some("junit.xml"));
        draft.build.steps = steps(&["composer install --no-interaction --optimize-autoloader".into()]);
    }
    Some(draft)
}
