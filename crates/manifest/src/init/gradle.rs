//! A Java or Kotlin service built by Gradle.

use super::maven::one_jar;
use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let file = view.first(&["build.gradle.kts", "build.gradle"])?;
    let text = view.text(file)?;
    let spring = text.contains("org.springframework.boot")
        || text.contains("springBoot")
        || text.contains("spring.boot");
    let marks = ["@SpringBootApplication", "static void main(", "fun main("];
    let sources = || view.texts().filter(|(path, _)| path.starts_with("src/main/"));
    let is_program = sources().any(|(_, text)| marks.iter().any(|mark| text.contains(mark)));
    if !is_program && (view.has_folder("src") || !(spring || text.contains("application"))) {
        return None;
    }
    let above = ["settings.gradle.kts", "settings.gradle"]
        .iter()
        .find_map(|name| view.nearest_above(name))
        .map(|(folder, _)| folder);
    let (gradle, project) = program(view, above.as_deref());
    let mut tools = tool("java", None);
    if gradle == "gradle" {
        tools.extend(tool("gradle", None));
    }
    let sources = if above.is_some() { vec![".".parse().expect("`.` is a path")] } else { Vec::new() };
    let mut build = Build {
        tools,
        optional_variables: vec!["JAVA_HOME".into(), "GRADLE_USER_HOME".into()],
        sources,
        ..Build::default()
    };
    let tests = if view.has_folder("src/test") {
        unit_tests(&format!("{gradle} --no-daemon {project}test"), Some("build/test-results/test/*.xml"))
    } else {
        Vec::new()
    };
    let mut draft = Draft {
        tests,
        health_path: text.contains("actuator").then(|| "/actuator/health".into()),
        ..Draft::default()
    };
    if spring {
        build.steps = steps(&[format!("{gradle} --no-daemon {project}bootJar")]);
        build.steps.push(one_jar("build/libs"));
        draft.package = package(&["app.jar"]);
        draft.command = words("java -jar app.jar --server.port=${self.port} --server.address=${self.host}");
        draft.assume("the one jar in build/libs can be run with java -jar");
    } else {
        let name = installed_name(view);
        build.steps = steps(&[format!("{gradle} --no-daemon {project}installDist")]);
        draft.package = package(&[&format!("build/install/{name}/**")]);
        draft.command = vec![format!("./build/install/{name}/bin/{name}")];
        draft.assume(format!("the plugin `application` makes build/install/{name}"));
        if !text.contains("application") {
            draft.ask(
                "build.steps",
                "Does the build have the plugin `application`? Without it there is no installDist.",
            );
        }
    }
    draft.build = build;
    Some(draft)
}

/// The wrapper where there is one, and the project of the build that this folder is.
fn program(view: &RepositoryView, above: Option<&str>) -> (String, String) {
    let own = if view.has("gradlew") { "./gradlew" } else { "gradle" };
    let Some(outer) = above else { return (own.into(), String::new()) };
    let inner = view.place.strip_prefix(outer).unwrap_or(&view.place).trim_start_matches('/');
    let plain = inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let project = if plain { format!(":{}:", inner.replace('/', ":")) } else { String::new() };
    (own.into(), project)
}

fn installed_name(view: &RepositoryView) -> String {
    let settings = ["settings.gradle.kts", "settings.gradle"]
        .iter()
        .find_map(|name| view.text(name))
        .unwrap_or_default();
    let named = settings.split_once("rootProject.name").and_then(|(_, rest)| rest.split(['"', '\'']).nth(1));
    let plain = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let folder = Some(view.folder.as_str()).filter(plain);
    named.filter(plain).or(folder).unwrap_or("app").to_owned()
}
