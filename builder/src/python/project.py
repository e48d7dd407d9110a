"""Runs inside a scratch copy of the project: says what Django knows of it, collects its static files, or runs a command.

    project.py APP MANAGE_PY FALLBACK_SETTINGS ANSWER describe
    project.py APP MANAGE_PY FALLBACK_SETTINGS ANSWER collect FOLDER
    project.py APP MANAGE_PY FALLBACK_SETTINGS ANSWER command FOLDER WORD...

APP is the copy's folder.

The project's own manage.py runs first, as it always does, so that what it does to sys.path and the environment holds;
only the command at its end is ours. The answer is one JSON object in the file ANSWER: standard output belongs to the
project. A failure is an answer too, with the step that failed and the traceback. A command of the project has no answer:
it ends as manage.py ends.
"""

import io
import json
import os
import runpy
import sys
import traceback


APP = sys.argv[1]


def main():
    manage, fallback, answer, task, *rest = sys.argv[2:]
    sys.path[0] = os.path.dirname(manage)
    sys.argv = [manage, "pannier"]
    reached = []

    def at_the_command(argv=None):
        reached.append(True)
        if fallback:
            os.environ.setdefault("DJANGO_SETTINGS_MODULE", fallback)
        if task == "command":
            return command(plain, manage, *rest)
        write(answer, attempt(task, rest))

    try:
        from django.core import management
    except ImportError:
        return write(answer, failure("django"))
    plain = management.execute_from_command_line
    management.execute_from_command_line = at_the_command
    try:
        runpy.run_path(manage, run_name="__main__")
    except SystemExit:
        if task == "command":
            raise
    except BaseException:
        if not reached:
            return write(answer, failure("manage.py"))
        raise
    if not reached:
        write(answer, {"failed": "manage.py", "traceback": "manage.py did not call execute_from_command_line"})


def write(path, answer):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(answer, file)


def failure(step):
    """What went wrong, told by the project's own frames: those of libraries and of Python's import system say little."""
    kind, error, trace = sys.exc_info()
    frames = traceback.extract_tb(trace)
    installed = [frame for frame in frames if os.sep + "site-packages" + os.sep in frame.filename]
    own = [frame for frame in frames if frame.filename.startswith(APP + os.sep)]
    lines = ['File "%s", line %d, in %s\n  %s\n' % (short(f.filename), f.lineno, f.name, f.line) for f in own or installed[-1:]]
    causes = list(because(error))
    words = lines + traceback.format_exception_only(kind, error)
    words += ["because of " + line for cause in causes for line in traceback.format_exception_only(type(cause), cause)]
    asked = [str(one.args[0]) for one in [error, *causes] if is_of_the_environment(one)]
    return {"failed": step, "traceback": "".join(words).replace(APP + os.sep, ""), "variable": asked[0] if asked else None}


def because(error):
    """What an error was raised from, and that from: it may be the one that names the file or the variable."""
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


def is_of_the_environment(error):
    """True for the KeyError of a variable that `os.environ` does not have."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, KeyError) and os.environ.__class__.__getitem__.__code__.co_filename == frames[-1].filename


def short(path):
    below = path.split(os.sep + "site-packages" + os.sep)[-1]
    return below[len(APP) + 1:] if below.startswith(APP + os.sep) else below


def attempt(task, rest):
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return {"failed": "no settings", "traceback": ""}
    step, importing = "settings", []
    try:
        from django.conf import settings

        settings.DEBUG
        step = "apps"
        import django

        django.setup()
        step = task
        if task == "collect":
            return collect(settings, *rest)
        said = describe(settings)
        step = "migrations"
        return dict(said, migrations=migrations_of(settings, importing))
    except BaseException:
        at = importing[0] if importing else None
        return dict(failure(step), settings=os.environ["DJANGO_SETTINGS_MODULE"], importing=at)


def describe(settings):
    """What the settings say; the migrations, which are code of the apps, come after it: see migrations.py."""
    module = os.environ["DJANGO_SETTINGS_MODULE"]
    return {
        "settings": module,
        "debug": bool(settings.DEBUG),
        "wsgi": callable_of(settings, "WSGI_APPLICATION", module, "wsgi"),
        "asgi": callable_of(settings, "ASGI_APPLICATION", module, "asgi"),
        "static_url": str(settings.STATIC_URL or ""),
        "static": static(settings),
    }


def callable_of(settings, name, module, file):
    """A setting such as "site.wsgi.application", else the file beside the settings package, as servers name it."""
    dotted = getattr(settings, name, None)
    if dotted and "." in dotted:
        return ":".join(dotted.rsplit(".", 1))
    top = module.split(".")[0]
    package = getattr(sys.modules.get(top), "__path__", None)
    if package and os.path.exists(os.path.join(list(package)[0], file + ".py")):
        return "%s.%s:application" % (top, file)
    return None


def static(settings):
    """Where and how collectstatic would write; None when the app is not installed."""
    if "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return None
    from django.contrib.staticfiles.storage import HashedFilesMixin, staticfiles_storage
    from django.core.files.storage import FileSystemStorage
    from django.utils.module_loading import import_string

    chosen = getattr(settings, "STORAGES", {}).get("staticfiles", {})
    backend = chosen.get("BACKEND") or settings.STATICFILES_STORAGE
    kind = import_string(backend)
    local = issubclass(kind, FileSystemStorage)
    # A manifest storage without a folder fails as it is made, so it is asked for its folder only where it has one.
    has_folder = local and (settings.STATIC_ROOT or "location" in chosen.get("OPTIONS", {}))
    return {
        "backend": backend,
        "local": local,
        "root": os.path.realpath(staticfiles_storage.location) if has_folder else None,
        "hashed": issubclass(kind, HashedFilesMixin),
        "manifest": getattr(kind, "manifest_name", "staticfiles.json"),
    }


def collect(settings, folder):
    """Collects into STATIC_ROOT, or, where that lies outside of the scratch copy, into FOLDER (else it is "")."""
    if folder:
        settings.STATIC_ROOT = folder
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.management import call_command

    sort_listings()
    os.makedirs(staticfiles_storage.location, exist_ok=True)
    said = io.StringIO()
    try:
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["__pycache__"], stderr=said)
    except Exception as error:
        if said.getvalue():  # which file it was at
            error.add_note(said.getvalue().strip())
        raise
    sys.stderr.write(said.getvalue())
    return {"root": os.path.realpath(staticfiles_storage.location)}


def command(execute, manage, folder, *words):
    """Runs a command of manage.py, with FOLDER as STATIC_ROOT where it is not ""."""
    if folder:
        from django.conf import settings

        settings.STATIC_ROOT = folder
    sort_listings()
    sys.argv = [manage, *words]
    execute(sys.argv)


def sort_listings():
    """Finders list folders in the file system's order, and what is processed first, and so a manifest, follows it."""
    from django.core.files.storage import FileSystemStorage

    plain = FileSystemStorage.listdir
    FileSystemStorage.listdir = lambda self, path: tuple(sorted(names) for names in plain(self, path))


main()
