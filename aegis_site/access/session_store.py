"""Where sessions are kept: Django's sessions in the database, in a table that says whose they are.

Laws of this module: a row's own columns follow from the session's data, so whichever way a session is saved, copied or
given another key, they are right. Deleting a row ends its session at once; Django never brings one back.
"""

import datetime
from typing import Any, cast

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from aegis_site.access.models import Session

# Where the data of a session say from where it came: `session_list.client_facts`.
CLIENT = "aegis.client"


class SessionStore(DatabaseStore):
    """Settings name it as SESSION_ENGINE."""

    # When the session was last seen, as its row said when it was read; None before that.
    last_seen_at: datetime.datetime | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        row = cast("Session", super().create_model_instance(data))
        client = data.get(CLIENT)
        if client is not None and data.get(SESSION_KEY) is not None:
            row.user_id = data[SESSION_KEY]
            row.public_id = client["id"]
            row.client_address = client["address"]
            row.browser = client["browser"]
            row.began_at = datetime.datetime.fromisoformat(client["since"])
        return row

    def _get_session_from_db(self) -> Session | None:
        row: Session | None = super()._get_session_from_db()  # type: ignore[misc]  # not in the stubs
        self.last_seen_at = None if row is None else row.last_seen_at
        return row
