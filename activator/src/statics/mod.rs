//! The union of hashed static files: `<root>/static/` has the names of all releases that are kept, so that a page which one of
//! them rendered finds its files whatever serves by then, before a switch, in the middle of it, and after a rollback.
//!
//! Each name is a link to the file in one of the releases. Links and not further names of the files, because the text of a
//! link says whose it is: what was put there by hand is told apart without a list, what is served is what `verify` looks at,
//! a mended release is served mended, and a `chown -R` on the folder does not reach into releases. The price is that a
//! release is left before it goes: its names are led to others that have them, and taken away where none has.
//!
//! Only names that hold a hash are in it (see [`hashed`]); for them it makes no difference which release a name leads to.
//! Where it does (see [`same`]), the release that serves decides. The manifest and all plain names stay in their release.
//!
//! Nothing of it is recorded, and it is not made durable: whatever is there, [`set_right`] makes of it what the kept
//! releases want, and may be killed at any call. What a power cut takes is laid again by the next activation, and what
//! serves then is found through `current` anyway.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::static_names;
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::fs;

use crate::activate::one_line;
use crate::described;
use crate::layout::{self, Root};
use crate::state::State;

mod hashed;
mod same;
mod union;

use hashed::{Family, Hashed};
use same::Comparison;
use union::{Entry, Laid, Union};

/// A union that cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `static/` is not a folder, or not ours.
    #[error("older pages may miss their static files")]
    Place(#[source] layout::Error),
    /// A manifest is not one.
    #[error("`{}` is not the manifest of a static files storage", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: static_names::Error,
    },
    /// What a release says of itself cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Place(error) => error.hint(),
            Error::Manifest { .. } | Error::Described(_) | Error::Fs(_) => None,
        }
    }
}

/// What came of laying a release's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Why it has none.
    pub none: Option<&'static str>,
    /// How many names it has, twins not counted.
    pub names: u64,
    /// How many links were made or led elsewhere.
    pub laid: u64,
    /// A name that means other content in another release, and how many there are.
    pub other: Option<(String, Version, u64)>,
    /// A name that something else has, and how many there are.
    pub in_the_way: Option<(String, u64)>,
}

/// The releases whose names are kept, in the order in which a name is led to them: what serves, then the newest here.
pub fn kept(state: &State) -> Vec<Version> {
    let mut releases: Vec<_> = state.releases().collect();
    releases.sort_by_key(|(version, release)| (state.live_version() != Some(*version), Reverse(release.prepared)));
    let mut kept: Vec<Version> = releases.into_iter().map(|(version, _)| version.clone()).collect();
    // A person may have let `current` lead to one that no fetch brought.
    kept.extend(state.live_version().filter(|live| state.release(live).is_none()).cloned());
    kept
}

/// Lays the names of a release that is to serve, or serves, and sets the rest right for `kept`, all that are kept. A name that
/// means other content elsewhere is led here, unless it leads to `serves`, from which a switch has yet to be made.
pub fn lay(root: &Root, version: &Version, serves: Option<&Version>, kept: &[Version]) -> Result<Outcome, Error> {
    let (none, families) = match hashed::of(&root.release(version))? {
        Hashed::None(why) => (Some(why), Vec::new()),
        Hashed::Files(families) => (None, families),
    };
    let mut outcome = Outcome { none, names: families.len() as u64, ..Outcome::default() };
    let mut releases = Releases::of(root, kept.iter().filter(|it| *it != version));
    releases.0.insert(0, (version, Some(families)));
    let Some(dir) = make_for(root, &releases)? else { return Ok(outcome) };
    let (mut union, comparison) = (Union::read(&dir)?, Comparison::new(root));
    let mut laying = Laying { root, version, serves, union: &mut union, comparison, outcome: &mut outcome };
    releases.known().take(1).flat_map(|(_, own)| own).try_for_each(|family| laying.family(family))?;
    outcome.laid += right(&mut union, &releases)?;
    Ok(outcome)
}

/// Makes of the union what the kept releases want: names that lead to others are led to one of them, or taken away, and
/// what is missing is laid. Gives how many links it changed.
pub fn set_right(root: &Root, kept: &[Version]) -> Result<u64, Error> {
    let releases = Releases::of(root, kept);
    match make_for(root, &releases)? {
        Some(dir) => Ok(right(&mut Union::read(&dir)?, &releases)?),
        None => Ok(0),
    }
}

