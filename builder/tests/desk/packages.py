# Makes the packages of the tests: tiny wheels and source archives, always the same bytes. Run with the folder to fill.
import gzip
import io
import os
import struct
import sys
import tarfile
import zipfile

TIME = (1980, 1, 1, 0, 0, 0)

# A build backend in the source itself: needs nothing to be fetched.
BACKEND = '''
import os, subprocess, sys, zipfile

NAME, VERSION, COMPILES, TAG = "{name}", "{version}", {compiles}, "{tag}"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    if COMPILES:
        print("building '{name}._speed' extension")
        try:
            subprocess.run([os.environ.get("CC", "cc"), "-c", "speed.c"], check=True)
        except FileNotFoundError as error:
            sys.exit(f"error: command {{error.filename!r}} failed: {{error.strerror}}")
    info = NAME + "-" + VERSION + ".dist-info/"
    members = {{
        NAME + "/__init__.py": "",
        info + "METADATA": "Metadata-Version: 2.1\\\\nName: " + NAME + "\\\\nVersion: " + VERSION + "\\\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\\\nGenerator: test\\\\nRoot-Is-Purelib: true\\\\nTag: " + TAG + "\\\\n",
    }}
    record = "".join(path + ",,\\\\n" for path in members) + info + "RECORD,,\\\\n"
    wheel = NAME + "-" + VERSION + "-" + TAG + ".whl"
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for path, text in list(members.items()) + [(info + "RECORD", record)]:
            archive.writestr(zipfile.ZipInfo(path), text)
    # Says that it ran: a build from the cache does not.
    log = os.environ.get("CFLAGS")
    if log:
        with open(log, "a") as file:
            file.write(NAME + "\\\\n")
    return wheel
'''.replace("\\\\n", "\\n")

PYPROJECT = """[project]
name = "{name}"
version = "{version}"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def wheel(folder, name, version, requires=(), tag="py3-none-any", files={}):
    info = f"{name}-{version}.dist-info/"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    members = {
        f"{name}/__init__.py": "",
        **files,
        info + "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        info + "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    members[info + "RECORD"] = "".join(f"{path},,\n" for path in members) + f"{info}RECORD,,\n"
    with zipfile.ZipFile(os.path.join(folder, f"{name}-{version}-{tag}.whl"), "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path, TIME), text)


MACHINES = {"x86_64": 62, "aarch64": 183}


def library(machine, glibc):
    """A shared library with nothing in it that needs a libc.so.6 of this version: the least that is one."""
    names, parts, at = bytearray(b"\0"), [], 64 + 2 * 56

    def name(text):
        names.extend(text.encode() + b"\0")
        return len(names) - len(text) - 1

    def part(kind, data, link=0, info=0, entry=0):
        nonlocal at
        parts.append((kind, at, len(data), link, info, entry, data))
        at += len(data)
        return parts[-1][1]

    def hashed(text):
        value = 0
        for byte in text.encode():
            value = (value << 4) + byte
            value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
        return value

    libc, version = name("libc.so.6"), "GLIBC_" + glibc
    needs = struct.pack("<HHIII", 1, 1, libc, 16, 0) + struct.pack("<IHHII", hashed(version), 0, 2, name(version), 0)
    names.extend(bytes(-len(names) % 8))
    # String table 3, symbol table 11, needed versions 6ffffffe of one library.
    strings = part(3, bytes(names))
    symbols = part(11, bytes(24), link=1, info=1, entry=24)
    versions = part(0x6FFFFFFE, needs, link=1, info=1)
    tags = [(1, libc), (5, strings), (10, len(names)), (6, symbols), (11, 24)]
    tags += [(0x6FFFFFFE, versions), (0x6FFFFFFF, 1), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    start = part(6, dynamic, link=1, entry=16)
    sections = at
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, MACHINES[machine], 1, 0, 64, sections, 0, 64, 56, 2, 64, len(parts) + 1, 0)
    segment = lambda kind, begin, size: struct.pack("<IIQQQQQQ", kind, 4, begin, begin, begin, size, size, 8)
    header += segment(1, 0, at) + segment(2, start, len(dynamic))
    table = bytes(64)
    for kind, begin, size, link, info, entry, _ in parts:
        table += struct.pack("<IIQQQQIIQQ", 0, kind, 2, begin, begin, size, link, info, 8, entry)
    return header + b"".join(data for *_, data in parts) + table


def source(name, version, compiles, tag="py3-none-any"):
    return {
        "pyproject.toml": PYPROJECT.format(name=name, version=version),
        "backend.py": BACKEND.format(name=name, version=version, compiles=compiles, tag=tag),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }


def archive(folder, name, version, compiles=False, tag="py3-none-any"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in source(name, version, compiles, tag).items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    with open(os.path.join(folder, f"{name}-{version}.tar.gz"), "wb") as file:
        file.write(gzip.compress(packed.getvalue(), mtime=0))


def folder_of(root, name, version):
    folder = os.path.join(root, name)
    os.makedirs(folder)
    for path, text in source(name, version, False).items():
        with open(os.path.join(folder, path), "w") as file:
            file.write(text)


links = os.path.join(sys.argv[1], "links")
os.makedirs(links)
wheel(links, "alpha", "1.0", ["beta>=1", 'gamma; sys_platform == "win32"'])
wheel(links, "beta", "1.5")
wheel(links, "gamma", "1.0")
wheel(links, "opt", "2.0")
wheel(links, "worker", "1.0")
wheel(links, "devtool", "3.0")
wheel(links, "foreign", "1.0", tag="cp39-cp39-win32")
# One with a library for each kind of machine, one that says more than it keeps, one of another machine than it says.
feature = "cp%d%d" % sys.version_info[:2]
for machine in MACHINES:
    for name, told, machine_of, glibc in (("fast", "2_17", machine, "2.17"), ("hasty", "2_17", machine, "2.34")):
        files = {f"{name}/_speed.so": library(machine_of, glibc)}
        wheel(links, name, "1.0", tag=f"{feature}-{feature}-manylinux_{told}_{machine}", files=files)
here = os.uname().machine
there = next(machine for machine in MACHINES if machine != here)
wheel(links, "mistaken", "1.0", tag=f"{feature}-{feature}-manylinux_2_17_{there}", files={"mistaken/_speed.so": library(here, "2.17")})
wheel(links, "mistaken", "1.0", tag=f"{feature}-{feature}-manylinux_2_17_{here}", files={"mistaken/_speed.so": library(here, "2.17")})
wheel(links, "homely", "1.0", tag=f"{feature}-{feature}-manylinux_2_17_{here}", files={"homely/_speed.so": library(here, "2.17")})
archive(links, "tree", "0.2")
archive(links, "native", "1.0", tag=f"{feature}-{feature}-linux_{here}")
archive(links, "broken", "1.0", compiles=True)
folder_of(os.path.join(sys.argv[1], "project/packages"), "inner", "0.3")
