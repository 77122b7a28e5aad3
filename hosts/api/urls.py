"""Routes of hosts and workers, below `/api/v1/`."""

from aegis_site.kernel.api import UUID_PATTERN, Router, route
from hosts.api.certificates import (
    CertificateRequestsView,
    CertificateRequestView,
    IssueAndInstallView,
    SignedCertificateView,
)
from hosts.api.clone import CloneView
from hosts.api.exchange import HostExportViewSet, HostImportView
from hosts.api.expiry import ExpiryMetricsView, ExpiryViewSet
from hosts.api.logs import HostLogsView, LogsView, RequestLogView
from hosts.api.posture import HostPostureView, PostureViewSet
from hosts.api.revert import HostRevertView, RevertView
from hosts.api.rotations import HostRotationViewSet, RotationViewSet
from hosts.api.traffic import HostTrafficView, TrafficView
from hosts.api.upstream_setup import ProveEnforcementView, UpstreamSetupView
from hosts.api.views import HostViewSet, WorkerViewSet
from hosts.api.what_if import WhatIfView
from hosts.logs.filters import REQUEST_ID_PATTERN

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
    route(f"{_HOST}/clone", CloneView.as_view(), name="api-host-clone"),
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
    route(f"{_HOST}/traffic", HostTrafficView.as_view(), name="api-host-traffic"),
    route("traffic", TrafficView.as_view(), name="api-traffic"),
    route(f"{_HOST}/posture", HostPostureView.as_view(), name="api-host-posture"),
    route(f"{_HOST}/revert", HostRevertView.as_view(), name="api-host-revert"),
    route(f"{_HOST}/logs", HostLogsView.as_view(), name="api-host-logs"),
    route("logs", LogsView.as_view(), name="api-logs"),
    route(f"logs/(?P<request_id>{REQUEST_ID_PATTERN}?)", RequestLogView.as_view(), name="api-request-log"),
    route("audit/(?P<pk>[0-9]{1,18})/revert", RevertView.as_view(), name="api-audit-revert"),
    route("expiry/metrics", ExpiryMetricsView.as_view(), name="api-expiry-metrics"),
    route("what-if", WhatIfView.as_view(), name="api-what-if"),
]
