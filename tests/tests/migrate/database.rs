//! Databases for the tests: a PostgreSQL of their own, reached through a socket, and files of SQLite.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where a site's data lie, and how a person looks at them.
pub enum Database {
    /// A server of PostgreSQL, with one database for each name.
    Postgres(Postgres),
    /// A folder of files.
    Sqlite(tempfile::TempDir),
}

/// A server that ends with the test.
pub struct Postgres {
    folder: tempfile::TempDir,
    bin: PathBuf,
}

impl Postgres {
    /// Starts one of the machine's own; Debian's does not run as root.
    pub fn start() -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed (scripts/need initdb)");
        let bin = versions.map(|entry| entry.unwrap().path().join("bin")).find(|bin| bin.join("initdb").exists());
        let server = Self { folder: tempfile::tempdir_in("/tmp").unwrap(), bin: bin.unwrap() };
        server.open_to_all();
        let data = server.path("data");
        server.run("initdb", &["-D", &data, "-U", "polls", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        let options = format!("-c listen_addresses= -c fsync=off -k {}", server.folder.path().display());
        let log = server.path("log");
        server.run("pg_ctl", &["-D", &data, "-l", &log, "-o", &options, "-w", "start"]);
        server
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(self.folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let is_root = String::from_utf8_lossy(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
        let mut command = Command::new(if is_root { Path::new("runuser") } else { &program });
        if is_root {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        // A server that is started keeps its starter's streams: they must not be pipes.
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
        let done = command.status().unwrap();
        let said = std::fs::read_to_string(log.path()).unwrap();
        assert!(done.success(), "{program}: {said}");
        said
    }

    fn asked(&self, program: &str, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-h", self.folder.path().to_str().unwrap(), "-U", "polls", "-d", name]).args(arguments);
        said(command.output().unwrap())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.path("data");
        let _ = self.command("pg_ctl").args(["-D", &data, "-m", "immediate", "-w", "stop"]).output();
        // What belongs to another user, only that one can remove, if this one is not root.
        let _ = self.command("rm").args(["-rf", &data]).output();
    }
}

fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Database {
    /// A folder for files of SQLite.
    pub fn sqlite() -> Self {
        Database::Sqlite(tempfile::tempdir().unwrap())
    }

    /// Makes a new database; gives the variables that a site finds it by.
    pub fn make(&self, name: &str) -> String {
        match self {
            Database::Postgres(server) => {
                server.asked("psql", "postgres", &["-qc", &format!("CREATE DATABASE {name}")]);
                let host = server.folder.path().display();
                format!("DATABASE_ENGINE=postgresql\nDATABASE_NAME={name}\nDATABASE_HOST={host}\n")
            }
            Database::Sqlite(folder) => {
                format!("DATABASE_ENGINE=sqlite3\nDATABASE_NAME={}\n", folder.path().join(name).display())
            }
        }
    }

    /// What a query gives, a line for each row.
    pub fn query(&self, name: &str, sql: &str) -> String {
        match self {
            Database::Postgres(server) => server.asked("psql", name, &["-qAtc", sql]),
            Database::Sqlite(folder) => {
                let text = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None).execute(sys.argv[2]): print('|'.join(map(str, row)))";
                let file = folder.path().join(name);
                said(Command::new("python3").args(["-c", text]).arg(file).arg(sql).output().unwrap())
            }
        }
    }

    /// The schema as text: the same for the same tables, whatever way they came about. Names of constraints that Django
    /// makes up and the order of columns can differ, so columns, constraints and indexes are listed by what they are.
    pub fn schema(&self, name: &str) -> Vec<String> {
        let sql = match self {
            Database::Postgres(_) => {
                "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || \
                 coalesce(character_maximum_length::text, '') || ' ' || is_nullable || ' ' || coalesce(column_default, '') \
                 FROM information_schema.columns WHERE table_schema = 'public' \
                 UNION ALL SELECT 'index ' || tablename || ' ' || indexdef FROM pg_indexes WHERE schemaname = 'public' \
                 UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid) \
                 FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
            }
            Database::Sqlite(_) => {
                "SELECT 'column ' || m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || \
                 coalesce(c.dflt_value, '') || ' ' || c.pk FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
                 UNION ALL SELECT 'index ' || tbl_name || ' ' || sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
                 UNION ALL SELECT 'constraint ' || m.name || ' ' || f.\"table\" || ' ' || f.\"from\" || ' ' || f.\"to\" \
                 FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'"
            }
        };
        let mut lines: Vec<String> = self.query(name, sql).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}
