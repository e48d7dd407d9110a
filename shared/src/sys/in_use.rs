//! Who uses what lies below a folder: each process's program, working directory, root, open files and mappings as `/proc`
//! tells them, and what is mounted there.
//!
//! Paths are compared, because two releases may share one file. So a process that has the folder under another path (a
//! container into which it is mounted) is not found; it can hold the folder's lock instead (see `lock::try_folder`).
//! Another user's process shows nothing to an ordinary one: it is given as unseen, and may use anything. Kernel threads and
//! processes that ended use nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::fs::{Result, failed, list};

/// The bit of a process's flags that says it is a thread of the kernel (`PF_KTHREAD` in proc_pid_stat(5)).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What uses something below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who: "gunicorn (4711)", or "a mount".
    pub who: String,
    /// How: "runs it", "works in it".
    pub how: &'static str,
    /// What, below the folder.
    pub path: PathBuf,
}

/// All uses of what lies below a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Those found: for each process the first of each entry of the folder.
    pub uses: Vec<Use>,
    /// Processes that cannot be looked at: "postgres (4711)".
    pub unseen: Vec<String>,
}

impl InUse {
    /// The first use of an entry of the folder.
    pub fn of(&self, name: &OsStr) -> Option<&Use> {
        self.uses.iter().find(|found| found.path.components().next().is_some_and(|first| first.as_os_str() == name))
    }

    /// The processes that use an entry of the folder: "gunicorn (4711)".
    pub fn users(&self, name: &OsStr) -> Vec<&str> {
        let is_of = |found: &&Use| found.path.components().next().is_some_and(|first| first.as_os_str() == name);
        self.uses.iter().filter(is_of).map(|found| found.who.as_str()).collect()
    }
}

/// Looks at every process but this one, and at every mount. `folder` must be absolute, with every link resolved.
pub fn below(folder: &Path) -> Result<InUse> {
    let mut found = InUse::default();
    for point in mounts(folder)? {
        found.add("a mount", "lies in it", &point, folder);
    }
    let names = list(Path::new("/proc"))?;
    let numbers: Vec<u32> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    if !numbers.contains(&1) {
        // `/proc` is mounted with `hidepid`: whose processes there are besides ours is not shown at all.
        found.unseen.push("processes that /proc hides".to_owned());
    }
    for number in numbers.into_iter().filter(|number| *number != std::process::id()) {
        found.add_process(number, folder);
    }
    Ok(found)
}

/// Where something is mounted at or below a folder. The folder must be absolute, with every link resolved.
pub fn mounts(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read(path).map_err(failed("read", path))?;
    let points = text.split(|byte| *byte == b'\n').filter_map(mount_point);
    Ok(points.filter(|point| point.starts_with(folder)).collect())
}

impl InUse {
    fn add_process(&mut self, number: u32, folder: &Path) {
        let process = PathBuf::from(format!("/proc/{number}"));
        let who = || format!("{} ({number})", name(&process));
        match paths(&process) {
            Ok(paths) => paths.iter().for_each(|(how, path)| self.add(&who(), how, path, folder)),
            Err(error) if is_gone(&error) || !can_use_files(&process) => {}
            Err(_) => self.unseen.push(who()),
        }
    }

    /// Adds a use if it is below the folder, and the first of its entry.
    fn add(&mut self, who: &str, how: &'static str, path: &Path, folder: &Path) {
        let Ok(path) = path.strip_prefix(folder) else { return };
        let Some(entry) = path.components().next() else { return };
        let is_known = self.uses.iter().any(|known| known.who == who && known.path.starts_with(entry.as_os_str()));
        if !is_known {
            self.uses.push(Use { who: who.to_owned(), how, path: path.to_owned() });
        }
    }
}

