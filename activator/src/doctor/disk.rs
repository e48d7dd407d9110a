//! An app's root: whose it is and who can write there, what room is left, and what its file system can do.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pannier_shared::report::human;
use pannier_shared::sys::account::Account;
use pannier_shared::sys::features::{self, Features};
use pannier_shared::sys::lock;
use pannier_shared::sys::{fs, process};

use super::{Examined, Found, Patient, Trouble};
use crate::identity;
use crate::layout::{self, Root, User};
use crate::node::View;

/// Django alone takes so much.
const LEAST: fs::Room = fs::Room { bytes: 25 << 20, inodes: 1_000 };

pub(super) fn root(_: &Examined, patient: &Patient) -> Vec<Found> {
    let root = match Root::look(&patient.config.root) {
        Err(layout::Error::Missing(path)) => return vec![yet_to_be_made(&path)],
        Err(error) => return vec![of_layout(&error)],
        Ok(root) => root,
    };
    let mut found = Vec::new();
    if let Err(error) = root.examine().and_then(|()| root.where_current_leads().map(|_| ())) {
        found.push(of_layout(&error));
    }
    found.extend(open_to_others(&root));
    if let Ok(Some(account)) = identity::of(patient.config.user.as_deref()) {
        found.extend(closed_to(&account, &root));
    }
    if found.is_empty() {
        found.push(Found::ok(format!("{} belongs to {}", root.path().display(), User(process::user()))));
    }
    found
}

fn of_layout(error: &layout::Error) -> Found {
    Found::trouble(Trouble::of(error, error.hint()), "see what is there: `ls -la` of it")
}

/// A first fetch makes the root, if it may.
fn yet_to_be_made(path: &Path) -> Found {
    let above = path.ancestors().find_map(|above| Some((above, fs::stat(above).ok()?)));
    let us = process::user();
    match above {
        Some((above, meta)) if us != 0 && !may(&meta, us, &[], WRITE) => Found::wrong(
            format!("{} is not there, and {} cannot make it in {}", path.display(), User(us), above.display()),
            format!("let root make it for you: `sudo install -d -o {us} {}`", path.display()),
        ),
        _ => Found::ok(format!("{} is not there yet: the first fetch makes it", path.display())),
    }
}

/// Folders in which others than the owner could put something in the place of a release.
fn open_to_others(root: &Root) -> Vec<Found> {
    let folders = [root.path().to_owned(), root.releases(), root.own(), root.staging(), root.tocs()];
    let open = |path: &PathBuf| fs::lstat(path).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o022 != 0);
    let found = |path: PathBuf| {
        let path = path.display();
        Found::wrong(format!("{path} can be written by others than its owner"), format!("`chmod go-w {path}`"))
    };
    folders.into_iter().filter(open).map(found).collect()
}

/// What the app's user needs and has not: the way to the release, and a place to write.
fn closed_to(account: &Account, root: &Root) -> Vec<Found> {
    let may = |path: &Path, what| fs::stat(path).is_ok_and(|meta| may(&meta, account.uid, &account.groups, what));
    let mut found = Vec::new();
    if let Some(closed) = root.path().ancestors().filter(|above| !may(above, ENTER)).last() {
        let path = closed.display();
        found.push(Found::wrong(
            format!("the user `{}` cannot enter {path}", account.name),
            format!("`chmod o+x {path}`"),
        ));
    }
    let shared = root.shared();
    if fs::exists(&shared) && !may(&shared, WRITE) {
        let shared = shared.display();
        found.push(Found::wrong(
            format!("the user `{}` cannot write to {shared}", account.name),
            format!("`chown -R {} {shared}`", account.name),
        ));
    }
    found
}

/// The permission bit to write to a folder, and to enter it.
const WRITE: u32 = 0o2;
const ENTER: u32 = 0o1;

