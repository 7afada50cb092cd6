"""How an AMQP topic exchange matches: slowly, word by word, as the specification says it."""


def topic_matches(pattern: str, key: str) -> bool:
    return _matches(pattern.split("."), key.split("."))


def _matches(pattern, words):
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_matches(rest, words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and first in {"*", words[0]} and _matches(rest, words[1:])
