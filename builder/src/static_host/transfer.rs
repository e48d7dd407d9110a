//! A release's static files on their way: what is there is compared, what is missing is put, several at a time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::report::human;
use pannier_shared::statement::Statement;
use pannier_shared::static_names;
use serde::Serialize;
use tokio::sync::mpsc;

use super::names::Listed;
use super::reading::Source;
use super::{Asset, Body, Error, Host, Put, Result, There, names};
use crate::inside;
use crate::stages::source::Patterns;

/// How many files are compared or put at a time: most are small, so that waiting for answers is what takes the time. With
/// a few MiB for each at most, it is also the bound on memory.
const AT_ONCE: usize = 16;

/// How many files are read ahead of those.
const AHEAD: usize = 4;

/// Where static files are to be put.
pub struct Hosting {
    /// The place.
    pub host: Box<dyn Host>,
    /// Names that change with their content although no manifest of Django's says so.
    pub immutable: Patterns,
    /// Is told how far it came, and what looks wrong.
    pub sink: Arc<dyn Sink>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hosted {
    /// Where the files are now.
    pub location: String,
    /// How many the release has for it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were not there before.
    pub uploaded: u64,
    /// Their bytes.
    pub sent: u64,
}

impl Hosting {
    /// Puts what is missing of the hashed files of an artifact; afterwards all of them are there, with these bytes.
    /// `step` is the name under which progress is told.
    pub async fn host(&self, artifact: &Path, described: &Statement, step: &'static str) -> Result<Hosted> {
        let source = Arc::new(Source::open(artifact, &described.artifact)?);
        let assets = self.choose(&source, &described.release.django.static_manifest)?;
        let names = Arc::new(assets.iter().map(|asset| asset.name.clone()).collect());
        let there = self.host.find(&names).await?;
        let sizes = assets.iter().filter_map(|asset| Some((asset, there.get(&asset.name)?)));
        if let Some((asset, there)) = sizes.into_iter().find(|(asset, there)| there.size != asset.size) {
            return Err(self.different(asset, format!("{} bytes", there.size)));
        }
        self.settle_all(&source, assets, &there, step).await
    }

    fn choose(&self, source: &Arc<Source>, manifest: &str) -> Result<Vec<Asset>> {
        let (mut files, path) = (source.files().enumerate(), format!("{}/{manifest}", static_names::FOLDER));
        let text = match files.find(|(_, file)| file.path == path) {
            Some((_, file)) if file.size > static_names::LIMIT => {
                return Err(Error::Manifest { name: manifest.to_owned(), why: format!("it has {} bytes", file.size) });
            }
            Some((number, _)) => Some(source.file(number)?),
            None => None,
        };
        let listed = Listed { name: manifest, text: text.as_deref() };
        let chosen = names::choose(source.files(), listed, &self.immutable)?;
        let warn = |text| self.sink.emit(Event::Warning { text });
        if let Some(first) = chosen.gone.first() {
            let count = chosen.gone.len();
            warn(format!(
                "Django's manifest names files that the release does not have: {count}, the first is `{}`",
                human::harmless(first)
            ));
        }
        let names: Vec<String> = chosen.assets.iter().map(|asset| asset.name.clone()).collect();
        for pattern in self.immutable.idle(&names) {
            warn(format!("`{pattern}`, configured in `immutable`, matches no static file of the release"));
        }
        Ok(chosen.assets)
    }

    async fn settle_all(
        &self,
        source: &Arc<Source>,
        assets: Vec<Asset>,
        there: &HashMap<String, There>,
        step: &'static str,
    ) -> Result<Hosted> {
        let total = Amount { bytes: assets.iter().map(|asset| asset.size).sum(), items: assets.len() as u64 };
        let by_number: HashMap<usize, Asset> = assets.into_iter().map(|asset| (asset.number, asset)).collect();
        let (bodies, reading) = read(source, by_number.keys().copied().collect());
        let settled = bodies.map(|read| async {
            let (number, body) = read?;
            let asset = &by_number[&number];
            Ok::<_, Error>((asset.size, self.settle(asset, there.get(&asset.name), &body).await?))
        });
        let mut settled = pin!(settled.buffer_unordered(AT_ONCE));
        let mut hosted = Hosted { location: self.host.location().to_owned(), ..Hosted::default() };
        while let Some((size, put)) = settled.try_next().await? {
            hosted.count(size, put);
            let done = Amount { bytes: hosted.bytes, items: hosted.files };
            self.sink.emit(Event::Advanced { step, done, total: Some(total) });
        }
        reading.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        Ok(hosted)
    }

    /// Sees to it that one file is there with its bytes.
    async fn settle(&self, asset: &Asset, there: Option<&There>, body: &Body) -> Result<Put> {
        match there {
            None => {
                if self.host.put(asset, body).await? == Put::Stored {
                    return Ok(Put::Stored);
                }
            }
            Some(There { md5: Some(md5), .. }) if *md5 == body.md5().await? => return Ok(Put::Taken),
            Some(_) => {}
        }
        match self.host.holds(asset).await? {
            true => Ok(Put::Taken),
            false => Err(self.different(asset, "other bytes".to_owned())),
        }
    }

    fn different(&self, asset: &Asset, found: String) -> Error {
        let Asset { name, size, sha256, .. } = asset.clone();
        Error::Different { name, host: self.host.location().to_owned(), size, sha256, found }
    }
}

impl Hosted {
    fn count(&mut self, size: u64, put: Put) {
        self.files += 1;
        self.bytes += size;
        if put == Put::Stored {
            self.uploaded += 1;
            self.sent += size;
        }
    }
}

impl fmt::Display for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, files, uploaded, sent, .. } = self;
        let (files, uploaded, sent) = (human::number(*files), human::number(*uploaded), human::bytes(*sent));
        write!(f, "static files in {location}: {files}, of which {uploaded} are new ({sent})")
    }
}

/// A file that was read, and which one.
type Read = std::result::Result<(usize, Body), inside::Error>;

/// Reads files on a thread of its own, a few ahead of who takes them; it ends when nobody does.
fn read(
    source: &Arc<Source>,
    wanted: HashSet<usize>,
) -> (impl Stream<Item = Read> + use<>, tokio::task::JoinHandle<()>) {
    let (give, take) = mpsc::channel(AHEAD);
    let source = Arc::clone(source);
    let reading = tokio::task::spawn_blocking(move || {
        let read = source.each(&wanted, |number, body| match give.blocking_send(Ok((number, body))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        if let Err(error) = read {
            // Whoever is gone has an error of his own.
            let _ = give.blocking_send(Err(error));
        }
    });
    let bodies = stream::unfold(take, |mut take| async { take.recv().await.map(|read| (read, take)) });
    (bodies, reading)
}
