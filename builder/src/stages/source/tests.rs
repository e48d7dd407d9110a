#![allow(clippy::disallowed_methods, reason = "tests make their projects with std")]

use std::os::unix::fs::symlink;
use std::process::Command;

use pannier_shared::event::Recorder;

use super::*;
use crate::testing::{ambient, told};

struct Project {
    dir: tempfile::TempDir,
    exclude: Patterns,
    allow: Patterns,
    shared: Shared,
    state: State,
}

impl Project {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self {
            dir,
            exclude: Patterns::default(),
            allow: Patterns::default(),
            shared: Shared::default(),
            state: State::Any,
        }
    }

    fn path(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.dir.path()).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]);
        assert!(git.args(arguments).output().unwrap().status.success(), "{arguments:?}");
    }

    fn commit(&self) {
        self.git(&["init", "-q"]);
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "-m", "x"]);
    }

    fn stage(&self, sink: &dyn Sink) -> Result<(Staged, Vec<String>), Error> {
        let (staged, to) = self.staged(sink)?;
        Ok((staged, crate::testing::files(&to.path().join("app"))))
    }

    /// The same with the folder that it is in.
    fn staged(&self, sink: &dyn Sink) -> Result<(Staged, tempfile::TempDir), Error> {
        let to = tempfile::tempdir().unwrap();
        let app = to.path().join("app");
        let project = self.path();
        let request = Request {
            project: &project,
            manage: None,
            exclude: &self.exclude,
            allow: &self.allow,
            largest: MIB,
            shared: &self.shared,
            state: self.state,
            own_folders: &[project.join("dist")],
        };
        let staged = stage(&request, &app, &ambient(), sink)?;
        Ok((staged, to))
    }
}

fn quiet() -> Recorder {
    Recorder::default()
}

#[test]
fn git_decides_what_is_packed_and_the_commit_is_kept() {
    let project = Project::with(&[("manage.py", ""), ("a/b.py", "1")]);
    project.commit();
    std::fs::write(project.dir.path().join("notes.txt"), "").unwrap();
    let sink = quiet();
    let (staged, files) = project.stage(&sink).unwrap();
    assert_eq!(files, ["a/b.py", "manage.py"]);
    let source = staged.source.unwrap();
    assert_eq!((source.commit.len(), source.dirty), (40, false));
    assert!(source.committed.is_some_and(|at| at <= pannier_shared::sys::clock::now()), "{source:?}");
    let said = format!("{:?}", sink.events());
    assert!(said.contains("neither tracked nor ignored by git and are not packed: notes.txt"), "{said}");
}

#[test]
fn a_changed_or_deleted_tracked_file_makes_it_dirty() {
    let project = Project::with(&[("manage.py", ""), ("gone.py", "")]);
    project.commit();
    std::fs::remove_file(project.dir.path().join("gone.py")).unwrap();
    let (staged, files) = project.stage(&quiet()).unwrap();
    assert_eq!(files, ["manage.py"]);
    assert!(staged.source.unwrap().dirty);
}

#[test]
fn a_project_in_a_subfolder_of_a_checkout_is_taken_alone() {
    let project = Project::with(&[("site/manage.py", ""), ("other/x.py", "")]);
    project.commit();
    let inner = Project { dir: tempfile::tempdir_in(project.dir.path()).unwrap(), ..Project::with(&[]) };
    std::fs::write(inner.dir.path().join("manage.py"), "").unwrap();
    let (staged, files) = inner.stage(&quiet()).unwrap();
    assert_eq!((files, staged.source), (vec!["manage.py".to_owned()], None), "nothing tracked there: walked");
}

#[test]
fn outside_of_git_the_ignore_list_decides() {
    let project = Project::with(&[
        ("site/manage.py", ""),
        ("site/__pycache__/x.pyc", ""),
        ("venv/pyvenv.cfg", ""),
        ("venv/lib/x.py", ""),
        ("node_modules/x/y.js", ""),
        (".env", "A=1"),
        ("db.sqlite3", "x"),
        ("dist/out.txt", ""),
        ("static/app.js", ""),
    ]);
    let sink = quiet();
    let (staged, files) = project.stage(&sink).unwrap();
    assert_eq!(files, ["site/manage.py", "static/app.js"]);
    assert_eq!((staged.folder(), staged.source.is_none()), ("site", true));
    let said = format!("{:?}", sink.events());
    assert!(said.contains("left out: .env, db.sqlite3, dist, venv"), "{said}");
}

