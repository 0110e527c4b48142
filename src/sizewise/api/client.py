"""A running system, spoken to through its admin API."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizewise.protocols.errors import SizewiseError, UnavailableError, UsageError

if TYPE_CHECKING:
    import httpx

Answer = dict[str, Any]
TIMEOUT_S = 30.0
WAIT_S = 600.0
ANSWER_S = 5.0
"""For what needs no work: a controller that is silent for longer hangs."""


@dataclass(eq=False)
class AdminError(SizewiseError):
    """The admin API refused; its own words."""

    text: str
    status: int = 500
    exit_code: int = 1

    def message(self) -> str:
        return self.text


@dataclass(eq=False)
class SilentError(UnavailableError):
    """Somebody listens at the admin address and does not answer."""


class Client:
    """``url`` is the admin address; ``state_dir`` is set where the system runs on this machine.

    Raises AdminError when the system refuses and UnavailableError when nothing answers.
    """

    def __init__(self, url: str, token: str, *, state_dir: Path | None = None) -> None:
        import httpx

        # The environment's proxies are not asked: the token goes to this address and nowhere else.
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
        )
        self.url = url
        self.state_dir = state_dir

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def status(self) -> Answer:
        """Models, machine and processes as they are now."""
        return self._call("GET", "/api/v1/status", timeout_s=ANSWER_S)

    def model(self, name: str) -> Answer:
        return self._call("GET", f"/api/v1/models/{_quoted(name)}")

    def explain(self, name: str, limit: int = 5) -> Answer:
        """``model``, and its last ``decisions``, the newest first."""
        model = self.model(name)
        found = self._call("GET", f"/api/v1/models/{_quoted(name)}/decisions", params={"limit": limit})
        return {"model": model, "decisions": found["decisions"]}

    def deploy(self, wants: Mapping[str, Any], *, allow_code: bool = False, wait: bool = False) -> Answer:
        """``wants`` has ``name``, ``uri`` or ``command``, and whatever else a spec says about a model.

        With ``wait``, returns when the version serves, and raises when it does not; one that may sleep is loaded once.
        """
        body = {**wants, "allow_code": allow_code}
        if allow_code:
            body["proof"] = self._proof()
        params = {"wait": "true", "timeout_s": WAIT_S} if wait else {}
        return self._call("POST", "/api/v1/models", body=body, params=params, timeout_s=WAIT_S + TIMEOUT_S)

    def undeploy(self, name: str) -> Answer:
        return self._call("DELETE", f"/api/v1/models/{_quoted(name)}")

    def apply(self, spec: Any, *, prune: bool = False) -> Answer:
        """Make what is deployed equal ``spec``; the difference. Code in it is allowed: whoever wrote it runs it."""
        from sizewise.protocols.serde import to_jsonable

        body = {"spec": to_jsonable(spec), "prune": prune, "proof": self._proof() if self.state_dir else None}
        return self._call("POST", "/api/v1/spec", body=body, timeout_s=WAIT_S)

    def shutdown(self, drain_s: float) -> Answer:
        """Ask the system to drain and stop; answers at once (``api.down`` waits until everything is gone)."""
        return self._call("POST", "/api/v1/shutdown", body={"drain_s": drain_s}, timeout_s=ANSWER_S)

    def profile(self, name: str) -> Answer:
        """Have the model measured again as soon as there is no traffic."""
        return self._call("POST", f"/api/v1/models/{_quoted(name)}/profile")

    def logs(self, name: str | None = None, last: int = 100) -> Answer:
        """The last ``lines`` of one log or of each, 1000 at most, and names of logs ``left_out`` of a large answer."""
        return self._call("GET", "/api/v1/logs", params={"last": last, **({"name": name} if name else {})})

    def _proof(self) -> str:
        if self.state_dir is None:
            raise UsageError("code is deployed on the machine it runs on: give --state-dir instead of --url")
        from sizewise.controller.proof import write_proof

        return write_proof(self.state_dir)

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        import httpx

        try:
            answer = self._http.request(method, path, json=body, params=params, timeout=timeout_s)
        except httpx.TimeoutException as error:
            raise SilentError(self._silent(timeout_s)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"nothing answers at {self.url} ({_why(error)}): start it with: sizewise up") from (
                error
            )
        if answer.is_error:
            raise _refusal(answer, self.url)
        found: Answer = answer.json()
        return found

    def _silent(self, after_s: float) -> str:
        text = f"the controller at {self.url} does not answer within {after_s:g} s: it is busy or hangs"
        if self.state_dir is None:
            return text
        return f"{text}: if it stays so, end it with: sizewise down --state-dir {shlex.quote(str(self.state_dir))}"


def connect(*, state_dir: str | Path | None = None, url: str | None = None, token: str | None = None) -> Client:
    """The system at ``url``, else the one that ``state_dir`` belongs to.

    Raises UnavailableError when no controller runs there, UsageError when ``url`` comes without a token.
    """
    from sizewise.controller.layout import is_held, read_holder

    state_dir = None if state_dir is None else Path(state_dir)
    if url is not None:
        known = token or (_token(state_dir) if state_dir is not None else None)
        if known is None:
            raise UsageError("--url needs the admin token: set SIZEWISE_TOKEN, or give --state-dir where it lies")
        return Client(url, known)
    if state_dir is None:
        raise UsageError("name the system: give --state-dir or --url")
    holder = read_holder(state_dir) if is_held(state_dir) else None
    if holder is None:
        raise UnavailableError(
            f"no system runs in {state_dir}: start one with: sizewise up --state-dir {shlex.quote(str(state_dir))}"
        )
    if not holder.admin_url:
        raise UnavailableError(f"the system in {state_dir} is starting up (pid {holder.pid}): try again in a moment")
    return Client(holder.admin_url, token or _token(state_dir) or "", state_dir=state_dir.absolute())


def _token(state_dir: Path) -> str | None:
    try:
        return (state_dir / "admin-token").read_text().strip()
    except OSError:
        return None


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _refusal(answer: "httpx.Response", url: str) -> AdminError:
    try:
        text = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        text = f"{url} answered {answer.status_code}: is this the admin address of sizewise?"
    code = answer.headers.get("X-Sizewise-Exit-Code", "1")
    return AdminError(text, status=answer.status_code, exit_code=int(code) if code.isdigit() else 1)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
