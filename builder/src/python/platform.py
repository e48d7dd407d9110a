# Asks an interpreter what environment markers (PEP 508) and wheel tags (PEP 425) hold for it; one JSON object.
import json
import os
import platform
import sys


def tags():
    # pip brings the library that decides this; one that was taken apart by a distribution leaves the list empty.
    for name in ("pip._vendor.packaging.tags", "packaging.tags"):
        try:
            return [str(tag) for tag in __import__(name, fromlist=["sys_tags"]).sys_tags()]
        except ImportError:
            pass
    return []


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
