"""The simulator as a process of its own, for tests and the bench."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 5
CONTROL_TIMEOUT_S = 30


class Simulator:
    """Start, steer and stop one simulator process; it also ends when its starter dies.

    Args:
        port: 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""

    def start(self) -> str:
        """Start the process and wait until it listens.

        Returns:
            The base address, without a slash at its end.
        """
        command = [sys.executable, "-m", "simulator", "--port", str(self._port), "--until-stdin-closes"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            self.stop()
            raise RuntimeError("the simulator did not start; is its port taken?")
        self.base_url = json.loads(line)["base_url"]
        return self.base_url

    def stop(self) -> None:
        """End the process; harmless when it has ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def openai_url(self) -> str:
        """What OPENAI_BASE_URL should be."""
        return f"{self.base_url}/openai/v1"

    @property
    def openrouter_url(self) -> str:
        """What OPENROUTER_BASE_URL should be."""
        return f"{self.base_url}/openrouter/api/v1"

    @property
    def google_url(self) -> str:
        """What GOOGLE_AI_BASE_URL should be: the host, behind which the paths of its wires are put."""
        return f"{self.base_url}/google"

    @property
    def own_url(self) -> str:
        """The address of a server of one's own that speaks OpenAI's wire."""
        return f"{self.base_url}/compatible/v1"

    @property
    def anthropic_url(self) -> str:
        """What ANTHROPIC_BASE_URL should be: without `/v1`, which the SDK adds."""
        return f"{self.base_url}/anthropic"

    @property
    def airtable_url(self) -> str:
        """What AIRTABLE_ENDPOINT_URL should be."""
        return f"{self.base_url}/airtable"

    def reset(self) -> None:
        """Forget log, faults, scripted answers, settings and all vendors' data."""
        self.control("POST", "/_reset", {})

    def fault(self, route: str, **fault: Any) -> None:
        """Break a route; the keys are those of `simulator.faults.Fault`."""
        self.control("POST", "/_faults", {"route": route, **fault})

    def answer(self, **answer: Any) -> None:
        """Script what a model says; the keys are those of `simulator.answers.Answer`."""
        self.control("POST", "/_answers", answer)

    def log(self, route: str = "", method: str = "") -> list[dict[str, Any]]:
        """List the requests whose path begins with `route`, oldest first."""
        entries: list[dict[str, Any]] = self.control("GET", f"/_log?{urlencode({'route': route, 'method': method})}")[
            "entries"
        ]
        return entries

    def count(self, route: str = "", method: str = "") -> int:
        """Count the requests whose path begins with `route`."""
        return len(self.log(route, method))

    def seed_airtable(self, base: str, tables: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a base with tables, fields and records; see `simulator.airtable.AirtableBases.seed`."""
        seeded: dict[str, Any] = self.control("POST", "/_airtable", {"base": base, "tables": tables})
        return seeded

    def configure(self, **settings: Any) -> None:
        """Change behaviour, as in `airtable={"penalty_s": 1}` or `strategist={"disabled": True}`."""
        self.control("POST", "/_settings", settings)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the test's side of the simulator and read its JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            self.base_url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=CONTROL_TIMEOUT_S) as response:  # noqa: S310
            return json.load(response)
