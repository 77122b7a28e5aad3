"""Routes of hosts and workers, below `/api/v1/`."""

from aegis_site.kernel.api import UUID_PATTERN, Router, route
from hosts.api.certificates import (
    CertificateRequestsView,
    CertificateRequestView,
    IssueAndInstallView,
    SignedCertificateView,
)
from hosts.api.exchange import HostExportViewSet, HostImportView
from hosts.api.expiry import ExpiryMetricsView, ExpiryViewSet
from hosts.api.posture import HostPostureView, PostureViewSet
from hosts.api.revert import RevertView
from hosts.api.rotations import HostRotationViewSet, RotationViewSet
from hosts.api.upstream_setup import ProveEnforcementView, UpstreamSetupView
from hosts.api.views import HostViewSet, WorkerViewSet
from hosts.api.what_if import WhatIfView

router = Router()
router.register("hosts", HostViewSet, basename="api-host")
router.register("workers", WorkerViewSet, basename="api-worker")
router.register("rotations", RotationViewSet, basename="api-rotation")
router.register("posture", PostureViewSet, basename="api-posture")
router.register("expiry", ExpiryViewSet, basename="api-expiry")

_HOST = f"hosts/(?P<pk>{HostViewSet.lookup_value_regex})"
_REQUEST = f"{_HOST}/certificate-requests/(?P<request_id>{UUID_PATTERN})"

urlpatterns = [
    route(
        "hosts/export", HostExportViewSet.as_view({"get": "export", "post": "export_sealed"}), name="api-host-export"
    ),
    route("hosts/import", HostImportView.as_view(), name="api-host-import"),
    *router.urls,
    route(f"{_HOST}/upstream-setup", UpstreamSetupView.as_view(), name="api-host-upstream-setup"),
    route(f"{_HOST}/prove-enforcement", ProveEnforcementView.as_view(), name="api-host-prove-enforcement"),
    route(f"{_HOST}/issue-certificate", IssueAndInstallView.as_view(), name="api-host-issue-certificate"),
    route(f"{_HOST}/certificate-requests", CertificateRequestsView.as_view(), name="api-host-certificate-requests"),
    route(_REQUEST, CertificateRequestView.as_view(), name="api-host-certificate-request"),
    route(f"{_REQUEST}/certificate", SignedCertificateView.as_view(), name="api-host-signed-certificate"),
    route(
        f"{_HOST}/rotations",
        HostRotationViewSet.as_view({"get": "list", "post": "create"}),
        name="api-host-rotations",
    ),
    route(f"{_HOST}/posture", HostPostureView.as_view(), name="api-host-posture"),
    route("audit/(?P<pk>[0-9]{1,18})/revert", RevertView.as_view(), name="api-audit-revert"),
    route("expiry/metrics", ExpiryMetricsView.as_view(), name="api-expiry-metrics"),
    route("what-if", WhatIfView.as_view(), name="api-what-if"),
]
