//! What every store must do, as one suite that takes any store: a backend is done when [`all`] passes.
//!
//! A case is a function whose name is the promise; it panics where the promise is broken. Every run works below a
//! fresh prefix, so that it can be pointed at a store in use, and leaves its few thousand bytes there: a store has no
//! "remove". [`reading`] is the part that a read-only store can pass, given an object of known content.

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use super::upload::{Shared, Upload};
use super::{Condition, Error, Etag, Key, MAX_RANGE, Result, Store};
use crate::digest::Digest;
use crate::sys::fs;

/// How many writers race for one key.
const RACERS: usize = 16;

/// Runs every case.
pub async fn all(store: &dyn Store) {
    one_after_the_other(store).await;
    races(store).await;
}

/// The cases in which several write at once.
pub async fn races(store: &dyn Store) {
    of_many_who_create_one_wins(store).await;
    of_many_who_swap_one_wins(store).await;
    no_swap_is_lost(store).await;
}

/// All cases but the [`races`].
pub async fn one_after_the_other(store: &dyn Store) {
    what_was_put_is_read_back(store).await;
    the_empty_object_is_an_object(store).await;
    a_key_that_is_not_there_is_not_found(store).await;
    absent_means_absent(store).await;
    unchanged_means_unchanged(store).await;
    what_is_known_is_not_sent_again(store).await;
    a_pinned_range_of_another_content_is_refused(store).await;
    a_file_is_stored_whole(store).await;
    a_file_that_is_not_what_was_measured_is_not_stored(store).await;
    what_is_shared_is_only_a_hint(store).await;
    a_file_never_replaces(store).await;
    list_gives_one_level_sorted(store).await;
    list_gives_more_than_a_thousand(store).await;
    keys_may_hold_every_allowed_character(store).await;
}

/// The promises about reading, for an object that is there: `content` must have at least 100 bytes.
pub async fn reading(store: &dyn Store, key: &Key, content: &[u8]) {
    let size = content.len() as u64;
    let meta = good("head", store.head(key).await);
    assert_eq!(meta.size, size, "head gives the size");
    let object = good("get", store.get(key, size).await);
    assert_eq!(object.bytes, content, "get gives the content");
    assert_eq!(object.etag, meta.etag, "get and head name the content alike");
    let known = good("glance", store.glance(key, size, Some(&object.etag)).await);
    assert_eq!(known.object, None, "what is known is not given again");
    let anew = good("glance", store.glance(key, size, None).await);
    assert_eq!(anew.object, Some(object), "what is not known is");
    assert!(matches!(store.get(key, size - 1).await, Err(Error::WrongAnswer { .. })), "get keeps to its limit");
    ranges(store, key, content, &meta.etag).await;
}

async fn ranges(store: &dyn Store, key: &Key, content: &[u8], etag: &Etag) {
    let size = content.len() as u64;
    for range in [0..1, 0..size, 10..90, size - 1..size] {
        let expected = &content[range.start as usize..range.end as usize];
        for pin in [None, Some(etag)] {
            let bytes = good("get_range", store.get_range(key, range.clone(), pin).await);
            assert_eq!(bytes, expected, "bytes {range:?} are the ones asked for");
        }
    }
    for range in [size - 1..size + 1, size..size + 1, size + 5..size + 9] {
        let answer = store.get_range(key, range.clone(), None).await;
        assert!(matches!(answer, Err(Error::WrongAnswer { .. })), "{range:?} reaches over the end: {answer:?}");
    }
    #[allow(clippy::reversed_empty_ranges, reason = "that it is refused is the point")]
    for range in [0..0, 7..7, 9..3, 0..MAX_RANGE + 1] {
        let answer = store.get_range(key, range.clone(), None).await;
        assert!(matches!(answer, Err(Error::Unsupported { .. })), "{range:?} is not asked for: {answer:?}");
    }
}

/// What one call stored, every way of reading gives.
pub async fn what_was_put_is_read_back(store: &dyn Store) {
    let key = fresh("read-back");
    let content = pattern(1000);
    let etag = good("put", store.put(&key, content.clone(), Condition::Absent).await);
    assert_eq!(good("head", store.head(&key).await).etag, etag, "put gives the etag that head gives");
    reading(store, &key, &content).await;
}

/// An object of no bytes can be stored and is there.
pub async fn the_empty_object_is_an_object(store: &dyn Store) {
    let key = fresh("empty");
    good("put", store.put(&key, Bytes::new(), Condition::Absent).await);
    assert_eq!(good("head", store.head(&key).await).size, 0);
    assert_eq!(good("get", store.get(&key, 0).await).bytes, Bytes::new());
    let range = store.get_range(&key, 0..1, None).await;
    assert!(matches!(range, Err(Error::WrongAnswer { .. })), "an empty object has no first byte: {range:?}");
}

