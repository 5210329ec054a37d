//! `lockstep host set`: what is decided about a host is changed.

use lockstep_api::types::ChangeHost;
use lockstep_domain::host::{Labels, Network};
use lockstep_domain::ssh_target::SshTarget;
use lockstep_domain::{EnvironmentName, HostName};

use super::options;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::hosts::shown;
use crate::progress::Progress;

/// Changes what is decided about a host; what is not named stays.
///
/// Of an environment that is taken from a host nothing starts there any more; what runs there goes on. The folder, and the address at which it is reached,
/// are decided once: for others drain the host, remove it, and add it anew.
#[derive(Debug, Clone, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).multiple(true).args(["ssh", "key", "labels", "environments", "fingerprint", "network"])),
    after_help = "Examples:
  lockstep host set web1 --env production,staging
  lockstep host set web1 --network untrusted --reason 'the room has other tenants now'
  lockstep host set web1 --ssh deploy@10.0.0.6 --reason 'it has moved'
  lockstep host set web1 --fingerprint SHA256:pGvxBWpnZyDGfZIcV1xGrKVSlwTuSxmOdW7VQrSjgDo --reason 'set up anew'"
)]
pub(super) struct SetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: HostName,
    /// Where `ssh` of the server connects to: [USER@]HOST[:PORT].
    #[arg(long, value_name = "TARGET")]
    ssh: Option<SshTarget>,
    /// The file with the key to log in with, on the machine of the server (a relative path is taken from the folder that you are in); '' for what ssh has there by itself.
    #[arg(long, value_name = "FILE", value_parser = options::key)]
    key: Option<String>,
    /// All its labels, as zone=a,role=web; may be repeated, and '' is none.
    #[arg(long = "label", value_name = "LABELS")]
    labels: Vec<Labels>,
    /// All environments whose instances run there, as production,staging.
    #[arg(long = "env", value_name = "ENV,...", value_delimiter = ',')]
    environments: Vec<EnvironmentName>,
    /// The fingerprint of the key that it shows now, SHA256:..., which is pinned in place of the former one.
    #[arg(long, value_name = "FINGERPRINT", value_parser = options::fingerprint)]
    fingerprint: Option<String>,
    /// Whether nobody else is on the network that leads there: trusted or untrusted. What runs there stays as it was started; another one that starts in its
    /// place is as said.
    #[arg(long, value_name = "TRUST")]
    network: Option<Network>,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl SetArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Self { name, ssh, key, labels, environments, fingerprint, network, reason } = self;
        options::say_where_key_is(ctx, key.as_deref());
        let request = ChangeHost {
            ssh,
            key,
            labels: options::labels(&labels)?,
            network,
            environments: (!environments.is_empty()).then(|| environments.into_iter().collect()),
            fingerprint,
            reason,
        };
        let progress = Progress::begin(&ctx.out);
        if request.ssh.is_some() || request.key.is_some() || request.fingerprint.is_some() {
            progress.says(&format!("the server connects to {name}"));
        }
        let changed = ctx.client.change_host(&name, &request);
        drop(progress);
        ctx.out.show(&changed?, |view, style| {
            format!("{}: {name} is changed\n{}", style.good("done"), shown(view, style))
        })
    }
}
