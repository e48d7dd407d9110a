# Says where everything that this interpreter uses lies; one JSON object on standard output.
import importlib
import json
import os
import subprocess
import sys
import sysconfig

failed = {}
modules = ["ssl", "sqlite3", "ctypes", "zlib", "hashlib", "subprocess", "multiprocessing", "asyncio", "encodings.idna"]
folders = [path for path in sys.path if os.path.basename(path) == "lib-dynload" and os.path.isdir(path)]
extensions = [name.split(".")[0] for folder in folders for name in sorted(os.listdir(folder)) if name.endswith(".so")]
for module in modules + extensions:
    try:
        importlib.import_module(module)
    except ImportError as error:
        # A site that needs SQLite was told before; the interpreter is what it is.
        if "sqlite3" not in module:
            failed[module] = str(error)

mapped = set()
with open("/proc/self/maps") as maps:
    for line in maps:
        path = line.rstrip("\n").split(None, 5)[5:]
        if path and path[0].startswith("/") and ".so" in os.path.basename(path[0]):
            mapped.add(path[0])

places = ["executable", "prefix", "exec_prefix", "base_prefix", "base_exec_prefix"]
paths = {"sys.path[%d]" % at: path for at, path in enumerate(sys.path) if path}
paths.update({"sysconfig " + name: path for name, path in sysconfig.get_paths().items()})
child = subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "places": {"sys." + name: getattr(sys, name) for name in places},
    "paths": paths,
    "failed": failed,
    "mapped": sorted(mapped),
    "child": child.stdout.rstrip("\n"),
}))
