//! A Java service built by Maven, alone or as a module of a larger build.

use super::{Draft, RepositoryView, at_least, package, steps, tool, unit_tests, words};
use crate::model::{Build, Step};

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let whole = view.text("pom.xml")?;
    let pom = without_parent(whole);
    // What only gathers others is no service.
    if element(&pom, "packaging") == Some("pom") || pom.contains("<modules>") || !is_program(view, whole) {
        return None;
    }
    let outer = outer(view, whole);
    let name = element(&pom, "artifactId").unwrap_or("service");
    let file = element(&pom, "finalName").map(|name| format!("{name}.jar")).or_else(|| {
        let version = version(&pom, whole, outer.as_ref().map(|(_, pom)| *pom))?;
        Some(format!("{name}-{version}.jar"))
    });
    let spring =
        whole.contains("spring-boot") || outer.as_ref().is_some_and(|(_, pom)| pom.contains("spring-boot"));
    let java = ["maven.compiler.release", "java.version"]
        .iter()
        .find_map(|field| element(&pom, field).or_else(|| element(outer.as_ref()?.1, field)));
    let (build, file, jar) = build(view, file, java, outer.as_ref().map(|(folder, _)| folder.as_str()), name);
    let folder = outer.as_ref().map(|(folder, _)| up_to(view, folder));
    let test_step = folder.map(|up| format!("-f {up}pom.xml -pl :{name} -am"));
    let run = format!("java -jar {jar}");
    let mut draft = Draft {
        name: Some(name.to_owned()),
        build,
        tests: tests(view, test_step.as_deref()),
        package: package(&[&jar]),
        command: words(&if spring {
            format!("{run} --server.port=${{self.port}} --server.address=${{self.host}}")
        } else {
            run
        }),
        health_path: whole.contains("actuator").then(|| "/actuator/health".into()),
        ..Draft::default()
    };
    match file {
        Some(file) => draft.assume(format!("the build makes {file}, and it can be run with java -jar")),
        None => draft.assume("the version is made up by the build, so the one jar in target becomes app.jar"),
    }
    if let Some((folder, _)) = outer {
        let folder = if folder.is_empty() { "the root of the repository".to_owned() } else { folder };
        draft.assume(format!(
            "it is a module of the build in {folder}, so all of the repository is what it is built from"
        ));
    }
    Some(draft)
}

/// Tells whether something in the module begins a program, as far as it was read.
fn is_program(view: &RepositoryView, pom: &str) -> bool {
    let marks =
        ["@SpringBootApplication", "static void main(", "fun main(", "@QuarkusMain", "static void main ("];
    let sources: Vec<&str> =
        view.texts().filter(|(path, _)| path.starts_with("src/main/")).map(|(_, text)| text).collect();
    sources.is_empty() && !view.has_folder("src")
        || sources.iter().any(|text| marks.iter().any(|mark| text.contains(mark)))
        || pom.contains("quarkus-maven-plugin")
}

/// The build that it is a module of, where that lies in the repository.
fn outer<'v>(view: &'v RepositoryView, pom: &str) -> Option<(String, &'v str)> {
    if !pom.contains("<parent>")
        && view.nearest_above("pom.xml").is_none_or(|(_, outer)| !outer.contains("<modules>"))
    {
        return None;
    }
    let found = view.nearest_above("pom.xml")?;
    found.1.contains("<modules>").then_some(found)
}

/// The version of the module: its own, or that of its parent, with a property filled in.
fn version(pom: &str, whole: &str, outer: Option<&str>) -> Option<String> {
    let of_parent = || {
        whole
            .split_once("<parent>")
            .and_then(|(_, rest)| rest.split_once("</parent>"))
            .and_then(|(parent, _)| raw(parent, "version"))
    };
    let version = raw(pom, "version").or_else(of_parent).unwrap_or("1.0-SNAPSHOT");
    let Some(property) = version.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return is_plain(version).then(|| version.to_owned());
    };
    let known = element(pom, property).or_else(|| element(outer?, property));
    known.map(str::to_owned)
}

/// Returns how it is built, the file that comes out where its name is known, and the jar that is packaged.
fn build(
    view: &RepositoryView,
    file: Option<String>,
    java: Option<&str>,
    outer: Option<&str>,
    name: &str,
) -> (Build, Option<String>, String) {
    let up = outer.map(|folder| up_to(view, folder));
    let wrapper = |prefix: &str| view.has("mvnw").then(|| format!("{prefix}./mvnw"));
    let maven = wrapper("").unwrap_or_else(|| "mvn".into());
    let mut tools = tool("java", at_least(java).as_deref());
    if maven == "mvn" {
        tools.extend(tool("mvn", None));
    }
    let mut all = match &up {
        Some(up) => steps(&[format!("{maven} -B -DskipTests -f {up}pom.xml -pl :{name} -am package")]),
        None => steps(&[format!("{maven} -B -DskipTests package")]),
    };
    let jar = match &file {
        Some(file) => format!("target/{file}"),
        None => {
            all.push(one_jar("target"));
            "app.jar".into()
        }
    };
    let sources = if up.is_some() { vec![".".parse().expect("`.` is a path")] } else { Vec::new() };
    let build = Build {
        tools,
        optional_variables: vec!["JAVA_HOME".into(), "MAVEN_OPTS".into()],
        steps: all,
        sources,
        ..Build::default()
    };
    (build, file.map(|file| format!("target/{file}")), jar)
}

/// The way up from the folder to one that it lies in.
fn up_to(view: &RepositoryView, folder: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
    "../".repeat(parts(&view.place).saturating_sub(parts(folder)))
}

/// Takes the one jar that can be run out of a folder.
pub(super) fn one_jar(folder: &str) -> Step {
    let script = format!(
        "cp \"$(ls {folder}/*.jar | grep -v -e sources -e javadoc -e plain -e original | head -n 1)\" app.jar"
    );
    Step { command: vec!["sh".into(), "-c".into(), script], folder: None }
}

/// A module is tested by the build that it is one of, with what it needs of the others.
fn tests(view: &RepositoryView, in_outer: Option<&str>) -> Vec<crate::model::TestSuite> {
    let maven = if view.has("mvnw") { "./mvnw" } else { "mvn" };
    if in_outer.is_some() && !view.has_folder("src/test") {
        return Vec::new();
    }
    let options = in_outer.unwrap_or_default();
    unit_tests(&format!("{maven} -B {options} test"), Some("target/surefire-reports/*.xml"))
}

/// Takes out the parent and the dependencies, whose elements have the same names.
fn without_parent(pom: &str) -> String {
    let mut rest = pom.to_owned();
    for outer in ["parent", "dependencies", "dependencyManagement", "plugins", "profiles"] {
        let (open, close) = (format!("<{outer}>"), format!("</{outer}>"));
        while let (Some(from), Some(to)) = (rest.find(&open), rest.find(&close))
            && from < to
        {
            rest.replace_range(from..to + close.len(), "");
        }
    }
    rest
}

/// Returns the text of an element that is a plain name or number.
fn element<'p>(pom: &'p str, name: &str) -> Option<&'p str> {
    raw(pom, name).filter(|text| is_plain(text))
}

fn raw<'p>(pom: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = pom.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.trim())
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(plain)
}
