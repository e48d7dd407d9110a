//! Why a build failed: one variant per stage.

use pannier_shared::sys::fs;

use crate::inside;
use crate::stages::{
    bundle, bytecode, django, documents, interpreter, libc, pack, proof, scratch, sign, source, static_files, target,
    tools, venv, wheels,
};

/// A build that failed; which step it was, the runner of the table says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The app's files.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The interpreter.
    #[error(transparent)]
    Interpreter(#[from] interpreter::Error),
    /// The interpreter that the release brings.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// What the interpreter uses that the release does not hold.
    #[error(transparent)]
    Proof(#[from] proof::Error),
    /// The kind of machine that the release is for.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// uv and pip.
    #[error(transparent)]
    Tools(#[from] tools::Error),
    /// The dependencies.
    #[error(transparent)]
    Wheels(#[from] wheels::Error),
    /// The environment.
    #[error(transparent)]
    Venv(#[from] venv::Error),
    /// The C library and the machine that installed files ask for.
    #[error(transparent)]
    Libc(#[from] libc::Error),
    /// Byte code.
    #[error(transparent)]
    Bytecode(#[from] bytecode::Error),
    /// The scratch copy.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// Django and the project's settings.
    #[error(transparent)]
    Django(#[from] django::Error),
    /// Static files.
    #[error(transparent)]
    Static(#[from] static_files::Error),
    /// The description cannot be written.
    #[error("failed to write the release's description")]
    Description(#[source] serde_json::Error),
    /// The archive.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// The documents beside it.
    #[error(transparent)]
    Documents(#[from] documents::Error),
    /// The archive that was just written cannot be read.
    #[error(transparent)]
    Reread(#[from] Box<inside::Error>),
    /// The signature.
    #[error(transparent)]
    Sign(#[from] sign::Error),
    /// A step ran before the one whose result it needs: a bug in the table.
    #[error("the steps of the build are in a wrong order: there is no {0} yet")]
    TooEarly(&'static str),
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Interpreter(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Target(error) => Some(error.hint()),
            Self::Tools(error) => error.hint(),
            Self::Wheels(error) => error.hint(),
            Self::Libc(error) => error.hint(),
            Self::Django(error) => error.hint(),
            Self::Static(error) => error.hint(),
            Self::Pack(error) => error.hint(),
            Self::Fs(_)
            | Self::Proof(_)
            | Self::Venv(_)
            | Self::Bytecode(_)
            | Self::Scratch(_)
            | Self::Description(_)
            | Self::Documents(_)
            | Self::Reread(_)
            | Self::Sign(_)
            | Self::TooEarly(_) => None,
        }
    }
}
