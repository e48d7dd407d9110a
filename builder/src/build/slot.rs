//! A slot: empty until the step that fills it has run.

use std::any::type_name;

use super::Error;

/// What one step hands to later ones.
pub struct Slot<T>(Option<T>);

impl<T> Slot<T> {
    /// Nothing yet.
    pub const EMPTY: Self = Self(None);

    /// Hands a value on.
    pub fn fill(&mut self, value: T) -> &T {
        self.0.insert(value)
    }

    /// The value, once its step has run.
    pub fn get(&self) -> Result<&T, Error> {
        self.0.as_ref().ok_or(Error::TooEarly(type_name::<T>()))
    }

    /// The value itself.
    pub fn take(self) -> Result<T, Error> {
        self.0.ok_or(Error::TooEarly(type_name::<T>()))
    }
}
