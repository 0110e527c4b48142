"""Is a request worth waking a model for? Asked before anything is started, with the replica's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizewise.core.units import MIB
from sizewise.protocols.backend import ModelRoute

if TYPE_CHECKING:
    from sizewise.gateway.exchange import Exchange
    from sizewise.protocols.oip import Signature

MAX_JSON_BYTES = 4 * MIB
"""Longer JSON would hold up everybody else for more than some 50 ms: the replica judges it, once it is awake."""
CASTING_RUNTIMES = frozenset({"sklearn", "xgboost", "lightgbm"})
"""Tabular runtimes take any numeric datatype."""


class ColdCheck:
    """The stored metadata of one model. The codec is imported when the first cold request comes."""

    def __init__(self, route: ModelRoute) -> None:
        self._route = route
        self._signature: Signature | None = None

    def problem(self, x: Exchange) -> tuple[int, str] | None:
        """Status and text of the refusal that the replica would give, or None."""
        from sizewise.protocols.oip import RequestError, check

        if self._route.runtime == "command" or (x.json_bytes or x.body_bytes) > MAX_JSON_BYTES:
            return None
        try:
            check(x.joined(), signature=self._known(), encoding=x.encoding, json_bytes=x.json_bytes)
        except RequestError as error:
            return error.status, str(error)
        return None

    def _known(self) -> Signature:
        if self._signature is None:
            from sizewise.protocols.oip import Signature

            route = self._route
            self._signature = Signature(
                inputs=route.inputs,
                outputs=route.outputs,
                casts=route.runtime in CASTING_RUNTIMES,
                batchable=route.batchable,
            )
        return self._signature
