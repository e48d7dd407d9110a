use pannier_shared::id::Version;
use pannier_shared::statement::suite::Runs;

use super::*;
use crate::promote::{self, promote};
use crate::suite::show::show;
use crate::testing::{Place, X86, told};

fn order(runs: &str, reason: &str) -> Order {
    let text = format!("suite = \"production\"\n[roles.web.polls]\n{runs}\nroot = \"/srv/polls\"");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("suite.toml");
    pannier_shared::sys::fs::write(&file, text.as_bytes()).unwrap();
    Order { written: Written::read(&file).unwrap(), reason: reason.to_owned(), who: "jane".to_owned(), days: 90 }
}

async fn place() -> Place {
    let place = Place::new();
    place.publish("v1", X86).await;
    let order = promote::Order {
        app: "polls".parse().unwrap(),
        version: "v1".parse().unwrap(),
        channel: "live".parse().unwrap(),
        reason: String::new(),
        who: "jane".to_owned(),
        days: 90,
    };
    promote(&place.published(), &place.key, &order).await.unwrap();
    place
}

async fn run(place: &Place, order: &Order) -> Result<Set, Error> {
    set(&place.published(), &place.key, order).await
}

#[tokio::test]
async fn each_time_the_serial_rises_and_a_renewal_is_told_from_a_change() {
    let place = place().await;
    for (serial, runs, changed) in
        [(1, "channel = \"live\"", true), (2, "channel = \"live\"", false), (3, "version = \"v1\"", true)]
    {
        let set = run(&place, &order(runs, "x")).await.unwrap();
        assert_eq!((set.suite.serial, set.changed), (serial, changed));
    }
    let shown = show(&place.published(), &"production".parse().unwrap()).await.unwrap();
    let version: Version = "v1".parse().unwrap();
    assert_eq!((shown.stale, &shown.apps[0].runs), (false, &Runs::Version(version.clone())));
    assert_eq!(shown.apps[0].found.as_ref().unwrap()[0].version, version);
}

#[tokio::test]
async fn what_no_node_could_run_is_not_stored() {
    let place = place().await;
    let error = run(&place, &order("channel = \"life\"", "")).await.unwrap_err();
    insta::assert_snapshot!(told(&error).replace(place.published().store.location(), "STORE"), @"
    the role `web` cannot run `polls` now
    caused by: `polls` has no channel `life` in the store STORE
    ");
    insta::assert_snapshot!(error.hint().unwrap(), @"did you mean `live`?");
    let suite = "production".parse().unwrap();
    assert!(place.published().suite_if_there(&suite).await.unwrap().is_none());
    let error = show(&place.published(), &suite).await.unwrap_err();
    insta::assert_snapshot!(told(&error).replace(place.published().store.location(), "STORE"), @"the store STORE has no suite `production`");
}

#[tokio::test]
async fn a_key_that_may_not_set_suites_is_told_so() {
    let place = place().await;
    let stranger = SigningKey::generate("stranger").unwrap();
    let error = set(&place.published(), &stranger, &order("channel = \"live\"", "")).await.unwrap_err();
    insta::assert_snapshot!(told(&error).replace(&stranger.public().fingerprint(), "SHA256:..."), @"
    the signing key (SHA256:...) is not trusted to set suites
    caused by: the suite is refused
    caused by: its key SHA256:... is not in the trust file `trust`
    ");
}

#[tokio::test]
async fn of_many_who_set_at_once_each_serial_is_used_once_and_losers_are_told() {
    let place = place().await;
    run(&place, &order("channel = \"live\"", "")).await.unwrap();
    let orders: Vec<Order> = (0..6).map(|n| order("channel = \"live\"", &n.to_string())).collect();
    let results = futures_util::future::join_all(orders.iter().map(|order| run(&place, order))).await;
    let mut won = Vec::new();
    for result in results {
        match result {
            Ok(set) => won.push(set.suite.serial),
            Err(error @ Error::Overtaken { .. }) => assert!(error.to_string().contains("by jane"), "{error}"),
            Err(error) => panic!("{error}"),
        }
    }
    won.sort_unstable();
    assert_eq!(won, (2..2 + won.len() as u64).collect::<Vec<_>>());
}
