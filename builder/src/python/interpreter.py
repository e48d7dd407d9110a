# Asks an interpreter what it is; one JSON object on standard output. Keep it readable by any Python 3.
import json
import platform
import sys
import sysconfig

base = sys.executable
if sys.prefix != sys.base_prefix:
    base = getattr(sys, "_base_executable", base)
print(json.dumps({
    "executable": base,
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "cache_tag": sys.implementation.cache_tag or "",
    "abi": sysconfig.get_config_var("SOABI") or "",
    "platform": sys.platform,
    "machine": platform.machine(),
    "glibc": platform.libc_ver()[1] if platform.libc_ver()[0] == "glibc" else None,
}))
