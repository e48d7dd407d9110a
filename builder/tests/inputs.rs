//! Every file that can list dependencies, read by the real uv and pip, from a folder of packages that the tests make
//! themselves: what of it gets into the release.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod desk;
mod site;

use desk::index;
use desk::{
    ALL, Desk, POETRY, POETRY_PROJECT, PYLOCK, PYPROJECT, REQUIREMENTS, listed, pipenv_site, poetry_site, uv_site,
};

#[test]
fn requirements_with_hashes() {
    let desk = listed("requirements.txt", REQUIREMENTS);
    assert_eq!(desk.build(), ALL);
    assert!(!desk.said().contains("has no hashes"), "{}", desk.said());
}

#[test]
fn requirements_without_hashes_are_resolved_with_what_they_say_about_indexes() {
    let text = "--no-index\n--find-links ../links\nalpha\ntree>0.1\n./packages/inner\n";
    let desk = listed("requirements.txt", text);
    assert_eq!(desk.build(), ALL);
    assert!(desk.said().contains("`requirements.txt` has no hashes: resolved now"), "{}", desk.said());
    let pinned = Desk::new().with("requirements.txt", &desk.resolved());
    assert_eq!(pinned.build(), ALL, "{}", desk.resolved());
    assert!(!pinned.said().contains("has no hashes"), "{}", pinned.said());
}

#[test]
fn pyproject_toml_alone_with_an_extra_and_a_group() {
    let desk = listed("pyproject.toml", PYPROJECT);
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 tree-0.2");
    let desk = desk.with("pannier.toml", "extras = [\"X\"]\ngroups = [\"dev\"]\n");
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 devtool-3.0 opt-2.0 tree-0.2 worker-1.0");
}

#[test]
fn uv_lock() {
    let desk = uv_site();
    assert_eq!(desk.build(), ALL);
    let desk = desk.with("pannier.toml", "extras = [\"x\"]\ngroups = [\"workers\"]\n");
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 inner-0.3 opt-2.0 tree-0.2 worker-1.0");
}

#[test]
fn pylock_toml() {
    let desk = listed("pylock.toml", PYLOCK);
    assert_eq!(desk.build(), ALL);
    let desk = desk.with("pannier.toml", "extras = [\"x\"]\ngroups = [\"workers\"]\n");
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 inner-0.3 opt-2.0 tree-0.2 worker-1.0");
}

#[test]
fn poetry_lock() {
    let desk = poetry_site();
    assert_eq!(desk.build(), ALL);
    let desk = desk.with("pannier.toml", "extras = [\"x\"]\ngroups = [\"workers\"]\n");
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 inner-0.3 opt-2.0 tree-0.2 worker-1.0");
}

#[test]
fn pipfile_lock() {
    let desk = pipenv_site();
    assert_eq!(desk.build(), ALL);
    let desk = desk.with("pannier.toml", "groups = [\"workers\"]\n");
    assert_eq!(desk.build(), format!("{ALL} worker-1.0"));
}

#[test]
fn a_source_archive_is_built_once() {
    let desk = listed("requirements.txt", REQUIREMENTS);
    desk.build();
    let (archive, folder) = (desk.builds("tree"), desk.builds("inner"));
    assert!(archive > 0 && folder > 0);
    desk.build();
    assert_eq!((desk.builds("tree"), desk.builds("inner")), (archive, folder), "the cache was not used");
    desk.write("packages/inner/more.py", "");
    desk.build();
    assert!(desk.builds("inner") > folder, "the folder's content changed");
}

#[test]
fn a_commit_is_built_once_and_a_branch_becomes_a_commit() {
    let desk = Desk::new();
    let (url, commit) = desk.repository();
    let alpha = desk.fill("alpha==1.0 --hash=sha256:{alpha-1.0-py3-none-any.whl}\n");
    let desk = desk.with("requirements.txt", &format!("{alpha}inner @ {url}@{commit}\n"));
    assert_eq!(desk.build(), "alpha-1.0 inner-0.3");
    let builds = desk.builds("inner");
    assert!(
        builds > 0 && desk.said().contains(&format!("`inner-0.3-py3-none-any.whl` was built from commit {commit}"))
    );
    assert_eq!(
        (desk.build().as_str(), desk.builds("inner")),
        ("alpha-1.0 inner-0.3", builds),
        "the cache was not used"
    );
    let desk = desk.with("requirements.txt", &format!("alpha\ninner @ {url}@main\n"));
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 inner-0.3");
}

/// A project that takes its packages from a private index alone.
fn private(desk: Desk) -> Desk {
    let desk = desk.variable("PIP_FIND_LINKS", "/nowhere").variable("PIP_NO_INDEX", "0");
    desk.variable("INDEX_PASSWORD", "secret")
}

#[test]
fn a_private_index_of_a_requirements_file_with_its_password_in_a_variable() {
    let desk = private(Desk::new());
    let address = index::serve(desk.links());
    let line = format!("--index-url http://me:${{INDEX_PASSWORD}}@{address}/simple/\n");
    let beta = desk.fill("beta==1.5 --hash=sha256:{beta-1.5-py3-none-any.whl}\n");
    let desk = desk.with("requirements.txt", &(line.clone() + &beta));
    assert_eq!(desk.build(), "beta-1.5");
    let desk = desk.with("requirements.txt", &(line + "beta\n"));
    assert_eq!(desk.build(), "beta-1.5");
    assert!(!desk.resolved().contains("secret") && !desk.said().contains("secret"));
}

#[test]
fn a_private_source_of_poetry_with_its_login_in_variables() {
    let desk = private(Desk::new());
    let address = index::serve(desk.links());
    let desk = desk.variable("POETRY_HTTP_BASIC_OUR_OWN_USERNAME", "me");
    let desk = desk.variable("POETRY_HTTP_BASIC_OUR_OWN_PASSWORD", "secret");
    let source =
        format!("[package.source]\ntype = \"legacy\"\nurl = \"http://{address}/simple\"\nreference = \"our-own\"\n");
    let with_source = |line: &str| {
        let more = if line.starts_with("files = [{") { source.as_str() } else { "" };
        format!("{line}\n{more}")
    };
    let text: String = POETRY.lines().map(with_source).collect();
    let lock = desk.fill(&text);
    let desk = desk.with("pyproject.toml", POETRY_PROJECT).with("poetry.lock", &lock);
    assert_eq!(desk.build(), ALL);
}