#[test]
fn excluded_files_stay_behind() {
    let mut project = Project::with(&[("manage.py", ""), ("docs/x.md", ""), ("a.psd", "")]);
    project.exclude = Patterns::new(&["docs".to_owned(), "*.psd".to_owned()]);
    assert_eq!(project.stage(&quiet()).unwrap().1, ["manage.py"]);
}

#[test]
fn tracked_secrets_are_refused_unless_allowed() {
    let key = "-----BEGIN PRIVATE KEY-----\nabc\n";
    let mut project = Project::with(&[("manage.py", ""), (".env", "A=1"), ("tests/key.pem", key)]);
    project.commit();
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @r#"
    2 files would be packed that must not be in a release:
      .env: an environment file
      tests/key.pem: a private key
    "#);
    insta::assert_snapshot!(error.hint().unwrap(), @r#"leave it out in pannier.toml with `exclude = [".env"]`, or, where it belongs there, pack it with `allow = [".env"]`"#);
    project.allow = Patterns::new(&["tests/key.pem".to_owned()]);
    project.exclude = Patterns::new(&[".env".to_owned()]);
    assert_eq!(project.stage(&quiet()).unwrap().1, ["manage.py", "tests/key.pem"]);
}

#[test]
fn links_inside_are_kept_and_links_out_are_refused() {
    let project = Project::with(&[("manage.py", ""), ("a/b/x.py", "")]);
    symlink("../../manage.py", project.dir.path().join("a/b/ok")).unwrap();
    assert_eq!(project.stage(&quiet()).unwrap().1, ["a/b/ok", "a/b/x.py", "manage.py"]);
    symlink("../../../etc/passwd", project.dir.path().join("a/b/out")).unwrap();
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @"the symlink `a/b/out` leads out of the project, to `../../../etc/passwd`");
    insta::assert_snapshot!(error.hint().unwrap(), @r#"put a copy in its place, or leave it out in pannier.toml: `exclude = ["a/b/out"]`"#);
}

#[test]
fn an_absolute_link_is_refused_by_name() {
    let project = Project::with(&[("manage.py", "")]);
    symlink("/var/media", project.dir.path().join("media")).unwrap();
    insta::assert_snapshot!(told(&project.stage(&quiet()).unwrap_err()), @"the symlink `media` leads out of the project, to `/var/media`");
}

#[test]
fn a_missing_project_is_named() {
    let mut project = Project::with(&[]);
    project.exclude = Patterns::default();
    let gone = Path::new("/nowhere/site");
    let (exclude, allow) = (Patterns::default(), Patterns::default());
    let (exclude, allow) = (&exclude, &allow);
    let request = Request {
        project: gone,
        manage: None,
        exclude,
        allow,
        shared: &Shared::default(),
        largest: MIB,
        state: State::Any,
        own_folders: &[],
    };
    let error = stage(&request, &project.path().join("app"), &ambient(), &quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @"`/nowhere/site` is not a folder");
}

#[test]
fn a_pattern_that_matches_nothing_is_a_warning() {
    let mut project = Project::with(&[("manage.py", ""), ("docs/x.md", "")]);
    project.exclude = Patterns::new(&["docs".to_owned(), "dosc".to_owned()]);
    project.allow = Patterns::new(&["key.pem".to_owned()]);
    let sink = quiet();
    project.stage(&sink).unwrap();
    let warnings: Vec<String> = sink.events().into_iter().filter_map(warning).collect();
    insta::assert_snapshot!(warnings.join("\n"), @r"
    `dosc`, configured in `exclude`, matches no file of the project
    `key.pem`, configured in `allow`, matches no file of the project
    ");
}

fn warning(event: Event) -> Option<String> {
    if let Event::Warning { text } = event { Some(text) } else { None }
}

#[test]
fn a_large_file_is_refused_unless_it_is_allowed() {
    let large = "x".repeat(1024 * 1024 + 1);
    let mut project = Project::with(&[("manage.py", ""), ("film.mp4", &large), ("just.bin", &large[1..])]);
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @r"
    a file would be packed that must not be in a release:
      film.mp4: 2 MiB, where 1 MiB is the most (`largest_file`)
    ");
    insta::assert_snapshot!(error.hint().unwrap(), @r#"leave it out in pannier.toml with `exclude = ["film.mp4"]`, or, where it belongs there, pack it with `allow = ["film.mp4"]`"#);
    project.allow = Patterns::new(&["film.mp4".to_owned()]);
    assert_eq!(project.stage(&quiet()).unwrap().1, ["film.mp4", "just.bin", "manage.py"]);
}

#[test]
fn a_release_is_built_from_a_commit() {
    let mut project = Project::with(&[("manage.py", ""), ("gone.py", ""), ("a b.py", "")]);
    project.state = State::Committed;
    let said = told(&project.stage(&quiet()).unwrap_err()).replace(project.path().to_str().unwrap(), "/site");
    insta::assert_snapshot!(said, @"`/site` is not the working tree of a commit, and a release has to be");
    project.commit();
    std::fs::write(project.dir.path().join("untracked.py"), "").unwrap();
    assert!(!project.stage(&quiet()).unwrap().0.source.unwrap().dirty);
    std::fs::remove_file(project.dir.path().join("gone.py")).unwrap();
    std::fs::write(project.dir.path().join("a b.py"), "1").unwrap();
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @r"
    2 tracked files differ from the commit, and a release has to be built from one:
      a b.py
      gone.py
    ");
    insta::assert_snapshot!(error.hint().unwrap(), @"`git commit` or `git stash`, or build without `--release`");
}

fn shared(folders: &[&str], files: &[&str]) -> Shared {
    let paths = |list: &[&str]| list.iter().map(|&path| path.to_owned().try_into().unwrap()).collect();
    Shared::new(paths(folders), paths(files)).unwrap()
}

#[test]
fn placeholders_of_shared_folders_stay_behind_and_parents_are_made() {
    let mut project = Project::with(&[
        ("manage.py", ""),
        ("media/.gitkeep", ""),
        ("media/a/.keep", ""),
        ("var/uploads/.gitignore", "*"),
        ("mediator.py", ""),
        ("media.py", ""),
    ]);
    project.commit();
    std::fs::write(project.dir.path().join("media/untracked.jpg"), "").unwrap();
    project.shared = shared(&["media", "var/uploads", "a/b/c"], &["conf/local.py"]);
    let (staged, laid) = project.staged(&quiet()).unwrap();
    assert_eq!(
        (crate::testing::files(&laid.path().join("app")), staged.files),
        (vec!["manage.py".to_owned(), "media.py".into(), "mediator.py".into()], 3)
    );
    let is_there = |path: &str| laid.path().join("app").join(path).exists();
    assert_eq!(
        ["var", "a/b", "conf", "media", "var/uploads", "a/b/c"].map(is_there),
        [true, true, true, false, false, false]
    );
}

#[test]
fn what_is_tracked_where_a_shared_path_is_gets_refused_by_name() {
    let files =
        [("manage.py", ""), ("media/.gitkeep", ""), ("media/logo.png", "x"), ("local.py", ""), ("conf/.keep", "")];
    let mut project = Project::with(&files);
    symlink("manage.py", project.dir.path().join("link")).unwrap();
    project.commit();
    project.shared = shared(&["media", "link/x", "local.py/y"], &["conf", "manage.py"]);
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @"
    5 files would be packed where `[shared]` of `pannier.toml` has a path that is not in the release:
      conf/.keep
      link
      local.py
      manage.py
      media/logo.png
    ");
    project.shared = shared(&["media"], &[]);
    let error = project.stage(&quiet()).unwrap_err();
    insta::assert_snapshot!(told(&error), @"
    a file would be packed where `[shared]` of `pannier.toml` has a path that is not in the release:
      media/logo.png
    ");
    insta::assert_snapshot!(error.hint().unwrap(), @r#"leave it out in pannier.toml with `exclude = ["media/logo.png"]`, or take the path out of `[shared]`"#);
    project.exclude = Patterns::new(&["media/logo.png".to_owned()]);
    assert_eq!(project.stage(&quiet()).unwrap().1, ["conf/.keep", "link", "local.py", "manage.py"]);
}

#[test]
fn what_says_how_to_build_is_not_packed() {
    let project = Project::with(&[("manage.py", ""), ("pannier.toml", ""), ("docs/pannier.toml", "")]);
    assert_eq!(project.stage(&quiet()).unwrap().1, ["docs/pannier.toml", "manage.py"]);
}
