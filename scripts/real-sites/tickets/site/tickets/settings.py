# pretix's own settings, which read its environment variables and its configuration file, and static files for a server
# that has no other program before it.
from pretix.settings import *

MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware", *MIDDLEWARE]
PRETIX_INSTANCE_NAME = "The box office"
