//! Each step of a fetch breaks in turn, and each undo runs twice.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk")]

use pannier_shared::event::Silent;
use pannier_shared::id::Target;
use pannier_shared::published::Published;
use pannier_shared::signature::SigningKey;
use pannier_shared::steps::rehearsal::{Break, rehearse};
use pannier_shared::store::dir::DirStore;

use super::*;
use crate::testing::release::publish;
use crate::testing::{Fixture, facts, runtime, v};

const FILES: &[(&str, &str)] = &[("health.txt", "ok\n"), ("empty", ""), ("run", "#!/bin/sh\n")];

#[test]
fn a_fetch_that_breaks_at_any_step_leaves_the_disk_as_it_was() {
    let (store, key, runtime) = (tempfile::tempdir().unwrap(), SigningKey::generate("ci").unwrap(), runtime());
    publish(store.path(), &key, "v2", FILES, |_| ());
    let line = format!("ci namespaces=\"release@pannier\" {}\n", key.public());
    let (trust, store) = (Trust::parse(&line, "trust").unwrap(), DirStore::new(store.path()));
    let published = Published { store: &store, trust: &trust, now: clock::now() };
    for at in Break::all(bring().len()) {
        let fixture = Fixture::with(&["v1"]);
        fixture.activate("v1").unwrap();
        let before = facts(&fixture.config.root);
        let mut node = fixture.open().unwrap();
        let statement = runtime.block_on(published.statement(&node.app, &v("v2"), &Target::host())).unwrap();
        let origin = Origin { store: &store, trust: &trust, runtime: &runtime };
        let record = record_of(&statement);
        let subject = Subject { statement, python: None, record };
        let mut run = Bringing::begin(Operation::Fetch, &mut node, subject, origin, &Silent).unwrap();
        let left = rehearse(&bring(), &mut run, at, &Silent).unwrap();
        assert!(left.is_empty(), "{at:?}: {left:?}");
        assert_eq!(facts(&fixture.config.root), before, "{at:?}");
        assert!(node.state.release(&v("v2")).is_none(), "{at:?}");
    }
}
