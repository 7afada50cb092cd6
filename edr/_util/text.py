"""Text that can be sent: a Python string may hold what no encoding of it can."""


def is_encodable(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
