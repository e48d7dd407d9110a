//! The keys of an app whose processes systemd keeps: `restart = "systemd"`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id::{BadName, ProcessName};

use super::Error;
use super::section::Section;
use crate::steps::start::Supervised;
use crate::units::{self, Units};

/// Whether systemd is to start the app.
pub fn is_meant(section: &Section) -> bool {
    section.says("restart", "systemd")
}

/// Reads the keys; nothing where a command starts the app, and then they are unknown keys.
pub fn read(section: &Section, user: Option<&str>, timeout: Duration) -> Result<Option<Supervised>, Error> {
    if !is_meant(section) {
        return Ok(None);
    }
    let folder = section.path("units")?.unwrap_or_else(|| PathBuf::from(units::DEFAULT));
    let (user, listen) = (user.map(str::to_owned), listen(section)?);
    let steady = section.duration("steady")?.unwrap_or(Duration::from_secs(2));
    Ok(Some(Supervised { units: Units { folder, user, listen }, timeout, steady }))
}

fn listen(section: &Section) -> Result<BTreeMap<ProcessName, String>, Error> {
    let mut listen = BTreeMap::new();
    for (name, address) in section.texts("listen")? {
        let process: ProcessName = name.parse().map_err(|error: BadName| section.wrong("listen", error.to_string()))?;
        if !is_address(address) {
            let why = format!(
                "`{}` is not an address such as 127.0.0.1:8000, nor the path of a socket",
                address.escape_debug()
            );
            return Err(section.wrong("listen", why));
        }
        listen.insert(process, address.to_owned());
    }
    Ok(listen)
}

/// `IP:PORT`, or an absolute path of plain characters: what systemd takes as it is.
fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    text.parse::<std::net::SocketAddr>().is_ok() || (Path::new(text).is_absolute() && text.chars().all(plain))
}
