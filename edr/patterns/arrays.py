"""The elements of an array, including the elements of nested arrays.

An array stands for its elements, so nested arrays are flattened. These functions recurse into
arrays only, and a body nests at most 128 deep.
"""

from __future__ import annotations

from typing import Any

SCALARS: frozenset[type] = frozenset({str, int, float, bool, type(None)})


def has_scalar(array: list[Any]) -> bool:
    """Return whether an array has a scalar."""
    for element in array:
        if type(element) in SCALARS or (isinstance(element, list) and has_scalar(element)):
            return True
    return False


def has_object(array: list[Any]) -> bool:
    """Return whether an array has an object."""
    for element in array:
        if isinstance(element, dict) or (isinstance(element, list) and has_object(element)):
            return True
    return False


def objects_of(array: list[Any]) -> list[dict[str, Any]]:
    """Return the objects of an array, in their order.

    Empty objects are all alike, so only one is returned, at the end. It stands for an array
    without objects, too, since both have no field.
    """
    objects: list[dict[str, Any]] = []
    if _collect_objects(array, objects) or not objects:
        objects.append({})
    return objects


def _collect_objects(array: list[Any], objects: list[dict[str, Any]]) -> bool:
    """Append the objects of an array that are not empty; return whether it has an empty one."""
    with_empty = False
    for element in array:
        if isinstance(element, dict):
            if element:
                objects.append(element)
            else:
                with_empty = True
        elif isinstance(element, list) and _collect_objects(element, objects):
            with_empty = True
    return with_empty
