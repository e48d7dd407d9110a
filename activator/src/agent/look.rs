//! What serves on this node, as its receipt says it.

use std::collections::BTreeMap;

use pannier_shared::id::AppName;
use pannier_shared::receipt::Serving;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::activate::one_line;
use crate::config::{App, Config};
use crate::node::View;
use crate::releases;
use crate::state::Standing;
use crate::status::status;
use crate::steps::confirm;

/// So many of the releases on the disk are named.
const NAMED: usize = 8;

/// Looks at all apps; takes no lock.
pub fn look(config: &Config) -> BTreeMap<AppName, Serving> {
    config.apps.iter().map(|(name, app)| (name.clone(), of_app(name, app))).collect()
}

fn of_app(name: &AppName, config: &App) -> Serving {
    let view = match View::open(name, config) {
        Ok(view) => view,
        Err(error) => return Serving { verdict: one_line(&error), ..Serving::default() },
    };
    let status = status(&view);
    let statement = status.live.as_ref().and_then(|live| Some(view.state.release(live)?.statement));
    let here = releases::here(&view).into_iter().filter(|release| release.standing != Standing::Bad);
    Serving {
        live: status.live,
        statement,
        current: status.current,
        // As `status --json` says it.
        verdict: match serde_json::to_value(status.verdict) {
            Ok(Value::String(word)) => word,
            _ => String::new(),
        },
        previous: status.previous,
        prepared: here.map(|release| release.version).take(NAMED).collect(),
        ..Serving::default()
    }
}

/// Asks whether an app is healthy, once; `None` where it is, or where nothing serves or is configured to be asked.
pub fn unhealthy(config: &App, serving: &Serving, runtime: &Runtime) -> Option<String> {
    let health = config.health.as_ref().filter(|_| serving.live.is_some())?;
    confirm::once(health, runtime).err().map(|wrong| one_line(&wrong))
}
