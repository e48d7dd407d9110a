//! `pannier releases`: what the store has of an app, as far as it can be believed, and which channels name it.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, ChannelName, Target, Version};
use pannier_shared::published::{self, Published};
use pannier_shared::signature::Verified;
use pannier_shared::statement::{Channel, Statement};

/// How many releases are read at a time: a store answers in tens of milliseconds, and an app has hundreds of releases.
const AT_ONCE: usize = 16;

/// Everything there is of an app.
#[derive(Debug)]
pub struct Listing {
    /// Its releases, sorted by version as text.
    pub releases: Vec<Release>,
    /// Its channels, sorted by name.
    pub channels: Vec<ChannelState>,
}

/// One version.
#[derive(Debug)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// What it has for each kind of machine, sorted.
    pub targets: Vec<TargetState>,
    /// The channels that name it.
    pub channels: Vec<ChannelName>,
}

/// A version for one kind of machine.
#[derive(Debug)]
pub struct TargetState {
    /// The kind of machine.
    pub target: Target,
    /// Its statement, or why it is not to be believed.
    pub statement: Result<Verified<Statement>, published::Error>,
}

/// A channel.
#[derive(Debug)]
pub struct ChannelState {
    /// Its name.
    pub channel: ChannelName,
    /// Its pointer, or why it is not to be believed.
    pub pointer: Result<Verified<Channel>, published::Error>,
    /// Machine kinds whose statement in the store is not the one that the pointer names: nodes will refuse it.
    pub astray: Vec<Target>,
    /// True when the pointer should have been renewed by now.
    pub stale: bool,
}

/// Reads all releases and channels of an app. What cannot be believed is in the listing with its error; what cannot be
/// read ends the listing.
pub async fn releases(published: &Published<'_>, app: &AppName) -> Result<Listing, published::Error> {
    let versions = published.versions(app).await?;
    let mut releases: Vec<Release> = stream::iter(versions)
        .map(|version| release(published, app, version))
        .buffered(AT_ONCE)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await?;
    let mut channels = Vec::new();
    for name in published.channels(app).await? {
        if let Some(state) = channel(published, app, name, &releases).await? {
            channels.push(state);
        }
    }
    note_channels(&mut releases, &channels);
    Ok(Listing { releases, channels })
}

/// One version; none when it is not published yet.
async fn release(
    published: &Published<'_>,
    app: &AppName,
    version: Version,
) -> Result<Option<Release>, published::Error> {
    let found = match published.release(app, &version).await {
        Err(published::Error::UnknownVersion { .. }) => return Ok(None),
        found => found?,
    };
    let targets = found.into_iter().map(|(target, statement)| TargetState { target, statement }).collect();
    Ok(Some(Release { version, targets, channels: Vec::new() }))
}

/// One channel; none when it went away meanwhile.
async fn channel(
    published: &Published<'_>,
    app: &AppName,
    channel: ChannelName,
    releases: &[Release],
) -> Result<Option<ChannelState>, published::Error> {
    let pointer = match published.channel_if_there(app, &channel).await {
        Ok(None) => return Ok(None),
        Ok(Some(pointer)) => Ok(pointer.document),
        Err(error @ published::Error::Store(_)) => return Err(error),
        Err(error) => Err(error),
    };
    let astray = pointer.as_ref().map(|pointer| astray(pointer, releases)).unwrap_or_default();
    let stale = pointer.as_ref().is_ok_and(|pointer| pointer.not_after < published.now);
    Ok(Some(ChannelState { channel, pointer, astray, stale }))
}

fn astray(pointer: &Channel, releases: &[Release]) -> Vec<Target> {
    let named = releases.iter().filter(|release| release.version == pointer.version);
    let found: BTreeMap<&Target, Digest> =
        named.flat_map(|release| &release.targets).filter_map(|state| Some((&state.target, digest(state)?))).collect();
    let wrong = pointer.statements.iter().filter(|(target, named)| found.get(target) != Some(named));
    wrong.map(|(target, _)| target.clone()).collect()
}

