#!/usr/bin/env python3
"""The bars of docs/performance.md beside the figures of one run of scripts/bench.

usage: bench-report.py RUN FS [--check] [--json FILE]

RUN/peers.tsv has a row per round, peer and case. Ratios are taken within a round, then the median: the machines are shared
and drift. --check exits with 1 when a bar is missed; a bar whose peer was not run is said to be unknown and does not count.
"""
import json
import os
import statistics
import sys
from collections import defaultdict

COLUMNS = "wall user sys rss written net".split()


def read(path, fs):
    rows = defaultdict(dict)
    for line in open(path):
        round_, on, peer, case, *numbers, status = line.rstrip("\n").split("\t")
        if on == fs and status == "0":
            row = dict(zip(COLUMNS, map(float, numbers)))
            rows[case, peer][round_] = {**row, "cpu": row["user"] + row["sys"]}
    return rows


def ratio(rows, case, figure, peer):
    ours, theirs = rows.get((case, "pannier"), {}), rows.get((case, peer), {})
    both = [ours[r][figure] / theirs[r][figure] for r in ours if r in theirs and theirs[r][figure]]
    return statistics.median(both) if both else None


def median(rows, case, figure):
    ours = rows.get((case, "pannier"), {})
    return statistics.median(row[figure] for row in ours.values()) if ours else None


def bars(rows, artifact, fs):
    wall_beside_pipe = 1.0 if fs == "ext4" else 0.6
    yield "cold: CPU beside curl | zstd | tar", ratio(rows, "cold", "cpu", "curl-zst3-pipe"), 0.6, "x"
    yield "cold: wall beside curl | zstd | tar", ratio(rows, "cold", "wall", "curl-zst3-pipe"), wall_beside_pipe, "x"
    yield "cold: CPU beside the floor", ratio(rows, "cold", "cpu", "floor"), 1.3, "x"
    yield "cold: wall beside the floor", ratio(rows, "cold", "wall", "floor"), 1.25, "x"
    yield "cold: peak memory", median(rows, "cold", "rss"), 128, " MB"
    yield "app update: wall beside the floor", ratio(rows, "v1->v2", "wall", "floor"), 1.3, "x"
    yield "app update: wall beside rsync --copy-dest", ratio(rows, "v1->v2", "wall", "rsync-cap"), 0.5, "x"
    yield "app update: wall beside a whole fetch", ratio(rows, "v1->v2", "wall", "curl-zst3-pipe"), 0.35, "x"
    yield "app update: bytes on the wire", median(rows, "v1->v2", "net"), 1.7, " MB"
    yield "dependency update: wall beside the floor", ratio(rows, "v1->v3", "wall", "floor"), 1.3, "x"
    yield "dependency update: bytes on the wire", median(rows, "v1->v3", "net"), artifact * 0.2 / 1e6, " MB"
    yield "rebuild with the same bytes: bytes on the wire", median(rows, "v3->v4", "net"), 0.1, " MB"


def main(run, fs, *options):
    rows = read(os.path.join(run, "peers.tsv"), fs)
    artifact = os.path.getsize(os.path.join(run, "dist/v3/artifact.tar.zst"))
    missed, kept = 0, []
    print(f"\nbars, on {fs} (artifact {artifact / 1e6:.1f} MB)")
    for name, figure, bar, unit in bars(rows, artifact, fs):
        verdict = "unknown" if figure is None else "holds" if figure <= bar else "MISSED"
        missed += verdict == "MISSED"
        shown = "-" if figure is None else f"{figure:.2f}{unit}"
        print(f"  {name:50} {shown:>10}  at most {bar:.2f}{unit:3}  {verdict}")
        kept.append({"bar": name, "figure": figure, "at_most": bar, "unit": unit.strip(), "verdict": verdict})
    if "--json" in options:
        figures = {f"{case} {peer}": list(found.values()) for (case, peer), found in rows.items()}
        with open(options[options.index("--json") + 1], "w") as out:
            json.dump({"fs": fs, "artifact": artifact, "bars": kept, "rows": figures}, out, indent=1)
    return 1 if missed and "--check" in options else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
