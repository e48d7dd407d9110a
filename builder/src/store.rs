//! Which client the builder opens a store with: for `s3://` the AWS SDK, which knows every way to come by credentials,
//! and without the feature `aws` the node's small client.

use pannier_shared::store::location::Location;
use pannier_shared::store::{self, Result, Store};

/// Opens the store at a location. Configuration comes from `env`; credentials that are not in it are looked for by the
/// SDK in the places and under the names it documents.
pub async fn open_store(location: &Location, env: &dyn Fn(&str) -> Option<String>) -> Result<Box<dyn Store>> {
    #[cfg(feature = "aws")]
    if let Location::S3(bucket) = location {
        let options = store::s3::S3Options::from_env(bucket.clone(), env)?;
        return Ok(Box::new(crate::store_aws::AwsStore::new(options).await));
    }
    store::open(location, env).await
}
