"""Django's settings. What an operator may choose is read by `aegis_site.environment`; the rest is decided here."""

from datetime import timedelta

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from redis.backoff import NoBackoff
from redis.retry import Retry

from aegis_site.environment import EnvironmentProblem, read_environment
from aegis_site.log_config import log_config

ENVIRONMENT = read_environment()
if not ENVIRONMENT.secret_key:
    raise EnvironmentProblem("AEGIS_SECRET_KEY is not set; `manage.py up` and `manage.py prepare` generate it")

# Aegis
AEGIS_DATA_DIR = ENVIRONMENT.data_dir
AEGIS_IS_EMBEDDED = ENVIRONMENT.is_embedded
AEGIS_REDIS_URL = ENVIRONMENT.redis_url
AEGIS_SSL_KEY = ENVIRONMENT.ssl_key
AEGIS_SSL_KEY_PREVIOUS = ENVIRONMENT.ssl_key_previous

AEGIS_WEB_BIND = str(ENVIRONMENT.web_bind)
AEGIS_WEB_TRUSTED_PROXIES = ENVIRONMENT.web_trusted_proxies
AEGIS_LOGIN_FAILURES = ENVIRONMENT.login_failures
AEGIS_LOGIN_FAILURES_PER_ADDRESS = ENVIRONMENT.login_failures_per_address
AEGIS_LOGIN_COOL_OFF_S = ENVIRONMENT.login_cool_off_s
AEGIS_TESTS_PER_MINUTE = ENVIRONMENT.tests_per_minute
AEGIS_TOKEN_FAILURES_PER_MINUTE = ENVIRONMENT.token_failures_per_minute

AEGIS_PROXY_HTTP = [str(bind) for bind in ENVIRONMENT.proxy_http]
AEGIS_PROXY_HTTPS = [str(bind) for bind in ENVIRONMENT.proxy_https]
AEGIS_PROXY_METRICS = str(ENVIRONMENT.proxy_metrics)
AEGIS_PROXY_LIMITS = ENVIRONMENT.proxy_limits
AEGIS_PROXY_MAX_CONNECTIONS = ENVIRONMENT.proxy_max_connections
AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT = ENVIRONMENT.proxy_max_connections_per_client
AEGIS_TRUSTED_PROXIES = ENVIRONMENT.trusted_proxies
AEGIS_PROXY_PROCESSES = ENVIRONMENT.proxy_processes
AEGIS_PROXY_DRAIN_DELAY_S = ENVIRONMENT.proxy_drain_delay_s

AEGIS_ACCESS_LOG = ENVIRONMENT.access_log
AEGIS_ACCESS_LOG_FORMAT = ENVIRONMENT.access_log_format
AEGIS_ACCESS_LOG_MAX_BYTES = ENVIRONMENT.access_log_max_bytes
AEGIS_ACCESS_LOG_BACKUPS = ENVIRONMENT.access_log_backups
AEGIS_LOG_LEVEL = ENVIRONMENT.log_level

# Django
SECRET_KEY = ENVIRONMENT.secret_key
DEBUG = False
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
DATABASES = {"default": ENVIRONMENT.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "aegis_site.urls"
WSGI_APPLICATION = "aegis_site.wsgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "aegis_site.formats"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGGING = log_config(level=ENVIRONMENT.log_level, form=ENVIRONMENT.log_format)
if AEGIS_LOG_LEVEL != "DEBUG":
    # Three lines for every tick of every sweep would bury what matters. A failed task is an error and stays.
    for _name in ("celery.app.trace", "celery.worker.strategy", "celery.beat"):
        LOGGING["loggers"][_name] = {"level": "WARNING"}
LOGGING["loggers"]["axes"] = {"level": "WARNING"}  # failures and locks

INSTALLED_APPS = [
    "aegis_site",  # before unfold, whose templates some of its own extend
    "unfold.apps.BasicAppConfig",  # the default configuration would replace Aegis's admin site with its own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "aegis_site.admin_config.AegisAdminConfig",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "axes",
    "aegis_site.kernel.audit",
    "aegis_site.kernel.idempotency",
    "aegis_site.kernel.site_settings",
    "aegis_site.kernel.notifications",
    "aegis_site.access",
    "localca",
    "upstream_tls",
    "hosts",
    "hosts.logs",
    "healthchecks",
    "proxyworker",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "aegis_site.kernel.framing.LengthRequiredMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "aegis_site.kernel.audit.middleware.AuditSourceMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "aegis_site.access.middleware.SecondFactorMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# Shared by all web processes. A Redis that is away must not hold up a request.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [AEGIS_REDIS_URL],  # as a text it would be cut at commas, which a password may have
        "KEY_PREFIX": "aegis",
        "OPTIONS": {
            "serializer": "aegis_site.kernel.cache.JSONSerializer",
            "socket_timeout": 0.5,
            "socket_connect_timeout": 0.5,
            "retry": Retry(NoBackoff(), 0),
        },
    }
}

# Who signs in. The roles: `aegis_site.access.roles`.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# API tokens. knox's own migrations stay out: they would have to run after those of `access`, and have long run
# (docs/adr/0020).
KNOX_TOKEN_MODEL = "access.ApiToken"  # noqa: S105 (a name)
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"TOKEN_PREFIX": "aegis_"}  # scanners of repositories for leaked secrets know it by this

