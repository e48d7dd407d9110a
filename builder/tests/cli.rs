//! The program as a person meets it: bad input is answered with one clear error, its exit status says what is true, and
//! nothing is left behind. Nothing here needs the package index.
#![allow(clippy::disallowed_methods, reason = "tests start the program and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

/// A folder to type commands in, with a key, a trust file, an empty store and a project.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let made = desk.run(&["keys", "new", "ci", "--for", "release,channel"]);
        std::fs::write(desk.path("trust"), made.split_once("stdout:\n").unwrap().1).unwrap();
        std::fs::create_dir(desk.path("store")).unwrap();
        desk.write("site/manage.py", "");
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// What a command says and ends with, the desk's own path made the same. Progress is not talked about.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.0.path());
        command.current_dir(self.0.path()).args(["--quiet"]).args(arguments);
        let done = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let stdout = if stdout.is_empty() { String::new() } else { format!("stdout:\n{stdout}") };
        let real = std::fs::canonicalize(self.0.path()).unwrap();
        format!("exit {}\n{stderr}{stdout}", done.status.code().unwrap()).replace(real.to_str().unwrap(), "/DESK")
    }

    fn build(&self, more: &[&str]) -> String {
        let told = self.run(&[&["build", "site", "--app", "polls", "--version", "v1", "--key", "ci"], more].concat());
        assert!(std::fs::read_dir(self.path("dist")).map_or(0, Iterator::count) == 0, "something is left: {told}");
        told
    }

    /// Has git track the project as it is.
    fn commit(&self) {
        for arguments in [&["init", "--quiet"][..], &["add", "--all", "--force"], &["commit", "--quiet", "-m", "x"]] {
            let mut git = Command::new("git");
            git.env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .arg("-C")
                .arg(self.path("site"));
            git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
            assert!(git.status().unwrap().success(), "{arguments:?}");
        }
    }

    fn with_store(&self, arguments: &[&str]) -> String {
        let store = format!("file://{}", self.path("store").display());
        self.run(&[arguments, &["--store", &store, "--trust", "trust"]].concat())
    }
}

