//! The finished tree of a release on disk, and which of its files change together.

use std::collections::HashMap;
use std::path::PathBuf;

use pannier_shared::archive::toc::{Class, Group};
use pannier_shared::statement::Description;

/// Everything that goes into the archive, except its last member.
#[derive(Debug)]
pub struct Tree {
    /// Its folder.
    pub root: PathBuf,
    /// What it says of itself; the same text lies in `.pannier/release.json`.
    pub description: Description,
    /// Which of its files change together.
    pub groups: Groups,
}

/// Tells the group of a path: a dependency's wheel and everything installed from it change together, then each top
/// folder of the static files and of the app.
#[derive(Debug, Default)]
pub struct Groups {
    /// Files of the tree that came from a dependency, and its name.
    owners: HashMap<String, String>,
}

impl Groups {
    /// Learns that `path` came from a dependency.
    pub fn own(&mut self, path: String, dependency: &str) {
        self.owners.insert(path, dependency.to_owned());
    }

    /// The group of a file, a link or an empty folder; `path` is relative to the tree. Byte code belongs to its source.
    pub fn of(&self, path: &str) -> Group {
        let source = source_of(path);
        let path = source.as_deref().unwrap_or(path);
        let (top, below) = path.split_once('/').unwrap_or((path, ""));
        let first = below.split_once('/').map_or("", |(first, _)| first);
        let group = |class, name: &str| Group { class, name: name.to_owned() };
        match top {
            "python" => group(Class::Interpreter, ""),
            "wheels" | "venv" => {
                self.owner(path).map_or_else(|| group(Class::Glue, ""), |name| group(Class::Dependency, name))
            }
            "static" => group(Class::Static, first),
            "app" => group(Class::App, first),
            _ => group(Class::Release, ""),
        }
    }

    fn owner(&self, path: &str) -> Option<&str> {
        self.owners.get(path).map(String::as_str)
    }
}

/// "a/b.py" for "a/__pycache__/b.cpython-311.pyc".
fn source_of(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once("/__pycache__/")?;
    let (stem, _) = name.strip_suffix(".pyc")?.rsplit_once('.')?;
    Some(format!("{folder}/{stem}.py"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(groups: &Groups, path: &str) -> String {
        let group = groups.of(path);
        format!("{:?}/{}", group.class, group.name)
    }

    #[test]
    fn a_dependency_owns_its_wheel_its_files_and_their_byte_code() {
        let mut groups = Groups::default();
        groups.own("wheels/Django-5-py3-none-any.whl".to_owned(), "django");
        groups.own("venv/lib/python3.11/site-packages/django/x.y.py".to_owned(), "django");
        groups.own("venv/bin/django-admin".to_owned(), "django");
        for path in [
            "wheels/Django-5-py3-none-any.whl",
            "venv/lib/python3.11/site-packages/django/x.y.py",
            "venv/lib/python3.11/site-packages/django/__pycache__/x.y.cpython-311.pyc",
            "venv/bin/django-admin",
        ] {
            assert_eq!(told(&groups, path), "Dependency/django", "{path}");
        }
        assert_eq!(told(&groups, "venv/pyvenv.cfg"), "Glue/");
        assert_eq!(told(&groups, "venv/bin/python3"), "Glue/");
    }

    #[test]
    fn static_files_and_the_app_are_grouped_by_their_top_folders() {
        let groups = Groups::default();
        assert_eq!(told(&groups, "static/admin/css/base.css"), "Static/admin");
        assert_eq!(told(&groups, "static/staticfiles.json"), "Static/");
        assert_eq!(told(&groups, "app/home/models.py"), "App/home");
        assert_eq!(told(&groups, "app/manage.py"), "App/");
        assert_eq!(told(&groups, "app/__pycache__/manage.cpython-311.pyc"), "App/");
        assert_eq!(told(&groups, ".pannier/release.json"), "Release/");
        assert_eq!(told(&groups, "python/bin/python3.11"), "Interpreter/");
    }
}
