//! A repository with one service, and builds of it.

use std::fs;

use lockstep_domain::BuildVariables;
use lockstep_pipeline::{
    BuildEvent, BuildFailure, BuildFault, BuildOutput, BuildRequest, CancelToken, HostEnvironment,
    LargestContract, Prepared, run,
};
use tempfile::TempDir;

use crate::repository::Repository;
use crate::support::{guard, processes_with};

/// The part of a manifest that every test needs.
pub(crate) const RUN: &str = "\n[run]\ncommand = [\"./start\"]\n[run.health]\ntcp = true\n";

/// What a manifest with build steps needs.
pub(crate) const PACKAGE: &str = "[package]\ninclude = [\"**\"]\n";

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) repository: Repository,
    pub(crate) request: BuildRequest,
    pub(crate) cancel: CancelToken,
}

impl Bench {
    /// A repository with one commit: a manifest and a program.
    pub(crate) fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::new(&folder.path().join("orders"));
        repository.write("lockstep.toml", &format!("name = \"orders\"\n{manifest}{RUN}"));
        repository.write("start", "#!/bin/sh\n");
        repository.write(".gitignore", "ignored\n");
        repository.commit("feat: begin");
        let request = BuildRequest {
            cache_folder: None,
            build: "b1".into(),
            repository: repository.folder.to_str().unwrap().parse().unwrap(),
            folder: "".parse().unwrap(),
            reference: None,
            commit: None,
            manifest: None,
            given: None,
            work_folder: folder.path().join("build"),
            mirror_folder: folder.path().join("mirrors"),
            data_folder: Some(folder.path().canonicalize().unwrap()),
            largest_contract: LargestContract::default(),
            guard: guard(),
            host: HostEnvironment::of_this_process(&"orders".parse().unwrap(), &BuildVariables::default()),
        };
        Self { folder, repository, request, cancel: CancelToken::new() }
    }

    /// A manifest with one build step, a shell script.
    pub(crate) fn step(script: &str, settings: &str) -> Self {
        let package = if settings.contains("[package]") { "" } else { PACKAGE };
        Self::new(&format!("[build]\nsteps = [[\"sh\", \"-c\", '''{script}''']]\n{settings}{package}"))
    }

    /// A manifest with one test suite, a shell script.
    pub(crate) fn suite(script: &str, settings: &str) -> Self {
        Self::new(&format!("[[test]]\nkind = \"unit\"\nrun = [\"sh\", \"-c\", '''{script}''']\n{settings}"))
    }

    pub(crate) fn run(&self) -> Result<(Prepared, BuildOutput), Box<BuildFailure>> {
        run(&self.request, &|_: &BuildEvent| {}, &self.cancel)
    }

    pub(crate) fn failure(&self) -> Box<BuildFailure> {
        let failure = self.run().map(|(_, output)| output.artifact.path).unwrap_err();
        assert!(failure.log.exists() && !failure.hint().is_empty());
        self.nothing_is_left();
        failure
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        // What an earlier build of the test made.
        fs::remove_file(self.request.work_folder.join("artifact.tar.zst")).ok();
        match self.failure().fault {
            BuildFault::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("{other}"),
        }
    }

    pub(crate) fn nothing_is_left(&self) {
        assert_eq!(processes_with(self.folder.path().to_str().unwrap()), Vec::<String>::new());
        let build = &self.request.work_folder;
        for gone in ["source", "tmp", "artifact.tar.zst", "artifact.tar.zst.partial"] {
            assert!(!build.join(gone).exists(), "{gone}");
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.request.work_folder.join("log")).unwrap()
    }
}
