"""`make try`: the whole system with the simulator in the vendors' place: no key, nothing paid, answers that echo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from simulator.process import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_DIR = "var/try"
KEY = "simulated"
REAL = ("DATABASE_URL", "REDIS_URL", "AIRTABLE_", "OPTIMIZER_", "STRATEGIST_", "GENERATOR_")
"""Beginnings of variables that name data and services of the user's own; a trial must not touch them."""

EASY = {
    "DATA_DIR": DATA_DIR,  # simulated dollars in the real ledger would count against the real caps
    "CATEGORY_SOURCE": "local",  # an echo is none of the letters
    "STUDIO_MODELS": "off",  # an echo is no usable idea; plain rules make real ones
    "RATE_LIMIT_OPENROUTER_RPM": "0",
    "RATE_LIMIT_GOOGLE_AI_RPM": "0",
    "FILM_POLL_S": "2",
    "VENDOR_BATCH_GATHER_S": "5",
    "VENDOR_BATCH_POLL_S": "2",
}
"""What makes a trial quick and to the point; the caller's own settings win."""

PLANNER = "Here you plan work for other models."
"""How the system begins when it asks for a plan (`app/chat/prompts.py`)."""

PLAN = {
    "workflow": [
        {
            "type": "linear",
            "tasks": [
                {"model": "medium_ai", "prompt": "What is known about: {user_message}", "output_variable": "known"},
                {"model": "medium_ai", "prompt": "Three ideas for: {user_message}", "output_variable": "ideas"},
            ],
        },
        {
            "type": "inline",
            "tasks": [
                {"model": "thinking_ai", "prompt": "Bring together: {known} and {ideas}", "output_variable": "whole"}
            ],
        },
    ]
}
GREETING = (
    "Simulated vendors: every answer echoes what was asked, and nothing is paid. Data go to {data_dir};\n"
    "commands that read them want to know: DATA_DIR={data_dir} batuta savings\n"
)


def trial_environment(environ: Mapping[str, str], simulator: Simulator) -> dict[str, str]:
    """Make the system's environment: the caller's, with no real vendor, base or database left in it."""
    own = {name: value for name, value in environ.items() if not name.startswith(REAL)}
    vendors = {
        "OPENROUTER": simulator.openrouter_url,
        "OPENAI": simulator.openai_url,
        "ANTHROPIC": simulator.anthropic_url,
        "GOOGLE_AI": simulator.google_url,
    }
    addresses = {f"{vendor}_BASE_URL": url for vendor, url in vendors.items()}
    return {**EASY, **own, **addresses, **{f"{vendor}_API_KEY": KEY for vendor in vendors}}


def main() -> int:
    """Run simulator and system until Ctrl-C; give the system's exit code."""
    with Simulator() as simulator:
        simulator.answer(content=f"```json\n{json.dumps(PLAN)}\n```", contains=PLANNER)
        environment = trial_environment(os.environ, simulator)
        sys.stdout.write(GREETING.format(data_dir=environment["DATA_DIR"]))
        sys.stdout.flush()
        command = [sys.executable, "-m", "app.cli", "up", "--first-batch"]
        system = subprocess.Popen(command, env=environment)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells the system as well, which then ends by itself
        signal.signal(signal.SIGTERM, lambda *_: system.terminate())
        return system.wait()


if __name__ == "__main__":
    sys.exit(main())
