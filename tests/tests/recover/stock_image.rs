//! `scripts/user-data.sh`, as a stock image would run it, but with its folders elsewhere and nothing to install.

use std::path::Path;
use std::process::{Command, Output};

use pannier_shared::digest::Digest;
use pannier_tests::{program, said};

use crate::{APPS, Site};

fn script() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/user-data.sh");
    let mut command = Command::new("sh");
    command.arg(script).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn run(site: &Site, vars: &[(&str, &str)]) -> Output {
    let activator = program("pannier-activator");
    let digest = Digest::of(&std::fs::read(&activator).unwrap()).to_string();
    let mut command = script();
    command.env("STORE", site.store()).env("TRUST", std::fs::read_to_string(site.world.path("trust")).unwrap().trim());
    command.env("ACTIVATOR", format!("file://{}", activator.display())).env("ACTIVATOR_SHA256", digest);
    command.env("BIN", site.world.path("bin")).env("ETC", site.world.path("etc")).env("LOG", site.world.path("log"));
    command.env("TRIES", "2").env("PAUSE", "0").envs(vars.iter().copied()).output().unwrap()
}

#[test]
fn a_stock_image_becomes_a_serving_node_and_stays_one_when_it_runs_again() {
    let site = Site::new();
    let made = format!("echo SECRET=1 > {}", site.world.path("made.env").display());
    for _ in 0..2 {
        let output = run(&site, &[("ENV_COMMAND", &made)]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(APPS.iter().all(|app| site.tree(app).exists()));
    }
    assert_eq!(std::fs::read(site.world.path("etc/trust")).unwrap(), std::fs::read(site.world.path("trust")).unwrap());
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| site.world.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("made.env"), mode("bin/pannier-activator")), (0o600, 0o755));
    let log = std::fs::read_to_string(site.world.path("log")).unwrap();
    assert!(log.contains("10 of 10 apps of production/web (serial 1) are back"), "{log}");
}

#[test]
fn an_image_is_made_without_anything_of_the_site() {
    let site = Site::new();
    assert!(run(&site, &[("RECOVER", "no")]).status.success());
    assert!(site.world.path("bin/pannier-activator").exists() && !site.config().exists());
    let drill = site.world.path("drill");
    let output = run(&site, &[("RECOVER", "drill"), ("DRILL_ROOT", drill.to_str().unwrap())]);
    assert!(output.status.success() && drill.join("ten/current").exists() && !site.config().exists());
}

#[test]
fn a_store_that_is_away_is_asked_again_and_then_a_copy_is_taken() {
    let site = Site::new();
    let away = "file:///nowhere/at/all";
    let output = run(&site, &[("STORE", away)]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(said(&output).matches("the store does not answer").count(), 1);
    let output = run(&site, &[("STORE", away), ("COPY", &site.store())]);
    assert!(output.status.success() && said(&output).contains("taking the copy file://"), "{}", said(&output));
    let text = std::fs::read_to_string(site.config()).unwrap();
    assert!(text.starts_with(&format!("store = \"{away}\"")) && text.contains("[apps.ten]"), "{text}");
}

#[test]
fn what_is_not_to_be_trusted_is_not_run() {
    let site = Site::new();
    let refused = |vars: &[(&str, &str)]| {
        let output = run(&site, vars);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(!site.world.path("bin/pannier-activator").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let wrong = "0".repeat(64);
    assert!(refused(&[("ACTIVATOR_SHA256", &wrong)]).contains(&format!("expected {wrong}")));
    assert!(refused(&[("ACTIVATOR_SHA256", "")]).contains("is not trusted by its address"));
    assert!(refused(&[("TRUST", "")]).contains("without it no signature counts"));
    assert!(refused(&[("ACTIVATOR", "file:///nowhere")]).contains("file:///nowhere cannot be fetched"));
}
