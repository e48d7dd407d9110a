//! What all fetches of this process share, however many apps they are for: memory, and connections to the store.
//!
//! Memory is the process's, so its budget is one for the process. No fetch waits for a share while it keeps what another
//! one needs to go on: shares are given back by decoders, which wait for nobody. Connections are those that artifacts are
//! read by; the small documents before them are not counted, nor is a second request for a range that is late.

use std::sync::{Arc, LazyLock};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes that may be on their way between the store and the disk, compressed. With one decoded frame per core and fetch this
/// is what keeps a fetch far below 128 MiB.
pub const MEMORY: u64 = 32 << 20;

/// Requests in flight: what one fetch alone uses on a slow line.
const CONNECTIONS: usize = 8;

static SHARES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MEMORY as usize)));
static TURNS: Semaphore = Semaphore::const_new(CONNECTIONS);

/// The memory, a permit for each byte.
pub fn memory() -> Arc<Semaphore> {
    Arc::clone(&SHARES)
}

/// A connection, as long as this is kept; those who wait are served in their order. None is never the answer: the budget
/// is not closed.
pub async fn connection() -> Option<SemaphorePermit<'static>> {
    TURNS.acquire().await.ok()
}