# Limits of sign-ins: `aegis_site.access.login_limits`.
AXES_HANDLER = "aegis_site.access.login_limits.LoginLimits"
AXES_FAILURE_LIMIT = AEGIS_LOGIN_FAILURES
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address"]
AXES_COOLOFF_TIME = timedelta(seconds=AEGIS_LOGIN_COOL_OFF_S)
AXES_CLIENT_IP_CALLABLE = "aegis_site.kernel.client_address.client_address"
AXES_USERNAME_CALLABLE = "aegis_site.access.login_limits.counted_name"
AXES_LOCKOUT_CALLABLE = "aegis_site.access.login_limits.locked_page"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # who is locked out and goes on trying adds no rows
AXES_SENSITIVE_PARAMETERS = ["username", "csrfmiddlewaretoken", "code"]  # some type their password into the wrong field
AXES_DISABLE_ACCESS_LOG = True  # it would grow for ever
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# Static files come straight from the installed packages: no collectstatic step on a first run.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Up to 10 MB of pasted text get an error at their field; everything above this is refused before it is parsed.
DATA_UPLOAD_MAX_MEMORY_SIZE = 12 * 1024 * 1024
# Files do not count towards it; they have their own limit, and none is written to a disk.
FILE_UPLOAD_HANDLERS = ["aegis_site.kernel.uploads.BoundedMemoryUploadHandler"]
DATA_UPLOAD_MAX_NUMBER_FILES = 10

# Cookies and headers. Production sits behind TLS; the embedded admin listens on loopback without it.
SESSION_ENGINE = "aegis_site.access.session_store"
SESSION_COOKIE_NAME = "aegis_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = not AEGIS_IS_EMBEDDED
CSRF_COOKIE_NAME = "aegis_csrf"
CSRF_COOKIE_SECURE = not AEGIS_IS_EMBEDDED
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Scripts are files of this site; none is evaluated from text (docs/adr/0046). Styles may stand in elements: unfold and
# Swagger UI set widths and positions there.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
# What ends TLS in front of the admin also redirects to it and says for how long (HSTS).
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]

# The HTTP API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "aegis_site.access.authentication.TokenAuthentication",
        "aegis_site.access.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["aegis_site.kernel.api_policy.ModelPermissions"],
    "DEFAULT_PARSER_CLASSES": ["aegis_site.kernel.api_policy.LimitedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer", "aegis_site.kernel.api_page.PageRenderer"],
    # `?format=` is left to the views: Accept chooses the media type.
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_PAGINATION_CLASS": "aegis_site.kernel.api_policy.Pagination",
    "EXCEPTION_HANDLER": "aegis_site.kernel.problems.problem_handler",
    "DEFAULT_SCHEMA_CLASS": "aegis_site.kernel.openapi.AutoSchema",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Aegis",
    "DESCRIPTION": "A reverse proxy that proves who it is to its upstreams.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PREPROCESSING_HOOKS": ["aegis_site.kernel.openapi.plain_paths"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "aegis_site.kernel.openapi.link_operations",
    ],
    # What is sent and what is shown differ: keys are write-only.
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ChannelKind": "aegis_site.kernel.notifications.models.ChannelKind.values",
        "DeliveryState": "aegis_site.kernel.notifications.models.DeliveryState.values",
        "EventKind": "aegis_site.kernel.notifications.kinds.EventKind.values",
        "FailureState": "healthchecks.failures.models.FailureState.choices",
        "HealthState": "healthchecks.models.HealthState.choices",
        "RotationState": "hosts.rotation.models.RotationState.values",
        "TLSVersion": "upstream_tls.models.TLSVersion.values",
        "WhatIfVerdict": "hosts.api.what_if.VERDICTS",
    },
}

# Background work. Its periodic tasks: `aegis_site.celery`.
CELERY_BROKER_URL = AEGIS_REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# For ever: a broker that comes back after an hour finds its workers.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A stopped or unreachable Redis must not hold up a request that enqueues something, nor a worker that waits:
    # kombu's blocking read takes one second, so two seconds of silence mean that nobody is there. Three times that, for
    # the connection it had and two tries, still fits into the eight seconds of a connection test.
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    "health_check_interval": 5,
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.2}
CELERY_TASK_TIME_LIMIT = 300
# Threads, because tasks wait for the network: a connection test for five seconds, and twenty people may press the
# button at once. They start when they are needed. A busy worker hoards no message that another one could take.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 32
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# The default of Celery 6: a late acknowledgement that cannot arrive any more means that the task is delivered again.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False

UNFOLD = {
    "SITE_TITLE": "Aegis",
    "SITE_HEADER": "Aegis",
    "SITE_SUBHEADER": "mTLS reverse proxy",
    "SITE_URL": None,
    "SITE_SYMBOL": "shield_lock",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": ["aegis_site.admin_site.stylesheet"],
    "ACCOUNT": {"navigation": "aegis_site.admin_site.account_links"},
    "SIDEBAR": {"show_search": False, "navigation": "aegis_site.admin_site.navigation"},
}
