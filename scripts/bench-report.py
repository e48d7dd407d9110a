#!/usr/bin/env python3
"""The bars of docs/performance.md beside the figures of one run of scripts/bench.

usage: bench-report.py peers RUN OUT.json               the bars of RUN/peers.tsv, written to OUT.json
       bench-report.py bars FOLDER [--check] [--json FILE] PART...      FOLDER/PART.json of each part, printed,
                                                        and as tables to FOLDER/figures.md

RUN/peers.tsv has a row per file system, round, peer and case. Ratios are taken within a round, then the median: the
machines are shared and drift. --check exits with 1 when a bar is missed; one whose peer was not run is said to be unknown
and does not count. A figure without a bar is only shown.
"""
import json
import os
import sys
from collections import defaultdict

from bench_node import bar, median, steps, write

COLUMNS = "wall user sys rss written net".split()
CASES = {"cold": "cold", "v1->v2": "v1-v2", "v1->v3": "v1-v3", "v3->v4": "v3-v4"}


class Rows:
    """The rows of one file system, with what our own steps took."""

    def __init__(self, run, fs):
        self.rows = defaultdict(dict)
        for line in open(os.path.join(run, "peers.tsv")):
            round_, on, peer, case, *numbers, status = line.rstrip("\n").split("\t")
            if on == fs and status == "0":
                row = dict(zip(COLUMNS, map(float, numbers)))
                self.rows[case, peer][round_] = {**row, "cpu": row["user"] + row["sys"]}
        for case, name in CASES.items():
            path, ours = os.path.join(run, "events", f"{fs}.{name}"), self.of(case, "pannier")
            taken = steps(path) if os.path.exists(path) else []
            if len(taken) == len(ours):
                for row, took in zip(ours.values(), taken):
                    row["steps"], row["unsynced"] = took, row["wall"] - took.get("seal", 0)

    def of(self, case, peer):
        return self.rows.get((case, peer), {})

    def ratio(self, case, figure, peer):
        """Ours by theirs; `unsynced` is our time without the step that makes all durable, beside theirs."""
        ours, theirs = self.of(case, "pannier"), self.of(case, peer)
        beside = "wall" if figure == "unsynced" else figure
        return median(
            ours[r][figure] / theirs[r][beside] for r in ours if figure in ours[r] and r in theirs and theirs[r][beside]
        )

    def median(self, case, figure):
        return median(row[figure] for row in self.of(case, "pannier").values())

    def steps(self):
        """The median seconds of each step by case."""
        for case in CASES:
            rows = [row["steps"] for row in self.of(case, "pannier").values() if "steps" in row]
            if rows:
                yield case, {step: median(row[step] for row in rows) for step in rows[0] if all(step in r for r in rows)}


def peers_bars(disk, memory, rehash, artifact, sizes):
    ratio, pipe = disk.ratio, "curl-zst3-pipe"
    yield bar("cold: CPU beside curl | zstd | tar", ratio("cold", "cpu", pipe), 0.6, "x")
    yield bar("cold: wall beside curl | zstd | tar, ext4", ratio("cold", "wall", pipe), 1.0, "x")
    yield bar("  without our sync", ratio("cold", "unsynced", pipe), None, "x")
    yield bar("cold: wall beside curl | zstd | tar, tmpfs", memory.ratio("cold", "wall", pipe), 0.6, "x")
    yield bar("  CPU there", memory.ratio("cold", "cpu", pipe), None, "x")
    yield bar("cold: CPU beside the floor", ratio("cold", "cpu", "floor"), 1.3, "x")
    yield bar("cold: wall beside the floor", ratio("cold", "wall", "floor"), 1.25, "x")
    yield bar("  without our sync", ratio("cold", "unsynced", "floor"), None, "x")
    yield bar("  on tmpfs", memory.ratio("cold", "wall", "floor"), None, "x")
    yield bar("app update: wall beside the floor", ratio("v1->v2", "wall", "floor"), 1.3, "x")
    yield bar("  without our sync", ratio("v1->v2", "unsynced", "floor"), None, "x")
    yield bar("  with every file hashed again", rehash.ratio("v1->v2", "wall", "floor"), None, "x")
    yield bar("app update: wall beside rsync --copy-dest", ratio("v1->v2", "wall", "rsync-cap"), 0.5, "x")
    yield bar("app update: wall beside a whole fetch", ratio("v1->v2", "wall", pipe), 0.35, "x")
    yield bar("app update: bytes on the wire", disk.median("v1->v2", "net"), 1.7, " MB")
    yield bar("dependency update: wall beside the floor", ratio("v1->v3", "wall", "floor"), 1.3, "x")
    yield bar("dependency update: bytes on the wire", disk.median("v1->v3", "net"), artifact * 0.2 / 1e6, " MB")
    # Root and the tables of what changes with every release, which come unseen: 9 % of all tables.
    yield bar("rebuild with the same bytes: bytes on the wire", disk.median("v3->v4", "net"), 0.2, " MB")
    yield bar("artifact beside one frame of the same level", sizes and sizes[0] / sizes[1], 1.04, "x")
    for case in CASES:
        yield bar(f"peak memory, {case}", disk.median(case, "rss"), 128, " MiB")


