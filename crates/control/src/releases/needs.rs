//! What a version needs of other services: the contracts it was built against, kept with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::contract::{ContractKind, OfferedContract, Requirement, UsedContract};
use lockstep_domain::service::Version;
use lockstep_domain::{ServiceName, World};
use lockstep_manifest::Manifest;
use lockstep_pipeline::Contracts;

use crate::Control;

impl Control {
    /// What the version needs of others, with the contracts it was built against in the blob store.
    pub(super) fn requirements(
        &self,
        world: &World,
        manifest: &Manifest,
        contracts: &Contracts,
        blobs: &mut Vec<Vec<u8>>,
    ) -> Result<(BTreeMap<ServiceName, Requirement>, Vec<String>), Problem> {
        let (mut requires, mut warnings, mut wrong) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (provider, needed) in &manifest.requires {
            let mut requirement = Requirement {
                range: needed.range.clone(),
                contract: None,
                operations: needed.operations.clone(),
                port: needed.port,
            };
            match contracts.used.get(provider) {
                Some(taken) => {
                    let kept = self.keep(taken)?;
                    let OfferedContract { kind, name, digest, bytes, .. } = kept.offered;
                    requirement.contract = Some(UsedContract { kind, name, version: None, digest, bytes });
                    blobs.push(kept.bytes);
                }
                None if !needed.operations.is_empty() => {
                    match self.contract_with(world, provider, &requirement) {
                        Ok(Some(contract)) => requirement.contract = Some(contract),
                        Ok(None) => warnings.push(format!(
                            "what it needs of {provider} cannot be checked: no version of it that fits has a contract"
                        )),
                        Err(problems) => wrong.extend(problems),
                    }
                }
                None => {}
            }
            requires.insert(provider.clone(), requirement);
        }
        if wrong.is_empty() {
            return Ok((requires, warnings));
        }
        let detail = "operations of other services are named that they do not offer";
        Err(Problem::new(ErrorCode::Refused, detail)
            .with_problems(wrong)
            .with_hint("mend [requires] in lockstep.toml, commit, and release again"))
    }

    /// The contract that operations mean when no file says it: that of the newest version of the provider that fits.
    fn contract_with(
        &self,
        world: &World,
        provider: &ServiceName,
        requirement: &Requirement,
    ) -> Result<Option<UsedContract>, Vec<ProblemPart>> {
        let Some(version) = newest_with_operations(world, provider, requirement) else { return Ok(None) };
        let mut problems: Option<Vec<ProblemPart>> = None;
        for contract in version.contracts.iter().filter(|contract| has_operations(contract)) {
            let unknown = self.unknown_operations(contract, &requirement.operations);
            if unknown.is_empty() {
                return Ok(Some(UsedContract {
                    kind: contract.kind,
                    name: contract.name.clone(),
                    version: Some(version.number.clone()),
                    digest: contract.digest,
                    bytes: contract.bytes,
                }));
            }
            if problems.as_ref().is_none_or(|fewest| unknown.len() < fewest.len()) {
                problems = Some(unknown);
            }
        }
        let mut problems = problems.unwrap_or_default();
        let of = format!("{provider} {}", version.number);
        for part in &mut problems {
            part.detail = format!("{} of {of}", part.detail);
            part.field = Some(format!("requires.{provider}.operations"));
        }
        Err(problems)
    }

    fn unknown_operations(&self, contract: &OfferedContract, names: &[String]) -> Vec<ProblemPart> {
        let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
        let snapshot = match self.stored_contracts().snapshot(&contract.digest) {
            Ok(snapshot) => snapshot,
            Err(why) => return vec![part(why)],
        };
        match lockstep_contract::Parsed::read(&snapshot.source, snapshot.kind) {
            Ok(parsed) => lockstep_contract::unknown_operations(&parsed, names)
                .into_iter()
                .map(|unknown| ProblemPart {
                    hint: unknown.hint(),
                    ..part(format!("`{}` is no operation", unknown.name))
                })
                .collect(),
            Err(errors) => errors.iter().map(|error| part(error.to_string())).collect(),
        }
    }
}

/// The newest version of a provider that a requirement allows and that offers operations: a release, or a pre-release where
/// there is none.
fn newest_with_operations(
    world: &World,
    provider: &ServiceName,
    requirement: &Requirement,
) -> Option<Arc<Version>> {
    let fits = |version: &&Arc<Version>| {
        requirement.range.as_ref().is_none_or(|range| range.contains(&version.number))
            && version.contracts.iter().any(has_operations)
    };
    let versions = &world.known_service(provider)?.versions;
    let newest_first = || versions.values().rev().filter(fits);
    let release = newest_first().find(|version| !version.number.is_pre_release());
    release.or_else(|| newest_first().next()).cloned()
}

const fn has_operations(contract: &OfferedContract) -> bool {
    matches!(contract.kind, ContractKind::OpenApi | ContractKind::Protobuf | ContractKind::GraphQl)
}
