//! A suite as a person writes it:
//!
//! ```toml
//! suite = "production"
//!
//! [roles.web.polls]                 # [roles.ROLE.APP]
//! channel = "production"            # or version = "2026.1": this one, whatever channels say
//! priority = 10                     # lower numbers come back first; 100 when not given
//! root = "/srv/polls"               # and all else that `[apps.polls]` of a node's configuration may say
//! user = "polls"
//! restart = "systemd"
//! listen = { web = "127.0.0.1:8000" }
//! env_file = "/etc/polls.env"       # the path; what is in it never stands in a suite
//! health = { url = "http://127.0.0.1:8000/healthz" }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pannier_shared::id::{AppName, ChannelName, RoleName, SuiteName, Version};
use pannier_shared::statement::suite::{Member, OnNode, Role, Runs, Start};
use pannier_shared::sys::fs;
use serde::Deserialize;
use toml::Table;

/// The priority of an app that says none.
const PRIORITY: u32 = 100;

/// The most bytes a suite's file may have: that of the signed document, and it is shorter.
const LIMIT: u64 = 256 * 1024;

/// A suite as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub suite: SuiteName,
    /// What a node of each role runs.
    pub roles: BTreeMap<RoleName, Role>,
}

/// A file that is no suite.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("the suite's file cannot be read")]
    Fs(#[from] fs::Error),
    /// It is not of the form.
    #[error("{} is not a suite: {why}", .file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    suite: SuiteName,
    roles: BTreeMap<RoleName, BTreeMap<AppName, Table>>,
}

impl Written {
    /// Reads a suite's file.
    pub fn read(file: &Path) -> Result<Self, BadFile> {
        let text = fs::read_text(file, LIMIT)?;
        Self::parse(&text).map_err(|why| BadFile::Form { file: file.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let File { suite, roles } = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut read = BTreeMap::new();
        for (role, apps) in roles {
            let at = |app: &AppName, why: String| format!("`roles.{role}.{app}`: {why}");
            let member = |(app, table): (AppName, Table)| match member(table) {
                Ok(member) => Ok((app, member)),
                Err(why) => Err(at(&app, why)),
            };
            let members = apps.into_iter().map(member).collect::<Result<Role, String>>()?;
            if let Some(why) = clash(&members) {
                return Err(format!("`roles.{role}`: {why}"));
            }
            read.insert(role, members);
        }
        if read.values().all(BTreeMap::is_empty) {
            return Err("no role of it runs an app".to_owned());
        }
        Ok(Self { suite, roles: read })
    }
}

fn member(mut table: Table) -> Result<Member, String> {
    let runs = match (take::<ChannelName>(&mut table, "channel")?, take::<Version>(&mut table, "version")?) {
        (Some(channel), None) => Runs::Channel(channel),
        (None, Some(version)) => Runs::Version(version),
        (None, None) => return Err("it needs a `channel` or a `version`".to_owned()),
        (Some(_), Some(_)) => return Err("it has both a `channel` and a `version`".to_owned()),
    };
    let priority = take(&mut table, "priority")?.unwrap_or(PRIORITY);
    let node: OnNode = table.try_into().map_err(|error| one_line(&error))?;
    check(&node)?;
    Ok(Member { runs, priority, node })
}

fn take<T: for<'de> Deserialize<'de>>(table: &mut Table, key: &str) -> Result<Option<T>, String> {
    let Some(value) = table.remove(key) else { return Ok(None) };
    value.try_into().map(Some).map_err(|error| format!("`{key}`: {}", one_line(&error)))
}

/// What can be said without a node: paths, and the one word that `restart` may be.
fn check(node: &OnNode) -> Result<(), String> {
    for (key, path) in
        [("root", &node.root), ("units", &node.units), ("python", &node.python), ("env_file", &node.env_file)]
    {
        if path.as_ref().is_some_and(|path| !Path::new(path).is_absolute()) {
            return Err(format!("`{key}`: it must be an absolute path"));
        }
    }
    match &node.restart {
        Some(Start::By(word)) if word != "systemd" => {
            Err("`restart`: it must be \"systemd\" or a command as a list of texts".to_owned())
        }
        _ => Ok(()),
    }
}

/// Two apps of a node cannot share a root.
fn clash(role: &Role) -> Option<String> {
    let mut roots: BTreeMap<&str, &AppName> = BTreeMap::new();
    role.iter().find_map(|(app, member)| {
        let root = member.node.root.as_deref()?;
        let other = roots.insert(root, app)?;
        Some(format!("`{other}` and `{app}` have the same root `{root}`"))
    })
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Written::parse(text).unwrap_err()
    }

    fn web(keys: &str) -> String {
        format!("suite = \"s\"\n[roles.web.polls]\n{keys}")
    }

    #[test]
    fn a_suite_is_read_with_all_that_a_node_may_be_told() {
        let text = web(r#"
            channel = "production"
            priority = 3
            root = "/srv/p"
            restart = ["systemctl", "restart", "p"]
            restart_timeout = "5m"
            python = "/usr/bin/python3"
            rehash = "weekly"
            env_file = "/etc/p.env"
            user = "p"
            keep = 3
            keep_failed = 1
            unseen = "may-use"
            migrate = { environment = "eu", lease = "none", timeout = "2h", pending = "ignore" }
            health = { url = "http://127.0.0.1:8000/", status = 204, headers = { X-A = "b" } }
        "#);
        let written = Written::parse(&text).unwrap();
        let member = &written.roles[&"web".parse().unwrap()][&"polls".parse().unwrap()];
        assert_eq!((member.priority, member.runs.to_string().as_str()), (3, "@production"));
        assert_eq!(member.node.health.as_ref().unwrap().status, Some(204));
        let plain = Written::parse(&web("version = \"v1\"")).unwrap();
        assert_eq!(plain.roles[&"web".parse().unwrap()][&"polls".parse().unwrap()].priority, PRIORITY);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        insta::assert_snapshot!(refused("suite = \"s\"\n[roles.web]"), @"no role of it runs an app");
        insta::assert_snapshot!(refused(&web("root = \"/srv/p\"")), @"`roles.web.polls`: it needs a `channel` or a `version`");
        insta::assert_snapshot!(refused(&web("channel = \"a\"\nversion = \"b\"")), @"`roles.web.polls`: it has both a `channel` and a `version`");
        insta::assert_snapshot!(refused(&web("channel = \"A\"")), @"`roles.web.polls`: `channel`: `A` is not a valid channel name: only lower-case letters, digits and `-` are allowed");
        insta::assert_snapshot!(refused(&web("channel = \"a\"\nroot = \"srv\"")), @"`roles.web.polls`: `root`: it must be an absolute path");
        insta::assert_snapshot!(refused(&web("channel = \"a\"\nrestart = \"upstart\"")), @r#"`roles.web.polls`: `restart`: it must be "systemd" or a command as a list of texts"#);
        let two = "suite = \"s\"\n[roles.web.a]\nchannel=\"c\"\nroot=\"/srv/x\"\n[roles.web.b]\nchannel=\"c\"\nroot=\"/srv/x\"";
        insta::assert_snapshot!(refused(two), @"`roles.web`: `a` and `b` have the same root `/srv/x`");
        let unknown = refused(&web("channel = \"a\"\nrestrat = \"systemd\""));
        assert!(unknown.starts_with("`roles.web.polls`: unknown field `restrat`, expected one of `root`"), "{unknown}");
    }
}
