//! The static files of a release, put where browsers get them: all are there before anybody can promote it.

use pannier_shared::report::human;
use pannier_shared::steps::Done;

use super::{ARTIFACT_FILE, Error, Publication};

/// The step's name.
pub const STEP: &str = "static";

/// Puts what is missing, also of a release that was published before: the place may be a new one.
pub fn host(publication: &mut Publication) -> Result<Done, Error> {
    let Some(hosting) = &publication.hosting else { return Ok(Done::said("no place for them is named")) };
    let artifact = publication.folder.join(ARTIFACT_FILE);
    let hosted = hosting.host(&artifact, &publication.statement, STEP);
    let place = hosting.host.location();
    let hosted = publication.runtime.block_on(hosted).map_err(|source| {
        let state = match publication.found {
            Some(_) => "the release was published before, and stays so",
            None => "the release is not published",
        };
        Error::Static { place: place.to_owned(), state, source: Box::new(source) }
    })?;
    let said = format!("all {} are in {place}, what was missing is counted", human::number(hosted.files));
    let done = Done::said(said).moved(hosted.sent, hosted.uploaded);
    publication.hosted = Some(hosted);
    Ok(done)
}
