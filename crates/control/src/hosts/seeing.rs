//! How instances are, where their hosts are not reached: nobody knows, and what was seen last counts no further than is said here.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::clients_at::entrances;
use lockstep_domain::fleet::Fleet;
use lockstep_domain::host::{doubt, evacuated, is_on_hosts};
use lockstep_domain::lost_host::lost;
use lockstep_domain::observed::Observed;
use lockstep_domain::operation::Plan;
use lockstep_domain::placement::{Placing, PlannedPlaces, Unfit, UnfitHost, of_plan};
use lockstep_domain::process::arms;
use lockstep_domain::rebalance::{Relocation, relocations};
use lockstep_domain::without_host::without_hosts;
use lockstep_domain::{Environment, Instance, Intent, World};

use crate::{Control, lock};

impl Control {
    /// Shows instances to people: what was healthy on a host that is away is not known to be.
    pub(crate) fn as_known_now(&self, mut instances: Vec<Instance>) -> Vec<Instance> {
        let is_away =
            |instance: &Instance| instance.host.as_ref().is_some_and(|host| self.hosts.is_away(host));
        instances.iter_mut().filter(|instance| is_away(instance)).for_each(doubt);
        instances
    }

    /// Adds to what is observed of an environment what is known of its hosts.
    pub(crate) fn note_hosts(&self, world: &World, environment: &Environment, observed: &mut Observed) {
        observed.evacuated = evacuated(world, &observed.instances);
        observed.lost = lost(environment, &observed.instances, &self.hosts.gone(world));
        observed.away = self.hosts.unreached(world);
        observed.not_led_to = self.not_led_to(world, &observed.instances);
    }

    /// Says which instances would have to go to which other host, so that all stand where they should.
    pub(crate) fn relocations(&self, world: &World, environment: &Environment) -> Vec<Relocation> {
        let observed = self.seen(world, &environment.name);
        let entries = environment.entries().iter();
        let arms = entries.flat_map(|(service, entry)| arms(world, &entry.arm(service)));
        let standing: Vec<Instance> =
            arms.flat_map(|arm| Fleet::serving(environment, &observed, &arm).standing).cloned().collect();
        let (reached, running) = (self.hosts.reached(), self.running_on_hosts());
        let mute = self.hosts.mute(&environment.name);
        let placing = Placing { world, environment, reached: &reached, mute: &mute, running: &running };
        relocations(placing, &standing)
    }

    /// Everything that runs on hosts or is on its way to one.
    fn running_on_hosts(&self) -> Vec<Instance> {
        let mut running = self.known_instances();
        running.extend(lock(&self.launches).clone().into_values().filter(|it| it.host.is_some()));
        running
    }

    /// Notes in a plan where instances would start, and refuses one of which something finds no place before a person does something.
    pub(crate) fn note_places(
        &self,
        world: &World,
        environment: &Environment,
        (intent, plan): (&Intent, &mut Plan),
    ) -> Result<(), Problem> {
        if !is_on_hosts(world, &environment.name) {
            return Ok(());
        }
        let (reached, running) = (self.hosts.reached(), self.running_on_hosts());
        let mute = self.hosts.mute(&environment.name);
        let placing = Placing { world, environment, reached: &reached, mute: &mute, running: &running };
        plan.places = of_plan(placing, plan);
        plan.without_hosts = without_hosts(placing, intent, plan);
        plan.entrances = entrances(world, environment);
        for places in &plan.places {
            let Some(why) = places.why_lacking() else { continue };
            if places.is_hopeless() {
                let detail = format!("nothing of {} can start in `{}`: {why}", places.arm, environment.name);
                return Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint_of(places)));
            }
            plan.warnings.push(format!("{} more of {} find no place now: {why}", places.lacking, places.arm));
        }
        Ok(())
    }
}

/// What helps where nothing of an arm finds a place: a label, where one is what all lack.
fn hint_of(places: &PlannedPlaces) -> String {
    let label = |unfit: &UnfitHost| match &unfit.why {
        Unfit::Label { label } => label.split(' ').next().map(str::to_owned),
        _ => None,
    };
    match places.unfit.iter().find_map(label) {
        Some(label) => {
            format!("lockstep host list; a host that has it: lockstep host set NAME --label {label}")
        }
        None => "lockstep host list".to_owned(),
    }
}
