//! What an agent says: its receipt, and a line for `systemctl status`.

use std::collections::BTreeMap;

use pannier_shared::id::{AppName, Target};
use pannier_shared::receipt::{self, Receipt, Serving};
use pannier_shared::sys::clock;

use super::tell::Told;
use super::{Agent, look};
use crate::activate::one_line;

impl Agent<'_, '_> {
    pub(super) fn look_at_apps(&mut self) -> BTreeMap<AppName, Serving> {
        if self.teller.is_due() {
            self.ask_health();
        }
        let mut apps = look::look(self.setup.config);
        for (name, serving) in &mut apps {
            serving.followed = self.memory.followed.get(name).copied();
            serving.error = self.errors.get(name).cloned();
            serving.unhealthy = self.unhealthy.get(name).cloned();
        }
        apps
    }

    /// Asks all apps whether they are healthy, unless one is being switched.
    pub(super) fn ask_health(&mut self) {
        if self.working.is_some() {
            return;
        }
        let apps = look::look(self.setup.config);
        let ask = |(name, serving): (&AppName, &Serving)| {
            let config = self.setup.config.apps.get(name)?;
            Some((name.clone(), look::unhealthy(config, serving, self.runtime)?))
        };
        self.unhealthy = apps.iter().filter_map(ask).collect();
    }

    pub(super) fn tell(&mut self, apps: BTreeMap<AppName, Serving>) {
        let receipt = Receipt {
            format: receipt::FORMAT,
            fleet: self.fleet.name.clone(),
            node: self.fleet.node.clone(),
            instance: self.instance.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            target: Target::host(),
            written: clock::now(),
            every: self.fleet.heartbeat.as_secs().max(1) as u32,
            clock: self.offset.known(),
            order: self.memory.seen.map(|seen| (seen.epoch, seen.serial)),
            trouble: self.trouble.clone(),
            progress: self.memory.progress.clone(),
            apps,
        };
        match self.teller.tell(receipt, self.store, self.runtime) {
            Ok(Told::All) => self.untold = None,
            Ok(Told::Another(who)) => self.warn(format!(
                "another agent ({who}) writes the receipt of `{}`: give each node a name of its own",
                self.fleet.node
            )),
            Err(error) => {
                let text = format!("what is to be said cannot be said: {}", one_line(&error));
                // The look at the order says that the store is away.
                if self.trouble.is_none() && self.untold.as_ref() != Some(&text) {
                    self.warn(text.clone());
                }
                self.untold = Some(text);
            }
        }
    }

    /// For `systemctl status`.
    pub(super) fn now_doing(&self) -> String {
        let order = self
            .order
            .as_ref()
            .map_or("no order".to_owned(), |order| format!("{} {}: {}", order.app, order.version, order.phase));
        match &self.trouble {
            Some(trouble) => format!("{order}; {trouble}"),
            None => order,
        }
    }
}
