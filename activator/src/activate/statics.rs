//! The row of the table that keeps hashed static files servable, on the way back too; and what is left of it for the time when
//! the release is known to stay.

use pannier_shared::event::Event;
use pannier_shared::id::Version;
use pannier_shared::report::human;
use pannier_shared::steps::Done;

use super::{Activation, Error, one_line};
use crate::statics::{self, Outcome};

/// A union that is not ours, or a manifest that cannot be read, keeps nobody from deploying.
pub fn keep(run: &mut Activation) -> Result<Done, Error> {
    let serves = run.back.live_version().cloned();
    match lay(run, &run.version, serves.as_ref()) {
        Ok(outcome) => Ok(Done::said(said(run, &outcome)).moved(0, outcome.laid)),
        Err(statics::Error::Fs(error)) => Err(run.because(error.into())),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            run.sink.emit(Event::Warning { text: format!("{}{hint}", one_line(&error)) });
            Ok(Done::said("left alone"))
        }
    }
}

/// What a person removed comes back, too, for the other releases that are still asked for.
fn lay(run: &Activation, version: &Version, serves: Option<&Version>) -> Result<Outcome, statics::Error> {
    statics::lay(&run.node.root, version, serves, &statics::kept(&run.node.state))
}

fn said(run: &mut Activation, outcome: &Outcome) -> String {
    if let Some(why) = outcome.none {
        return why.to_owned();
    }
    let more = |count: u64| if count > 1 { format!(", and {} more", human::number(count - 1)) } else { String::new() };
    if let Some((name, count)) = &outcome.in_the_way {
        let path = run.node.root.static_files().join(name);
        let text = format!("`{}` was put there by somebody else and is left as it is{}", path.display(), more(*count));
        run.sink.emit(Event::Warning { text });
    }
    if let Some((name, other, count)) = &outcome.other {
        run.is_ambiguous = true;
        let text = format!(
            "`{name}` is another file in `{}` than in `{other}`, whatever its hash says{}: pages of one get the other's",
            run.version,
            more(*count)
        );
        run.sink.emit(Event::Warning { text });
    }
    format!("{} names", human::number(outcome.names))
}

/// Its names stay as long as it does: pages that it rendered ask for them. Only what is ambiguous means the old file again.
pub fn give_back(run: &mut Activation) -> Result<(), Error> {
    let (true, Some(version)) = (run.is_ambiguous, run.back.live_version()) else { return Ok(()) };
    match lay(run, version, None) {
        Err(statics::Error::Fs(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// The release stays: where a name means one file in it and another elsewhere, it means its own from now on. Until then it
/// was that of the release before, which was the one to go back to.
pub fn settle(run: &Activation) {
    if !run.is_ambiguous {
        return;
    }
    if let Err(error) = lay(run, &run.version, None) {
        run.sink.emit(Event::Warning { text: one_line(&error) });
    }
}
