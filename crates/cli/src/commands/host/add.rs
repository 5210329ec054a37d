//! `lockstep host add`: instances may run on a server from now on.

use std::fmt::Write as _;
use std::net::IpAddr;

use lockstep_api::client::ClientError;
use lockstep_api::types::{AddHost, HostConnection, HostView};
use lockstep_domain::host::{Labels, Network};
use lockstep_domain::ssh_target::SshTarget;
use lockstep_domain::{EnvironmentName, HostName};

use super::options;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::hosts::{environments, next, notes, state, ways};
use crate::output::style::{Style, printable};
use crate::progress::Progress;

/// Adds a server that instances run on.
///
/// The server of Lockstep connects there first, brings its program along, and looks whether instances could run there; everything that is in the way is said at
/// once, and nothing is added then. The first time that takes as long as its line needs for some 150 MB; what was sent is kept, so the same command goes on
/// where one broke off. `lockstep host check USER@HOST` looks at the same from this machine.
///
/// The key of the host is pinned: the one with --fingerprint and no other, or whatever it shows; the command says which, so compare it with what
/// `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the host. Once an environment has a host, its instances start on its hosts and on no other
/// machine: an environment begins with hosts while nothing of it runs on the machine of the server.
///
/// Ends with code 3 when the server cannot use the host, or instances could not run there.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host add web1 --ssh deploy@10.0.0.5 --env production
  lockstep host add web2 --ssh deploy@web2.example.org:2222 --key /etc/lockstep/deploy --label zone=b,role=web --env production,staging
  lockstep host add web3 --ssh web3 --address 10.8.0.3 --network trusted --fingerprint SHA256:pGvxBWpnZyDGfZIcV1xGrKVSlwTuSxmOdW7VQrSjgDo")]
pub(super) struct AddArgs {
    /// What it is called from now on.
    #[arg(value_name = "NAME")]
    name: HostName,
    /// Where `ssh` of the server connects to: [USER@]HOST[:PORT], HOST a name, an address, or an alias of its configuration.
    #[arg(long, value_name = "TARGET")]
    ssh: SshTarget,
    /// Log in with this key alone, a file on the machine of the server (a relative path is taken from the folder that you are in); what the configuration and the agent of ssh have
    /// there when left out.
    #[arg(long, value_name = "FILE", value_parser = options::key)]
    key: Option<String>,
    /// The folder on the host; one in the home folder of the user when left out.
    #[arg(long, value_name = "FOLDER", value_parser = options::folder)]
    folder: Option<String>,
    /// The address of the host at which gateways of others reach it; the one at which the connection comes in when left out.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Whether nobody else is on the network that leads there: untrusted, and gateways carry what goes there within TLS; or trusted, and instances
    /// listen at the address themselves, where everybody reaches them and nothing is encrypted.
    #[arg(long, value_name = "TRUST", default_value_t = Network::Untrusted)]
    network: Network,
    /// What it is like, as zone=a,role=web; may be repeated. Instances are spread over zones.
    #[arg(long = "label", value_name = "LABELS")]
    labels: Vec<Labels>,
    /// Whose instances run there, as production,staging; when left out, those of every environment of which nothing runs on the machine of the server.
    #[arg(long = "env", value_name = "ENV,...", value_delimiter = ',')]
    environments: Vec<EnvironmentName>,
    /// The fingerprint that its key must have, SHA256:...
    #[arg(long, value_name = "FINGERPRINT", value_parser = options::fingerprint)]
    fingerprint: Option<String>,
}

impl AddArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { name, ssh, key, folder, address, network, labels, environments, fingerprint } = self;
        options::say_where_key_is(ctx, key.as_deref());
        let is_compared = fingerprint.is_some();
        let request = AddHost {
            name,
            ssh,
            key: key.filter(|key| !key.is_empty()),
            folder,
            address,
            network,
            labels: options::labels(&labels)?.unwrap_or_default(),
            environments: (!environments.is_empty()).then(|| environments.into_iter().collect()),
            fingerprint,
        };
        let progress = Progress::begin(&ctx.out);
        progress.says(&format!(
            "the server connects to {}, and sends its program where that is not there yet",
            request.ssh
        ));
        let added = ctx.client.add_host(&request);
        drop(progress);
        let view = added.map_err(|error| not_added(error, &request))?;
        ctx.out.show(&view, |view, style| said(view, is_compared, style))
    }
}

/// What broke off may have been done all the same, and what was sent is not sent again.
fn not_added(error: ClientError, request: &AddHost) -> Failure {
    let is_open = !error.is_final();
    let failure = Failure::from(error);
    if is_open {
        failure.because(format!(
            "whether {} was added is not known: lockstep hosts; if not, the same command goes on where this one broke off",
            request.name
        ))
    } else {
        failure
    }
}

/// A host that was added is reached in the next moment, or something is in the way that is not of the line.
fn not_here(view: &HostView, style: &Style) -> String {
    if view.connection == HostConnection::Here {
        return String::new();
    }
    let state = printable(&state(&view.connection)).into_owned();
    format!("  {} it is {state}\n{}", style.warn("not used yet:"), next(view, style))
}

fn said(view: &HostView, is_compared: bool, style: &Style) -> String {
    let HostView { name, settings, fingerprint, .. } = view;
    let mut text =
        format!("{}: {name} is a host, {}; {}\n", style.good("done"), settings.ssh, ways(settings));
    let key = fingerprint.as_deref().unwrap_or("not known");
    let _ = match is_compared {
        true => writeln!(text, "  its key is {}", printable(key)),
        false => writeln!(
            text,
            "  its key is {}; compare: on the host, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            printable(key)
        ),
    };
    let _ = match settings.environments.is_empty() {
        true => writeln!(text, "  no environment runs there yet: lockstep host set {name} --env ENV"),
        false => writeln!(text, "  it takes instances of {}", environments(settings)),
    };
    text + &not_here(view, style) + &notes(&view.notes, style)
}