fn digest(state: &TargetState) -> Option<Digest> {
    state.statement.as_ref().ok().map(Verified::digest)
}

fn note_channels(releases: &mut [Release], channels: &[ChannelState]) {
    for release in releases {
        let naming = channels.iter().filter(|state| state.pointer.as_ref().is_ok_and(|p| p.version == release.version));
        release.channels = naming.map(|state| state.channel.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use pannier_shared::signature::SigningKey;

    use super::*;
    use crate::moving::DAYS;
    use crate::promote::{Order, promote};
    use crate::testing::{ARM, Place, X86};

    async fn point(place: &Place, channel: &str, version: &str) -> Channel {
        let order = Order {
            app: "polls".parse().unwrap(),
            version: version.parse().unwrap(),
            channel: channel.parse().unwrap(),
            reason: String::new(),
            who: "jane".to_owned(),
            days: DAYS,
        };
        promote(&place.published(), &place.key, &order).await.unwrap().pointer
    }

    async fn listing(place: &Place) -> Listing {
        releases(&place.published(), &"polls".parse().unwrap()).await.unwrap()
    }

    /// A listing in short: "v1 [production] x86:ci", "production -> v1".
    fn short(listing: &Listing) -> String {
        let releases = listing.releases.iter().map(|release| {
            let channels: Vec<&str> = release.channels.iter().map(|channel| channel.as_str()).collect();
            let targets: Vec<String> = release
                .targets
                .iter()
                .map(|state| match &state.statement {
                    Ok(statement) => format!("{} by {}", state.target, statement.signer()),
                    Err(_) => format!("{} refused", state.target),
                })
                .collect();
            format!("{} [{}] {}\n", release.version, channels.join(" "), targets.join(", "))
        });
        let channels = listing.channels.iter().map(|state| match &state.pointer {
            Ok(pointer) => {
                format!("{} -> {} astray {:?} stale {}\n", state.channel, pointer.version, state.astray, state.stale)
            }
            Err(_) => format!("{} refused\n", state.channel),
        });
        releases.chain(channels).collect()
    }

    #[tokio::test]
    async fn releases_and_channels_are_listed_with_their_state() {
        let place = Place::new();
        place.publish("v1", X86).await;
        place.publish("v2", X86).await;
        place.publish_signed_by("v2", ARM, &SigningKey::generate("stranger").unwrap()).await;
        point(&place, "production", "v1").await;
        point(&place, "staging", "v1").await;
        insta::assert_snapshot!(short(&listing(&place).await), @r#"
        v1 [production staging] x86_64-linux-gnu by ci
        v2 [] aarch64-linux-gnu refused, x86_64-linux-gnu by ci
        production -> v1 astray [] stale false
        staging -> v1 astray [] stale false
        "#);
    }

    #[tokio::test]
    async fn a_pointer_to_another_statement_and_a_stale_one_are_noticed() {
        let place = Place::new();
        place.publish("v1", X86).await;
        let pointer = point(&place, "production", "v1").await;
        let statements = [(X86.parse().unwrap(), Digest::of(b"another"))].into();
        let not_after = "2026-01-01T00:00:00Z".parse().unwrap();
        place.replace_pointer(&Channel { statements, not_after, ..pointer }).await;
        insta::assert_snapshot!(short(&listing(&place).await), @r#"
        v1 [production] x86_64-linux-gnu by ci
        production -> v1 astray [Target("x86_64-linux-gnu")] stale true
        "#);
    }

    #[tokio::test]
    async fn what_is_not_published_yet_is_not_listed() {
        let place = Place::new();
        place.publish("v1", X86).await;
        place.put(&format!("polls/releases/v2/{X86}/artifact.tar.zst"), vec![1]).await;
        insta::assert_snapshot!(short(&listing(&place).await), @"v1 [] x86_64-linux-gnu by ci");
    }

    #[tokio::test]
    async fn an_unknown_app_is_an_error() {
        let place = Place::new();
        place.publish("v1", X86).await;
        let error = releases(&place.published(), &"pols".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `polls`?");
    }
}
