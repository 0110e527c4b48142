"""What a client did wrong, in one line."""

from dataclasses import dataclass

from sizewise.protocols.errors import SizewiseError

SHOWN_CHARACTERS = 80


@dataclass(eq=False)
class RequestError(SizewiseError):
    """A request does not fit the protocol or the model.

    ``status`` is 400, or 422 where the request was understood and computed but the form it asked for cannot carry
    the answer (NaN or FP16 in JSON).
    """

    text: str
    status: int = 400

    def message(self) -> str:
        return self.text


def shown(value: object) -> str:
    """A value from a request, short enough for one line whatever was sent."""
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS + 1]
    elif isinstance(value, list | tuple | dict):
        # repr of what a client nested deeply costs time and stack
        return f"a {'dict' if isinstance(value, dict) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
