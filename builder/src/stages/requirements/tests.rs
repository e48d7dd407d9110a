#![allow(clippy::disallowed_methods, reason = "tests make their files with std")]

use super::*;
use crate::testing::told;

fn texts(list: &[Requirement]) -> Vec<&str> {
    list.iter().map(|one| one.text.as_str()).collect()
}

fn refusal(line: &str) -> String {
    told(&Requirements::of_text(line, "requirements.txt").unwrap_err())
}

#[test]
fn comments_continued_lines_and_markers_are_read() {
    let text = "\u{feff}# top\nDjango==5.2.7 ; python_version >= '3.10' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb # why\n\npsycopg[binary]>=3 # c\n";
    let read = Requirements::of_text(text, "r.txt").unwrap();
    assert_eq!(texts(&read.list), ["Django==5.2.7 ; python_version >= '3.10'", "psycopg[binary]>=3"]);
    assert_eq!(read.list[0].hashes, ["sha256:aa", "sha256:bb"]);
    assert_eq!((read.list[0].name.as_str(), read.list[1].at.as_str()), ("django", "r.txt:6"));
    assert!(!read.are_locked());
}

#[test]
fn what_is_printed_reads_back() {
    let text = "a==1 --hash=sha256:aa --hash=sha256:bb\nb[x]==2 ; sys_platform == 'linux' --hash=sha256:cc\n";
    let read = Requirements::of_text(text, "r.txt").unwrap();
    assert!(read.are_locked());
    assert_eq!(print(&read.list), text);
}

#[test]
fn index_options_are_dropped_and_others_ignored() {
    let text = "-i https://index.example/simple\n--extra-index-url=https://x.example\n--pre\n--no-binary :all:\na==1\n";
    let read = Requirements::of_text(text, "r.txt").unwrap();
    assert_eq!(texts(&read.list), ["a==1"]);
    assert_eq!(read.dropped.len(), 2);
}

#[test]
fn what_no_hash_can_hold_is_refused_by_line() {
    insta::assert_snapshot!(refusal("a==1\nx @ git+https://example.org/x.git"), @"requirements.txt:2: `x @ git+https://example.org/x.git` is a URL, a path or a checkout, not a release from an index");
    insta::assert_snapshot!(refusal("-e ."), @"requirements.txt:1: `-e .` is an editable install");
    for line in ["git+https://example.org/x.git", "./local", "../x", "/abs", "x.whl", "file:///x", "dir/pkg", "==1"] {
        assert!(Requirements::of_text(line, "r.txt").is_err(), "{line}");
    }
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
    let read = find(dir.path(), "", Some("requirements/production.txt")).unwrap();
    assert_eq!(texts(&read.list), ["Django", "gunicorn"]);
    assert_eq!(read.list[0].at, "requirements/base.txt:1");
    assert_eq!(texts(&read.constraints), ["Django<6"]);
    write("requirements/base.txt", "Django\n-r gone.txt\n");
    let missing = find(dir.path(), "", Some("requirements/production.txt")).unwrap_err();
    insta::assert_snapshot!(missing, @"requirements/base.txt:2: the file `gone.txt` is not there");
    write("requirements/base.txt", "-r production.txt\n");
    assert!(matches!(find(dir.path(), "", Some("requirements/production.txt")), Err(Error::Circle(_))));
}

#[test]
fn the_list_beside_manage_py_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("site")).unwrap();
    std::fs::write(dir.path().join("pyproject.toml"), "[project]\ndependencies = [\"Django>=5\"]").unwrap();
    assert_eq!(texts(&find(dir.path(), "site", None).unwrap().list), ["Django>=5"]);
    std::fs::write(dir.path().join("site/requirements.txt"), "Django==5.2").unwrap();
    assert_eq!(find(dir.path(), "site", None).unwrap().file, "site/requirements.txt");
}

#[test]
fn no_list_says_where_it_was_searched() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(&find(dir.path(), "site", None).unwrap_err()), @"the project lists no dependencies: looked for `site/requirements.txt`, `site/pyproject.toml`, `requirements.txt`, `pyproject.toml`");
    std::fs::write(dir.path().join("pyproject.toml"), "[project]\ndynamic = [\"dependencies\"]").unwrap();
    insta::assert_snapshot!(told(&find(dir.path(), "", None).unwrap_err()), @"`pyproject.toml` has no `[project] dependencies`: they are declared `dynamic`");
}

#[test]
fn hashes_on_some_only_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("requirements.txt"), "a==1 --hash=sha256:aa\nb==2\n").unwrap();
    insta::assert_snapshot!(told(&find(dir.path(), "", None).unwrap_err()), @"requirements.txt:2: `b==2` has no hash, but others in `requirements.txt` have one");
}

#[test]
fn names_are_compared_as_the_index_does() {
    assert_eq!(normalise("Foo.Bar__baz"), "foo-bar-baz");
}
