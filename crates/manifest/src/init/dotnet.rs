//! A .NET service.

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;

/// How deep a project is looked for.
const MAX_DEPTH: usize = 3;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let projects: Vec<(&str, &str)> = view.texts().filter(|(path, text)| is_service(path, text)).collect();
    let &(path, text) = projects.first()?;
    let is_solution = view
        .files
        .keys()
        .any(|path| !path.contains('/') && (path.ends_with(".sln") || path.ends_with(".slnx")));
    if path.contains('/') && !is_solution {
        return None;
    }
    let is_web = text.contains("Microsoft.NET.Sdk.Web");
    if projects.len() > 1 && !projects.iter().all(|(path, _)| path.contains('/'))
        || projects.len() > 1 && path.contains('/')
    {
        return None;
    }
    let name = element(text, "AssemblyName")
        .unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path).trim_end_matches(".csproj"));
    let mut draft = Draft {
        name: Some(name.replace('.', "-")),
        build: Build {
            tools: tool("dotnet", None),
            steps: steps(&[format!("dotnet publish {path} --configuration Release --output out")]),
            ..Build::default()
        },
        package: package(&["out/**"]),
        command: words(&format!("dotnet out/{name}.dll")),
        ..Draft::default()
    };
    if is_web {
        draft.variables.insert("ASPNETCORE_URLS".into(), "http://${self.host}:${self.port}".into());
    }
    draft.build.optional_variables = vec!["NUGET_PACKAGES".into()];
    draft.assume(format!("{path} is the service, and its program is out/{name}.dll"));
    let is_test =
        |(path, text): (&str, &str)| path.ends_with(".csproj") && text.contains("Microsoft.NET.Test.Sdk");
    if view.texts().any(is_test) {
        draft.tests = unit_tests("dotnet test", None);
    }
    Some(draft)
}

fn is_service(path: &str, text: &str) -> bool {
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let is_program = text.contains("Microsoft.NET.Sdk.Web")
        || text.contains("Microsoft.NET.Sdk.Worker")
        || text.contains("<OutputType>Exe</OutputType>");
    path.ends_with(".csproj")
        && plain
        && path.split('/').count() <= MAX_DEPTH
        && is_program
        && !text.contains("Microsoft.NET.Test.Sdk")
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!value.is_empty() && value.chars().all(plain)).then_some(value)
}
