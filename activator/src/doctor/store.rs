//! The store as this node sees it: whether it answers, what time it has, and what it shows of an app.

use jiff::Timestamp;
use pannier_shared::id::{ChannelName, Target, Version};
use pannier_shared::published::{self, Published};
use pannier_shared::store::{self, Store};
use pannier_shared::sys::clock as own_clock;

use super::record::fits;
use super::{Examined, Found, Patient, Trouble};
use crate::node::View;
use crate::state::Position;

/// Seconds that two clocks may differ unremarked: the store says its time in whole seconds, and late.
const ALIKE: i64 = 10;
/// Seconds after which S3 takes no signature any more.
const MOST: i64 = 15 * 60;

pub(super) fn reach(examined: &Examined) -> Vec<Found> {
    let store = match &examined.store {
        Ok(Some(store)) => store.as_ref(),
        Ok(None) => {
            return vec![Found::warning(
                "none is configured: only what is here can be activated",
                "name one by `store` in the configuration, by `--store` or by `PANNIER_STORE`",
            )];
        }
        Err(trouble) => return vec![Found::trouble(trouble.clone(), "see to `store` in the configuration")],
    };
    vec![match answers(examined, store) {
        Ok(()) => Found::ok(format!("{} answers", store.location())),
        Err(error) => Found::trouble(of_store(&error), "see to `store` in the configuration"),
    }]
}

/// A remote store is asked for the time, which needs no credentials: whether those are good shows with each app.
fn answers(examined: &Examined, store: &dyn Store) -> store::Result<()> {
    if store.location().starts_with("file://") {
        return examined.runtime.block_on(store.list("")).map(|_| ());
    }
    examined.runtime.block_on(store.clock()).map(|_| ())
}

pub(super) fn clock(examined: &Examined) -> Vec<Found> {
    let Ok(Some(store)) = &examined.store else { return Vec::new() };
    let (before, asked) = (own_clock::now(), examined.runtime.block_on(store.clock()));
    match asked {
        Ok(Some(theirs)) => vec![compared(before, theirs)],
        Ok(None) => vec![Found::ok("the store has no clock to compare it with")],
        // `reach` has said it.
        Err(_) => Vec::new(),
    }
}

fn compared(ours: Timestamp, theirs: Timestamp) -> Found {
    let seconds = ours.as_second() - theirs.as_second();
    let (by, how) = (seconds.abs(), if seconds < 0 { "behind" } else { "ahead of" });
    let hint = "let a time service set it: `timedatectl set-ntp true`";
    match by {
        0..=ALIKE => Found::ok(format!("it agrees with that of the store ({by} s)")),
        _ if by <= MOST => Found::warning(format!("it is {by} s {how} that of the store"), hint),
        _ => Found::wrong(
            format!(
                "it is {by} s {how} that of the store: beyond {MOST} s no S3 takes what is signed here, and keys may count as expired"
            ),
            hint,
        ),
    }
}

/// Reads what a fetch would read first, with the same credentials: the channel's pointer and its release, else a release
/// that is here, else the list.
pub(super) fn published(examined: &Examined, patient: &Patient) -> Vec<Found> {
    let (Ok(Some(store)), Ok(trust)) = (&examined.store, &examined.trust) else { return Vec::new() };
    let Ok(view) = View::open(patient.name, patient.config) else { return Vec::new() };
    let published = Published { store: store.as_ref(), trust, now: examined.now };
    let seen = match (&patient.config.channel, known(&view)) {
        (Some(channel), _) => followed(examined, patient, &published, &view, channel),
        (None, Some(version)) => known_there(examined, patient, &published, version),
        (None, None) => listed(examined, patient, &published),
    };
    seen.unwrap_or_else(|error| vec![of_published(&error, patient)])
}

fn known(view: &View) -> Option<&Version> {
    view.state.live_version().or_else(|| view.state.releases().next().map(|(version, _)| version))
}

fn followed(
    examined: &Examined,
    patient: &Patient,
    published: &Published,
    view: &View,
    channel: &ChannelName,
) -> published::Result<Vec<Found>> {
    let pointer = examined.runtime.block_on(published.channel(patient.name, channel))?.document;
    let position = Position { epoch: pointer.epoch, serial: pointer.serial };
    let mut found = Vec::new();
    if let Some(seen) = view.state.position(channel).filter(|seen| position < *seen) {
        let says = format!("the channel `{channel}` shows {position}, but this node has seen {seen}");
        found.push(Found::wrong(says, "the store is stale or was tampered with; promote again with `pannier promote`"));
    }
    if pointer.not_after < examined.now {
        let says = format!("the channel `{channel}` should have been signed again before {}", pointer.not_after);
        found.push(Found::warning(
            says,
            format!("promote again: `pannier promote {} {} --to {channel}`", pointer.app, pointer.version),
        ));
    }
    let statement = examined.runtime.block_on(published.named_by(&pointer, &Target::host()))?;
    found.push(Found::ok(format!("the channel `{channel}` names `{}` ({position})", pointer.version)));
    found.extend(fits(&statement.release, patient.config.python.as_deref()).err());
    Ok(found)
}

fn known_there(
    examined: &Examined,
    patient: &Patient,
    published: &Published,
    version: &Version,
) -> published::Result<Vec<Found>> {
    examined.runtime.block_on(published.statement(patient.name, version, &Target::host()))?;
    Ok(vec![Found::ok(format!("`{version}`, which is here, is in the store and well signed"))])
}

fn listed(examined: &Examined, patient: &Patient, published: &Published) -> published::Result<Vec<Found>> {
    match examined.runtime.block_on(published.versions(patient.name)) {
        Err(published::Error::Store(store::Error::Unsupported { .. })) => {
            Ok(vec![Found::ok("a web server has no list of what is published")])
        }
        versions => Ok(vec![Found::ok(format!("{} versions", versions?.len()))]),
    }
}

/// What is not published yet stops nothing that serves.
fn of_published(error: &published::Error, patient: &Patient) -> Found {
    use published::Error as E;
    let app = patient.name;
    match error {
        E::UnknownApp { .. } | E::UnknownVersion { .. } | E::UnknownChannel { .. } => Found::warning(
            error.to_string(),
            error.hint().unwrap_or_else(|| {
                format!("publish and promote it: `pannier publish`, `pannier promote {app} VERSION --to CHANNEL`")
            }),
        ),
        E::Store(error) => Found::trouble(of_store(error), "see to `store` in the configuration"),
        _ => Found::trouble(Trouble::of(error, error.hint()), "find out who put it there, and publish it anew"),
    }
}

fn of_store(error: &store::Error) -> Trouble {
    Trouble::of(error, error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_by_the_second() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let said = |ours| compared(at(ours), at(0)).by("clock", None).to_string();
        insta::assert_snapshot!(said(3), @"ok       clock: it agrees with that of the store (3 s)");
        insta::assert_snapshot!(said(-75), @"
        warning  clock: it is 75 s behind that of the store
                 hint: let a time service set it: `timedatectl set-ntp true`
        ");
        insta::assert_snapshot!(said(901), @"
        wrong    clock: it is 901 s ahead of that of the store: beyond 900 s no S3 takes what is signed here, and keys may count as expired
                 hint: let a time service set it: `timedatectl set-ntp true`
        ");
    }
}
