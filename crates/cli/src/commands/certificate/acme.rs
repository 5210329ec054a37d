//! `lockstep certificate acme` and `renew`: certificates that an authority gives, and that renew themselves.

use std::path::PathBuf;

use lockstep_api::types::{AutomaticState, AutomaticView, CertificateList, RequestCertificate};
use lockstep_domain::acme::ChallengeKind;
use lockstep_domain::{CertificateName, EnvironmentName};

use super::{MAX_FILE, shown_facts};
use crate::context::Context;
use crate::failure::Failure;
use crate::follow::certificate::{follow, words};
use crate::given_file;
use crate::output::style::{Style, printable};
use crate::select::EnvironmentOption;

/// Gets a certificate from an authority by ACME, and renews it before it ends.
///
/// The authority looks whether the hosts are served here: it asks for a path at port 80 of each (http-01), or shakes hands at port 443
/// (tls-alpn-01). Those ports must reach the gateways of the environment. Gateways answer by themselves; services see nothing of it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep certificate acme --host shop.example.org,www.shop.example.org --env production --email ann@example.org --accept-terms
  lockstep certificate acme --host shop.test --env staging --directory https://ca.test/acme/directory --ca ca.pem
  lockstep certificate acme --host shop.example.org --env production --directory URL --eab-kid NAME --eab-key key.txt --accept-terms")]
pub(super) struct AcmeArgs {
    /// A host that it is for; several, with commas between them or the option repeated, are in one certificate.
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',', required = true)]
    hosts: Vec<String>,
    /// The directory of the authority; that of Let's Encrypt when left out.
    #[arg(long, value_name = "URL")]
    directory: Option<String>,
    /// Where the authority writes to.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Accept the authority's terms of service; without it they are named, where it has any.
    #[arg(long)]
    accept_terms: bool,
    /// How the authority is to look: http-01, or tls-alpn-01; by what listens when left out.
    #[arg(long, value_name = "KIND")]
    challenge: Option<ChallengeKind>,
    /// Believe the directory by the certificates of authorities in this file and no others, instead of those of the server's host.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The authority's name of an account that you have there, where it wants one (external account binding).
    #[arg(long, value_name = "NAME", requires = "eab_key")]
    eab_kid: Option<String>,
    /// A file with the key that it gave with it, in base64url. It is used once and not kept.
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    eab_key: Option<PathBuf>,
    /// What it is called; made of the first host when left out. One that is there is shown until the new one has come.
    #[arg(long, value_name = "NAME")]
    name: Option<CertificateName>,
    /// Take the place of a certificate also when hosts are left without one.
    #[arg(long)]
    yes: bool,
    /// Do not wait for the certificate.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Renews a certificate now that renews itself.
///
/// It does not wait for its time, or for the pause after a failure. Authorities allow few of them: look at what is wrong first.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep certificate renew shop-test --env production")]
pub(super) struct RenewArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: CertificateName,
    /// Do not wait for the certificate.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl AcmeArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let no_wait = self.no_wait;
        let file = |path: &PathBuf| given_file::text(path, MAX_FILE);
        let request = RequestCertificate {
            name: self.name,
            ca: self.ca.as_ref().map(file).transpose()?,
            external_key: self.eab_key.as_ref().map(file).transpose()?,
            hosts: self.hosts,
            directory: self.directory,
            email: self.email,
            accept_terms: self.accept_terms,
            challenge: self.challenge,
            external_account: self.eab_kid,
            lose_hosts: self.yes,
        };
        let list = ctx.client.request_certificate(&environment, &request)?;
        // The name that the server made is that of what was asked for last.
        let newest = list.automatic.iter().max_by_key(|view| view.at).map(|view| view.name.clone());
        let name = request
            .name
            .or(newest)
            .ok_or_else(|| Failure::usage("the server shows nothing that was asked for"))?;
        finish(ctx, &environment, &name, Some(list).filter(|_| no_wait))
    }
}

impl RenewArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let list = ctx.client.renew_certificate(&environment, &self.name)?;
        finish(ctx, &environment, &self.name, Some(list).filter(|_| self.no_wait))
    }
}

/// Waits unless there is something to show already.
fn finish(
    ctx: &Context,
    environment: &EnvironmentName,
    name: &CertificateName,
    already: Option<CertificateList>,
) -> Result<(), Failure> {
    let list = match already {
        Some(list) => list,
        None => follow(ctx, environment, name)?,
    };
    ctx.out.show(&list, |list, style| {
        let shown = list.certificates.iter().find(|it| it.name == *name);
        let automatic = list.automatic.iter().find(|it| it.name == *name);
        let hosts = automatic.map(|it| it.hosts.join(", ")).unwrap_or_default();
        let head = format!(
            "{}: certificate {name} of {environment}, for {}\n",
            style.good("done"),
            printable(&hosts)
        );
        let facts = shown.map(|view| shown_facts(view, style)).unwrap_or_default();
        head + &facts + &automatic.map(|it| renewal_line(it, style)).unwrap_or_default()
    })
}

/// Says on a line how a certificate renews itself.
pub(super) fn renewal_line(view: &AutomaticView, style: &Style) -> String {
    let mut text = format!("  renewed by {}: {}\n", printable(&view.directory), renewal(view));
    if let Some(problem) = view.problem.as_ref().filter(|_| view.failures > 0) {
        text += &format!("  {} {}\n", style.warn("warning:"), printable(problem));
    }
    text
}

/// Says in a few words how it stands.
pub(super) fn renewal(view: &AutomaticView) -> String {
    let next = view.next.map(|at| at.to_string()).unwrap_or_default();
    match view.state {
        AutomaticState::Good => format!("from {next} on"),
        AutomaticState::Failed => format!("failed {}, again at {next}", times(view.failures)),
        state => words(state).to_owned(),
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
