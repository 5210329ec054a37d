//! `lockstep certificate`: what clients of an environment are shown when they come by https.

mod acme;

use std::path::{Path, PathBuf};

use lockstep_api::types::{AddCertificate, AutomaticView, CertificateList, CertificateView};
use lockstep_domain::{CertificateName, EnvironmentName};

use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::given_file;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::select::EnvironmentOption;

/// Longest file of a certificate, a key or an answer about revocation: as long as a server takes.
const MAX_FILE: u64 = 48 * 1_024;
/// Longest cell of a table.
const LONGEST_CELL: usize = 50;

/// Shows clients of an environment certificates when they come by https, by the host that they name.
///
/// A certificate is checked before anything changes. Its key is kept as secrets are: no command, answer or log shows it again. Where https
/// is served: lockstep environment set ENV --https-port.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep certificate add --cert shop.pem --key shop.key --env production
  lockstep certificate acme --host shop.example.org --env production --accept-terms
  lockstep certificate list --env production
  lockstep certificate replace shop-test --cert new.pem --key new.key --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: CertificateCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum CertificateCommand {
    Add(AddArgs),
    Acme(acme::AcmeArgs),
    Renew(acme::RenewArgs),
    List(ListArgs),
    Show(ShowArgs),
    Replace(ReplaceArgs),
    Remove(RemoveArgs),
}

/// The files of a certificate.
#[derive(Debug, Clone, clap::Args)]
struct Files {
    /// The certificate as PEM, and behind it those of its issuers.
    #[arg(long = "cert", value_name = "FILE")]
    chain: PathBuf,
    /// Its private key as PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What its issuer says of its revocation, an OCSP response in DER; it is handed to clients with the certificate.
    #[arg(long, value_name = "FILE")]
    ocsp: Option<PathBuf>,
}

impl Files {
    fn read(&self, name: Option<CertificateName>) -> Result<AddCertificate, Failure> {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ocsp = self.ocsp.as_deref().map(|path: &Path| given_file::bytes(path, MAX_FILE).map(hex));
        Ok(AddCertificate {
            name,
            chain: given_file::text(&self.chain, MAX_FILE)?,
            key: given_file::text(&self.key, MAX_FILE)?,
            ocsp: ocsp.transpose()?,
            lose_hosts: false,
        })
    }
}

/// Adds a certificate.
///
/// Everything that is wrong with it is said at once, and then nothing has changed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep certificate add --cert shop.pem --key shop.key --env production
  lockstep certificate add --cert shop.pem --key shop.key --ocsp shop.ocsp --env production --name shop")]
struct AddArgs {
    #[command(flatten)]
    files: Files,
    /// What it is called; made of the first host that it is for when left out.
    #[arg(long, value_name = "NAME")]
    name: Option<CertificateName>,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Lists certificates, and when they end.
///
/// The first is shown to clients that name no host. Warnings say which end within 21 days, and for which hosts there is no route.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep certificate list --env production")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Shows a certificate, without its key.
///
/// Its digest is what route tables name it by.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep certificate show shop-test --env production")]
struct ShowArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: CertificateName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Puts another certificate in the place of one.
///
/// It is shown from the next handshake on; connections that live keep theirs. One that is not good changes nothing. Hosts that no
/// certificate is for then are named, and nothing is changed without --yes.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep certificate replace shop-test --cert new.pem --key new.key --env production
  lockstep certificate replace shop-test --cert fewer.pem --key fewer.key --env production --yes")]
struct ReplaceArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: CertificateName,
    #[command(flatten)]
    files: Files,
    /// Replace it also when hosts are left without a certificate.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
}

