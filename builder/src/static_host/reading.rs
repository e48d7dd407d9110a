//! The bytes of a release's files, out of its artifact: each frame is proven and decoded once, whatever lies in it.
//!
//! A small file is given whole. A large one, of which several at a time would fill the memory, is given as the frames it lies
//! in, which are read while it is sent, and again when it has to be sent again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use md5::{Digest as _, Md5};
use pannier_shared::archive::frame::Decoder;
use pannier_shared::archive::read::{self, Contents, Frame};
use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest::Digest;
use pannier_shared::statement::Artifact;
use pannier_shared::store::upload::Unsendable;
use pannier_shared::sys::fs;

use crate::inside::{self, Error};

/// Files up to this size are given whole: as much as a frame of static files holds, so that a larger one has frames of its own.
const WHOLE: u64 = 1024 * 1024;

/// An artifact on this machine, its tables proven.
#[derive(Debug)]
pub struct Source {
    file: File,
    path: PathBuf,
    contents: Contents,
}

/// A file's bytes.
#[derive(Debug, Clone)]
pub enum Body {
    /// All of them.
    Whole(Bytes),
    /// Where they lie.
    Frames(Large),
}

/// A file that is read when it is needed.
#[derive(Debug, Clone)]
pub struct Large {
    source: Arc<Source>,
    number: usize,
    frames: Arc<Vec<usize>>,
}

impl Source {
    /// Opens an artifact that its statement describes.
    pub fn open(path: &Path, artifact: &Artifact) -> Result<Self, Error> {
        let (outline, tables) = inside::open_file(path, artifact)?;
        let contents = outline.contents(tables).map_err(|source| Error::of_archive(path, source))?;
        Ok(Self { file: fs::open(path)?, path: path.to_owned(), contents })
    }

    /// All regular files.
    pub fn files(&self) -> impl Iterator<Item = &FileRow> {
        self.contents.files()
    }

    /// One file's bytes: for small ones.
    pub fn file(self: &Arc<Self>, number: usize) -> Result<Vec<u8>, Error> {
        let file = self.large(number);
        let pieces: Vec<Bytes> = (0..file.pieces()).map(|at| file.piece(at)).collect::<Result<_, _>>()?;
        Ok(pieces.concat())
    }

    /// Gives the bodies of these files, one after the other; `give` says whether to go on.
    pub fn each(
        self: &Arc<Self>,
        wanted: &HashSet<usize>,
        mut give: impl FnMut(usize, Body) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut small = HashMap::new();
        for (number, file) in self.files().enumerate().filter(|(number, _)| wanted.contains(number)) {
            let body = match file.size {
                0 => Body::Whole(Bytes::new()),
                1..=WHOLE => {
                    small.insert(number, file);
                    continue;
                }
                _ => Body::Frames(self.large(number)),
            };
            if give(number, body).is_break() {
                return Ok(());
            }
        }
        self.each_small(&small, give)
    }

    /// A file's parts follow each other, also from frame to frame.
    fn each_small(
        &self,
        wanted: &HashMap<usize, &FileRow>,
        mut give: impl FnMut(usize, Body) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (mut decoder, mut begun) = (Decoder::default(), BytesMut::new());
        let has_wanted = |frame: &&Frame| self.contents.files_in(frame).any(|number| wanted.contains_key(&number));
        for frame in self.contents.frames().iter().filter(has_wanted) {
            let mut whole = Vec::new();
            self.open_frame(frame, &mut decoder, |body| {
                if wanted.contains_key(&body.number) {
                    begun.reserve((body.file.size - body.offset) as usize);
                    begun.extend_from_slice(body.bytes);
                    if begun.len() as u64 == body.file.size {
                        whole.push((body.number, begun.split().freeze()));
                    }
                }
            })?;
            for (number, bytes) in whole {
                self.prove(wanted[&number], &bytes)?;
                if give(number, Body::Whole(bytes)).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The frames are proven; that the tables say the truth of the files in them is what a node looks at as well.
    fn prove(&self, file: &FileRow, bytes: &[u8]) -> Result<(), Error> {
        let found = Digest::of(bytes);
        if found == file.sha256 {
            return Ok(());
        }
        let wrong = read::Error::Digest { part: format!("file `{}`", file.path), expected: file.sha256, found };
        Err(Error::of_archive(&self.path, wrong))
    }

    fn open_frame(&self, frame: &Frame, decoder: &mut Decoder, take: impl FnMut(read::Body<'_>)) -> Result<(), Error> {
        let (length, mut compressed) = (frame.range.end - frame.range.start, Vec::new());
        fs::read_range(&self.file, &self.path, frame.range.start, length, &mut compressed)?;
        let open = self.contents.open_frame(frame, &compressed, decoder);
        open.map_err(|source| Error::of_archive(&self.path, source))?.bodies().for_each(take);
        Ok(())
    }

    fn frames_of(&self, number: usize) -> Vec<usize> {
        let frames = self.contents.frames().iter().enumerate();
        frames
            .filter(|(_, frame)| self.contents.files_in(frame).any(|found| found == number))
            .map(|(at, _)| at)
            .collect()
    }

    fn large(self: &Arc<Self>, number: usize) -> Large {
        Large { source: Arc::clone(self), number, frames: Arc::new(self.frames_of(number)) }
    }
}

impl Body {
    /// MD5 of the bytes: what S3 calls an ETag, good for telling apart what nobody forged.
    pub async fn md5(&self) -> Result<[u8; 16], Error> {
        match self {
            Self::Whole(bytes) => Ok(Md5::digest(bytes).into()),
            Self::Frames(large) => {
                let large = large.clone();
                let hashed = tokio::task::spawn_blocking(move || large.md5()).await;
                hashed.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
            }
        }
    }
}

impl Large {
    /// Its bytes from the start.
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes, Unsendable>> + Send + Sync + use<> {
        try_unfold((self.clone(), 0), |(large, at)| async move {
            if at == large.frames.len() {
                return Ok(None);
            }
            let piece = tokio::task::spawn_blocking(move || large.piece(at).map(|piece| (piece, (large, at + 1))));
            piece.await.map_err(|_| Unsendable)?.map(Some).map_err(|_| Unsendable)
        })
    }

    /// What one of its frames holds of it.
    pub fn piece(&self, at: usize) -> Result<Bytes, Error> {
        let mut piece = BytesMut::new();
        let frame = &self.source.contents.frames()[self.frames[at]];
        self.source.open_frame(frame, &mut Decoder::default(), |body| {
            if body.number == self.number {
                piece.extend_from_slice(body.bytes);
            }
        })?;
        Ok(piece.freeze())
    }

    /// How many pieces it has.
    pub fn pieces(&self) -> usize {
        self.frames.len()
    }

    fn md5(&self) -> Result<[u8; 16], Error> {
        let mut hasher = Md5::new();
        for at in 0..self.pieces() {
            hasher.update(self.piece(at)?);
        }
        Ok(hasher.finalize().into())
    }
}
