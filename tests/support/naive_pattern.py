"""The language read from its description, document by document: slow, short, and independent."""

import ipaddress
import operator
import re

COMPARE = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(pattern, body):
    for name, below in pattern.items():
        if name == "$or":
            if not any(matches(each, body) for each in below):
                return False
        elif isinstance(below, dict):
            objects = [each for each in flat(body.get(name)) if isinstance(each, dict)]
            if not any(matches(below, each) for each in objects or [{}]):
                return False
        else:
            found = flat(body[name]) if name in body else []
            leaves = [each for each in found if not isinstance(each, dict)]
            if not any(accepts(element, leaves) for element in below):
                return False
    return True


def flat(value):
    if isinstance(value, list):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


def accepts(element, leaves):
    if element == {"exists": False}:
        return not leaves
    return any(accepts_leaf(element, leaf) for leaf in leaves)


def kind(value):
    return float if type(value) is int else type(value)


def accepts_leaf(element, leaf):
    if not isinstance(element, dict):
        return kind(element) is kind(leaf) and element == leaf
    ((name, operand),) = element.items()
    if name == "exists":
        return operand
    if name == "anything-but":
        if isinstance(operand, dict):
            ((name, operand),) = operand.items()
            excepted = [{name: each} for each in listed(operand)]
        else:
            excepted = listed(operand)
        return not any(accepts_leaf(each, leaf) for each in excepted)
    if name == "numeric":
        return kind(leaf) is float and all(
            COMPARE[operand[at]](leaf, operand[at + 1]) for at in range(0, len(operand), 2)
        )
    return isinstance(leaf, str) and accepts_text(name, operand, leaf)


def accepts_text(name, operand, text):
    if name == "exactly":
        return text == operand
    if name == "equals-ignore-case":
        return without_case(text) == without_case(operand)
    if name == "cidr":
        try:
            return ipaddress.ip_address(text) in ipaddress.ip_network(operand, strict=False)
        except ValueError:
            return False
    if name == "wildcard":
        pieces = (re.escape(each) for each in operand.split("*"))
        return re.fullmatch(".*".join(pieces), text, re.DOTALL) is not None
    if isinstance(operand, dict):
        operand, text = without_case(operand["equals-ignore-case"]), without_case(text)
    return text.startswith(operand) if name == "prefix" else text.endswith(operand)


def without_case(text):
    return "".join(FULL_FOLDINGS.get(c) or c.lower() for c in text)  # of the characters drawn


FULL_FOLDINGS = {"ß": "ss", "ẞ": "ss", "ς": "σ"}


def listed(operand):
    return operand if isinstance(operand, list) else [operand]
