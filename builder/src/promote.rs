//! `pannier promote`: points a channel at a version, by signing a pointer with a higher serial.
//!
//! Nothing is pointed at that the nodes would refuse: every statement of the version is verified, and what was signed is
//! verified with the same trust file before it is stored. The pointer is replaced only if it is still the one that was
//! read, so that of two who promote at once one is told about the other. Going back is a promotion of an older version;
//! promoting the version that the channel names already renews it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, ChannelName, Target, Version};
use pannier_shared::keys;
use pannier_shared::published::{self, Pointer, Published};
use pannier_shared::signature::SigningKey;
use pannier_shared::statement::{Channel, ChannelType, FORMAT};

use crate::moving::{self, MOST_DAYS, NotSigned, Stored, fresh_until, whole_seconds};

/// What is to be promoted.
#[derive(Debug, Clone)]
pub struct Order {
    /// The app.
    pub app: AppName,
    /// The version.
    pub version: Version,
    /// The channel; it is made when it does not exist.
    pub channel: ChannelName,
    /// Why, for those who read the pointer; may be empty.
    pub reason: String,
    /// Who does it.
    pub who: String,
    /// For how many days the pointer is fresh; 1 to 3650.
    pub days: u32,
}

/// What was promoted.
#[derive(Debug)]
pub struct Promoted {
    /// The pointer that lies in the store now.
    pub pointer: Channel,
    /// SHA-256 of the signed file.
    pub digest: Digest,
    /// The version that the channel named before.
    pub before: Option<Version>,
    /// Machine kinds that the channel served before and that this version has nothing for.
    pub dropped: Vec<Target>,
}

impl Promoted {
    /// True when the channel named this version already and only its freshness changed.
    pub fn is_renewal(&self) -> bool {
        self.before.as_ref() == Some(&self.pointer.version) && self.dropped.is_empty()
    }
}

/// A promotion that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The version or the present pointer cannot be found or believed.
    #[error(transparent)]
    Published(#[from] published::Error),
    /// The pointer is not signed, or not by a key that may.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// Somebody else moved the channel in between.
    #[error("the channel `{channel}` was moved meanwhile: {} points it at {} now (serial {})", .now.who, .now.version, .now.serial)]
    Overtaken {
        /// The channel.
        channel: ChannelName,
        /// The pointer that lies there now.
        now: Box<Channel>,
    },
    /// The days are out of bounds.
    #[error("a pointer cannot be fresh for {0} days: expected 1 to {MOST_DAYS}")]
    Days(u32),
    /// The serial is as high as it can be.
    #[error("the serial of the channel `{0}` is used up: only a new epoch can move it")]
    SerialUsedUp(ChannelName),
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Published(error) => error.hint(),
            Self::NotSigned(error) => error.hint(),
            Self::Overtaken { .. } => {
                Some("look at `pannier releases` and promote again if it is still wanted".to_owned())
            }
            _ => None,
        }
    }
}

/// Points the order's channel at its version.
pub async fn promote(published: &Published<'_>, key: &SigningKey, order: &Order) -> Result<Promoted, Error> {
    let present = published.channel_if_there(&order.app, &order.channel).await?;
    let mut pointer = draft(order, present.as_ref(), published.now)?;
    for (target, statement) in published.release(&order.app, &order.version).await? {
        pointer.statements.insert(target, statement?.digest());
    }
    let bytes = moving::signed(&pointer, "promote", key, published.trust, published.now)?;
    let digest = Digest::of(&bytes);
    replace(published, order, present.as_ref(), bytes).await?;
    let dropped = dropped(present.as_ref(), &pointer);
    Ok(Promoted { pointer, digest, before: present.map(|p| p.document.version.clone()), dropped })
}

/// The next pointer, still without statements.
fn draft(order: &Order, present: Option<&Pointer>, now: Timestamp) -> Result<Channel, Error> {
    let next = moving::after(present.map(|present| (present.document.epoch, present.document.serial)));
    let (epoch, serial) = next.ok_or_else(|| Error::SerialUsedUp(order.channel.clone()))?;
    Ok(Channel {
        kind: ChannelType::Channel,
        format: FORMAT,
        app: order.app.clone(),
        channel: order.channel.clone(),
        epoch,
        serial,
        version: order.version.clone(),
        statements: BTreeMap::new(),
        issued: whole_seconds(now),
        not_after: fresh_until(now, order.days).ok_or(Error::Days(order.days))?,
        reason: order.reason.clone(),
        who: order.who.clone(),
    })
}

