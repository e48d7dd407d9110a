//! The same release twice, through the real program: another folder, user, umask, language, time zone, host name, number
//! of cores, order of files, and clock, all at once. What was built is then unpacked in two places and looked at there.
//!
//! What is varied is proven to differ by a program that runs in each place with nothing of our environment.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(clippy::print_stderr, reason = "what a machine cannot vary is said")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod interpreters;
mod site;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pannier_shared::digest::Digest;
use walkdir::WalkDir;

/// Somebody who may do nothing.
const NOBODY: u32 = 65534;

/// Where releases get their interpreter from, and what the build is told so.
const ORIGINS: [(&str, &str); 2] = [("system", "../python/bin/python3"), ("bundled", "bundled:../python")];

/// Says each thing that is varied on a line of its own; the numbers of files that a folder lists tell their order.
const LOOK: &str = "
import os, socket, subprocess, sys, time
print('folder', os.getcwd())
print('user', os.getuid())
mask = os.umask(0); os.umask(mask)
print('umask', oct(mask))
print('language', os.environ['LC_ALL'])
print('zone', os.environ['TZ'], time.localtime().tm_gmtoff)
print('host', socket.gethostname())
print('cores', len(os.sched_getaffinity(0)))
print('order', ' '.join(os.listdir('project/many')))
clock = [sys.executable, '-c', 'import time; print(int(time.time() / 864000))']
print('clock', subprocess.run(clock, env={}, capture_output=True, text=True, check=True).stdout.strip())
";

/// What the project shares: of it only the folder above the uploads is in the release.
const SHARED: &str = "[shared]\nfolders = [\"media\", \"var/uploads\"]\nfiles = [\"mini/local.py\"]\n";

/// Everything a build needs, in one folder that can be copied.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir };
        open_to_all(bench.dir.path());
        let files = bench.files();
        for (path, text) in site::files() {
            write(&files.join("project").join(path), text.as_bytes());
        }
        for number in 0..20 {
            write(&files.join(format!("project/many/{number}")), b"");
        }
        write(&files.join("project/pannier.toml"), SHARED.as_bytes());
        write(&files.join("project/media/.gitkeep"), b"");
        let uv = interpreters::uv();
        for (from, to) in [(interpreters::relocatable(), "python"), (site::wheels(), "links"), (uv, "uv")] {
            let copied = Command::new("cp").arg("-rL").arg(from).arg(files.join(to)).status().unwrap();
            assert!(copied.success());
        }
        std::fs::copy(env!("CARGO_BIN_EXE_pannier"), bench.program()).unwrap();
        let mut keys = Command::new(bench.program());
        keys.args(["--quiet", "keys", "new", "ci", "--for", "release", "--dir"]).arg(&files);
        assert!(keys.output().unwrap().status.success());
        bench
    }

    /// What each place gets a copy of.
    fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("pannier")
    }

    /// Has a shell look around and build with both kinds of interpreters, in the folder it is started in.
    fn script(&self) -> String {
        let build = |(name, python): (&str, &str)| {
            let program = self.program().display().to_string();
            format!(
                "'{program}' --quiet build project --app mini --version v1 --key ci --python {python} --out dist/{name} >&2\n"
            )
        };
        format!("set -e; mkdir dist; python/bin/python3 -c \"$LOOK\" >dist/look\n{}", ORIGINS.map(build).concat())
    }

    /// Builds in a place of the usual kind; gives its folder of releases.
    fn here(&self) -> PathBuf {
        let place = self.dir.path().join("here");
        let copied = Command::new("cp").arg("-r").arg(self.files()).arg(&place).status().unwrap();
        assert!(copied.success());
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("umask 022; {}", self.script())).current_dir(&place);
        run(shell.env_clear().envs(variables(&place, "C", "UTC")));
        place.join("dist")
    }

    /// Builds in a place where all else differs; gives its folder of releases.
    fn elsewhere(&self, clock: &Path) -> PathBuf {
        let (place, back) = (self.dir.path().join("some where/else"), self.dir.path().join("back"));
        std::fs::create_dir_all(&place).unwrap();
        std::fs::create_dir(&back).unwrap();
        let mut enter = other_machine();
        enter.arg("sh").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/elsewhere/enter.sh"));
        enter.args([&self.files(), &place, &back]).arg(other_user()).arg(clock).args(["sh", "-c", &self.script()]);
        run(enter.env_clear().envs(variables(&place, "tr_TR.UTF-8", "Asia/Kathmandu")));
        back
    }
}

