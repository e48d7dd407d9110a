//! Starts a release by the configured command, which is told what to start through its environment.
//!
//! | variable | value |
//! |---|---|
//! | `PANNIER_APP` | the app's name |
//! | `PANNIER_VERSION` | the version to start |
//! | `PANNIER_ROOT` | the app's root |
//! | `PANNIER_RELEASE` | the release's own folder, every link resolved |
//! | `PATH` | the system folders only |
//!
//! `HOME`, `USER` and `LOGNAME` where a `user` is configured, and what the configured `env_file` holds. The command runs as
//! that user, in the release's folder. It must end once the old processes are gone and the new ones are started, or the
//! health check would still meet the old ones. Start processes from `PANNIER_RELEASE`, not through `current`: `current`
//! moves under them with the next switch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id::{AppName, Version};
use pannier_shared::sys::account::Account;
use pannier_shared::sys::{fs, process};

use crate::identity;
use crate::layout::Root;

/// Where programs are looked for, whatever the caller's own `PATH` is.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A restart that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command failed.
    #[error("the restart command failed")]
    Command(#[from] process::Error),
    /// The environment file cannot be read.
    #[error("the app's environment file cannot be used")]
    Env(#[from] fs::Error),
    /// It cannot run as the configured user.
    #[error("the restart command cannot run as the app's user")]
    User(#[from] identity::Error),
    /// A line of the environment file is not `NAME=VALUE`. The line itself may be a secret and is not shown.
    #[error("line {line} of `{}` is not NAME=VALUE", .path.display())]
    EnvLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl Error {
    /// Whether the command began at all. If not, the processes are as they were, and what is at fault is the
    /// configuration or the machine, not the release.
    pub fn had_begun(&self) -> bool {
        match self {
            Error::Command(process::Error::NotStarted { .. }) => false,
            Error::User(_) | Error::Env(_) | Error::EnvLine { .. } => false,
            Error::Command(process::Error::Failed { .. } | process::Error::TooSlow { .. }) => true,
        }
    }

    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::User(error) => error.hint(),
            _ => None,
        }
    }
}

/// How an app is started again.
#[derive(Debug, Clone)]
pub struct Restart {
    /// The program and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// `NAME=VALUE` lines for its environment.
    pub env_file: Option<PathBuf>,
    /// Whom it runs as; who runs this, when not given.
    pub user: Option<String>,
}

impl Restart {
    /// Whom the command itself runs as. `systemctl` starts nothing: it asks the service manager to, which takes that from
    /// root alone, and the unit says as whom.
    pub fn account(&self) -> Result<Option<Account>, identity::Error> {
        identity::of(self.user.as_deref().filter(|_| !self.asks_systemd()))
    }

    /// Whether the command is `systemctl`.
    pub fn asks_systemd(&self) -> bool {
        self.command.first().is_some_and(|program| program.rsplit('/').next() == Some("systemctl"))
    }
}

/// Starts `version` by the command.
pub fn restart(how: &Restart, app: &AppName, version: &Version, root: &Root) -> Result<(), Error> {
    let release = root.release(version);
    let Some((program, arguments)) = how.command.split_first() else { return Ok(()) };
    let mut command = process::program(program);
    command.args(arguments).current_dir(&release).env("PATH", PATH);
    if let Some(path) = &how.env_file {
        command.envs(variables_of(path)?);
    }
    let account = how.account()?;
    command.envs(account.iter().flat_map(identity::variables));
    command.env("PANNIER_APP", app.as_str()).env("PANNIER_VERSION", version.as_str());
    command.env("PANNIER_ROOT", root.path()).env("PANNIER_RELEASE", &release);
    Ok(process::run_logged_as(account.as_ref(), &mut command, how.timeout, &root.restart_log())?)
}

/// The variables of the environment file at `path`: `NAME=VALUE` lines, empty lines and `#` comments; a value may stand in one
/// pair of quotes. The same files work as systemd's `EnvironmentFile` and in `sh`, as long as nothing is expanded.
pub fn variables_of(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let text = fs::read_text(path, 1 << 20)?;
    let mut found = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = || Error::EnvLine { path: path.to_owned(), line: at + 1 };
        let (name, value) = line.split_once('=').ok_or_else(bad)?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(bad());
        }
        found.push((name.to_owned(), unquoted(value).to_owned()));
    }
    Ok(found)
}

