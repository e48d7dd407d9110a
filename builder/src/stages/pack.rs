//! Pack: the finished tree becomes `artifact.tar.zst`.
//!
//! Only what a release may hold is taken; anything else in the tree (a device, a socket, a name nobody can see) stops
//! the build with its name. Of a file only its executable bit counts, so that the umask of whoever builds does not.

use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_shared::archive::frame;
use pannier_shared::archive::policy::{self, Kind, Refused};
use pannier_shared::archive::toc::Group;
use pannier_shared::archive::write::{self, Content, Member, Options};
use pannier_shared::event::Sink;
use pannier_shared::statement::{Artifact, Shared};
use pannier_shared::sys::fs;

use crate::shelf::Shelf;

/// Why a tree was not packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree could not be read, or the archive not be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A name that is not UTF-8.
    #[error("entry `{}` is not allowed: its name is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// Neither file nor folder nor symlink.
    #[error("entry `{0}` is not allowed: it is not a file, folder or symlink")]
    Special(String),
    /// The build has put something where the link of a shared path will be, or a link leads through one.
    #[error("a path of `[shared]` in `pannier.toml` cannot be shared")]
    Shared(#[from] Refused),
    /// The archive could not be made.
    #[error("failed to pack the release")]
    Pack(#[from] write::Error),
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        let hint = "see that nothing the build makes is there and no link of the project leads there, or take it out of `[shared]`";
        matches!(self, Error::Shared(_)).then(|| hint.to_owned())
    }
}

/// Whether a node can link these paths into a tree of `members`: looked at here, where somebody can mend it.
pub fn check_shared(members: &[Member], shared: &Shared) -> Result<(), Error> {
    if shared.is_empty() {
        return Ok(());
    }
    let entries = members.iter().map(|member| (member.path.as_str(), kind(&member.content)));
    Ok(policy::check_ways_out(entries, &shared.links())?)
}

fn kind(content: &Content) -> Kind<'_> {
    match content {
        Content::File { size, .. } => Kind::File(*size),
        Content::Folder => Kind::Folder,
        Content::Link { target } => Kind::Link(target),
    }
}

/// Everything below `root`, each entry in the group that `group_of` says for its path.
pub fn members(root: &Path, group_of: impl Fn(&str) -> Group) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(folder) = todo.pop() {
        for name in fs::list(&root.join(&folder))? {
            let relative = folder.join(name);
            let path = relative.to_str().ok_or_else(|| Error::NotText(relative.clone()))?.to_owned();
            let content = content(&root.join(&relative), &path)?;
            if matches!(content, Content::Folder) {
                todo.push(relative);
            }
            members.push(Member { group: group_of(&path), path, content });
        }
    }
    Ok(members)
}

fn content(source: &Path, path: &str) -> Result<Content, Error> {
    let meta = fs::lstat(source)?;
    if meta.is_dir() {
        Ok(Content::Folder)
    } else if meta.is_symlink() {
        let target = fs::read_link(source)?;
        let target = target.to_str().ok_or_else(|| Error::NotText(target.clone()))?.to_owned();
        Ok(Content::Link { target })
    } else if meta.is_file() {
        let executable = meta.permissions().mode() & 0o100 != 0;
        Ok(Content::File { source: source.to_owned(), size: meta.len(), executable })
    } else {
        Err(Error::Special(path.to_owned()))
    }
}