fn right(union: &mut Union, releases: &Releases) -> fs::Result<u64> {
    union.remove_strays()?;
    Ok(leave_all_but(union, releases)? + lay_missing(union, releases)?)
}

/// Leaves a release that is about to go; `kept` are the others. Gives how many links it changed.
pub fn leave(root: &Root, version: &Version, kept: &[Version]) -> Result<u64, Error> {
    if !fs::exists(&root.static_files()) {
        return Ok(0);
    }
    let dir = make(root)?;
    let mut union = Union::read(&dir)?;
    union.remove_strays()?;
    if !union.ours().any(|(_, led)| led == version) {
        return Ok(0);
    }
    Ok(leave_all_but(&mut union, &Releases::of(root, kept))?)
}

/// Lays the names of a release that was prepared: another node may have switched to it already. What goes wrong is a warning,
/// for an activation tries again.
pub fn lay_ahead(root: &Root, version: &Version, sink: &dyn Sink) {
    let releases = Releases::of(root, [version]);
    let laid = make_for(root, &releases).and_then(|dir| match dir {
        Some(dir) => Ok(lay_missing(&mut Union::read(&dir)?, &releases)?),
        None => Ok(0),
    });
    warn(laid, sink);
}

/// Like [`set_right`], beside something else that matters more: what goes wrong is a warning. That the folder is not ours is
/// left for an activation to say.
pub fn tidy(root: &Root, state: &State, sink: &dyn Sink) {
    let kept = kept(state);
    let laid = match state.live_version() {
        Some(version) => lay(root, version, None, &kept).map(|_| ()),
        None => set_right(root, &kept).map(|_| ()),
    };
    warn(laid, sink);
}

fn warn<T>(laid: Result<T, Error>, sink: &dyn Sink) {
    match laid {
        Ok(_) | Err(Error::Place(_)) => {}
        Err(error) => sink.emit(Event::Warning { text: one_line(&error) }),
    }
}

/// How many hashed names of a release the union lacks, of how many; none where it has none. Changes nothing.
pub fn missing(root: &Root, version: &Version) -> Result<Option<(u64, u64)>, Error> {
    let Hashed::Files(families) = hashed::of(&root.release(version))? else { return Ok(None) };
    root.check_static_files().map_err(of_place)?;
    let is_missing = |family: &&Family| !fs::stat(&root.static_files().join(&family.name)).is_ok_and(|it| it.is_file());
    Ok(Some((families.iter().filter(is_missing).count() as u64, families.len() as u64)))
}

/// Opens the union for these releases; where they have no names, only if it is there and ours.
fn make_for(root: &Root, releases: &Releases) -> Result<Option<Dir>, Error> {
    let is_there = || fs::exists(&root.static_files()) && root.check_static_files().is_ok();
    if releases.are_empty() && !is_there() { Ok(None) } else { make(root).map(Some) }
}

fn make(root: &Root) -> Result<Dir, Error> {
    root.prepare_static_files().map_err(of_place)?;
    Ok(Dir::open(&root.static_files())?)
}

fn of_place(error: layout::Error) -> Error {
    match error {
        layout::Error::Fs(error) => Error::Fs(error),
        error => Error::Place(error),
    }
}

/// A release's names on their way into the union.
struct Laying<'a, 'b> {
    root: &'a Root,
    version: &'a Version,
    serves: Option<&'a Version>,
    union: &'a mut Union<'b>,
    comparison: Comparison<'a>,
    outcome: &'a mut Outcome,
}

impl Laying<'_, '_> {
    fn family(&mut self, family: &Family) -> fs::Result<()> {
        let leads_to = match self.union.get(&family.name) {
            Some(Entry::Of(version)) => version.clone(),
            _ => return self.whole(family),
        };
        if leads_to == *self.version {
            return self.absent_twins(family);
        }
        let [there, here] = [&leads_to, self.version].map(|it| file(self.root, it, &family.name));
        if self.comparison.is_same(&there, &here)? {
            return self.absent_twins(family);
        }
        if fs::exists(&there) {
            let (name, count) = (family.name.clone(), self.outcome.other.as_ref().map_or(0, |(_, _, count)| *count));
            self.outcome.other = Some((name, leads_to.clone(), count + 1));
            if self.serves == Some(&leads_to) {
                return Ok(());
            }
        }
        self.whole(family)
    }