fn variables(place: &Path, language: &str, zone: &str) -> Vec<(&'static str, String)> {
    let below = |path: &str| place.join(path).display().to_string();
    vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", below("home")),
        ("XDG_CACHE_HOME", below("cache")),
        ("PANNIER_UV", below("uv")),
        ("PIP_NO_INDEX", "1".to_owned()),
        // pip splits it at spaces, and one of the places has one.
        ("PIP_FIND_LINKS", "links".to_owned()),
        ("LC_ALL", language.to_owned()),
        ("TZ", zone.to_owned()),
        ("LOOK", LOOK.to_owned()),
    ]
}

/// A program in namespaces of its own for mounts and the host name. Who is not root becomes it in a third.
fn other_machine() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--uts", "--mount"]);
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare
}

/// Root can be somebody else; who is not root was made to seem to be, which is another user, too.
fn other_user() -> String {
    if is_root() { NOBODY.to_string() } else { String::new() }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn can_be_elsewhere() -> bool {
    let mut tried = other_machine();
    tried.args(["sh", "-c", "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w && hostname elsewhere && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w overlay /etc"]);
    tried.output().is_ok_and(|done| done.status.success())
}

/// The library that gives every program another clock. It is not called `.so`, or the build would find, as it should, that
/// the interpreter it packs loads what is not in the release.
fn other_clock(dir: &Path) -> PathBuf {
    let library = dir.join("clock");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/elsewhere/clock.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(made.success());
    open_to_all(&library);
    library
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The one release below a folder.
fn release(dist: &Path) -> PathBuf {
    let mut found = std::fs::read_dir(dist).unwrap().map(|entry| entry.unwrap().path());
    let release = found.next().expect("there is a release");
    assert!(found.next().is_none(), "only one");
    release
}

fn unpack(release: &Path, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    run(Command::new("tar").args(["--zstd", "-xf"]).arg(release.join("artifact.tar.zst")).arg("-C").arg(into));
}

/// The first path, in byte order, that is not the same file, link or folder in both.
fn first_difference(one: &Path, two: &Path) -> Option<PathBuf> {
    let all: BTreeSet<PathBuf> = [one, two].into_iter().flat_map(paths).collect();
    all.into_iter().find(|path| kept(&one.join(path)) != kept(&two.join(path)))
}

fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let entries = WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    entries.map(|entry| entry.path().strip_prefix(root).unwrap().to_owned()).collect()
}

/// What an archive keeps of an entry: kind and mode, and content; None where there is nothing.
fn kept(path: &Path) -> Option<(u32, Vec<u8>)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.mode(), content(path)))
}

