//! The row of the table that keeps hashed static files servable, on the way back too; and what is left of it for the time when
//! the release is known to stay.

use pannier_shared::event::Event;
use pannier_shared::report::human;
use pannier_shared::steps::Done;

use super::{Activation, Error, one_line};
use crate::statics::{self, OnOther, Outcome};

/// A union that is not ours, or a manifest that cannot be read, keeps nobody from deploying.
pub fn keep(run: &mut Activation) -> Result<Done, Error> {
    let serves = run.back.live_version().cloned();
    match lay(run, OnOther::LeadHereBut(serves.as_ref())) {
        Ok(outcome) => Ok(Done::said(said(run, &outcome)).moved(0, outcome.laid)),
        Err(statics::Error::Fs(error)) => Err(run.because(error.into())),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            run.sink.emit(Event::Warning { text: format!("{}{hint}", one_line(&error)) });
            Ok(Done::said("left alone"))
        }
    }
}

fn lay(run: &Activation, on_other: OnOther) -> Result<Outcome, statics::Error> {
    let root = &run.node.root;
    let mut outcome = statics::lay(root, &run.version, on_other)?;
    // What a person removed comes back, for the releases that are still asked for.
    outcome.laid += statics::set_right(root, &statics::kept(&run.node.state))?;
    Ok(outcome)
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
    match statics::lay(&run.node.root, version, OnOther::LeadHereBut(None)) {
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
    if let Err(error) = statics::lay(&run.node.root, &run.version, OnOther::LeadHereBut(None)) {
        run.sink.emit(Event::Warning { text: one_line(&error) });
    }
}
