//! As whom an app's own commands run: the configured `user`, when the activator may become that.
//!
//! An activator that runs as root keeps what it makes (releases, records, the journal) for itself, and lets nothing of the
//! app run with its rights. One that runs as the app's user has nothing to give up. As anybody else it cannot become the
//! user, and says so before it begins.

use std::ffi::OsStr;

use pannier_shared::sys::account::Account;
use pannier_shared::sys::{fs, process};

use crate::layout::User;

/// A user whom commands cannot run as.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("the machine has no user `{0}`")]
    Unknown(String),
    /// Only root can become it.
    #[error("the app's commands are to run as `{user}`, but this runs as {us}, who cannot become that")]
    NotRoot {
        /// The configured user.
        user: String,
        /// Who we are.
        us: User,
    },
    /// The users of the machine cannot be read.
    #[error("the users of the machine cannot be read")]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Unknown(user) => Some(format!(
                "make it (`useradd --system --shell /usr/sbin/nologin {user}`), or name another `user` in the app's configuration; only /etc/passwd is looked into"
            )),
            Error::NotRoot { user, .. } => {
                Some(format!("run the activator as root or as `{user}`, or take `user` out of the app's configuration"))
            }
            Error::Fs(_) => None,
        }
    }
}

/// Whom an app's commands run as; none when no `user` is configured: then as who runs the activator.
pub fn of(user: Option<&str>) -> Result<Option<Account>, Error> {
    let Some(user) = user else { return Ok(None) };
    let account = Account::named(user)?.ok_or_else(|| Error::Unknown(user.to_owned()))?;
    match process::user() {
        us if us == 0 || us == account.uid => Ok(Some(account)),
        us => Err(Error::NotRoot { user: user.to_owned(), us: User(us) }),
    }
}

/// Like [`of`], for whom to give things to: who cannot become the user can give it nothing either, and what needs it says so.
pub fn owner(user: Option<&str>) -> Result<Option<Account>, Error> {
    match of(user) {
        Err(Error::NotRoot { .. }) => Ok(None),
        other => other,
    }
}

/// The variables that tell a command whom it runs as.
pub fn variables(account: &Account) -> [(&'static str, &OsStr); 3] {
    let Account { name, home, .. } = account;
    [("USER", name.as_ref()), ("LOGNAME", name.as_ref()), ("HOME", home.as_os_str())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_configured_is_nobody_else() {
        assert_eq!(of(None).unwrap(), None);
    }

    #[test]
    fn a_user_that_is_not_there_is_named() {
        let error = of(Some("pools")).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.hint().unwrap()), @"
        the machine has no user `pools`
        make it (`useradd --system --shell /usr/sbin/nologin pools`), or name another `user` in the app's configuration; only /etc/passwd is looked into
        ");
    }

    #[test]
    fn only_root_becomes_another() {
        let error = Error::NotRoot { user: "polls".to_owned(), us: User(0) };
        insta::assert_snapshot!(format!("{error}\n{}", error.hint().unwrap()), @"
        the app's commands are to run as `polls`, but this runs as `root`, who cannot become that
        run the activator as root or as `polls`, or take `user` out of the app's configuration
        ");
        assert!(process::user() != 0 || of(Some("nobody")).unwrap().is_some());
    }
}
