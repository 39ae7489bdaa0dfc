"""A conflict between params, as a rule reports it."""

Conflict = tuple[str, str]  # the key and the message
