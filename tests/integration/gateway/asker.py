"""One worker process's part of a trial: ask a model again and again through the gateway, until standard input ends.

Usage: `python asker.py REDIS_URL BASE_URL NAME OPEN_S`
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import redis.asyncio

from app.errors import StepError, StepParked
from app.gateway.fakes import FakeLedger
from app.gateway.gate import RedisGate
from app.gateway.model import ModelCall
from app.gateway.registry_file import load_registry
from app.gateway.service import Gateway
from app.providers.openai_compatible import OpenAICompatible

EVERY_S = 0.02
OFFER = {
    "provider": "openai",
    "model": "gpt-6-luna",
    "prices": {"in": 1, "out": 2},
    "context": 1000,
    "max_tokens_field": "max_completion_tokens",
}
REGISTRY = {"api_keys": {"openai": ["OPENAI_API_KEY"]}, "models": {"talk": {"offers": [OFFER]}}}


async def ask_on(redis_url: str, base_url: str, name: str, open_s: float) -> None:
    client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    provider = OpenAICompatible(name="openai", api_key="sk-of-the-simulator", base_url=base_url)
    gateway = Gateway(load_registry(REGISTRY), {"openai": provider}, gate=RedisGate(client, open_s=open_s))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        with contextlib.suppress(StepError, StepParked):
            await gateway.complete(ModelCall("talk", name), FakeLedger())
        await asyncio.sleep(EVERY_S)
    await gateway.close()
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(ask_on(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
