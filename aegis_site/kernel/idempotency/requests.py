"""Idempotency-Key of one request of the API: from its header section to the kept answer."""

from collections.abc import Iterator
from typing import cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpResponse, StreamingHttpResponse
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.idempotency.models import KeptAnswer
from aegis_site.kernel.idempotency.services import Answer, claim, clean_key, fingerprint_of, finish

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"


class Replayed(Exception):
    """The answer to this request is known already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("replayed")
        self.answer = answer

    def response(self) -> HttpResponse:
        """The first answer again, marked."""
        headers = {**self.answer.headers, REPLAYED_HEADER: "true"}
        return HttpResponse(self.answer.body, status=self.answer.status, headers=headers)


def claim_for(request: Request) -> KeptAnswer | None:
    """The claim of a request that has a key and a user. Raises Replayed when its answer is known."""
    field_value = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if field_value is None or not request.user.is_authenticated:
        return None
    key = clean_key(field_value)
    try:
        body = request._request.body
    except RawPostDataException as error:  # a form, which Django's CSRF check has read
        raise exceptions.UnsupportedMediaType(request.content_type) from error
    fingerprint = fingerprint_of(
        method=str(request.method), target=request.get_full_path(), media_type=request.content_type, body=body
    )
    found = claim(user=cast("AbstractBaseUser", request.user), key=key, fingerprint=fingerprint)
    if isinstance(found, Answer):
        raise Replayed(found)
    return found


def keep_answer(claimed: KeptAnswer, response: HttpResponseBase) -> None:
    """Keep what the client gets, as soon as it is rendered."""
    if isinstance(response, Response):
        response.add_post_render_callback(lambda rendered: _keep(claimed, cast("HttpResponse", rendered)))
    elif isinstance(response, StreamingHttpResponse):
        response.streaming_content = _followed(claimed, response, iter(response))
    else:
        _keep(claimed, response)


def _followed(claimed: KeptAnswer, response: StreamingHttpResponse, content: Iterator[bytes]) -> Iterator[bytes]:
    """What comes of a stream is known when it has ended or was broken off: `final_status`, of those who say it.

    A failure of Aegis frees the key, as with any other answer. A stream is not read twice, so it is not kept.
    """
    try:
        yield from content
    finally:
        status = getattr(response, "final_status", response.status_code)
        finish(claimed, Answer(status=status, headers=dict(response.items()), body=None))


def _keep(claimed: KeptAnswer, response: HttpResponseBase) -> None:
    """A private key is in its first answer and nowhere else, not even sealed."""
    is_dropped = "no-store" in response.get("Cache-Control", "")
    body = None if is_dropped else cast("HttpResponse", response).content
    finish(claimed, Answer(status=response.status_code, headers=dict(response.items()), body=body))
