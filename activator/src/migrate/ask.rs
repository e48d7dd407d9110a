//! Asks a release's databases what is applied. Changes nothing, in a database or on the node.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::{Client, Job, Mode, Word};
use super::error::Error;
use super::schema::Database;

/// To start Python, load a large site and get through to a database that is far away.
const LIMIT: Duration = Duration::from_secs(60);

/// What the databases have, as the release sees it.
pub fn ask(client: &Client) -> Result<Vec<Database>, Error> {
    let mut found = Vec::new();
    let mut unreachable = None;
    let job = Job { mode: Mode::Look, fence: None, limit: LIMIT, log: None };
    let ran = client.run(&job, &mut |word| {
        match word {
            Some(Word::Database { alias, vendor, applied, pending }) => {
                found.push(Database { alias, vendor, applied: BTreeSet::from_iter(applied), pending });
            }
            Some(Word::Unreachable { why }) => unreachable = Some(why),
            _ => {}
        }
        Ok(None)
    });
    match unreachable {
        Some(why) => Err(Error::Unreachable { version: client.version().clone(), why: client.harmless(why) }),
        None => ran.map(|()| found),
    }
}
