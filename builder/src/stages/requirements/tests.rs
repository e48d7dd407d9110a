#![allow(clippy::disallowed_methods, reason = "tests make their files with std")]

use super::*;
use crate::testing::{python, told};

fn texts(list: &[Requirement]) -> Vec<&str> {
    list.iter().map(|one| one.text.as_str()).collect()
}

fn scene() -> Scene {
    let variables = [("python_version", "3.11")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Scene { variables: variables.into(), ..Scene::default() }
}

/// A project in a folder of its own, with a package, a wheel, and something beside it.
fn project() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(root.join("elsewhere")).unwrap();
    std::fs::create_dir_all(root.join("project/packages/inner")).unwrap();
    std::fs::create_dir_all(root.join("project/vendor")).unwrap();
    std::fs::write(root.join("project/vendor/x-1-py3-none-any.whl"), "").unwrap();
    Place { root: root.join("project"), _dir: dir }
}

struct Place {
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Place {
    fn path(&self) -> &Path {
        &self.root
    }
}

fn refusal(text: &str) -> String {
    let dir = project();
    let list = List::of_text(text, "requirements.txt");
    told(&list.and_then(|list| list.pins(dir.path(), &scene())).unwrap_err())
}

/// A project's list, as `find` and the reader give it.
fn open(project: &Path, folder: &str, configured: Option<&str>) -> Result<List, Error> {
    let found = find(project, folder, configured)?;
    let python = python();
    let (choice, platform, tools) = (Choice::default(), Platform::default(), Tools::none());
    let ask = Ask {
        project,
        folder,
        file: &found.file,
        choice: &choice,
        python: &python,
        platform: &platform,
        tools: &tools,
    };
    match found.read(&ask)?.wanted {
        Wanted::Open(list) => Ok(list),
        Wanted::Pinned(pins) => panic!("it is locked: {pins:?}"),
    }
}

#[test]
fn comments_continued_lines_and_markers_are_read() {
    let text = "\u{feff}# top\nDjango==5.2.7 ; python_version >= '3.10' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb # why\n\npsycopg[binary]>=3 # c\n";
    let read = List::of_text(text, "r.txt").unwrap();
    assert_eq!(texts(&read.list), ["Django==5.2.7 ; python_version >= '3.10'", "psycopg[binary]>=3"]);
    assert_eq!(read.list[0].hashes, ["sha256:aa", "sha256:bb"]);
    assert_eq!((read.list[0].name.as_str(), read.list[1].at.as_str()), ("django", "r.txt:6"));
    assert!(!read.is_locked());
}

#[test]
fn what_is_printed_reads_back() {
    let text = "a==1 --hash=sha256:aa --hash=sha256:bb\nb[x]==2 ; sys_platform == 'linux' --hash=sha256:cc\n";
    let read = List::of_text(text, "r.txt").unwrap();
    assert!(read.is_locked());
    assert_eq!(print(&read.list), text);
}

#[test]
fn index_options_are_kept_and_others_passed_over() {
    let text = "-i https://index.example/simple\n--extra-index-url=https://x.example\n--pre\n--no-binary :all:\na==1\n";
    let read = List::of_text(text, "r.txt").unwrap();
    assert_eq!(texts(&read.list), ["a==1"]);
    let lines: Vec<&str> = read.indexes.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, ["--index-url https://index.example/simple", "--extra-index-url https://x.example"]);
    assert_eq!(read.passed_over, ["r.txt:3: --pre", "r.txt:4: --no-binary :all:"]);
}

#[test]
fn what_no_hash_can_hold_is_refused_by_line() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    insta::assert_snapshot!(refusal("a==1 --hash=sha256:aa\nx @ git+https://example.org/x.git@main"), @"requirements.txt:2: `git+https://example.org/x.git@main` names no commit, so it can be something else tomorrow");
    insta::assert_snapshot!(refusal(&format!("x @ hg+https://example.org/x@{commit}")), @"requirements.txt:1: `hg+https://example.org/x@0123456789abcdef0123456789abcdef01234567` comes from version control other than git");
    insta::assert_snapshot!(refusal("-e ."), @"requirements.txt:1: `-e .` is an editable install: a link to files that are not on the node");
    insta::assert_snapshot!(refusal("."), @"requirements.txt:1: `.` is the project itself, which runs from its own files and is not installed");
    insta::assert_snapshot!(refusal("../elsewhere"), @"requirements.txt:1: `../elsewhere` lies outside of the project, so no commit of the project holds it");
    insta::assert_snapshot!(refusal("./gone"), @"requirements.txt:1: `./gone` is not there");
    insta::assert_snapshot!(refusal("==1"), @"requirements.txt:1: `==1` is not a requirement");
    insta::assert_snapshot!(refusal("a>=1 --hash=sha256:aa"), @"requirements.txt:1: `a>=1` has hashes, but no exact version");
    insta::assert_snapshot!(refusal("a==1 --hash=md5:aa"), @"requirements.txt:1: `a==1` has no SHA-256, so nothing tells whether its bytes are the right ones");
    insta::assert_snapshot!(refusal("a==1 ; moon == 'full' --hash=sha256:aa"), @r"
    requirements.txt:1: the marker `moon == 'full'` cannot be decided
    caused by: it asks for `moon`, which no interpreter knows
    ");
}