/// All paths that a process has something to do with.
fn paths(process: &Path) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let mut found = Vec::new();
    for (name, how) in [("exe", "runs it"), ("cwd", "works in it"), ("root", "has its root in it")] {
        found.extend(link(&process.join(name))?.map(|path| (how, path)));
    }
    for entry in std::fs::read_dir(process.join("fd"))? {
        found.extend(link(&entry?.path())?.map(|path| ("has it open", path)));
    }
    let maps = std::fs::read(process.join("maps"))?;
    let mapped = maps.split(|byte| *byte == b'\n').filter_map(|line| {
        // Nothing before the path has a slash.
        let start = line.iter().position(|byte| *byte == b'/')?;
        Some(("has it mapped", PathBuf::from(OsStr::from_bytes(&line[start..]))))
    });
    found.extend(mapped);
    Ok(found)
}

/// Where a link of a process leads; kernel threads have links that lead nowhere, and files are closed meanwhile.
fn link(path: &Path) -> io::Result<Option<PathBuf>> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
}

/// False for a thread of the kernel, and for a process that ended and is only waited for.
fn can_use_files(process: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    // The name before it may hold anything.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return true };
    let fields: Vec<&str> = rest.split(' ').collect();
    let is_kernels = fields.get(6).and_then(|flags| flags.parse::<u64>().ok()).is_some_and(|f| f & KERNEL_THREAD != 0);
    !is_kernels && !matches!(fields.first(), Some(&("Z" | "X")))
}

fn name(process: &Path) -> String {
    let name = std::fs::read(process.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The fifth field of a line of mountinfo, in which `\040` stands for a space.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let code = field.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|_| *byte == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                at += 4;
            }
            None => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    Some(OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// A script that runs until it is dropped, and has said that it is ready.
    struct Running(Child);

    impl Running {
        fn start(script: &str, folder: &Path) -> Self {
            let script = format!("{script}\necho ready\nread -r end");
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            Self(child)
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn folders() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        for name in ["a", "b", "ab"] {
            std::fs::create_dir(folder.join(name)).unwrap();
            std::fs::write(folder.join(name).join("file"), "x").unwrap();
        }
        (dir, folder)
    }

    #[test]
    fn who_works_in_a_folder_or_has_a_file_of_it_open_uses_it() {
        let (_dir, folder) = folders();
        let works = Running::start("true", &folder.join("a"));
        let opens = Running::start("exec 9< ab/file; rm ab/file", &folder);
        let found = below(&folder).unwrap();
        let said = |name: &str| found.of(OsStr::new(name)).map(|found| (found.who.clone(), found.how));
        let pid = |running: &Running| format!("sh ({})", running.0.id());
        assert_eq!(said("a"), Some((pid(&works), "works in it")));
        assert_eq!(said("ab"), Some((pid(&opens), "has it open")));
        assert_eq!((said("b"), said("file")), (None, None));
        assert_eq!(found.users(OsStr::new("a")), [pid(&works)]);
        drop((works, opens));
        assert_eq!(below(&folder).unwrap().uses, []);
    }

    #[test]
    fn a_running_program_and_a_mapped_file_are_found() {
        let (_dir, folder) = folders();
        std::fs::copy("/bin/sh", folder.join("b/program")).unwrap();
        let mut command = Command::new(folder.join("b/program"));
        let child = command.args(["-c", "read -r end"]).stdin(Stdio::piped()).spawn().unwrap();
        let running = Running(child);
        let process = PathBuf::from(format!("/proc/{}", running.0.id()));
        // It may have been started and not mapped yet.
        let look = |_| {
            std::thread::sleep(Duration::from_millis(2));
            let all = paths(&process).unwrap().into_iter();
            all.filter(|(_, path)| path.starts_with(&folder)).map(|(how, _)| how).collect::<Vec<_>>()
        };
        let mut looks = (0..2000).map(look);
        assert!(looks.any(|how| how.contains(&"runs it") && how.contains(&"has it mapped")));
        assert_eq!(below(&folder).unwrap().of(OsStr::new("b")).unwrap().how, "runs it");
    }

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = br"36 35 98:0 / /srv/a\040b\134c rw,noatime shared:1 - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some("/srv/a b\\c".into()));
        assert_eq!(mount_point(b""), None);
    }

    #[test]
    fn this_machines_kernel_threads_use_nothing() {
        assert!(can_use_files(Path::new("/proc/self")));
        assert!(!can_use_files(Path::new("/proc/none")));
    }
}