def peers(run, out):
    disk, memory, rehash = Rows(run, "ext4"), Rows(run, "tmpfs"), Rows(run, "rehash")
    size = lambda version: os.path.getsize(os.path.join(run, f"dist/{version}/artifact.tar.zst"))
    one = os.path.join(run, "one-frame")
    sizes = (size("v1"), int(open(one).read())) if os.path.exists(one) else None
    print("\nseconds of each step (median)")
    for fs, rows in (("ext4", disk), ("tmpfs", memory)):
        for case, took in rows.steps():
            print(f"  {fs:5} {case:7} " + "  ".join(f"{step} {s:.3f}" for step, s in took.items() if s >= 0.0005))
    flat = lambda rows: {f"{case} {peer}": list(found.values()) for (case, peer), found in rows.rows.items()}
    bars = list(peers_bars(disk, memory, rehash, size("v3"), sizes))
    write(out, artifact=size("v1"), sizes=sizes, ext4=flat(disk), tmpfs=flat(memory), rehash=flat(rehash), bars=bars)


def verdict(found):
    if found["figure"] is None:
        return "unknown"
    if found["at_most"] is None:
        return "shown"
    return "holds" if found["figure"] <= found["at_most"] else "MISSED"


def markdown(parts, escaped="\\|"):
    """The tables of docs/performance.md."""
    for part, figures in parts.items():
        yield f"\n**{part}** (load {figures['load']:.1f})\n"
        if part == "peers":
            yield from peers_table(figures)
        if "cells" in figures:
            yield from network_table(figures["cells"])
            continue
        yield "| bar | figure | at most | |\n|---|---|---|---|"
        for found in figures["bars"]:
            number = lambda value: "-" if value is None else f"{value:.2f}{found['unit']}"
            limit = "" if found["at_most"] is None else number(found["at_most"])
            yield f"| {found['bar'].strip().replace('|', escaped)} | {number(found['figure'])} | {limit} | {found['verdict']} |"


def peers_table(figures):
    names = {"pannier": "pannier", "floor": "floor", "curl-zst3-pipe": "curl \\| zstd \\| tar", "rsync-cap": "rsync"}
    yield "| case | | " + " | ".join(names.values()) + " |\n" + "|---" * (len(names) + 2) + "|"
    for fs in ("ext4", "tmpfs"):
        for case in CASES if fs == "ext4" else ("cold",):
            for at, (label, key) in enumerate((("wall, s", "wall"), ("CPU, s", "cpu"), ("net, MB", "net"))):
                found = [figures[fs].get(f"{case} {peer}") for peer in names]
                shown = [f"{median(row[key] for row in rows):.2f}" if rows else "" for rows in found]
                yield f"| {f'{case}, {fs}' if at == 0 else ''} | {label} | " + " | ".join(shown) + " |"
    yield ""


def network_table(cells):
    yield "| Mbit/s | ms | whole | whole, level 9 | cold | app update | dependencies |\n|---|---|---|---|---|---|---|"
    for cell in cells:
        walls = " | ".join(f"{cell['wall'][name]:.2f}" for name in ("whole", "whole-9", "cold", "app update", "dependency update"))
        yield f"| {cell['rate'] or 'unlimited'} ({cell['mbit']:.0f}) | {cell['delay']} ({cell['first_byte'] * 1000:.0f}) | {walls} |"


def bars(folder, *rest):
    rest, kept = list(rest), None
    if "--json" in rest:
        at = rest.index("--json")
        kept = rest[at + 1]
        del rest[at : at + 2]
    parts = {part: json.load(open(os.path.join(folder, f"{part}.json"))) for part in rest if part != "--check"}
    missed = 0
    for part, figures in parts.items():
        print(f"\n{part} (load {figures['load']:.1f} at its end)")
        for found in figures["bars"]:
            found["verdict"] = verdict(found)
            missed += found["verdict"] == "MISSED"
            shown = "-" if found["figure"] is None else f"{found['figure']:.2f}{found['unit']}"
            limit = "" if found["at_most"] is None else f"at most {found['at_most']:.2f}{found['unit']}"
            print(f"  {found['bar']:62} {shown:>10}  {limit:17} {found['verdict']}")
    with open(os.path.join(folder, "figures.md"), "w") as out:
        out.write("\n".join(markdown(parts)) + "\n")
    if kept:
        with open(kept, "w") as out:
            json.dump(parts, out, indent=1)
    return 1 if missed and "--check" in rest else 0


if __name__ == "__main__":
    sys.exit({"peers": peers, "bars": bars}[sys.argv[1]](*sys.argv[2:]))
