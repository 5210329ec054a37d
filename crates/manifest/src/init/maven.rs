//! A Java service built by Maven.

use super::{Draft, RepositoryView, at_least, package, steps, tool, unit_tests, with_port, words};
use crate::model::Build;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let pom = without_parent(view.text("pom.xml")?);
    let name = element(&pom, "artifactId").unwrap_or("service");
    let version = element(&pom, "version").unwrap_or("1.0-SNAPSHOT");
    let file =
        element(&pom, "finalName").map_or(format!("{name}-{version}.jar"), |name| format!("{name}.jar"));
    let java = element(&pom, "maven.compiler.release").or_else(|| element(&pom, "java.version"));
    let maven = if view.has("mvnw") { "./mvnw" } else { "mvn" };
    let spring = pom.contains("spring-boot");
    let run = format!("java -jar target/{file}");
    let mut tools = tool("java", at_least(java).as_deref());
    if maven == "mvn" {
        tools.extend(tool("mvn", None));
    }
    Some(Draft {
        name: Some(name.to_owned()),
        build: Build {
            tools,
            optional_variables: vec!["JAVA_HOME".into(), "MAVEN_OPTS".into()],
            steps: steps(&[format!("{maven} -B -DskipTests package")]),
            ..Build::default()
        },
        tests: unit_tests(&format!("{maven} -B test"), Some("target/surefire-reports/*.xml")),
        package: package(&[&format!("target/{file}")]),
        command: if spring { with_port(&format!("{run} --server.port=$PORT")) } else { words(&run) },
        health_path: pom.contains("actuator").then(|| "/actuator/health".into()),
        assumptions: vec![format!("the build makes target/{file}, and it can be run with java -jar")],
        ..Draft::default()
    })
}

/// Takes out the parent and the dependencies, whose elements have the same names.
fn without_parent(pom: &str) -> String {
    let mut rest = pom.to_owned();
    for outer in ["parent", "dependencies", "dependencyManagement", "plugins"] {
        let (open, close) = (format!("<{outer}>"), format!("</{outer}>"));
        if let (Some(from), Some(to)) = (rest.find(&open), rest.find(&close))
            && from < to
        {
            let marks = ["spring-boot", "actuator"].into_iter().filter(|mark| rest[from..to].contains(mark));
            let comment = format!("<!-- {} -->", marks.collect::<Vec<_>>().join(" "));
            rest.replace_range(from..to + close.len(), &comment);
        }
    }
    rest
}

fn element<'p>(pom: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = pom.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}