/// Stores the pointer if nobody was quicker.
async fn replace(
    published: &Published<'_>,
    order: &Order,
    present: Option<&Pointer>,
    bytes: Vec<u8>,
) -> Result<(), Error> {
    let key = keys::channel(&order.app, &order.channel);
    let put = moving::put_over(published.store, &key, present.map(|present| &present.etag), bytes).await;
    let Stored::Overtaken(error) = put.map_err(published::Error::from)? else { return Ok(()) };
    match published.channel_if_there(&order.app, &order.channel).await {
        Ok(Some(Pointer { document, .. })) => {
            Err(Error::Overtaken { channel: order.channel.clone(), now: Box::new(Channel::clone(&document)) })
        }
        _ => Err(published::Error::from(error).into()),
    }
}

fn dropped(present: Option<&Pointer>, pointer: &Channel) -> Vec<Target> {
    let before = present.into_iter().flat_map(|present| present.document.statements.keys());
    before.filter(|target| !pointer.statements.contains_key(*target)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moving::DAYS;
    use crate::testing::{ARM, Place, X86, told};

    fn order(version: &str) -> Order {
        Order {
            app: "polls".parse().unwrap(),
            version: version.parse().unwrap(),
            channel: "production".parse().unwrap(),
            reason: "go".to_owned(),
            who: "jane".to_owned(),
            days: DAYS,
        }
    }

    async fn run(place: &Place, order: &Order) -> Result<Promoted, Error> {
        promote(&place.published(), &place.key, order).await
    }

    async fn stored(place: &Place) -> Channel {
        let order = order("v1");
        let pointer = place.published().channel(&order.app, &order.channel).await.unwrap();
        Channel::clone(&pointer.document)
    }

    #[tokio::test]
    async fn the_first_promotion_makes_the_channel() {
        let place = Place::new();
        let digest = place.publish("v1", X86).await;
        let promoted = run(&place, &order("v1")).await.unwrap();
        let pointer = stored(&place).await;
        assert_eq!(promoted.pointer, pointer);
        assert_eq!((pointer.epoch, pointer.serial, promoted.before), (1, 1, None));
        assert_eq!(pointer.statements.values().copied().collect::<Vec<_>>(), [digest]);
        assert_eq!(pointer.not_after.to_string(), "2026-05-30T12:00:00Z");
    }

    #[tokio::test]
    async fn a_reason_that_is_a_novel_is_refused() {
        let place = Place::new();
        place.publish("v1", X86).await;
        let error = run(&place, &Order { reason: "x".repeat(20_000), ..order("v1") }).await.unwrap_err();
        insta::assert_snapshot!(format!("{}\nhint: {}", told(&error), error.hint().unwrap()), @"
        the signed channel pointer would have 20664 bytes, but at most 16384 are allowed
        hint: say less with `--reason` and `--who`
        ");
    }

    #[tokio::test]
    async fn forward_back_and_renewal_all_raise_the_serial() {
        let place = Place::new();
        for version in ["v1", "v2"] {
            place.publish(version, X86).await;
        }
        for (serial, version, before) in
            [(1, "v1", None), (2, "v2", Some("v1")), (3, "v1", Some("v2")), (4, "v1", Some("v1"))]
        {
            let promoted = run(&place, &order(version)).await.unwrap();
            assert_eq!(promoted.pointer.serial, serial);
            assert_eq!(promoted.before.as_ref().map(Version::as_str), before);
            assert_eq!(promoted.is_renewal(), serial == 4);
        }
        assert_eq!(stored(&place).await.serial, 4);
    }

    #[tokio::test]
    async fn machine_kinds_that_lose_their_release_are_named() {
        let place = Place::new();
        place.publish("v1", X86).await;
        place.publish("v1", ARM).await;
        place.publish("v2", X86).await;
        run(&place, &order("v1")).await.unwrap();
        let promoted = run(&place, &order("v2")).await.unwrap();
        assert_eq!(promoted.dropped, [ARM.parse().unwrap()]);
    }

    #[tokio::test]
    async fn an_unknown_version_is_answered_with_near_ones_and_nothing_is_stored() {
        let place = Place::new();
        place.publish("2026.1", X86).await;
        let error = run(&place, &order("2026.2")).await.unwrap_err();
        insta::assert_snapshot!(told(&error).replace(place.published().store.location(), "STORE"), @"`polls` has no version `2026.2` in the store STORE");
        insta::assert_snapshot!(error.hint().unwrap(), @"did you mean `2026.1`?");
        assert!(place.published().channels(&order("v1").app).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_statement_that_is_not_to_be_believed_stops_it() {
        let place = Place::new();
        place.publish("v1", X86).await;
        place.publish_signed_by("v1", ARM, &SigningKey::generate("stranger").unwrap()).await;
        let error = run(&place, &order("v1")).await.unwrap_err();
        assert!(matches!(error, Error::Published(published::Error::Refused { .. })), "{error}");
        assert!(place.published().channels(&order("v1").app).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_key_that_may_not_promote_is_told_so_before_anything_is_stored() {
        let place = Place::new();
        place.publish("v1", X86).await;
        let stranger = SigningKey::generate("stranger").unwrap();
        let error = promote(&place.published(), &stranger, &order("v1")).await.unwrap_err();
        let text = told(&error).replace(&stranger.public().fingerprint(), "SHA256:...");
        insta::assert_snapshot!(text, @r#"
        the signing key (SHA256:...) is not trusted to promote
        caused by: the channel pointer is refused
        caused by: its key SHA256:... is not in the trust file `trust`
        "#);
        assert!(place.published().channels(&order("v1").app).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn of_many_who_promote_at_once_each_serial_is_used_once_and_losers_are_told() {
        let place = Place::new();
        place.publish("v1", X86).await;
        run(&place, &order("v1")).await.unwrap();
        let orders: Vec<Order> = (0..8).map(|n| Order { who: format!("nr {n}"), ..order("v1") }).collect();
        let results = futures_util::future::join_all(orders.iter().map(|order| run(&place, order))).await;
        let mut won: Vec<u64> = Vec::new();
        for result in results {
            match result {
                Ok(promoted) => won.push(promoted.pointer.serial),
                Err(Error::Overtaken { now, .. }) => assert!(now.serial >= 2 && now.who.starts_with("nr ")),
                Err(error) => panic!("{error}"),
            }
        }
        won.sort_unstable();
        assert_eq!(won, (2..2 + won.len() as u64).collect::<Vec<_>>());
        assert_eq!(stored(&place).await.serial, *won.last().unwrap());
    }

    #[tokio::test]
    async fn being_overtaken_says_by_whom() {
        let now = Channel::clone(&{
            let place = Place::new();
            place.publish("v1", X86).await;
            run(&place, &order("v1")).await.unwrap().pointer
        });
        let error = Error::Overtaken { channel: "production".parse().unwrap(), now: Box::new(now) };
        insta::assert_snapshot!(error, @"the channel `production` was moved meanwhile: jane points it at v1 now (serial 1)");
    }

    #[tokio::test]
    async fn a_serial_that_cannot_rise_is_said() {
        let place = Place::new();
        place.publish("v1", X86).await;
        let promoted = run(&place, &order("v1")).await.unwrap();
        let last = Channel { serial: u64::MAX, ..promoted.pointer };
        place.replace_pointer(&last).await;
        assert!(matches!(run(&place, &order("v1")).await, Err(Error::SerialUsedUp(_))));
    }

    #[tokio::test]
    async fn days_have_bounds() {
        let place = Place::new();
        place.publish("v1", X86).await;
        for days in [0, MOST_DAYS + 1, u32::MAX] {
            assert!(matches!(run(&place, &Order { days, ..order("v1") }).await, Err(Error::Days(_))), "{days}");
        }
    }
}
