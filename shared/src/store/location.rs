//! location.
