"""Settings of the tests: the product's own, on a data directory and keys made for this run."""

import atexit
import os
import shutil
import tempfile

_DATA_DIR = tempfile.mkdtemp(prefix="aegis-test-")
atexit.register(shutil.rmtree, _DATA_DIR, ignore_errors=True)

for name in [name for name in os.environ if name.startswith("AEGIS_")]:
    del os.environ[name]
os.environ.update(
    AEGIS_DATA_DIR=_DATA_DIR,
    AEGIS_SSL_KEY="0f" * 32,
    AEGIS_SECRET_KEY="only-for-tests-" + "x" * 40,
)

from aegis_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["TEST"] = {"NAME": os.path.join(_DATA_DIR, "test.sqlite3")}  # noqa: F405
# Nobody wants the database of the tests back after a crash.
DATABASES["default"]["OPTIONS"]["init_command"] += "; PRAGMA synchronous=OFF"  # noqa: F405
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "testserver"]  # noqa: F405
# Each test client makes the middleware anew, and that would otherwise read all static files each time.
WHITENOISE_AUTOREFRESH = True
CELERY_TASK_ALWAYS_EAGER = True
