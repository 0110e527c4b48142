"""What the processor of this machine can do."""

from pathlib import Path


def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model and flags in one line, the same for the same kind of processor: kernels are chosen by them."""
    model = flags = ""
    with cpuinfo.open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                flags = " ".join(sorted(value.split()))
                break
            if name.strip() == "model name":
                model = value.strip()
    return f"{model}: {flags}"
