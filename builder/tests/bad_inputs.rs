//! Lists of dependencies with something wrong in them, given to the program: what it says, where, and what to type.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod desk;
mod site;

use desk::{
    Desk, PIPFILE_LOCK, POETRY, POETRY_PROJECT, PYLOCK, PYPROJECT, UV_PROJECT, listed, pipenv_site, poetry_site,
    uv_site,
};
use insta::assert_snapshot;

/// A list of one requirement with the hash of the file.
fn one(requirement: &str, file: &str) -> Desk {
    listed("requirements.txt", &format!("{requirement} --hash=sha256:{{{file}}}\n"))
}

#[test]
fn two_lock_files() {
    let desk = Desk::new().with("uv.lock", "").with("Pipfile.lock", "");
    assert_snapshot!(desk.refused(), @r#"
    exit 2
    error: failed to fetch the dependencies as wheels
      caused by: the project has 2 lock files: `uv.lock`, `Pipfile.lock`

    hint: say which one counts in pannier.toml: `requirements = "uv.lock"`
    "#);
}

#[test]
fn uv_lock_is_older_than_the_project() {
    let desk = uv_site();
    let changed = PYPROJECT.replace("\"tree\"]", "\"opt\"]") + UV_PROJECT;
    assert_snapshot!(desk.with("pyproject.toml", &changed).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `uv.lock` does not fit `pyproject.toml`: the dependencies were changed after it was written
      caused by: `uv lock --check --quiet` failed: exit status: 1
      | error: The lockfile at `uv.lock` needs to be updated, but `--check` was provided.
      | 
      | hint: To update the lockfile, run `uv lock`.

    hint: run `uv lock` and commit the result
    ");
}

#[test]
fn poetry_lock_is_older_than_the_project() {
    let desk = poetry_site().with("pyproject.toml", &POETRY_PROJECT.replace("\"alpha\"", "\"alpha\", \"beta\""));
    assert_snapshot!(desk.refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `poetry.lock` does not fit `pyproject.toml`: the dependencies were changed after it was written

    hint: run `poetry lock` and commit the result
    ");
}

#[test]
fn pipfile_lock_is_older_than_the_project() {
    assert_snapshot!(pipenv_site().with("Pipfile", "[packages]\nalpha = \"==2\"\n").refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `Pipfile.lock` does not fit `Pipfile`: the dependencies were changed after it was written

    hint: run `pipenv lock` and commit the result
    ");
}

#[test]
fn locks_of_other_versions() {
    let told = |file: &str, text: &str| Desk::new().with(file, text).refused();
    assert_snapshot!(told("uv.lock", "version = 2\n"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `uv.lock` is of version 2; this Pannier reads 1

    hint: write it anew: `uv lock`
    ");
    assert_snapshot!(told("pylock.toml", "lock-version = \"2.0\"\n"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `pylock.toml` is of version 2.0; this Pannier reads 1.0

    hint: write it anew: `uv export --format pylock.toml --output-file pylock.toml`
    ");
    assert_snapshot!(told("poetry.lock", "[metadata]\nlock-version = \"2.0\"\ncontent-hash = \"\"\n"), @r#"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `poetry.lock` is of version 2.0; this Pannier reads 2.1 (Poetry 2)

    hint: write it anew with Poetry 2, which keeps its versions: `poetry lock`; or, with Poetry 1, `poetry export --output requirements.txt` beside `poetry.lock`, and `requirements = "requirements.txt"` in pannier.toml
    "#);
    assert_snapshot!(told("Pipfile.lock", "{\"_meta\": {\"pipfile-spec\": 7}}"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `Pipfile.lock` is of version 7; this Pannier reads 6

    hint: write it anew: `pipenv lock`
    ");
}

#[test]
fn locks_that_are_none() {
    let told = |file: &str, text: &str| Desk::new().with(file, text).refused();
    assert_snapshot!(told("pylock.toml", "lock-version = \"1.0\"\n[[packages]]\nversion = 1\n"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `pylock.toml` is not valid
      caused by: TOML parse error at line 3, column 11
      |
    3 | version = 1
      |           ^
    invalid type: integer `1`, expected a string
    ");
    assert_snapshot!(told("Pipfile.lock", "{"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `Pipfile.lock` is not valid
      caused by: EOF while parsing an object at line 1 column 1
    ");
    assert_snapshot!(told("poetry.lock", "<<<<<<< HEAD\n"), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `poetry.lock` is not valid
      caused by: TOML parse error at line 1, column 9
      |
    1 | <<<<<<< HEAD
      |         ^
    key with no value, expected `=`
    ");
}

#[test]
fn a_wheel_with_other_bytes() {
    let desk = one("alpha==1.0", "beta-1.5-py3-none-any.whl");
    assert_snapshot!(desk.refused(), @r"
    exit 4
    error: failed to fetch the dependencies as wheels
      caused by: `alpha==1.0` is not the file that the lock names: expected sha256 {beta-1.5-py3-none-any.whl}, found {alpha-1.0-py3-none-any.whl}

    hint: find out why the package index gives other bytes; if the hashes are what is wrong, write the lock anew
    ");
}

#[test]
fn a_file_of_the_project_with_other_bytes() {
    let desk = listed("pylock.toml", PYLOCK);
    std::fs::create_dir(desk.project("vendor")).unwrap();
    std::fs::copy(desk.links().join("alpha-1.0-py3-none-any.whl"), desk.project("vendor/alpha-1.0-py3-none-any.whl"))
        .unwrap();
    let text = "lock-version = \"1.0\"\n[[packages]]\nname = \"alpha\"\nversion = \"1.0\"\narchive = { path = \"vendor/alpha-1.0-py3-none-any.whl\", hashes = { sha256 = \"00aa\" } }\n";
    assert_snapshot!(desk.with("pylock.toml", text).refused(), @r"
    exit 4
    error: failed to fetch the dependencies as wheels
      caused by: `alpha-1.0-py3-none-any.whl` is not the file that the lock names: expected sha256 00aa, found {alpha-1.0-py3-none-any.whl}

    hint: find out why the package index gives other bytes; if the hashes are what is wrong, write the lock anew
    ");
}

#[test]
fn no_wheel_for_the_interpreter() {
    let text = "lock-version = \"1.0\"\n[[packages]]\nname = \"foreign\"\nversion = \"1.0\"\nindex = \"https://pypi.org/simple\"\nwheels = [{ name = \"foreign-1.0-cp39-cp39-win32.whl\", url = \"https://pypi.org/f\", hashes = { sha256 = \"{foreign-1.0-cp39-cp39-win32.whl}\" } }]\n";
    assert_snapshot!(listed("pylock.toml", text).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: pylock.toml: foreign: foreign 1.0 has no wheel for Python 3.X on MACHINE-linux-gnu and no source archive; it has `foreign-1.0-cp39-cp39-win32.whl`

    hint: build with an interpreter that there is a wheel for: `--python 3.X`, or lock another version
    ");
    assert_snapshot!(one("foreign==1.0", "foreign-1.0-cp39-cp39-win32.whl").refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt: foreign==1.0 has no wheel for Python 3.X on MACHINE-linux-gnu and no source archive; it has `foreign-1.0-cp39-cp39-win32.whl`

    hint: build with an interpreter that there is a wheel for: `--python 3.X`, or lock another version
    ");
}

#[test]
fn a_version_that_is_not_there() {
    assert_snapshot!(one("beta==9", "beta-1.5-py3-none-any.whl").refused(), @r"
    exit 3
    error: failed to fetch the dependencies as wheels
      caused by: no package index has a file of `beta==9`, named by `requirements.txt`, that this interpreter can use; there is 1.5

    hint: see what there is with `pip index versions beta`; another index is named as for pip: `PIP_EXTRA_INDEX_URL`, `PIP_FIND_LINKS`
    ");
}

#[test]
fn no_compiler_for_a_source_archive() {
    assert_snapshot!(one("broken==1.0", "broken-1.0.tar.gz").refused(), @r"
    exit 9
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt: no wheel could be built of broken-1.0.tar.gz
      | building 'broken._speed' extension
      | error: command '/nowhere/cc' failed: No such file or directory

    hint: install a compiler (`apt-get install build-essential python3-dev`), or lock a version that has a wheel
    ");
}

#[test]
fn editable_installs() {
    assert_snapshot!(listed("requirements.txt", "alpha\n-e ./packages/inner\n").refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:2: `-e ./packages/inner` is an editable install: a link to files that are not on the node

    hint: name the folder without `-e` (`editable`, `develop`), as in `./packages/name`: a wheel is built of it
    ");
    let lock = PYLOCK.replace("path = \"packages/inner\"", "path = \"packages/inner\", editable = true");
    assert_snapshot!(listed("pylock.toml", &lock).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: pylock.toml: inner: `packages/inner` is an editable install: a link to files that are not on the node

    hint: name the folder without `-e` (`editable`, `develop`), as in `./packages/name`: a wheel is built of it
    ");
    let desk = poetry_site();
    let lock = desk.fill(&POETRY.replace("develop = false", "develop = true"));
    assert_snapshot!(desk.with("poetry.lock", &lock).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: poetry.lock: inner: `packages/inner` is an editable install: a link to files that are not on the node

    hint: name the folder without `-e` (`editable`, `develop`), as in `./packages/name`: a wheel is built of it
    ");
    let desk = pipenv_site();
    let lock = desk.fill(&PIPFILE_LOCK.replace("{\"path\"", "{\"editable\": true, \"path\""));
    assert_snapshot!(desk.with("Pipfile.lock", &lock).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: Pipfile.lock: inner: `inner` is an editable install: a link to files that are not on the node

    hint: name the folder without `-e` (`editable`, `develop`), as in `./packages/name`: a wheel is built of it
    ");
}

#[test]
fn a_path_out_of_the_project_and_a_commit_that_is_none() {
    let desk = listed("requirements.txt", "alpha==1.0 --hash=sha256:{alpha-1.0-py3-none-any.whl}\n../links\n");
    assert_snapshot!(desk.refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:2: `../links` lies outside of the project, so no commit of the project holds it

    hint: move it into the project, or depend on a released version or on a git commit
    ");
    let line = "alpha==1.0 --hash=sha256:{alpha-1.0-py3-none-any.whl}\nx @ git+https://example.org/x.git@main\n";
    assert_snapshot!(listed("requirements.txt", line).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:2: `git+https://example.org/x.git@main` names no commit, so it can be something else tomorrow

    hint: pin it to the whole commit id: `git+https://HOST/REPOSITORY@COMMIT`
    ");
}

#[test]
fn a_list_without_hashes_that_names_what_is_not_there() {
    assert_snapshot!(listed("requirements.txt", "alpha\n./packages/gone\n").refused(), @r"
    exit 3
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:2: `./packages/gone` is not there
    ");
    assert_snapshot!(listed("requirements.txt", "alpha\nnothing-of-that-name\n").refused(), @r"
    exit 9
    error: failed to fetch the dependencies as wheels
      caused by: the requirements in `requirements.txt` do not resolve for Python 3.X
      caused by: `uv pip compile --no-index` failed: exit status: 1
      | error: No solution found when resolving dependencies
      |   cause: Because nothing-of-that-name was not found in the provided package locations and you require nothing-of-that-name, we can conclude that your requirements are unsatisfiable.

    hint: change the requirements, or build with another interpreter: `--python 3.X`
    ");
}

#[test]
fn an_extra_or_a_group_that_is_not_there() {
    let desk = listed("pylock.toml", PYLOCK).with("pannier.toml", "groups = [\"prod\"]\n");
    assert_snapshot!(desk.refused(), @r"
    exit 2
    error: failed to fetch the dependencies as wheels
      caused by: `pylock.toml` has no group `prod`; it has `workers`, `dev`

    hint: correct `groups` in pannier.toml, or `--group`
    ");
    let desk = pipenv_site().with("pannier.toml", "extras = [\"x\"]\n");
    assert_snapshot!(desk.refused(), @r"
    exit 2
    error: failed to fetch the dependencies as wheels
      caused by: `Pipfile.lock` has no extra `x`, and no other either

    hint: correct `extras` in pannier.toml, or `--extra`
    ");
    let desk = uv_site().with("pannier.toml", "groups = [\"prod\"]\n");
    assert_snapshot!(desk.refused(), @r"
    exit 9
    error: failed to fetch the dependencies as wheels
      caused by: uv cannot export `uv.lock`
      caused by: `uv export --quiet --frozen` failed: exit status: 2
      | error: Group `prod` is not defined in the project's `dependency-groups` table

    hint: try it by hand, in the folder of the lock: `uv export --frozen`
    ");
}

#[test]
fn a_lock_for_another_python() {
    let desk = listed("pylock.toml", &PYLOCK.replace(">=3.11", ">=3.10,<3.11"));
    assert_snapshot!(desk.refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `pylock.toml` is for Python >=3.10,<3.11, and the release's interpreter is 3.X

    hint: build with an interpreter that fits: `--python 3.X`, or lock for this one
    ");
}

#[test]
fn a_variable_in_the_address_of_an_index() {
    let desk = listed("requirements.txt", "-i https://${INDEX_TOKEN}@i.example/simple\nalpha\n");
    assert_snapshot!(desk.refused(), @r"
    exit 2
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:1: the address of a package index has `${INDEX_TOKEN}` in it, and that variable is not set

    hint: `export INDEX_TOKEN=...`
    ");
}

#[test]
fn a_source_that_only_a_lock_can_pin() {
    let text = PYPROJECT.to_owned() + "[tool.uv.sources]\nalpha = { git = \"https://example.org/alpha.git\" }\n";
    assert_snapshot!(listed("pyproject.toml", &text).refused(), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: `pyproject.toml` takes `alpha` from a place of its own (`[tool.uv.sources]`), and there is no uv.lock

    hint: run `uv lock` and commit uv.lock
    ");
}
