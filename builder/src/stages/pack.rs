//! Pack: the finished tree becomes `artifact.tar.zst`.
//!
//! Only what a release may hold is taken; anything else in the tree (a device, a socket, a name nobody can see) stops
//! the build with its name. Of a file only its executable bit counts, so that the umask of whoever builds does not.

use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_shared::archive::toc::Group;
use pannier_shared::archive::write::{self, Content, Member, Options};
use pannier_shared::event::Sink;
use pannier_shared::statement::Artifact;
use pannier_shared::sys::fs;

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
    /// The archive could not be made.
    #[error("failed to pack the release")]
    Pack(#[from] write::Error),
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

/// Packs `members` into the new file `out`.
pub fn pack(members: Vec<Member>, options: Options, out: &Path, sink: &dyn Sink) -> Result<Artifact, Error> {
    let file = BufWriter::with_capacity(1 << 20, fs::create_new(out)?);
    write::pack(members, options, file, sink).map_err(|error| match error {
        write::Error::Output(source) => fs::failed("write", out)(source).into(),
        other => other.into(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;
    use pannier_shared::archive::toc::Class;

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

    #[test]
    fn a_socket_is_refused_by_name() {
        let tree = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("s")).unwrap();
        insta::assert_snapshot!(members(tree.path(), app).unwrap_err(), @"entry `s` is not allowed: it is not a file, folder or symlink");
    }
}