/// Each verb says so in the same way, and none makes the key.
pub async fn a_key_that_is_not_there_is_not_found(store: &dyn Store) {
    let key = fresh("nothing");
    let swap = store.put(&key, pattern(1), Condition::Unchanged(Etag("0123".to_owned()))).await.map(drop);
    let answers = [
        ("get", store.get(&key, 10).await.map(drop)),
        ("head", store.head(&key).await.map(drop)),
        ("get_range", store.get_range(&key, 0..1, None).await.map(drop)),
        ("pinned get_range", store.get_range(&key, 0..1, Some(&Etag("0123".to_owned()))).await.map(drop)),
        ("swap", swap),
    ];
    for (verb, answer) in answers {
        assert!(matches!(answer, Err(Error::NotFound { .. })), "{verb}: {answer:?}");
    }
}

/// A second creation is refused and changes nothing.
pub async fn absent_means_absent(store: &dyn Store) {
    let key = fresh("absent");
    good("put", store.put(&key, Bytes::from("first"), Condition::Absent).await);
    for content in ["first", "second"] {
        let again = store.put(&key, Bytes::from(content), Condition::Absent).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    }
    assert_eq!(good("get", store.get(&key, 10).await).bytes, "first");
}

/// A swap needs the content it was based on.
pub async fn unchanged_means_unchanged(store: &dyn Store) {
    let key = fresh("unchanged");
    let first = good("put", store.put(&key, Bytes::from("first"), Condition::Absent).await);
    let second = good("swap", store.put(&key, Bytes::from("second"), Condition::Unchanged(first.clone())).await);
    assert_ne!(first, second, "another content has another etag");
    let stale = store.put(&key, Bytes::from("third"), Condition::Unchanged(first)).await;
    assert!(matches!(stale, Err(Error::Changed { .. })), "{stale:?}");
    let now = good("get", store.get(&key, 10).await);
    assert_eq!((now.bytes, now.etag), (Bytes::from("second"), second));
}

/// A look at what is known gives nothing, at anything else all of it.
pub async fn what_is_known_is_not_sent_again(store: &dyn Store) {
    let key = fresh("glance");
    let nothing = store.glance(&key, 10, None).await;
    assert!(matches!(nothing, Err(Error::NotFound { .. })), "{nothing:?}");
    let first = good("put", store.put(&key, Bytes::from("first"), Condition::Absent).await);
    let look = async |known: Option<&Etag>| good("glance", store.glance(&key, 10, known).await).object;
    let object = look(None).await;
    assert_eq!(object.map(|object| (object.bytes, object.etag)), Some((Bytes::from("first"), first.clone())));
    assert_eq!(look(Some(&first)).await, None, "what is known is not sent again");
    let second = good("swap", store.put(&key, Bytes::from("second"), Condition::Unchanged(first.clone())).await);
    assert_eq!(look(Some(&first)).await.map(|object| object.etag), Some(second));
    let large = store.glance(&key, 5, Some(&first)).await;
    assert!(matches!(large, Err(Error::WrongAnswer { .. })), "a look keeps to its limit: {large:?}");
}

/// Many create one key: one succeeds, the others know that they did not, and its content stays.
pub async fn of_many_who_create_one_wins(store: &dyn Store) {
    let key = fresh("race-create");
    let racers = (0..RACERS).map(|n| store.put(&key, racer(n), Condition::Absent));
    let winner = one_winner(join_all(racers).await, |lost| matches!(lost, Error::AlreadyExists { .. }));
    assert_eq!(good("get", store.get(&key, 4096).await).bytes, racer(winner));
}

/// Many swap one content: one succeeds, the others know that they did not, and its content stays.
pub async fn of_many_who_swap_one_wins(store: &dyn Store) {
    let key = fresh("race-swap");
    let base = good("put", store.put(&key, Bytes::from("base"), Condition::Absent).await);
    let racers = (0..RACERS).map(|n| store.put(&key, racer(n), Condition::Unchanged(base.clone())));
    let winner = one_winner(join_all(racers).await, |lost| matches!(lost, Error::Changed { .. }));
    assert_eq!(good("get", store.get(&key, 4096).await).bytes, racer(winner));
}

