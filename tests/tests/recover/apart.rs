//! Drills: all of it into a folder, and nothing else touched.

use pannier_tests::said;

use crate::{APPS, Came, Site, listing, walk};

#[test]
fn a_drill_proves_all_of_it_and_touches_nothing_else() {
    let site = Site::new();
    assert_eq!(site.recover(&[]).code, Some(0));
    let before = [listing(&site.world.path("srv")), listing(&site.world.path("etc"))];
    let drill = site.world.path("drill");
    let came = site.recover(&["--drill", "--root", drill.to_str().unwrap()]);
    assert_eq!((came.code, came.verdicts()), (Some(0), vec!["proven"]), "{}", came.text);
    assert_eq!([listing(&site.world.path("srv")), listing(&site.world.path("etc"))], before);
    for app in APPS {
        let here = listing(&drill.join(app).join("current/"));
        assert_eq!(here, listing(&site.tree(app).join("")), "{app}");
        assert!(!drill.join(app).join("shared/started").exists(), "{app} was started");
    }
    let report = came.result["report"].as_str().unwrap();
    let text = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("/recovery-20") && text.contains("10 apps, 0 failed"), "{text}");
    for row in came.apps() {
        assert!(text.contains(row["statement"].as_str().unwrap()), "{text}");
    }
    // The next one finds what is here, and writes a report of its own.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = site.recover(&["--drill", "--root", drill.to_str().unwrap()]);
    assert_eq!((again.code, &again.result["bytes"]), (Some(0), &0.into()), "{}", again.text);
    assert_ne!(again.result["report"], came.result["report"]);
}

#[test]
fn a_drill_is_refused_where_it_could_touch_what_runs() {
    let site = Site::new();
    let refused = |root: &std::path::Path| {
        let arguments = ["recover", "--suite", "production", "--role", "web", "--drill", "--root"];
        let output = site.command(&site.store(), &arguments).arg(root).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}: {}", root.display(), said(&output));
        String::from_utf8(output.stderr).unwrap().replace(site.world.path("").to_str().unwrap(), "DIR/")
    };
    let text = refused(&site.world.path("srv"));
    let text = text.split_once("error: ").unwrap().1;
    insta::assert_snapshot!(text, @"
    a drill in DIR/srv could touch DIR/srv/eight

    hint: name a folder of its own with `--root`, such as /var/tmp/drill, which may be missing
    ");
    for root in ["/", "srv/one", "srv/one/releases", "etc", ""] {
        refused(&site.world.path(root));
    }
    // A link in the folder that leads to what runs.
    std::fs::create_dir_all(site.world.path("drill")).unwrap();
    std::fs::create_dir_all(site.world.path("srv/one")).unwrap();
    std::os::unix::fs::symlink(site.world.path("srv/one"), site.world.path("drill/one")).unwrap();
    refused(&site.world.path("drill"));
    assert!(walk(&site.world.path("srv")).is_empty() && !site.world.path("etc").exists());
}

#[test]
fn a_drill_reports_what_failed() {
    let site = Site::new();
    std::fs::remove_dir_all(site.world.path("store/five/releases")).unwrap();
    let drill = site.world.path("drill");
    let came: Came = site.recover(&["--drill", "--root", drill.to_str().unwrap()]);
    assert_eq!(came.code, Some(3), "{}", came.text);
    let text = std::fs::read_to_string(came.result["report"].as_str().unwrap()).unwrap();
    assert!(text.contains("10 apps, 1 failed") && text.contains("| five | @production | - | - |"), "{text}");
}

#[test]
fn what_lies_in_a_drills_folder_is_nobodys_word_and_what_no_node_takes_is_found() {
    let site = Site::new();
    assert_eq!(site.recover(&[]).code, Some(0));
    let before = listing(&site.world.path("srv"));
    site.publish("two", "v2-two", 1);
    site.set(&site.suite("steady = \"soon\""));
    // The configuration of the node that runs, in the drill's folder.
    let drill = site.world.path("drill");
    std::fs::create_dir(&drill).unwrap();
    std::fs::copy(site.config(), drill.join("activator.toml")).unwrap();
    let came = site.recover(&["--drill", "--root", drill.to_str().unwrap()]);
    assert_eq!((came.code, came.verdicts()), (Some(2), vec!["failed", "proven"]), "{}", came.text);
    assert!(came.app("three")["failure"].to_string().contains("unknown key `apps.three.steady`"), "{}", came.text);
    assert!(drill.join("two/releases/v2-two").exists());
    assert_eq!(listing(&site.world.path("srv")), before);
}