/// Whether a user in these groups may do something with a file, by its permission bits.
fn may(meta: &Metadata, uid: u32, groups: &[u32], what: u32) -> bool {
    let shift = match () {
        () if uid == 0 => return true,
        () if meta.uid() == uid => 6,
        () if groups.contains(&meta.gid()) => 3,
        () => 0,
    };
    meta.mode() >> shift & what != 0
}

pub(super) fn room(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Some(there) = patient.config.root.ancestors().find(|above| fs::exists(above)) else { return Vec::new() };
    let largest = View::open(patient.name, patient.config).ok().map(|view| largest(&view)).unwrap_or_default();
    match fs::room(there) {
        Ok(free) => vec![judged(there, free, largest)],
        Err(error) => vec![Found::trouble(Trouble::of(&error, None), "see whether the disk is well: `dmesg | tail`")],
    }
}

/// What the largest release here takes, which is what one more may take that shares nothing with it.
fn largest(view: &View) -> (u64, u64) {
    let sizes = view.state.releases().map(|(_, release)| (release.unpacked, release.entries));
    sizes.fold((0, 0), |(bytes, entries), (more, others)| (bytes.max(more), entries.max(others)))
}

fn judged(path: &Path, free: fs::Room, (bytes, entries): (u64, u64)) -> Found {
    let files = if free.inodes == u64::MAX { "any number of".to_owned() } else { human::number(free.inodes) };
    let says = format!("{} and {files} files free", human::bytes(free.bytes));
    let hint = format!("see what takes it: `df -h {0}; df -i {0}`", path.display());
    if free.bytes < LEAST.bytes || free.inodes < LEAST.inodes {
        Found::wrong(format!("{says}: too little for a release"), hint)
    } else if free.bytes < bytes || free.inodes < entries {
        let largest = format!("{} and {} files", human::bytes(bytes), human::number(entries));
        Found::warning(format!("{says}: less than the largest release here takes ({largest})"), hint)
    } else {
        Found::ok(says)
    }
}

/// Tried in the staging folder, where whatever a killed doctor leaves is cleared away, and under the lock, so that it is in
/// nobody's way.
pub(super) fn features(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Ok(root) = Root::look(&patient.config.root) else { return Vec::new() };
    if root.examine().is_err() || !fs::exists(&root.staging()) {
        return Vec::new();
    }
    let lock = match lock::acquire(&root.lock(), "doctor") {
        Ok(lock) => lock,
        Err(lock::Error::Fs(error)) => {
            return vec![unwritable(&error, &root)];
        }
        Err(_) => return vec![Found::ok("not tried while another command works on the app")],
    };
    let found = features::of(&root.staging());
    drop(lock);
    match found {
        Ok(features) => capable(&root, features),
        Err(error) => vec![unwritable(&error, &root)],
    }
}

fn unwritable(error: &fs::Error, root: &Root) -> Found {
    let hint = match error.source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("`mount -o remount,rw $(findmnt -no TARGET -T {})`", root.path().display())
        }
        _ => "run this as who runs the activator".to_owned(),
    };
    Found::trouble(Trouble::of(error, None), &hint)
}

