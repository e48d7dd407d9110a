//! Tells systemd how a service is: that it is ready, and that it still works.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Whom to tell.
#[derive(Debug)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Tells whoever listens at `place`, the text of `NOTIFY_SOCKET`; nobody where there is none, or it is no address.
    pub fn to(place: Option<&str>) -> Self {
        let address = place.and_then(|place| match place.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(place).ok(),
        });
        Self(address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address))))
    }

    /// It has begun to work.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It still works, and does this now: a line that `systemctl status` shows.
    pub fn alive(&self, status: &str) {
        self.tell(&format!("WATCHDOG=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// Who does not listen is not told: nothing depends on it but a restart by the watchdog.
    fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.0 {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives_and_nobody_need_listen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.to_str());
        notify.ready();
        notify.alive("waiting\nfor orders");
        let mut buffer = [0; 100];
        let mut heard = || {
            let length = listener.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!([heard(), heard()], ["READY=1", "WATCHDOG=1\nSTATUS=waiting for orders"]);
        drop(listener);
        notify.ready();
        Notify::to(None).ready();
    }
}