fn unquoted(value: &str) -> &str {
    let inside = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests lay out roots by hand")]

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn run(script: &str, env: Option<&str>) -> (Result<(), Error>, String) {
        run_as(None, script, env)
    }

    fn run_as(user: Option<&str>, script: &str, env: Option<&str>) -> (Result<(), Error>, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        let version = "v1".parse().unwrap();
        std::fs::create_dir(root.release(&version)).unwrap();
        let env_file = env.map(|text| {
            let path = dir.path().join("env");
            std::fs::write(&path, text).unwrap();
            path
        });
        let command = vec!["sh".into(), "-c".into(), script.into()];
        let how = Restart { command, timeout: Duration::from_secs(20), env_file, user: user.map(str::to_owned) };
        let result = restart(&how, &"polls".parse().unwrap(), &version, &root);
        let printed = std::fs::read_to_string(root.restart_log()).unwrap_or_default();
        (result, printed.replace(root.path().to_str().unwrap(), "ROOT"))
    }

    #[test]
    fn the_command_is_told_what_to_start_and_nothing_else() {
        let (result, printed) = run("env | grep -v ^_= | sort", Some("# keys\nSECRET_KEY=\"a b\"\n\nDEBUG=0\n"));
        result.unwrap();
        insta::assert_snapshot!(printed, @"
        DEBUG=0
        PANNIER_APP=polls
        PANNIER_RELEASE=ROOT/releases/v1
        PANNIER_ROOT=ROOT
        PANNIER_VERSION=v1
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PWD=ROOT/releases/v1
        SECRET_KEY=a b
        ");
    }

    #[test]
    fn as_another_user_it_has_that_users_rights_and_no_way_to_more() {
        if process::user() != 0 {
            return; // Only root can become another user.
        }
        let script = "id -u; id -G; echo $USER $LOGNAME; grep NoNewPrivs /proc/self/status; \
            touch version.txt new ../new ../../.pannier/new || echo refused";
        let (result, printed) = run_as(Some("nobody"), script, None);
        result.unwrap();
        let nobody = Account::named("nobody").unwrap().unwrap();
        let groups: Vec<String> = nobody.groups.iter().map(u32::to_string).collect();
        let expected = format!("{}\n{}\nnobody nobody\nNoNewPrivs:\t1\n", nobody.uid, groups.join(" "));
        assert!(printed.starts_with(&expected) && printed.ends_with("refused\n"), "{printed}");
        assert_eq!(printed.matches("Permission denied").count(), 4, "{printed}");
        let (result, printed) = run("id -u", None);
        result.unwrap();
        assert_eq!(printed, "0\n", "this program and its threads are who they were");
    }

    #[test]
    fn systemctl_runs_as_who_runs_this() {
        let how = |program: &str| Restart {
            command: vec![program.to_owned(), "restart".to_owned(), "polls".to_owned()],
            timeout: Duration::from_secs(1),
            env_file: None,
            user: Some("no-such-user".to_owned()),
        };
        assert_eq!(how("systemctl").account().unwrap(), None);
        assert_eq!(how("/usr/bin/systemctl").account().unwrap(), None);
        assert!(how("gunicorn").account().is_err());
    }

    #[test]
    fn a_failure_shows_what_was_printed() {
        let (result, _) = run("echo no such unit >&2; exit 5", None);
        let Err(Error::Command(error)) = result else { panic!("{result:?}") };
        insta::assert_snapshot!(error, @"
        `sh -c echo no such unit >&2; exit 5` failed: exit status: 5
          | no such unit
        ");
    }

    #[test]
    fn a_broken_environment_file_is_named_by_line_and_not_shown() {
        let (result, _) = run("true", Some("A=1\nhunter2\n"));
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("line 2 of `") && !error.contains("hunter2"), "{error}");
    }
}
