//! `pannier-activator recover`.

use std::path::{self, Path};

use pannier_activator::config::Config;
use pannier_activator::recover::{self, Migrations, Place};
use pannier_shared::id::{RoleName, SuiteName};

use super::Session;
use crate::cli::failure::Error;
use crate::cli::output::Output;

impl Session<'_> {
    pub(super) fn recover(
        &self,
        suite: &SuiteName,
        role: &RoleName,
        scratch: Option<&Path>,
        migrations: Migrations,
    ) -> Result<Output, Error> {
        let opened = self.open_store()?;
        let absolute = |path: &Path| path::absolute(path).map_err(Error::Runtime);
        let config = Config { file: absolute(&self.config.file)?, ..self.config.clone() };
        let place = scratch.map(absolute).transpose()?.map_or(Place::Node, Place::Scratch);
        let request = recover::Request {
            suite: suite.clone(),
            role: role.clone(),
            origin: self.origin(&opened),
            store: self.location().ok_or(Error::NoStore)?,
            trust: absolute(self.trust_file())?,
            config: &config,
            place,
            migrations,
            wait: self.common.wait.unwrap_or_default(),
            lease: self.patience(),
        };
        let recovery = recover::recover(&request, self.sink)?;
        Ok(Output::recovered(suite.clone(), role.clone(), recovery))
    }
}
