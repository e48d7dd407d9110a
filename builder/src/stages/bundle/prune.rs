//! What of an interpreter a site never runs, and so is not packed.

/// Folders of the standard library that are left out wherever they lie: tests, and what others bring or make.
const FOLDERS: &[&str] = &[
    "test",
    "tests",
    "__pycache__",
    "site-packages",
    "dist-packages",
    "idlelib",
    "turtledemo",
    "tkinter",
    "ensurepip",
];

/// Modules in C that serve the interpreter's own tests, or a screen that a server has not.
const MODULES: &[&str] = &["_test", "_xxtestfuzz", "xxlimited", "xxsubtype", "_ctypes_test", "_tkinter"];

/// Modules in C that a server can do without. Where one needs a library that the interpreter does not bring, the module
/// is left out instead of the interpreter being refused: even python-build-standalone's `_crypt` is such.
const DISPENSABLE: &[&str] =
    &["_crypt", "_curses", "_curses_panel", "_dbm", "_gdbm", "nis", "ossaudiodev", "readline", "spwd"];

/// True of a path below `lib/python3.X` that is packed.
pub fn keeps(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let left_out = path.split('/').any(|part| FOLDERS.contains(&part) || part.starts_with("config-"));
    !left_out && name != "turtle.py" && !name.ends_with(".a") && !name.ends_with(".exe") && !is_test_module(path)
}

fn is_test_module(path: &str) -> bool {
    path.strip_prefix("lib-dynload/").is_some_and(|name| MODULES.iter().any(|start| name.starts_with(start)))
}

/// True of a module's file (below `lib/python3.X`) that can be left out.
pub fn is_dispensable(path: &str) -> bool {
    let module = path.strip_prefix("lib-dynload/").and_then(|name| name.split('.').next());
    module.is_some_and(|module| DISPENSABLE.contains(&module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_screens_and_leftovers_go() {
        for path in [
            "test/test_os.py",
            "unittest/test/x.py",
            "lib2to3/tests/x.py",
            "__pycache__/os.cpython-311.pyc",
            "config-3.11-x86_64-linux-gnu/libpython3.11.a",
            "turtle.py",
            "site-packages/pip/x.py",
            "lib-dynload/_testcapi.cpython-311-x86_64-linux-gnu.so",
            "lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so",
        ] {
            assert!(!keeps(path), "{path}");
        }
    }

    #[test]
    fn what_a_site_may_import_stays() {
        for path in ["os.py", "unittest/mock.py", "distutils/core.py", "pydoc_data/topics.py", "_testing.py"] {
            assert!(keeps(path), "{path}");
        }
        assert!(keeps("lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"));
    }

    #[test]
    fn a_server_needs_sqlite_but_no_line_editor() {
        assert!(is_dispensable("lib-dynload/readline.cpython-311-x86_64-linux-gnu.so"));
        assert!(is_dispensable("lib-dynload/_crypt.cpython-312-x86_64-linux-gnu.so"));
        assert!(!is_dispensable("lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so") && !is_dispensable("nis.py"));
    }
}