fn capable(root: &Root, features: Features) -> Vec<Found> {
    let Features { renames_in_place, exchanges, hard_links, clones, unnamed: _, syncs, executes } = features;
    let move_it = || format!("put `{}` on ext4, XFS or btrfs", root.path().display());
    let needed = [
        (
            renames_in_place,
            "cannot rename without replacing (RENAME_NOREPLACE), which every fetch ends with",
            move_it(),
        ),
        (syncs, "cannot be made durable by one call (syncfs), which every fetch needs", move_it()),
        (executes, "starts no programs (it is mounted `noexec`), so no release can run", {
            format!("`mount -o remount,exec $(findmnt -no TARGET -T {})`", root.path().display())
        }),
    ];
    let missing = needed.into_iter().filter(|(has, ..)| !has);
    let mut found: Vec<Found> = missing.map(|(_, says, hint)| Found::wrong(says, hint)).collect();
    if !hard_links && !clones {
        found.push(Found::warning("has neither hard links nor clones: what releases share is copied", move_it()));
    }
    if found.is_empty() {
        let shares = if clones { "clones" } else { "hard links, no clones" };
        let swaps = if exchanges { "" } else { ", no exchange of names" };
        found.push(Found::ok(format!("has what a node needs ({shares}{swaps})")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Features = Features {
        renames_in_place: true,
        exchanges: true,
        hard_links: true,
        clones: true,
        unnamed: true,
        syncs: true,
        executes: true,
    };

    fn said(features: Features) -> String {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        let lines: Vec<String> =
            capable(&root, features).into_iter().map(|found| found.by("file system", None).to_string()).collect();
        lines.join("\n").replace(root.path().to_str().unwrap(), "/srv/polls")
    }

    #[test]
    fn what_a_file_system_lacks_is_named() {
        insta::assert_snapshot!(said(ALL), @"ok       file system: has what a node needs (clones)");
        insta::assert_snapshot!(said(Features { clones: false, exchanges: false, ..ALL }), @"ok       file system: has what a node needs (hard links, no clones, no exchange of names)");
        insta::assert_snapshot!(said(Features { clones: false, hard_links: false, ..ALL }), @"
        warning  file system: has neither hard links nor clones: what releases share is copied
                 hint: put `/srv/polls` on ext4, XFS or btrfs
        ");
        insta::assert_snapshot!(said(Features { renames_in_place: false, syncs: false, executes: false, ..ALL }), @"
        wrong    file system: cannot rename without replacing (RENAME_NOREPLACE), which every fetch ends with
                 hint: put `/srv/polls` on ext4, XFS or btrfs
        wrong    file system: cannot be made durable by one call (syncfs), which every fetch needs
                 hint: put `/srv/polls` on ext4, XFS or btrfs
        wrong    file system: starts no programs (it is mounted `noexec`), so no release can run
                 hint: `mount -o remount,exec $(findmnt -no TARGET -T /srv/polls)`
        ");
    }

    #[test]
    fn a_disk_that_cannot_be_written_to_says_how_to_mount_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        let error =
            |kind: io::ErrorKind| fs::failed("open the lock", Path::new("/srv/polls/.pannier/lock"))(kind.into());
        let said = |kind| unwritable(&error(kind), &root).by("file system", None).to_string();
        let read_only = said(io::ErrorKind::ReadOnlyFilesystem).replace(root.path().to_str().unwrap(), "/srv/polls");
        insta::assert_snapshot!(read_only, @"
        wrong    file system: failed to open the lock `/srv/polls/.pannier/lock`: read-only filesystem or storage medium
                 hint: `mount -o remount,rw $(findmnt -no TARGET -T /srv/polls)`
        ");
        assert!(said(io::ErrorKind::PermissionDenied).ends_with("hint: run this as who runs the activator"));
    }

    #[test]
    fn room_is_judged_by_the_largest_release() {
        let said = |bytes, inodes| {
            let free = fs::Room { bytes, inodes };
            judged(Path::new("/srv/polls"), free, (500_000_000, 20_000)).by("room", None).to_string()
        };
        insta::assert_snapshot!(said(2_000_000_000, u64::MAX), @"ok       room: 2.0 GB and any number of files free");
        insta::assert_snapshot!(said(2_000_000_000, 3_000), @"
        warning  room: 2.0 GB and 3,000 files free: less than the largest release here takes (500.0 MB and 20,000 files)
                 hint: see what takes it: `df -h /srv/polls; df -i /srv/polls`
        ");
        insta::assert_snapshot!(said(1_000, 50_000), @"
        wrong    room: 1.0 kB and 50,000 files free: too little for a release
                 hint: see what takes it: `df -h /srv/polls; df -i /srv/polls`
        ");
    }
}