fn content(path: &Path) -> Vec<u8> {
    let meta = std::fs::symlink_metadata(path).unwrap();
    if meta.is_symlink() {
        std::fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else if meta.is_file() {
        std::fs::read(path).unwrap()
    } else {
        Vec::new()
    }
}

#[test]
fn a_release_is_the_same_wherever_whenever_and_by_whom_it_is_built() {
    let bench = Bench::new();
    if !can_be_elsewhere() {
        eprintln!("skipped: no namespaces for mounts and host names here, so nothing else can be varied in one run");
        return;
    }
    let clock = other_clock(bench.dir.path());
    let (here, elsewhere) = std::thread::scope(|scope| {
        let elsewhere = scope.spawn(|| bench.elsewhere(&clock));
        (bench.here(), elsewhere.join().unwrap())
    });
    everything_was_varied(&here, &elsewhere);
    for (origin, _) in ORIGINS {
        let releases = [&here, &elsewhere].map(|dist| release(&dist.join(origin)));
        let unpacked = [("one", 0), ("two/deeper in", 1)].map(|(name, at)| {
            let place = bench.dir.path().join(origin).join(name);
            unpack(&releases[at], &place);
            place
        });
        same(&releases, &unpacked);
        for tree in &unpacked {
            let is_there = ["app/var", "app/var/uploads", "app/media"].map(|path| tree.join(path).exists());
            assert_eq!(is_there, [true, false, false]);
            names_nowhere(tree, bench.dir.path());
            lives_in(tree, &bench.files().join("python/bin/python3"));
        }
    }
}

fn everything_was_varied(here: &Path, elsewhere: &Path) {
    let look = |dist: &Path| std::fs::read_to_string(dist.join("look")).unwrap();
    let (here, elsewhere) = (look(here), look(elsewhere));
    assert_eq!(here.lines().count(), 9, "{here}");
    for (one, two) in here.lines().zip(elsewhere.lines()) {
        if one == "cores 1" {
            eprintln!("not varied: this machine has one core");
        } else {
            assert_ne!(one, two);
        }
    }
}

/// Both releases are the same to the byte; else the first file that is not is named.
fn same(releases: &[PathBuf; 2], trees: &[PathBuf; 2]) {
    let [one, two] = trees;
    assert_eq!(
        first_difference(one, two),
        None,
        "the first file that differs between `{}` and `{}`",
        one.display(),
        two.display()
    );
    let [one, two] = releases;
    assert_eq!(paths(one), paths(two));
    let differs = |path: &PathBuf| content(&one.join(path)) != content(&two.join(path));
    assert_eq!(paths(one).into_iter().find(differs), None, "the same tree, but not the same of this");
    let artifact = Digest::of(&content(&one.join("artifact.tar.zst")));
    let statement = String::from_utf8(content(&one.join("release.json"))).unwrap();
    assert!(statement.contains(&artifact.to_string()), "{statement}");
}

/// No file below `root`, binary ones included, has the path in it, and no link leads there.
fn names_nowhere(root: &Path, path: &Path) {
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--fixed-strings", "--text", "--files-with-matches"]).arg(path).arg(root);
    let found = String::from_utf8(grep.output().unwrap().stdout).unwrap();
    assert_eq!(found, "", "files name the folder they were built in");
    let links = paths(root).into_iter().filter(|path| root.join(path).is_symlink());
    let leading: Vec<PathBuf> = links.filter(|link| root.join(link).read_link().unwrap().is_absolute()).collect();
    assert!(leading.is_empty(), "{leading:?}");
}

/// Read-only and run by somebody else, it finds all that it is made of in itself, and writes nothing.
fn lives_in(tree: &Path, node: &Path) {
    let python = tree.join("venv/bin/python");
    let bundled = python.exists();
    if !bundled {
        symlink(node, &python).unwrap();
    }
    let before = paths(tree);
    set_modes(tree, 0o444);
    let said = look_at_prefixes(tree, &python);
    let node = std::fs::canonicalize(node.parent().unwrap().parent().unwrap()).unwrap();
    assert!(said.lines().count() > 10, "{said}");
    for place in said.lines() {
        let inside = Path::new(place).starts_with(std::fs::canonicalize(tree).unwrap());
        assert!(inside || (!bundled && Path::new(place).starts_with(&node)), "`{place}` is not in {}", tree.display());
    }
    assert_eq!(paths(tree), before, "something was written");
    set_modes(tree, 0o644);
}

fn look_at_prefixes(tree: &Path, python: &Path) -> String {
    let look = "import os, sys, sysconfig, django, mini.settings, mini.wsgi, mini.urls, email, http.server\n\
                import django; django.setup()\n\
                places = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, django.__file__, mini.settings.__file__]\n\
                places += [*filter(None, sys.path), sysconfig.get_paths()['purelib'], mini.settings.__cached__]\n\
                print('\\n'.join(map(os.path.realpath, places)))";
    let mut command = Command::new(python);
    command.env_clear().env("DJANGO_SETTINGS_MODULE", "mini.settings").current_dir(tree.join("app")).args(["-c", look]);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Gives files the mode, less what makes programs, and folders and programs the right to be entered or run.
fn set_modes(tree: &Path, files: u32) {
    for entry in WalkDir::new(tree).into_iter().map(Result::unwrap).filter(|entry| !entry.path_is_symlink()) {
        let mode = if entry.metadata().unwrap().mode() & 0o111 == 0 { files } else { files | 0o111 };
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
#[should_panic(expected = "files name the folder")]
fn a_file_that_names_its_folder_is_found() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a/b"), format!("\0{}/x", dir.path().display()).as_bytes());
    names_nowhere(dir.path(), dir.path());
}

#[test]
fn what_differs_first_is_named() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        write(&dir.path().join("a/b"), b"same");
        write(&dir.path().join("c"), b"same");
    }
    assert_eq!(first_difference(one.path(), two.path()), None);
    write(&two.path().join("d"), b"more");
    assert_eq!(first_difference(one.path(), two.path()).unwrap(), Path::new("d"));
    open_to_all(&one.path().join("c"));
    assert_eq!(first_difference(one.path(), two.path()).unwrap(), Path::new("c"));
    write(&two.path().join("a/b"), b"else");
    assert_eq!(first_difference(one.path(), two.path()).unwrap(), Path::new("a/b"));
}
