"""How the local CA is shown."""

from rest_framework import serializers

from aegis_site.kernel.api import CertificateFactsSerializer
from localca.models import CertificateAuthority


class CertificateAuthoritySerializer(serializers.ModelSerializer[CertificateAuthority]):
    """The public side of the CA; its key has no field here."""

    certificate = serializers.CharField(source="certificate_pem")
    certificate_info = CertificateFactsSerializer(source="facts")

    class Meta:
        model = CertificateAuthority
        fields = ["id", "certificate", "certificate_info", "created_at"]
        read_only_fields = fields
