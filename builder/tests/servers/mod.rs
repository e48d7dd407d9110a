//! A release put up as on a node, behind a real nginx or a real gunicorn, each on a socket of the file system.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::site;

/// How long a server may take to come up on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // gunicorn ends its worker on SIGTERM, which std cannot send; nginx has none.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Server {
    /// nginx with `gzip_static`, over the release's folder.
    pub fn nginx(release: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             types {{ text/css css; }}\nserver {{ listen unix:{at}/socket; root {}; location /static/ {{ gzip_static on; }} }} }}\n",
            release.display()
        );
        std::fs::write(dir.path().join("conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(dir.path().join("log")).arg("-c").arg(dir.path().join("conf"));
        Self::start(command, dir, "`scripts/need nginx` installs it")
    }

    /// gunicorn of the release, with the small site in it.
    pub fn gunicorn(release: &Path) -> Self {
        Self::gunicorn_in(release, Path::new("/nonexistent"))
    }

    /// The same, told that this is the app's root on the node.
    pub fn gunicorn_in(release: &Path, root: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(release.join("venv/bin/gunicorn"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir.path()).current_dir(release.join("app"));
        command.env("DJANGO_SETTINGS_MODULE", "mini.settings").env("PANNIER_ROOT", root);
        command.arg("--bind").arg(format!("unix:{}/socket", dir.path().display())).arg("mini.wsgi");
        Self::start(command, dir, "the release holds it")
    }

    fn start(mut command: Command, dir: tempfile::TempDir, hint: &str) -> Self {
        let log = std::fs::File::create(dir.path().join("printed")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {hint}"));
        let mut server = Self { child, dir };
        let end = Instant::now() + LIMIT;
        while UnixStream::connect(server.socket()).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {}", server.printed());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("printed")).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

/// What a server answered.
pub struct Answer {
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Asks a server as a browser does that takes these encodings.
pub fn get(server: &Server, path: &str, encodings: &str) -> Answer {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: site\r\nAccept-Encoding: {encodings}\r\nConnection: close\r\n\r\n");
    let (mut stream, mut answer) = (UnixStream::connect(server.socket()).unwrap(), Vec::new());
    let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    assert!(asked.is_ok(), "{asked:?}: {}", server.printed());
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    Answer { head: String::from_utf8_lossy(&answer[..end]).to_lowercase(), body: answer[end + 4..].to_vec() }
}

/// Unpacks the only release below `dist` with stock tools, and gives it the node's interpreter.
pub fn unpack(dist: &Path) -> PathBuf {
    let built = std::fs::read_dir(dist).unwrap().next().unwrap().unwrap().path();
    let release = dist.join("node");
    std::fs::create_dir(&release).unwrap();
    let tar = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(built.join("artifact.tar.zst"))
        .arg("-C")
        .arg(&release)
        .status();
    assert!(tar.unwrap().success());
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    std::os::unix::fs::symlink(python.trim(), release.join("venv/bin/python")).unwrap();
    release
}

/// A folder with the wheels of a hashed list, fetched from the package index by the first run.
pub fn wheels(list: &str) -> PathBuf {
    let folder = site::cache().join("serving");
    if !folder.exists() {
        let making = site::cache().join(format!("serving-{}", std::process::id()));
        std::fs::create_dir_all(&making).unwrap();
        std::fs::write(making.join("list.txt"), list).unwrap();
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", "list.txt"]);
        assert!(pip.current_dir(&making).status().unwrap().success());
        std::fs::rename(&making, &folder).unwrap();
    }
    folder
}
