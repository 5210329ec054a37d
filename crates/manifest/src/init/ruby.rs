//! A Ruby service: Rails, or anything that Rack starts, or one file.

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;

const ENTRIES: [&str; 5] = ["app.rb", "server.rb", "main.rb", "web.rb", "service.rb"];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let gems = view.text("Gemfile")?;
    let is_rails = gems.contains("rails") && (view.has("config/application.rb") || view.has("bin/rails"));
    let mut draft = Draft {
        build: Build { tools: tool("bundle", None), ..Build::default() },
        package: package(&["**"]),
        is_page: is_rails && !gems.contains("--api"),
        ..Draft::default()
    };
    draft.build.env.insert("BUNDLE_PATH".into(), "vendor/bundle".into());
    draft.build.steps = steps(&["bundle install".into()]);
    draft.variables.insert("BUNDLE_PATH".into(), "vendor/bundle".into());
    draft.assume("gems go to vendor/bundle and into the artifact");
    if is_rails {
        draft.command = words("bundle exec rails server --binding ${self.host} --port ${self.port}");
        draft.variables.insert("RAILS_LOG_TO_STDOUT".into(), "1".into());
        draft.ask("run.env", "Which RAILS_ENV does it run with, and where is its SECRET_KEY_BASE? Secrets are set with lockstep config set --secret.");
        rails(view, &mut draft);
    } else if view.has("config.ru") {
        draft.command = words("bundle exec rackup --host ${self.host} --port ${self.port}");
    } else if let Some(entry) = view.first(&ENTRIES) {
        draft.command = words(&format!("bundle exec ruby {entry}"));
        if gems.contains("sinatra") {
            draft.command.extend(words("-o ${self.host} -p ${self.port}"));
        }
    }
    if !draft.command.is_empty() {
        draft.assume(format!("`{}` runs the service", draft.command.join(" ")));
    }
    draft.tests = tests(view, gems, is_rails);
    Some(draft)
}

fn rails(view: &RepositoryView, draft: &mut Draft) {
    if view.has_folder("app/assets") && !view.has_folder("public/assets") {
        draft.build.steps.extend(steps(&["bundle exec rails assets:precompile".into()]));
        draft.build.env.insert("SECRET_KEY_BASE_DUMMY".into(), "1".into());
        draft.build.env.insert("RAILS_ENV".into(), "production".into());
    }
    for folder in ["log", "tmp", "storage"] {
        if let Ok(path) = folder.parse()
            && folder == "storage"
        {
            draft.data.push(path);
        }
    }
    if view.has_folder("db/migrate") {
        draft.ask("run", "Does the database have to be migrated before a version takes over? [[job]] with when = \"before-switch\" and command = \"bundle exec rails db:migrate\" does it.");
    }
}

fn tests(view: &RepositoryView, gems: &str, is_rails: bool) -> Vec<crate::model::TestSuite> {
    if gems.contains("rspec") && view.has_folder("spec") {
        unit_tests("bundle exec rspec", None)
    } else if is_rails && view.has_folder("test") {
        unit_tests("bundle exec rails test", None)
    } else if view.has("Rakefile") && view.has_folder("test") {
        unit_tests("bundle exec rake test", None)
    } else {
        Vec::new()
    }
}
