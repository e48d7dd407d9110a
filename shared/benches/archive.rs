//! The inner parts of reading: one frame on its way from bytes to proven files, and a table of contents of 30,000 entries.
//!
//! `cargo bench -p pannier-shared --bench archive`
#![allow(missing_docs, reason = "criterion's macros make functions")]
#![allow(clippy::unwrap_used, reason = "a bench ends where something is wrong")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pannier_shared::archive::frame::Decoder;
use pannier_shared::archive::read::{Frame, Outline, tail_range};
use pannier_shared::digest::Digest;

mod release;

fn archive(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (artifact, bytes) = release::packed(folder.path(), 1);
    let part = |range: std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
    let outline = || Outline::open(&artifact, part(tail_range(&artifact).unwrap())).unwrap();
    let tables = part(outline().tables_range());
    let read = || {
        let outline = outline();
        let tables = outline.tables(tables).unwrap();
        outline.contents(tables).unwrap()
    };

    let mut group = criterion.benchmark_group("toc");
    group.sample_size(20).throughput(Throughput::Elements(artifact.entries));
    group.bench_function("prove and parse", |bencher| {
        bencher.iter(|| {
            let outline = outline();
            outline.tables(tables).unwrap()
        })
    });
    group.bench_function("prove, parse, check and place", |bencher| bencher.iter(read));
    group.finish();

    let contents = read();
    let largest = |frame: &&Frame| frame.plain;
    let frame = contents.frames().iter().max_by_key(largest).unwrap();
    let compressed = part(frame.range.clone());
    let mut group = criterion.benchmark_group("frame");
    group.sample_size(50).throughput(Throughput::Bytes(frame.plain));
    group.bench_function("hash", |bencher| bencher.iter(|| Digest::of(black_box(compressed))));
    let mut decoder = Decoder::default();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decoder.decode(black_box(compressed), frame.plain).unwrap().len())
    });
    group.bench_function("prove, decode and compare headers", |bencher| {
        bencher.iter(|| contents.open_frame(frame, black_box(compressed), &mut decoder).unwrap().bodies().count())
    });
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
