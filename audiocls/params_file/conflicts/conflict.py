"""What a rule says of params that do not go together."""

Conflict = tuple[str, str]  # the key and the message
