"""The project package: settings, urls, the Celery app and its one beat table, the admin site."""