/// A counter that several raise by read, add one, swap, never misses a step.
pub async fn no_swap_is_lost(store: &dyn Store) {
    const EACH: usize = 4;
    let key = fresh("counter");
    good("put", store.put(&key, Bytes::from("0"), Condition::Absent).await);
    join_all((0..4).map(|_| async {
        for _ in 0..EACH {
            while !raised(store, &key).await {}
        }
    }))
    .await;
    assert_eq!(good("get", store.get(&key, 10).await).bytes, Bytes::from((4 * EACH).to_string()));
}

async fn raised(store: &dyn Store, key: &Key) -> bool {
    let object = good("get", store.get(key, 10).await);
    let count: usize = good("count", String::from_utf8_lossy(&object.bytes).parse());
    match store.put(key, Bytes::from((count + 1).to_string()), Condition::Unchanged(object.etag)).await {
        Ok(_) => true,
        Err(Error::Changed { .. }) => false,
        Err(other) => panic!("a swap that loses is Changed: {other:?}"),
    }
}

/// Ranges read with a pin are all of one content.
pub async fn a_pinned_range_of_another_content_is_refused(store: &dyn Store) {
    let key = fresh("pin");
    let first = good("put", store.put(&key, Bytes::from("old content"), Condition::Absent).await);
    good("pinned", store.get_range(&key, 0..3, Some(&first)).await);
    good("swap", store.put(&key, Bytes::from("new content"), Condition::Unchanged(first.clone())).await);
    let pinned = store.get_range(&key, 0..3, Some(&first)).await;
    assert!(matches!(pinned, Err(Error::Changed { .. })), "{pinned:?}");
    assert_eq!(good("unpinned", store.get_range(&key, 0..3, None).await), "new");
}

/// A file of several MiB arrives as it is, and can be read by ranges.
pub async fn a_file_is_stored_whole(store: &dyn Store) {
    let content = pattern(5 * 1024 * 1024 + 17);
    let file = Temporary::holding(&content);
    let key = fresh("file");
    let etag = good("put_file", store.put_file(&key, &file.upload(&content)).await).etag;
    assert_eq!(good("head", store.head(&key).await).etag, etag, "put_file gives the etag that head gives");
    reading(store, &key, &content).await;
}

/// Size and digest are checked while the file is read; a store never shows what failed the check.
pub async fn a_file_that_is_not_what_was_measured_is_not_stored(store: &dyn Store) {
    let content = pattern(2 * 1024 * 1024 + 1);
    let (size, digest) = (content.len() as u64, Digest::of(&content));
    let file = Temporary::holding(&content);
    let key = fresh("mismatch");
    for (size, digest) in [(size, Digest::of(b"another")), (size - 1, digest), (size + 1, digest)] {
        let answer = store.put_file(&key, &Upload::new(&file.0, size, digest)).await;
        assert!(matches!(answer, Err(Error::FileChanged { .. })), "{answer:?}");
        let head = store.head(&key).await;
        assert!(matches!(head, Err(Error::NotFound { .. })), "nothing is there: {head:?}");
    }
    let nowhere = store.put_file(&key, &Upload::new(&file.0.with_extension("gone"), size, digest)).await;
    assert!(matches!(nowhere, Err(Error::Fs(_))), "a file that is not there: {nowhere:?}");
}

/// A file that is said to share bytes with an object arrives as it is: when that is true, and when there is no such
/// object.
pub async fn what_is_shared_is_only_a_hint(store: &dyn Store) {
    let content = pattern(7 * 1024 * 1024);
    let length = 6 * 1024 * 1024;
    let (file, old_file) = (Temporary::holding(&content), Temporary::holding(&content[..length]));
    let old = fresh("shared-old");
    let stored = good("put_file", store.put_file(&old, &old_file.upload(&content[..length])).await);
    for source in [old, fresh("shared-gone")] {
        let shared = Shared { range: 0..length as u64, source, etag: stored.etag.clone(), from: 0 };
        let key = fresh("shared-new");
        let stored = good("put_file", store.put_file(&key, &file.upload(&content).sharing(vec![shared])).await);
        assert!(stored.copied <= length as u64, "no more is copied than is shared");
        assert_eq!(good("head", store.head(&key).await).etag, stored.etag);
        assert_eq!(good("get", store.get(&key, content.len() as u64).await).bytes, content);
    }
}

/// A file is only ever a new object, also when several come at once.
pub async fn a_file_never_replaces(store: &dyn Store) {
    let content = pattern(100_000);
    let file = Temporary::holding(&content);
    let key = fresh("file-race");
    let uploads = [(); 4].map(|()| file.upload(&content));
    let racers = uploads.iter().map(|upload| store.put_file(&key, upload));
    one_winner(join_all(racers).await, |lost| matches!(lost, Error::AlreadyExists { .. }));
    let late = store.put_file(&key, &uploads[0]).await;
    assert!(matches!(late, Err(Error::AlreadyExists { .. })), "{late:?}");
}

