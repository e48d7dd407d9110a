//! A real nginx, on a socket of the file system, with the recipe of docs/static.md for this root.
#![allow(dead_code, reason = "every test program uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the machine, and a browser")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An nginx that ends with the test.
pub struct Nginx {
    child: Child,
    dir: tempfile::TempDir,
}

/// What it answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Its status, and who may keep it.
    pub fn told(&self) -> String {
        format!("{} {}", self.status, self.header("cache-control").unwrap_or("-"))
    }
}

impl Nginx {
    pub fn start(root: &Path) -> Self {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/static.md")).unwrap();
        let recipe = docs.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
        let recipe = recipe.replace("/srv/polls", root.to_str().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
             types {{ text/css css; text/javascript js; }}\nserver {{ listen unix:{at}/socket;\n{recipe} }} }}\n"
        );
        std::fs::write(dir.path().join("conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(dir.path().join("log")).arg("-c").arg(dir.path().join("conf"));
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{error}; `scripts/need nginx` installs it"));
        let mut nginx = Self { child, dir };
        while UnixStream::connect(nginx.dir.path().join("socket")).is_err() {
            assert!(
                nginx.child.try_wait().unwrap().is_none(),
                "{:?}",
                std::fs::read_to_string(nginx.dir.path().join("log"))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    /// Asks as a browser does that takes gzip.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, "Accept-Encoding: gzip\r\n")
    }

    /// Asks with these header lines.
    pub fn get_with(&self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: site\r\n{headers}Connection: close\r\n\r\n");
        let mut stream = UnixStream::connect(self.dir.path().join("socket")).unwrap();
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
