"""Settings: what loquat and Django share is the secret of the tokens, and the admin token."""

import os
from datetime import timedelta
from pathlib import Path

PLACE = Path(os.environ["SITE_PLACE"])

SECRET_KEY = (PLACE / "django-secret").read_text()
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": PLACE / "site.sqlite3"}}
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "UNAUTHENTICATED_USER": None,
}

SIMPLE_JWT = {
    # The file that loquat's jwt.secret_file names.
    "SIGNING_KEY": (PLACE / "jwt-secret").read_text().strip(),
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "TOKEN_OBTAIN_SERIALIZER": "mysite.loquat.ChatTokenSerializer",
}

# loquat's admin port, and the file that its admin.token_file names.
LOQUAT_ADMIN = os.environ["LOQUAT_ADMIN"]
LOQUAT_ADMIN_TOKEN = (PLACE / "admin-token").read_text().strip()