/// Objects and folders directly below, each once, in the order of their bytes; below nothing, nothing.
pub async fn list_gives_one_level_sorted(store: &dyn Store) {
    let top = fresh("list");
    for name in ["b", "a/1", "a/2", "a.b", "B", "c/d/e"] {
        good("put", store.put(&below(&top, name), Bytes::from("x"), Condition::Absent).await);
    }
    assert_eq!(good("list", store.list(top.as_str()).await), ["B", "a", "a.b", "b", "c"]);
    assert_eq!(good("list", store.list(&format!("{top}/a")).await), ["1", "2"]);
    assert_eq!(good("list", store.list(&format!("{top}/c")).await), ["d"]);
    for nothing in ["nothing", "b", "a/1", "c/d/e/f", "a."] {
        let names = good("list", store.list(&format!("{top}/{nothing}")).await);
        assert!(names.is_empty(), "below `{nothing}` is nothing: {names:?}");
    }
    let run = top.as_str().split('/').next().unwrap_or_default();
    assert!(good("list the top", store.list("").await).iter().any(|name| name == run));
}

/// A list is whole, however many pages the store makes of it.
pub async fn list_gives_more_than_a_thousand(store: &dyn Store) {
    let top = fresh("many");
    let names: Vec<String> = (0..1005).map(|n| format!("v{n:04}")).collect();
    let keys: Vec<Key> = names.iter().map(|name| below(&top, &format!("{name}/x"))).collect();
    let puts = keys.iter().map(|key| store.put(key, Bytes::new(), Condition::Absent));
    let made: Vec<_> = stream::iter(puts).buffer_unordered(RACERS).collect().await;
    made.into_iter().for_each(|made| drop(good("put", made)));
    assert_eq!(good("list", store.list(top.as_str()).await), names);
}

/// A key with every character that a key may have, and one of the greatest length, work with every verb.
pub async fn keys_may_hold_every_allowed_character(store: &dyn Store) {
    let odd = fresh("AZaz09._+-");
    let room = 512 - odd.as_str().len() - 1;
    let longest: Vec<String> = (0..room / 100).map(|_| "x".repeat(99)).collect();
    for key in [below(&odd, ".a+b_c-d..e"), below(&odd, &longest.join("/"))] {
        let etag = good("put", store.put(&key, Bytes::from("0123456789"), Condition::Absent).await);
        assert_eq!(good("head", store.head(&key).await).etag, etag);
        assert_eq!(good("get", store.get(&key, 10).await).bytes, "0123456789");
        assert_eq!(good("get_range", store.get_range(&key, 2..4, Some(&etag)).await), "23");
        let (above, name) = key.as_str().rsplit_once('/').unwrap_or_default();
        assert_eq!(good("list", store.list(above).await).iter().filter(|found| *found == name).count(), 1);
    }
}

fn one_winner<T>(answers: Vec<Result<T>>, lost: impl Fn(&Error) -> bool) -> usize {
    let mut winners = Vec::new();
    for (racer, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => winners.push(racer),
            Err(error) => assert!(lost(&error), "a racer that lost is told so: {error:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one wins, and these did: {winners:?}");
    winners[0]
}

/// What racer `n` writes: long enough that a mix of two would be seen.
fn racer(n: usize) -> Bytes {
    Bytes::from(format!("racer {n:02} ").repeat(200))
}

/// Bytes of which no two neighbourhoods are alike, so that a wrong offset is seen.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect::<Vec<_>>().into()
}

/// A key that no run used before.
fn fresh(name: &str) -> Key {
    good("key", format!("conformance/{}/{name}", fs::random_name()).parse())
}

fn below(key: &Key, name: &str) -> Key {
    good("key", format!("{key}/{name}").parse())
}

fn good<T, E: Debug>(what: &str, result: std::result::Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} must succeed: {error:?}"),
    }
}

/// A file with a content, removed in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("pannier-conformance-{}", fs::random_name()));
        good("a temporary file", fs::write(&path, content));
        Self(path)
    }

    fn upload(&self, content: &[u8]) -> Upload {
        Upload::new(&self.0, content.len() as u64, Digest::of(content))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is in the folder for temporaries: whoever cleans that finds it if this fails.
        let _ = fs::remove_file(&self.0);
    }
}