#[test]
fn folders_files_and_commits_of_the_project_are_their_own_proof() {
    let dir = project();
    let commit = "0123456789abcdef0123456789ABCDEF01234567";
    let text = format!(
        "./packages/inner ; python_version > '3'\ninner @ file://{}/packages/inner\nvendor/x-1-py3-none-any.whl\n\
         git+ssh://git@example.org/x.git@{commit}#egg=X_y&subdirectory=sub\na==1 ; python_version < '3' --hash=sha256:aa\n",
        dir.path().display()
    );
    let pins = List::of_text(&text, "r.txt").unwrap().pins(dir.path(), &scene()).unwrap();
    let inner = dir.path().join("packages/inner");
    assert_eq!(pins[0].source, Source::Folder(inner.clone()));
    assert_eq!((pins[1].source.clone(), pins[1].name.as_str()), (Source::Folder(inner), "inner"));
    assert_eq!(pins[2].source, Source::File(dir.path().join("vendor/x-1-py3-none-any.whl")));
    let (url, subfolder) = ("ssh://git@example.org/x.git".to_owned(), "sub".to_owned());
    assert_eq!(pins[3].source, Source::Git { url, commit: commit.to_lowercase(), subfolder });
    assert_eq!((pins[3].name.as_str(), pins.len()), ("x-y", 4));
}

#[test]
fn includes_and_constraints_are_followed_from_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("requirements/production.txt", "-r base.txt\n-c ../limits.txt\ngunicorn\n");
    write("requirements/base.txt", "Django\n");
    write("limits.txt", "Django<6\n");
    let read = open(dir.path(), "", Some("requirements/production.txt")).unwrap();
    assert_eq!(texts(&read.list), ["Django", "gunicorn"]);
    assert_eq!(read.list[0].at, "requirements/base.txt:1");
    assert_eq!(texts(&read.constraints), ["Django<6"]);
    write("requirements/base.txt", "Django\n-r gone.txt\n");
    let missing = open(dir.path(), "", Some("requirements/production.txt")).unwrap_err();
    insta::assert_snapshot!(missing, @"requirements/base.txt:2: `gone.txt` is not there");
    write("requirements/base.txt", "-r production.txt\n");
    assert!(matches!(open(dir.path(), "", Some("requirements/production.txt")), Err(Error::Circle(_))));
}

#[test]
fn the_list_beside_manage_py_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("site")).unwrap();
    std::fs::write(dir.path().join("pyproject.toml"), "[project]\ndependencies = [\"Django>=5\"]").unwrap();
    assert_eq!(texts(&open(dir.path(), "site", None).unwrap().list), ["Django>=5"]);
    std::fs::write(dir.path().join("site/requirements.txt"), "Django==5.2").unwrap();
    assert_eq!(open(dir.path(), "site", None).unwrap().file, "site/requirements.txt");
}

#[test]
fn no_list_says_where_it_was_searched() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(&open(dir.path(), "site", None).unwrap_err()), @"the project lists no dependencies: looked for `uv.lock`, `pylock.toml`, `poetry.lock`, `Pipfile.lock`, `pyproject.toml`, `requirements.txt`, in `site` and at the top");
    std::fs::write(dir.path().join("pyproject.toml"), "[project]\ndynamic = [\"dependencies\"]").unwrap();
    insta::assert_snapshot!(told(&open(dir.path(), "", None).unwrap_err()), @"`pyproject.toml` has no `[project] dependencies`: they are declared `dynamic`");
}

#[test]
fn hashes_on_some_only_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("requirements.txt"), "a==1 --hash=sha256:aa\nb==2\n").unwrap();
    insta::assert_snapshot!(told(&open(dir.path(), "", None).unwrap_err()), @"requirements.txt:2: `b==2` has no hash, but others in `requirements.txt` have one");
}

#[test]
fn names_are_compared_as_the_index_does() {
    assert_eq!(normalise("Foo.Bar__baz"), "foo-bar-baz");
}

#[test]
fn a_lock_comes_before_a_list_and_two_locks_are_one_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str| std::fs::write(dir.path().join(path), "").unwrap();
    let found = || find(dir.path(), "", None).map(|found| (found.file, found.passed_over));
    write("pyproject.toml");
    assert_eq!(found().unwrap(), ("pyproject.toml".to_owned(), vec![]));
    write("requirements.txt");
    assert_eq!(found().unwrap(), ("requirements.txt".to_owned(), vec![]));
    write("poetry.lock");
    assert_eq!(found().unwrap(), ("poetry.lock".to_owned(), vec!["requirements.txt".to_owned()]));
    write("uv.lock");
    insta::assert_snapshot!(told(&found().unwrap_err()), @"the project has 2 lock files: `uv.lock`, `poetry.lock`");
    let named = find(dir.path(), "", Some("poetry.lock")).unwrap();
    assert_eq!(named.format.name, "poetry.lock");
}

#[test]
fn a_file_named_by_hand_is_read_as_what_its_name_says() {
    let name = |file: &str| format_of(file).name;
    assert_eq!(name("locks/pylock.production.toml"), "pylock.toml");
    assert_eq!(name("backend/pyproject.toml"), "pyproject.toml");
    assert_eq!(name("requirements/production.in"), "requirements.txt");
    assert_eq!(name("a/Pipfile.lock"), "Pipfile.lock");
}
