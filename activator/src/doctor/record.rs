//! What the node knows of an app: who works on it, what was left unfinished, what serves, and whether what is kept could run.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::SignedDuration;
use pannier_shared::id::Version;
use pannier_shared::report::human;
use pannier_shared::signature::{Trust, verify};
use pannier_shared::statement::{Description, Document, Statement};
use pannier_shared::sys::fs;
use pannier_shared::sys::lock as kernel_lock;

use super::{Examined, Found, Patient, Trouble};
use crate::admit::admit;
use crate::layout::Root;
use crate::leftover::Leftover;
use crate::node::View;
use crate::record;
use crate::statics;
use crate::status::{Verdict, status};

/// A command that takes longer than this hangs, or waits for something that a person should know of.
const LONG: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn lock(examined: &Examined, patient: &Patient) -> Vec<Found> {
    let Ok(root) = Root::look(&patient.config.root) else { return Vec::new() };
    match kernel_lock::held_by(&root.lock()) {
        Ok(None) => vec![Found::ok("free")],
        Ok(Some(holder)) if examined.now.duration_since(holder.since) > LONG => {
            let pid = holder.pid;
            let says = format!("held by {}", kernel_lock::describe(&Some(holder)));
            vec![Found::warning(says, format!("see what it does: `ps -fp {pid}`; it is freed when that ends"))]
        }
        Ok(Some(holder)) => vec![Found::ok(format!("held by {}", kernel_lock::describe(&Some(holder))))],
        Err(error) => vec![Found::trouble(Trouble::of(&error, None), "run this as who runs the activator")],
    }
}

pub(super) fn record(_: &Examined, patient: &Patient) -> Vec<Found> {
    let view = match View::open(patient.name, patient.config) {
        Ok(view) => view,
        // `root` has said it.
        Err(crate::node::Error::Layout { .. }) => return Vec::new(),
        Err(error) => {
            return vec![Found::trouble(Trouble::of(&error, error.hint()), "run this as who runs the activator")];
        }
    };
    let mut found = vec![serving(&view)];
    found.extend(view.root.as_ref().and_then(left));
    found
}

fn serving(view: &View) -> Found {
    let (app, now) = (&view.app, status(view));
    let activate = |version: &Version| format!("`pannier-activator activate {app} {version}`");
    match (now.verdict, &now.live) {
        (Verdict::Unended, _) if is_held(view) => Found::ok("a command is under way"),
        (Verdict::Unended, _) => interrupted(view),
        (Verdict::Differs, _) => {
            let (live, current) = (named(now.live.as_ref()), named(now.current.as_ref()));
            let hint = format!(
                "the next command that changes anything follows `current`: see `pannier-activator status {app}`"
            );
            Found::warning(format!("it says that {live} serves, but `current` leads to {current}"), hint)
        }
        (Verdict::Unconfirmed, Some(version)) => {
            Found::warning(format!("`{version}` serves and never passed its check"), activate(version))
        }
        _ => Found::ok(format!("{} serves", now.serving())),
    }
}

fn named(version: Option<&Version>) -> String {
    version.map_or("nothing".to_owned(), |version| format!("`{version}`"))
}

fn is_held(view: &View) -> bool {
    let held = view.root.as_ref().and_then(|root| kernel_lock::held_by(&root.lock()).ok()).flatten();
    held.is_some()
}

/// Any command that changes something heals; the one that is named changes nothing else.
fn interrupted(view: &View) -> Found {
    let Some(unended) = &view.unended else { return Found::ok("nothing is unfinished") };
    let says = format!(
        "`{} {}` was interrupted at {:.0} and is not healed yet",
        unended.operation, unended.version, unended.at
    );
    let to = unended.from.as_ref().unwrap_or(&unended.version);
    Found::warning(
        says,
        format!("the next command that changes anything heals it: `pannier-activator activate {} {to}`", view.app),
    )
}

fn left(root: &Root) -> Option<Found> {
    let leftover = Leftover::newest(root).ok()??;
    let says = format!("an interrupted fetch of `{}` left files, which the next one uses", leftover.version);
    Some(Found::ok(says))
}

/// Whether the releases that are kept could be started here today: an interpreter or a C library may have been upgraded
/// since they were fetched.
pub(super) fn releases(examined: &Examined, patient: &Patient) -> Vec<Found> {
    let Ok(trust) = &examined.trust else { return Vec::new() };
    let Ok(View { root: Some(root), state, .. }) = View::open(patient.name, patient.config) else { return Vec::new() };
    let versions: Vec<&Version> = state.releases().map(|(version, _)| version).collect();
    let (mut found, mut asked, mut fit) = (Vec::new(), BTreeSet::new(), 0);
    for version in &versions {
        match kept(&root, version, trust, examined) {
            Ok(release) if !asked.insert(needs(&release)) => fit += 1,
            Ok(release) => match fits(&release, patient.config.python.as_deref()) {
                Ok(()) => fit += 1,
                Err(trouble) => found.push(trouble),
            },
            Err(trouble) => found.push(trouble),
        }
    }
    if !versions.is_empty() && fit == versions.len() {
        found.push(Found::ok(format!("all {fit} on this node can run on it")));
    }
    found
}

/// Whether what serves has its hashed static files among those that are kept for older pages.
pub(super) fn static_files(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Ok(View { app, root: Some(root), state, .. }) = View::open(patient.name, patient.config) else {
        return Vec::new();
    };
    let Some(version) = state.live_version() else { return Vec::new() };
    vec![match statics::missing(&root, version) {
        Ok(None) => return Vec::new(),
        Ok(Some((0, names))) => Found::ok(format!("all {} hashed names are there", human::number(names))),
        Ok(Some((missing, names))) => {
            let (missing, names) = (human::number(missing), human::number(names));
            let says = format!(
                "{missing} of {names} hashed names of `{version}` are not in {}",
                root.static_files().display()
            );
            Found::warning(
                says,
                format!("`pannier-activator repair {app}` lays them again, and so does the next activation"),
            )
        }
        Err(error) => {
            let trouble = Trouble::of(&error, error.hint());
            let look = || format!("see what is there: `ls -l {}`", root.static_files().display());
            Found::warning(trouble.says, trouble.hint.unwrap_or_else(look))
        }
    }]
}

/// What of a release decides whether it can run, as a text to compare.
fn needs(release: &Description) -> String {
    format!("{:?} {:?} {}", release.interpreter, release.libc_floor, release.target)
}

fn kept(root: &Root, version: &Version, trust: &Trust, examined: &Examined) -> Result<Description, Found> {
    let path = record::statement(&root.toc(version));
    let hint = || format!("fetch it anew once it is moved away: `mv {0} {0}.old`", root.release(version).display());
    let text = fs::read(&path, Statement::LIMIT).map_err(|error| Found::trouble(Trouble::of(&error, None), &hint()))?;
    let statement: Result<pannier_shared::signature::Verified<Statement>, _> = verify(&text, trust, examined.now);
    match statement {
        Ok(statement) => Ok(statement.release.clone()),
        Err(error) => {
            let trouble = Trouble::of(&error, error.hint());
            let says = format!("`{version}`: {}", trouble.says);
            Err(Found::warning(says, trouble.hint.unwrap_or_else(hint)))
        }
    }
}

/// Whether a release can run on this machine.
pub(super) fn fits(release: &Description, python: Option<&Path>) -> Result<(), Found> {
    let error = match admit(release, python) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let trouble = Trouble::of(&error, error.hint());
    let trouble = Trouble { says: format!("`{}`: {}", release.version, trouble.says), ..trouble };
    Err(Found::trouble(trouble, "build it for this node's system"))
}
