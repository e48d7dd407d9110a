# Asks an interpreter what environment markers (PEP 508) and wheel tags (PEP 425) hold for it; one JSON object. Where
# platform tags are given, the wheel tags are those of a like interpreter on such a platform.
import json
import os
import platform
import sys


def tags():
    # pip brings the library that decides this; one that was taken apart by a distribution leaves the list empty.
    for name in ("pip._vendor.packaging.tags", "packaging.tags"):
        try:
            library = __import__(name, fromlist=["sys_tags"])
        except ImportError:
            continue
        return [str(tag) for tag in (of_platforms(library, sys.argv[1:]) if sys.argv[1:] else library.sys_tags())]
    return []


def of_platforms(library, platforms):
    yield from library.cpython_tags(platforms=platforms)
    yield from library.compatible_tags(interpreter="cp%d%d" % sys.version_info[:2], platforms=platforms)


info = sys.implementation.version
version = "{0.major}.{0.minor}.{0.micro}".format(info)
if info.releaselevel != "final":
    version += info.releaselevel[0] + str(info.serial)
markers = {
    "implementation_name": sys.implementation.name,
    "implementation_version": version,
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}
print(json.dumps({"markers": markers, "tags": tags()}))
