//! Manifests that are kept with a service, outside of a repository that is not ours.
//!
//! Invariant: one that is kept could be read when it was given, and carries the name of its service at that time. It counts in
//! place of one in the repository, until somebody says otherwise; each that ever counted stays known.

use lockstep_api::types::{ManifestRequest, ServiceView};
use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::service::{Service, Source};
use lockstep_domain::{Actor, Digest, Event, ServiceName};
use lockstep_manifest::{ContractOrigin, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest};

use crate::instances::with_sources;
use crate::releases::manifest_part;
use crate::{Control, internal, not_found, operations, services};

/// Reads the text of a manifest that was given.
pub(crate) fn parse(text: &str) -> Result<Manifest, Problem> {
    lockstep_manifest::parse(text, MANIFEST_FILE).map_err(|problems| {
        let parts = problems.into_iter().map(manifest_part).collect();
        Problem::new(ErrorCode::BadRequest, "the manifest that is given is not valid")
            .with_problems(parts)
            .with_hint("lockstep check FILE")
    })
}

/// What is recorded when a manifest is to be kept; nothing where it is kept already.
pub(crate) fn kept_event(
    known: Option<&Service>,
    service: &ServiceName,
    kept: Kept,
    reason: &str,
) -> Option<Event> {
    let same = known.and_then(Service::kept_manifest).is_some_and(|known| known.digest == kept.digest);
    let (service, reason) = (service.clone(), reason.to_owned());
    (!same).then_some(Event::ManifestKept { service, manifest: kept.digest, bytes: kept.bytes, reason })
}

/// A text in the blob store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    digest: Digest,
    bytes: u64,
}

impl Control {
    /// Puts the text of a manifest into the blob store, before the record that names it.
    pub(crate) fn store_manifest(&self, text: &str) -> Result<Kept, Problem> {
        let stored = self.blobs.put(text.as_bytes()).map_err(|error| internal(with_sources(&error)))?;
        Ok(Kept { digest: stored.digest, bytes: stored.bytes })
    }

    /// Returns the text of the manifest that is kept with a service, when one is.
    pub(crate) fn kept_text(&self, service: &Service) -> Result<Option<String>, Problem> {
        let Some(kept) = service.kept_manifest() else { return Ok(None) };
        let lost = |why: String| {
            internal(format!("the manifest that is kept with `{}` cannot be read: {why}", service.name))
                .with_hint(format!("give it again: lockstep service manifest {} FILE", service.name))
        };
        let bytes = self.blobs.read_to_vec(&kept.digest, MAX_MANIFEST_BYTES as u64);
        let bytes = bytes.map_err(|error| lost(with_sources(&error)))?;
        String::from_utf8(bytes).map(Some).map_err(|error| lost(error.to_string()))
    }

    /// Returns the manifest that is kept with a service.
    ///
    /// # Errors
    /// When the service does not exist, or its manifest is that of its repository.
    pub fn manifest(&self, name: &ServiceName) -> Result<Vec<u8>, Problem> {
        let world = self.ledger.world();
        let service = services::find(&world, name)?;
        let text = tokio::task::block_in_place(|| self.kept_text(service))?;
        text.map(String::into_bytes).ok_or_else(|| {
            not_found(
                format!("no manifest is kept with `{name}`: that of its repository counts"),
                &format!("lockstep service manifest {name} FILE"),
            )
        })
    }

    /// Keeps a manifest with a service, or lets that of its repository count again.
    ///
    /// # Errors
    /// When the service does not exist, or the manifest is not one of it.
    pub fn keep_manifest(
        &self,
        actor: &Actor,
        name: &ServiceName,
        request: &ManifestRequest,
    ) -> Result<ServiceView, Problem> {
        operations::check_reason(&request.reason)?;
        let reason = &request.reason;
        let manifest = request.manifest.as_deref().map(parse).transpose()?;
        tokio::task::block_in_place(|| {
            let kept = request.manifest.as_deref().map(|text| self.store_manifest(text)).transpose()?;
            self.ledger.commit(actor, |world, _| {
                let service = services::find(world, name)?;
                if let Some(manifest) = &manifest {
                    is_of(manifest, service)?;
                    must_fit(manifest, &service.source)?;
                }
                let event = match kept {
                    None if !service.source.has_repository() => return Err(no_other(service)),
                    Some(kept) => kept_event(Some(service), &service.name, kept, reason),
                    None => service.kept_manifest().map(|_| Event::ManifestLeft {
                        service: service.name.clone(),
                        reason: reason.clone(),
                    }),
                };
                Ok((event.into_iter().collect(), ()))
            })
        })?;
        self.service(name)
    }
}

/// Without a repository there are no files that a manifest could name.
pub(crate) fn must_fit(manifest: &Manifest, source: &Source) -> Result<(), Problem> {
    let is_file = |origin: &ContractOrigin| !matches!(origin, ContractOrigin::Registry(_));
    let contracts = manifest.contracts.iter().filter(|contract| is_file(&contract.origin));
    let own = contracts.map(|contract| format!("contract.{}", contract.kind.as_str()));
    let used = manifest.requires.iter().filter(|(_, required)| required.contract.is_some());
    let fields: Vec<_> = own.chain(used.map(|(name, _)| format!("requires.{name}.contract"))).collect();
    if source.has_repository() || fields.is_empty() {
        return Ok(());
    }
    let part = |field: String| ProblemPart {
        detail: format!("`{field}`: it is a file of the repository, and there is none"),
        ..ProblemPart::default()
    };
    Err(Problem::new(ErrorCode::Refused, "the manifest names files of a repository")
        .with_problems(fields.into_iter().map(part).collect())
        .with_hint("leave them out, or register the service with the repository that has them"))
}

fn no_other(service: &Service) -> Problem {
    let detail = format!("`{}` has no repository whose manifest could count", service.name);
    let hint = format!(
        "lockstep service manifest {0} FILE, or lockstep service add REPOSITORY --move",
        service.name
    );
    Problem::new(ErrorCode::Refused, detail).with_hint(hint)
}

fn is_of(manifest: &Manifest, service: &Service) -> Result<(), Problem> {
    if manifest.name == service.name {
        return Ok(());
    }
    let detail = format!("the manifest is of `{}`, not of `{}`", manifest.name, service.name);
    Err(Problem::new(ErrorCode::Refused, detail)
        .with_hint(format!("write name = \"{}\" in it", service.name)))
}