#[test]
fn no_manage_py() {
    let desk = Desk::new();
    std::fs::remove_file(desk.path("site/manage.py")).unwrap();
    assert_snapshot!(desk.build(&[]), @r#"
    exit 3
    error: failed to take the app's files
      caused by: there is no manage.py in `/DESK/site`: looked at its top and two folders deep, in every folder not on the ignore list

    hint: run `pannier build` with the folder of the Django project, or name the file with `manage = "PATH"` in pannier.toml
    "#);
}

#[test]
fn two_manage_py() {
    let desk = Desk::new();
    desk.write("site/other/manage.py", "");
    assert_snapshot!(desk.build(&[]), @r#"
    exit 2
    error: failed to take the app's files
      caused by: there are 2 manage.py: `manage.py` and `other/manage.py`

    hint: say which one in pannier.toml: `manage = "manage.py"`
    "#);
}

#[test]
fn a_link_out_of_the_tree() {
    let desk = Desk::new();
    std::os::unix::fs::symlink("/etc", desk.path("site/settings")).unwrap();
    assert_snapshot!(desk.build(&[]), @r#"
    exit 5
    error: failed to take the app's files
      caused by: the symlink `settings` leads out of the project, to `/etc`

    hint: put a copy in its place, or leave it out in pannier.toml: `exclude = ["settings"]`
    "#);
}

#[test]
fn a_tracked_secret() {
    let desk = Desk::new();
    desk.write("site/tls.pem", "-----BEGIN PRIVATE KEY-----\n");
    assert_snapshot!(desk.build(&[]), @r#"
    exit 5
    error: failed to take the app's files
      caused by: a file would be packed that must not be in a release:
      tls.pem: a private key

    hint: leave it out in pannier.toml with `exclude = ["tls.pem"]`, or, where it belongs there, pack it with `allow = ["tls.pem"]`
    "#);
}

#[test]
fn a_secret_that_git_tracks_and_a_pattern_that_matches_nothing() {
    let desk = Desk::new();
    desk.write("site/.env.production", "SECRET_KEY=x\n");
    desk.write("site/db", "SQLite format 3\0");
    desk.commit();
    assert_snapshot!(desk.build(&["--exclude", ".env.prod"]), @r#"
    exit 5
    warning: `.env.prod`, configured in `exclude`, matches no file of the project
    error: failed to take the app's files
      caused by: 2 files would be packed that must not be in a release:
      .env.production: an environment file
      db: an SQLite database

    hint: leave it out in pannier.toml with `exclude = [".env.production"]`, or, where it belongs there, pack it with `allow = [".env.production"]`
    "#);
}

#[test]
fn a_file_that_is_too_large() {
    let desk = Desk::new();
    desk.write("site/film.mp4", &"x".repeat(1024 * 1024 + 1));
    assert_snapshot!(desk.build(&["--largest-file", "1"]), @r#"
    exit 5
    error: failed to take the app's files
      caused by: a file would be packed that must not be in a release:
      film.mp4: 2 MiB, where 1 MiB is the most (`largest_file`)

    hint: leave it out in pannier.toml with `exclude = ["film.mp4"]`, or, where it belongs there, pack it with `allow = ["film.mp4"]`
    "#);
}

#[test]
fn a_release_from_a_working_tree_that_is_not_its_commit() {
    let desk = Desk::new();
    assert_snapshot!(desk.build(&["--release"]), @r"
    exit 5
    error: failed to take the app's files
      caused by: `/DESK/site` is not the working tree of a commit, and a release has to be

    hint: commit the project, or build without `--release`
    ");
    desk.commit();
    desk.write("site/manage.py", "changed");
    assert_snapshot!(desk.build(&["--release"]), @r"
    exit 5
    warning: tracked files differ from the commit: the release says `dirty`
    error: failed to take the app's files
      caused by: a tracked file differs from the commit, and a release has to be built from one:
      manage.py

    hint: `git commit` or `git stash`, or build without `--release`
    ");
}

#[test]
fn no_project() {
    assert_snapshot!(Desk::new().run(&["build", "gone", "--app", "a", "--version", "v1", "--key", "ci"]), @r#"
    exit 3
    error: `gone` is not a folder

    hint: run `pannier build` with the folder of the Django project
    "#);
}

#[test]
fn no_project_and_no_app_name() {
    assert!(Desk::new().run(&["build", "gone", "--version", "v1", "--key", "ci"]).contains("`gone` is not a folder"));
}

#[test]
fn no_app_name() {
    assert_snapshot!(Desk::new().run(&["build", "site", "--version", "v1", "--key", "ci"]), @r#"
    exit 2
    error: the app has no name

    hint: give it with `--app NAME`, or `app = "NAME"` in pannier.toml
    "#);
}

#[test]
fn a_misspelt_setting() {
    let desk = Desk::new();
    desk.write("site/pannier.toml", "setting = \"x\"\n");
    assert_snapshot!(desk.build(&[]), @r#"
    exit 2
    error: `pannier.toml` has the key `setting`, which Pannier does not know; did you mean `settings`?
    "#);
}

#[test]
fn no_such_interpreter() {
    assert_snapshot!(Desk::new().build(&["--python", "3.99"]), @r#"
    exit 3
    error: failed to ask the interpreter what it is
      caused by: the interpreter `python3.99` cannot be asked what it is
      caused by: failed to start `python3.99 -c`
      caused by: No such file or directory (os error 2)

    hint: name another one with `--python` or `python = "..."` in pannier.toml: a path, a command or a version
    "#);
}

#[test]
fn no_such_key() {
    assert_snapshot!(Desk::new().run(&["build", "site", "--app", "a", "--version", "v1", "--key", "gone"]), @r#"
    exit 3
    error: failed to open `gone`
      caused by: No such file or directory (os error 2)

    hint: make one with `pannier keys new NAME --for release,channel`
    "#);
}

#[test]
fn a_key_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    std::fs::set_permissions(desk.path("ci"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_snapshot!(desk.build(&[]), @r#"
    exit 5
    error: the key `ci` can be read by others (mode 0644): take their access away with `chmod 600 ci`
    "#);
}

#[test]
fn an_output_folder_that_cannot_be_made() {
    let desk = Desk::new();
    desk.write("dist", "a file");
    let told = desk.run(&["build", "site", "--app", "a", "--version", "v1", "--key", "ci"]);
    assert!(told.starts_with("exit 8\n"), "{told}");
}

#[test]
fn nothing_built() {
    assert_snapshot!(Desk::new().with_store(&["publish"]), @r#"
    exit 3
    error: there is no built release in `dist`

    hint: run `pannier build` first, or name the folder that it made
    "#);
}

#[test]
fn an_unknown_app() {
    assert_snapshot!(Desk::new().with_store(&["releases", "polls"]), @r#"
    exit 3
    error: the app `polls` has no release in the store file:///DESK/store
    "#);
}

#[test]
fn an_unknown_version() {
    let told = Desk::new().with_store(&["promote", "polls", "v9", "--to", "production", "--key", "ci"]);
    assert_snapshot!(told, @r#"
    exit 3
    error: the app `polls` has no release in the store file:///DESK/store
    "#);
}

#[test]
fn a_store_that_is_not_there() {
    let told = Desk::new().run(&["releases", "polls", "--store", "file:///nowhere/store", "--trust", "trust"]);
    assert_snapshot!(told, @r#"
    exit 7
    error: the store file:///nowhere/store is unavailable: there is no such folder

    hint: check the address and the network, then type it again
    "#);
}

#[test]
fn a_store_that_cannot_be_written_to() {
    let desk = Desk::new();
    desk.write("built/release.json", "");
    let place = ["--store", "https://releases.example/polls", "--trust", "trust"];
    assert_snapshot!(desk.run(&[&["publish", "built"], &place[..]].concat()), @r#"
    exit 2
    error: the store cannot be opened
      caused by: the store https://releases.example/polls cannot be written to

    hint: a web server is only read from, and by name: use the address `s3://` or `file://` of the store
    "#);
    assert!(desk.run(&[&["releases", "polls"], &place[..]].concat()).starts_with("exit 2\n"));
}

#[test]
fn no_store() {
    assert_snapshot!(Desk::new().run(&["releases", "polls", "--trust", "trust"]), @r#"
    exit 2
    error: no store is named

    hint: name it with `--store`, `PANNIER_STORE`, or `store` in pannier.toml
    "#);
}

#[test]
fn a_store_that_is_no_location() {
    assert_snapshot!(Desk::new().run(&["releases", "polls", "--store", "/srv/store", "--trust", "trust"]), @r#"
    exit 2
    error: the store cannot be opened
      caused by: `/srv/store` is not a store location: for a directory write `file:///srv/store`
    "#);
}

#[test]
fn no_trusted_key() {
    let desk = Desk::new();
    desk.write("trust", "# nobody\n");
    assert_snapshot!(desk.with_store(&["releases", "polls"]), @r#"
    exit 2
    error: the trusted keys cannot be read
      caused by: the trust file `trust` names no key: put the line that `pannier keys new` printed into it

    hint: put the line that `pannier keys new` printed into a file and name it with `--trust`
    "#);
}

#[test]
fn an_error_for_a_machine_is_one_line_of_json() {
    let told = Desk::new().run(&["--json", "build", "gone", "--app", "a", "--version", "v1", "--key", "ci"]);
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("{\"event\":\"error\",\"exit\":3,"), "{told}");
}

#[test]
fn a_command_line_that_is_not_understood_is_json_too() {
    let told = Desk::new().run(&["--json", "keys", "new", "x", "--for", "relase"]);
    assert_snapshot!(told, @r#"
    exit 2
    stdout:
    {"event":"schema","version":1,"program":"pannier 0.1.0"}
    {"event":"error","exit":2,"message":"invalid value 'relase' for '--for <ROLE>': `relase` is nothing a key can be for: expected `release`, `channel`, `suite` or `rollout`","causes":[],"serving":null,"hints":["try `--help`"]}
    "#);
}

#[test]
fn keys_are_shown_and_never_overwritten() {
    let desk = Desk::new();
    assert!(desk.run(&["keys", "show", "ci.pub"]).starts_with("exit 0\nstdout:\nSHA256:"));
    let told = desk.run(&["keys", "new", "ci", "--for", "release"]);
    assert!(told.starts_with("exit 8\n") && told.contains("File exists"), "{told}");
    assert!(Path::new(&desk.path("ci")).exists());
}
