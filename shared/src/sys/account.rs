//! A user of the machine that programs are run as: looked up by name, and taken on by one thread, for what it starts.
//!
//! Rust can start a program as another user, but then without that user's other groups. The kernel keeps user and groups
//! per thread: so a thread that does nothing else gives its own up for good and then starts the program, which inherits
//! what the thread has. It also sets `no_new_privs`: no setuid program below it can give back what was given up.
//!
//! Names come from `/etc/passwd` and `/etc/group` alone. What only a directory service knows is not found, and is not
//! guessed.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::fs;

/// The most bytes of `/etc/passwd` and of `/etc/group` that are read.
const LIMIT: u64 = 4 << 20;

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The numbers of all its groups, its own first.
    pub groups: Vec<u32>,
    /// Its home folder.
    pub home: PathBuf,
}

impl Account {
    /// Finds the user of this name; none when the machine has none.
    pub fn named(name: &str) -> fs::Result<Option<Self>> {
        let passwd = fs::read_text(Path::new("/etc/passwd"), LIMIT)?;
        let groups = fs::if_there(fs::read_text(Path::new("/etc/group"), LIMIT))?;
        Ok(Self::parse(name, &passwd, &groups.unwrap_or_default()))
    }

    fn parse(name: &str, passwd: &str, groups: &str) -> Option<Self> {
        let fields = lines(passwd).find(|fields| fields.first() == Some(&name))?;
        let [_, _, uid, gid, _, home, ..] = fields[..] else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let mut all = vec![gid];
        all.extend(lines(groups).filter_map(|fields| of_group(&fields, name)).filter(|group| *group != gid));
        Some(Self { name: name.to_owned(), uid, gid, groups: all, home: home.into() })
    }

    /// Makes the calling thread, and what it starts from now on, this user, for good. Only root can, and who is it
    /// already.
    pub(super) fn take_on(&self) -> io::Result<()> {
        set_no_new_privs(true)?;
        if rustix::process::geteuid().as_raw() == self.uid {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        Ok(set_thread_res_uid(uid, uid, uid)?)
    }
}

/// The name that `/etc/passwd` has for a user's number; none when it has none.
pub fn name_of(uid: u32) -> Option<String> {
    let passwd = fs::read_text(Path::new("/etc/passwd"), LIMIT).ok()?;
    let fields = lines(&passwd).find(|fields| fields.get(2).is_some_and(|number| number.parse() == Ok(uid)))?;
    fields.first().map(|name| (*name).to_owned())
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

/// The number of a group that has `name` among its members.
fn of_group(fields: &[&str], name: &str) -> Option<u32> {
    let [_, _, gid, members, ..] = fields else { return None };
    members.split(',').any(|member| member == name).then(|| gid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# a comment\npolls:x:998:997::/var/lib/polls:/bin/false\n";
    const GROUPS: &str = "root:x:0:\npolls:x:997:polls\nredis:x:120:web,polls\ntty:x:5:pollsters\nbroken\n";

    #[test]
    fn a_user_comes_with_all_its_groups_its_own_first() {
        let polls = Account::parse("polls", PASSWD, GROUPS).unwrap();
        assert_eq!((polls.uid, polls.gid, polls.groups), (998, 997, vec![997, 120]));
        assert_eq!(polls.home, Path::new("/var/lib/polls"));
        assert_eq!(Account::parse("poll", PASSWD, GROUPS), None);
        assert_eq!(Account::parse("# a comment", PASSWD, GROUPS), None);
    }

    #[test]
    fn this_machine_has_a_root() {
        let root = Account::named("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(Account::named("no such user").unwrap(), None);
    }
}
