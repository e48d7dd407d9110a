# Makes the packages of the tests: tiny wheels and source archives, always the same bytes. Run with the folder to fill.
import gzip
import io
import os
import sys
import tarfile
import zipfile

TIME = (1980, 1, 1, 0, 0, 0)

# A build backend in the source itself: needs nothing to be fetched.
BACKEND = '''
import os, subprocess, sys, zipfile

NAME, VERSION, COMPILES = "{name}", "{version}", {compiles}

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
        info + "WHEEL": "Wheel-Version: 1.0\\\\nGenerator: test\\\\nRoot-Is-Purelib: true\\\\nTag: py3-none-any\\\\n",
    }}
    record = "".join(path + ",,\\\\n" for path in members) + info + "RECORD,,\\\\n"
    wheel = NAME + "-" + VERSION + "-py3-none-any.whl"
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


def wheel(folder, name, version, requires=(), tag="py3-none-any"):
    info = f"{name}-{version}.dist-info/"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    members = {
        f"{name}/__init__.py": "",
        info + "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        info + "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    members[info + "RECORD"] = "".join(f"{path},,\n" for path in members) + f"{info}RECORD,,\n"
    with zipfile.ZipFile(os.path.join(folder, f"{name}-{version}-{tag}.whl"), "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path, TIME), text)


def source(name, version, compiles):
    return {
        "pyproject.toml": PYPROJECT.format(name=name, version=version),
        "backend.py": BACKEND.format(name=name, version=version, compiles=compiles),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }


def archive(folder, name, version, compiles=False):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in source(name, version, compiles).items():
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
archive(links, "tree", "0.2")
archive(links, "broken", "1.0", compiles=True)
folder_of(os.path.join(sys.argv[1], "project/packages"), "inner", "0.3")
