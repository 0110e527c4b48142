"""The process that opens a pickle: ``python -m sizewise.formats.convert_child``, started by ``convert`` only.

Reads a request as JSON from its input and leaves ``result.json``, and where it came that far ``model.skops``, in the
folder that the request names. First every name is listed without building anything; then only listed names are built.
"""

import json
import resource
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizewise.formats.confine import Source
from sizewise.formats.convert_check import answers_alike
from sizewise.formats.found import FormatError, shown
from sizewise.formats.pickle_names import open_pickle, pickle_names
from sizewise.formats.trusted import PICKLE_TRUSTED, SKLEARN_TRUSTED

_OUTPUT_MAX_BYTES = 16 * 1024**3


def main() -> None:
    request = json.loads(sys.stdin.read())
    _limit(int(request["memory_bytes"]), int(request["cpu_s"]))
    work = Path(request["work"])
    try:
        result = convert(Path(request["source"]), work / "model.skops", frozenset(request["trusted"]))
    except FormatError as error:
        result = {"problem": error.problem, "advice": error.advice}
    except MemoryError:
        result = {"problem": "needs more memory to convert than was allowed", "advice": "convert it with more"}
    except Exception as error:
        result = {"problem": f"cannot be converted: {type(error).__name__}: {shown(str(error))}"}
    (work / "result.json").write_text(json.dumps(result))


def convert(source: Path, target: Path, consented: frozenset[str]) -> Mapping[str, object]:
    """The result as JSON: ``untrusted`` names, or ``missing`` libraries, or what was written."""
    with Source(source) as opened:
        names = pickle_names(open_pickle(opened))
        untrusted = [name for name in names if name not in PICKLE_TRUSTED and name not in consented]
        if untrusted:
            return {"untrusted": untrusted}
        try:
            import skops.io

            from sizewise.formats.safe_unpickler import load
        except ImportError:
            return {"missing": True}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = load(open_pickle(opened), PICKLE_TRUSTED | consented)
    _check_kind(model)
    skops.io.dump(model, target)
    types = skops.io.get_untrusted_types(file=target)
    strange = [name for name in types if name not in SKLEARN_TRUSTED and name not in consented]
    if strange:
        raise FormatError(f"became a file with types that are not known safe: {', '.join(strange[:5])}", "trust them")
    rows, note = answers_alike(model, skops.io.load(target, trusted=types))
    return {
        "estimator": type(model).__name__,
        "names": names,
        "consented": [name for name in names if name not in PICKLE_TRUSTED],
        "checked_rows": rows,
        "notes": [*sorted({shown(str(each.message)) for each in caught})[:5], *([note] if note else [])],
    }


def _check_kind(model: Any) -> None:
    if not hasattr(model, "predict"):
        raise FormatError(
            f"holds {shown(type(model).__name__)}, not a fitted model with predict()", "save the model alone"
        )


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """Bounds that hold whatever the pickle does. A machine may have lower ones already."""
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s + 1),
        (resource.RLIMIT_FSIZE, _OUTPUT_MAX_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lower, lower))


if __name__ == "__main__":
    main()
