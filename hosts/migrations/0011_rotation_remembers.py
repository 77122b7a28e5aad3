"""Which request a rotation answers, which refusals an override admits, and whose keys no person ever had."""

import django.db.models.deletion
from django.db import migrations, models


def remember_candidates(apps, schema_editor):
    """Of the rotations that are still there."""
    Rotation = apps.get_model("hosts", "Rotation")
    IssuedCertificate = apps.get_model("localca", "IssuedCertificate")
    IssuedCandidate = apps.get_model("hosts", "IssuedCandidate")
    own = Rotation.objects.filter(source__in=["issued", "renewed"]).order_by()
    issued = IssuedCertificate.objects.filter(fingerprint_sha256__in=own.values("candidate_fingerprint_sha256"))
    IssuedCandidate.objects.bulk_create(
        [IssuedCandidate(certificate_id=pk) for pk in issued.values_list("pk", flat=True)], batch_size=500
    )


class Migration(migrations.Migration):

    dependencies = [
        ("hosts", "0010_rotation"),
        ("localca", "0003_hierarchy"),
        ("upstream_tls", "0004_certificate_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="rotation",
            name="override_admits",
            field=models.JSONField(
                default=list,
                help_text="Upstreams that may refuse it, as id and address: those that did when it was overridden.",
            ),
        ),
        migrations.AddField(
            model_name="rotation",
            name="certificate_request",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="rotations",
                to="upstream_tls.certificaterequest",
            ),
        ),
        migrations.CreateModel(
            name="IssuedCandidate",
            fields=[
                (
                    "certificate",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="localca.issuedcertificate",
                    ),
                ),
            ],
        ),
        migrations.RunPython(remember_candidates, migrations.RunPython.noop),
    ]
