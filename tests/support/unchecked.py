"""Events that were never validated, as no public call makes them."""

from pydantic import BaseModel

from edr import Event


def unchecked_event(**fields):
    """Return an event of these fields, whatever they are."""
    return BaseModel.model_construct.__func__(Event, **fields)