/// Removes a certificate.
///
/// Clients who name its hosts are refused from then on, unless another one is for them. Connections that live go on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep certificate remove shop-test --env production --yes")]
struct RemoveArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: CertificateName,
    #[command(flatten)]
    confirm: ConfirmOption,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            CertificateCommand::Add(args) => {
                let environment = args.environment.resolve(ctx)?;
                let before = ctx.client.certificates(&environment)?;
                let list = ctx.client.add_certificate(&environment, &args.files.read(args.name)?)?;
                let is_new =
                    |it: &&CertificateView| !before.certificates.iter().any(|known| known.name == it.name);
                let added = list.certificates.iter().find(is_new);
                done(ctx, &list, added, &environment, "is shown")
            }
            CertificateCommand::Acme(args) => args.run(ctx),
            CertificateCommand::Renew(args) => args.run(ctx),
            CertificateCommand::Replace(args) => {
                let environment = args.environment.resolve(ctx)?;
                let request = AddCertificate { lose_hosts: args.yes, ..args.files.read(None)? };
                let list = ctx.client.replace_certificate(&environment, &args.name, &request)?;
                let replaced = list.certificates.iter().find(|it| it.name == args.name);
                done(ctx, &list, replaced, &environment, "is another one now")
            }
            CertificateCommand::Remove(args) => {
                let environment = args.environment.resolve(ctx)?;
                let what =
                    format!("clients of {environment} who name the hosts of {} are refused then", args.name);
                args.confirm.ask(&what)?;
                let list = ctx.client.remove_certificate(&environment, &args.name)?;
                let name = args.name;
                ctx.out.show(&list, |_, style| {
                    format!("{}: certificate {name} is removed\n", style.good("done"))
                })
            }
            CertificateCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.certificates(&environment)?;
                ctx.out.show(&list, |list, style| listed(list, &environment, style))
            }
            CertificateCommand::Show(args) => {
                let environment = args.environment.resolve(ctx)?;
                let list = ctx.client.certificates(&environment)?;
                let automatic = list.automatic.into_iter().find(|it| it.name == args.name);
                let found = list.certificates.into_iter().find(|it| it.name == args.name);
                if found.is_none()
                    && let Some(automatic) = &automatic
                {
                    return ctx.out.show(automatic, requested);
                }
                let missing = || {
                    Failure::usage(format!("{environment} has no certificate `{}`", args.name))
                        .hint(format!("lockstep certificate list --env {environment}"))
                };
                ctx.out.show(&found.ok_or_else(missing)?, |view, style| {
                    let renewal = automatic.as_ref().map(|it| acme::renewal_line(it, style));
                    shown(view, style) + &renewal.unwrap_or_default()
                })
            }
        }
    }
}

fn done(
    ctx: &Context,
    list: &CertificateList,
    changed: Option<&CertificateView>,
    environment: &EnvironmentName,
    what: &str,
) -> Result<(), Failure> {
    ctx.out.show(list, |_, style| {
        let Some(view) = changed else { return String::new() };
        let hosts = view.facts.names.join(", ");
        let text = format!(
            "{}: certificate {} of {environment} {what}, for {}\n",
            style.good("done"),
            view.name,
            printable(&hosts)
        );
        text + &shown_facts(view, style)
    })
}

/// Shows one that renews itself, and was not got yet.
fn requested(view: &AutomaticView, style: &Style) -> String {
    let head = format!("{}  for {}\n", style.strong(view.name.as_str()), printable(&view.hosts.join(", ")));
    let asked = format!("  asked for by {} {}\n", printable(view.by.as_str()), style.ago(view.at));
    head + &asked + &acme::renewal_line(view, style)
}

fn shown(view: &CertificateView, style: &Style) -> String {
    let hosts = view.facts.names.join(", ");
    let head = format!("{}  for {}\n", style.strong(view.name.as_str()), printable(&hosts));
    let digest = format!("  digest {}\n", view.facts.digest);
    head + &shown_facts(view, style) + &digest
}

fn shown_facts(view: &CertificateView, style: &Style) -> String {
    let facts = &view.facts;
    let mut text = format!("  key {}, signed by {}\n", facts.key_kind, printable(&facts.issuer));
    text += &format!("  valid from {} to {}\n", facts.valid_from, facts.valid_until);
    text += &format!("  given by {} {}\n", printable(view.by.as_str()), style.ago(view.at));
    for warning in &view.warnings {
        text += &format!("  {} {}\n", style.warn("warning:"), printable(warning));
    }
    text
}

fn listed(list: &CertificateList, environment: &EnvironmentName, style: &Style) -> String {
    if list.certificates.is_empty() && list.automatic.is_empty() {
        return format!(
            "{environment} has no certificates: lockstep certificate add --cert FILE --key FILE --env {environment}\n"
        );
    }
    let mut table = Table::new(["CERTIFICATE", "HOSTS", "KEY", "ENDS", "RENEWAL", "BY", "WHEN", "WARNING"])
        .wrapped(LONGEST_CELL);
    let automatic = |name: &CertificateName| list.automatic.iter().find(|it| it.name == *name);
    for view in &list.certificates {
        table.row([
            view.name.to_string(),
            view.facts.names.join(", "),
            view.facts.key_kind.clone(),
            view.facts.valid_until.to_string(),
            automatic(&view.name).map_or_else(|| "by hand".to_owned(), acme::renewal),
            view.by.to_string(),
            style.ago(view.at),
            warnings(&view.warnings, automatic(&view.name)),
        ]);
    }
    let is_there = |it: &&AutomaticView| list.certificates.iter().any(|view| view.name == it.name);
    for view in list.automatic.iter().filter(|it| !is_there(it)) {
        table.row([
            view.name.to_string(),
            view.hosts.join(", "),
            String::new(),
            "not there yet".to_owned(),
            acme::renewal(view),
            view.by.to_string(),
            style.ago(view.at),
            warnings(&[], Some(view)),
        ]);
    }
    table.render(style)
}

/// What is to be known of a certificate, and why it was not renewed.
fn warnings(own: &[String], automatic: Option<&AutomaticView>) -> String {
    let problem = automatic.filter(|it| it.failures > 0).and_then(|it| it.problem.as_deref());
    own.iter().map(String::as_str).chain(problem).collect::<Vec<_>>().join("; ")
}
