"""The permission to see logs. They are files: no table stands behind this model, and no row is ever made."""

from django.db import models


class Log(models.Model):
    """What pages and routes of logs ask the permission of."""

    class Meta:
        managed = False
        verbose_name = "logs"
        verbose_name_plural = "logs"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return "logs"