    fn absent_twins(&mut self, family: &Family) -> fs::Result<()> {
        self.outcome.laid += lay_absent(self.union, &family.twins, self.version)?;
        Ok(())
    }

    /// Leads all of a family here; a twin that the release does not have would be another file's.
    fn whole(&mut self, family: &Family) -> fs::Result<()> {
        if self.name(&family.name)? == Laid::InTheWay {
            let count = self.outcome.in_the_way.as_ref().map_or(0, |(_, count)| *count);
            self.outcome.in_the_way = Some((family.name.clone(), count + 1));
            return Ok(());
        }
        family.twins.iter().try_for_each(|twin| self.name(twin).map(|_| ()))?;
        let mut others = Family::possible_twins(&family.name).filter(|twin| !family.twins.contains(twin));
        others.try_for_each(|twin| self.union.remove(&twin))
    }

    fn name(&mut self, name: &str) -> fs::Result<Laid> {
        let laid = self.union.lay(name, self.version)?;
        self.outcome.laid += u64::from(laid == Laid::Now);
        Ok(laid)
    }
}

fn file(root: &Root, version: &Version, name: &str) -> PathBuf {
    root.release(version).join(hashed::FOLDER).join(name)
}

/// The hashed files of some releases, in the order in which a name is led to them; none of one whose names cannot be known.
struct Releases<'a>(Vec<(&'a Version, Option<Vec<Family>>)>);

impl<'a> Releases<'a> {
    fn of(root: &Root, versions: impl IntoIterator<Item = &'a Version>) -> Self {
        let families = |tree: &Path| match hashed::of(tree) {
            Ok(Hashed::Files(families)) => Some(families),
            Ok(Hashed::None(_)) => Some(Vec::new()),
            Err(_) => None,
        };
        Self(versions.into_iter().map(|version| (version, families(&root.release(version)))).collect())
    }

    fn known(&self) -> impl Iterator<Item = (&'a Version, &[Family])> {
        self.0.iter().filter_map(|(version, families)| Some((*version, families.as_deref()?)))
    }

    /// Whether they have no names at all, as far as those can be known.
    fn are_empty(&self) -> bool {
        self.known().all(|(_, families)| families.is_empty())
    }
}

/// Leads every name that leads to none of these releases to the first that has it, and takes it away where none has: not
/// while there is one of which that cannot be known, a damaged one.
fn leave_all_but(union: &mut Union, releases: &Releases) -> fs::Result<u64> {
    let stay: HashSet<&Version> = releases.0.iter().map(|(version, _)| *version).collect();
    let lost = union.ours().filter(|(_, led)| !stay.contains(led));
    let lost: Vec<String> = lost.map(|(name, _)| name.to_owned()).collect();
    if lost.is_empty() {
        return Ok(0);
    }
    let mut first: HashMap<&str, &Version> = HashMap::new();
    for (version, families) in releases.known() {
        families.iter().flat_map(Family::names).for_each(|name| {
            first.entry(name).or_insert(version);
        });
    }
    let are_all_known = releases.known().count() == releases.0.len();
    for name in &lost {
        match first.get(name.as_str()) {
            Some(version) => union.lay(name, version).map(|_| ())?,
            None if are_all_known => union.remove(name)?,
            None => {}
        }
    }
    Ok(lost.len() as u64)
}

/// Lays the families that are not there. Twins beside a file that leads to another release would have to be compared with it.
fn lay_missing(union: &mut Union, releases: &Releases) -> fs::Result<u64> {
    let mut laid = 0;
    for (version, families) in releases.known() {
        for family in families {
            match union.get(&family.name) {
                None => laid += lay_absent(union, family.names(), version)?,
                Some(Entry::Of(led)) if led == version => laid += lay_absent(union, &family.twins, version)?,
                Some(_) => {}
            }
        }
    }
    Ok(laid)
}

/// Lays those of the names that are free; gives how many.
fn lay_absent<S: AsRef<str>>(
    union: &mut Union,
    names: impl IntoIterator<Item = S>,
    version: &Version,
) -> fs::Result<u64> {
    let mut laid = 0;
    for name in names {
        let is_free = union.get(name.as_ref()).is_none();
        laid += u64::from(is_free && union.lay(name.as_ref(), version)? == Laid::Now);
    }
    Ok(laid)
}

#[cfg(test)]
mod tests;
