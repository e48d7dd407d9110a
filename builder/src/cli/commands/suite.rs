//! `pannier suite`: set, looked at, copied.

use std::path::PathBuf;

use pannier_builder::store::open_store;
use pannier_builder::suite::{self, Written, mirror};
use pannier_shared::id::SuiteName;
use pannier_shared::published::Published;
use pannier_shared::signature::Trust;
use pannier_shared::store;
use pannier_shared::store::location::Location;
use pannier_shared::sys::{clock, fs};

use super::{Session, located, multi_thread, runtime};
use crate::cli::args::{Place, Suite};
use crate::cli::failure::Error;
use crate::cli::output::Output;

impl Session {
    pub(super) fn suite(&self, typed: &Suite) -> Result<Output, Error> {
        match typed {
            Suite::Set { written, reason, who, days, key, place } => {
                let (written, key) = (Written::read(written)?, self.key(key)?);
                let (runtime, trust) = (runtime()?, Trust::load(&place.trust)?);
                let store = self.store_to_write(place, &runtime)?;
                let who = who.clone().unwrap_or_else(|| key.comment().to_owned());
                let order = suite::Order { written, reason: reason.clone(), who, days: *days };
                let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
                Ok(Output::suite_set(runtime.block_on(suite::set(&published, &key, &order))?))
            }
            Suite::Show { suite, place } => {
                let (runtime, trust) = (runtime()?, Trust::load(&place.trust)?);
                let store = self.store(place, &runtime)?;
                let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
                let shown = runtime.block_on(suite::show::show(&published, suite)).map_err(Box::new)?;
                Ok(Output::suite_shown(shown))
            }
            Suite::Mirror { suite, to, place } => self.mirror(suite, to, place),
        }
    }

    fn mirror(&self, suite: &SuiteName, to: &str, place: &Place) -> Result<Output, Error> {
        let (source, copy): (Location, Location) = (located(place)?, to.parse()?);
        match &copy {
            Location::Web(url) => {
                return Err(store::Error::Unsupported { store: url.to_string(), what: "be written to" }.into());
            }
            copy if *copy == source => return Err(Error::OntoItself(to.to_owned())),
            _ => {}
        }
        let (runtime, env) = (runtime()?, self.env.clone());
        let (from, into, again) = (self.open(&source, &runtime)?, self.open(&copy, &runtime)?, copy.clone());
        let reopen = move || {
            let runtime = multi_thread()
                .map_err(|error| store::Error::Unavailable { store: again.to_string(), detail: error.to_string() })?;
            let variable = |name: &str| env.get(name).map(|value| value.to_string_lossy().into_owned());
            let store = runtime.block_on(open_store(&again, &variable))?;
            Ok((runtime, store))
        };
        let (trust, trust_text) = (Trust::load(&place.trust)?, fs::read(&place.trust, 1 << 20)?);
        let now = clock::now();
        let between = mirror::Between { from, to: into, reopen: Box::new(reopen), trust, trust_text, now, runtime };
        let scratch = self.variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let scratch = scratch.join(format!("pannier-mirror-{}", fs::random_name()));
        let copied = mirror::mirror(between, suite, &scratch, &self.sink);
        fs::remove_tree(&scratch)?;
        Ok(Output::SuiteMirror { suite: suite.clone(), store: copy.to_string(), copied: copied? })
    }
}
