"""What stands in the shared cache: JSON.

Django's own serializer pickles, so whoever could write to Redis could run code here.
"""

import json
from typing import Any


class JSONSerializer:
    """For the Redis cache's `serializer` option. Whole numbers stay as they are, so that Redis can count them."""

    def dumps(self, value: Any) -> int | bytes:
        return value if type(value) is int else json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)