/// Packs `members` into the new file `out`; frames that were made before come from the shelf.
pub fn pack(
    members: Vec<Member>,
    options: Options,
    shelf: &Shelf,
    out: &Path,
    sink: &dyn Sink,
) -> Result<Artifact, Error> {
    let encode = |plain: &[u8], level| {
        shelf.made(&format!("frame, {}", frame::encoder(level)), plain, || frame::encode(plain, level))
    };
    let file = BufWriter::with_capacity(1 << 20, fs::create_new(out)?);
    write::pack_by(members, options, &encode, file, sink).map_err(|error| match error {
        write::Error::Output(source) => fs::failed("write", out)(source).into(),
        other => other.into(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;
    use pannier_shared::archive::toc::Class;
    use pannier_shared::event::Silent;

    fn app(_: &str) -> Group {
        Group { class: Class::App, name: String::new() }
    }

    #[test]
    fn takes_files_folders_and_links_whatever_the_umask_was() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("a/empty")).unwrap();
        for (name, mode) in [("a/run", 0o700), ("a/read", 0o600)] {
            std::fs::write(tree.path().join(name), name).unwrap();
            std::fs::set_permissions(tree.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("run", tree.path().join("a/link")).unwrap();
        let mut found: Vec<String> = members(tree.path(), app)
            .unwrap()
            .into_iter()
            .map(|member| match member.content {
                Content::Folder => format!("{}/", member.path),
                Content::Link { target } => format!("{} -> {target}", member.path),
                Content::File { size, executable, .. } => format!("{} {size} {executable}", member.path),
            })
            .collect();
        found.sort();
        assert_eq!(found, ["a/", "a/empty/", "a/link -> run", "a/read 6 false", "a/run 5 true"]);
    }

    fn packed(tree: &Path, shelf: &Shelf) -> Vec<u8> {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("artifact");
        let members = members(tree, |path| Group { class: Class::App, name: path[..1].to_owned() }).unwrap();
        pack(members, Options { level: 9, workers: 2 }, shelf, &out, &Silent).unwrap();
        std::fs::read(out).unwrap()
    }

    #[test]
    fn frames_from_the_shelf_give_the_same_bytes_also_when_one_group_changed_or_an_entry_is_damaged() {
        let (tree, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a", "b", "c"] {
            std::fs::write(tree.path().join(name), name.repeat(5000)).unwrap();
        }
        let (none, shelf) = (Shelf::none(), Shelf::at(kept.path().to_owned()));
        let first = packed(tree.path(), &none);
        assert!(packed(tree.path(), &shelf) == first && packed(tree.path(), &shelf) == first);
        let filled = crate::testing::files(kept.path());
        std::fs::write(tree.path().join("b"), "changed").unwrap();
        let second = packed(tree.path(), &none);
        assert!(packed(tree.path(), &shelf) == second && second != first);
        assert_eq!(crate::testing::files(kept.path()).len(), filled.len() + 1, "one frame was made");
        for entry in crate::testing::files(kept.path()) {
            let mut bytes = std::fs::read(kept.path().join(&entry)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(kept.path().join(&entry), bytes).unwrap();
        }
        assert!(packed(tree.path(), &shelf) == second);
    }

    #[test]
    fn what_the_build_put_where_a_shared_path_will_be_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("app/media")).unwrap();
        std::os::unix::fs::symlink("../static", tree.path().join("app/staticfiles")).unwrap();
        std::os::unix::fs::symlink("up/x.jpg", tree.path().join("app/latest")).unwrap();
        let members = members(tree.path(), app).unwrap();
        let refused = |path: &str| {
            let shared = Shared::new(vec![path.to_owned().try_into().unwrap()], Vec::new()).unwrap();
            check_shared(&members, &shared).map_err(|error| std::error::Error::source(&error).unwrap().to_string())
        };
        assert_eq!(refused("uploads"), Ok(()));
        insta::assert_snapshot!(refused("media").unwrap_err(), @"entry `app/media` is not allowed: the node makes a link at `app/media`");
        insta::assert_snapshot!(refused("staticfiles").unwrap_err(), @"entry `app/staticfiles` is not allowed: the node makes a link at `app/staticfiles`");
        insta::assert_snapshot!(refused("staticfiles/x").unwrap_err(), @"entry `app/staticfiles/x` is not allowed: `app/staticfiles` is not a folder");
        insta::assert_snapshot!(refused("up").unwrap_err(), @"entry `app/latest` is not allowed: it is a link to `up/x.jpg`, which leaves the tree");
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let tree = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("s")).unwrap();
        insta::assert_snapshot!(members(tree.path(), app).unwrap_err(), @"entry `s` is not allowed: it is not a file, folder or symlink");
    }
}
