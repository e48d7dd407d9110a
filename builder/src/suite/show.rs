//! What each role of a suite would run now, and whether it could.

use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, RoleName, SuiteName, Target, Version};
use pannier_shared::published::{self, Published};
use pannier_shared::signature::Verified;
use pannier_shared::statement::suite::{Runs, in_order};
use pannier_shared::statement::{Statement, Suite};

/// A suite, and what it comes to.
#[derive(Debug)]
pub struct Shown {
    /// What it says.
    pub suite: Verified<Suite>,
    /// True when it should have been signed again by now.
    pub stale: bool,
    /// Its apps, by role, in the order in which they are brought back.
    pub apps: Vec<Seen>,
}

/// One app of one role.
#[derive(Debug)]
pub struct Seen {
    /// The role.
    pub role: RoleName,
    /// The app.
    pub app: AppName,
    /// Lower numbers come first.
    pub priority: u32,
    /// What it is to run.
    pub runs: Runs,
    /// What that is now, for each kind of machine, or why it is nothing.
    pub found: published::Result<Vec<Release>>,
}

/// A release that a node would fetch.
#[derive(Debug)]
pub struct Release {
    /// The kind of machine.
    pub target: Target,
    /// The version.
    pub version: Version,
    /// SHA-256 of its statement.
    pub statement: Digest,
    /// Size of its archive in bytes.
    pub size: u64,
}

impl Release {
    fn of((target, statement): (Target, Verified<Statement>)) -> Self {
        let (version, size) = (statement.release.version.clone(), statement.artifact.size);
        Self { target, version, statement: statement.digest(), size }
    }
}

/// Looks at a suite and at everything that it names.
pub async fn show(published: &Published<'_>, suite: &SuiteName) -> published::Result<Shown> {
    let suite = published.suite(suite).await?.document;
    let mut apps = Vec::new();
    for (role, members) in &suite.roles {
        for (app, member) in in_order(members) {
            let found = published.statements_of(app, &member.runs).await;
            let found = found.map(|found| found.into_iter().map(Release::of).collect());
            let (role, app, runs) = (role.clone(), app.clone(), member.runs.clone());
            apps.push(Seen { role, app, priority: member.priority, runs, found });
        }
    }
    Ok(Shown { stale: suite.not_after < published.now, suite, apps })
}
