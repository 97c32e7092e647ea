"""Embeddings over OpenAI's wire with the real SDK, against the simulator."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from dataclasses import replace
from typing import Any

import openai
import pytest

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import Blame, EmbeddingAnswer, EmbeddingRequest
from app.providers.openai_compatible import OpenAICompatible
from app.providers.openai_embeddings import OpenAIEmbeddings
from simulator import Simulator

PATH = "/openai/v1/embeddings"
ASKED = EmbeddingRequest(
    "openai", "text-embedding-3-small", ("a red linen dress", "a blue linen dress", "snow"), None, 5
)


def embed(
    simulator: Simulator, request: EmbeddingRequest = ASKED, *, base: str = "", key: str = "k"
) -> EmbeddingAnswer:
    async def run() -> EmbeddingAnswer:
        provider = OpenAICompatible(name="openai", api_key=key, base_url=base or simulator.openai_url)
        try:
            return await OpenAIEmbeddings(provider.connection).embed(request)
        finally:
            await provider.close()

    return asyncio.run(run())


def fail(simulator: Simulator, request: EmbeddingRequest = ASKED, **options: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        embed(simulator, request, **options)
    return caught.value


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def items(*vectors: Any) -> dict[str, Any]:
    data = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return {"data": data, "model": "m", "usage": {"prompt_tokens": 3}}


def closeness(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_each_text_gets_its_vector_in_order(simulator: Simulator) -> None:
    answer = embed(simulator)
    alone = [embed(simulator, replace(ASKED, texts=(text,))).vectors[0] for text in ASKED.texts]

    assert list(answer.vectors) == alone
    assert {len(vector) for vector in answer.vectors} == {1536}
    red, blue, snow = answer.vectors
    assert closeness(red, blue) > 0.5 > closeness(red, snow)


def test_vectors_travel_as_base64_and_are_the_same_as_numbers(simulator: Simulator) -> None:
    answer = embed(simulator)
    with openai.OpenAI(api_key="k", base_url=simulator.openai_url, max_retries=0) as client:
        plain = client.embeddings.create(model=ASKED.model, input=list(ASKED.texts), encoding_format="float")

    assert [entry["body"]["encoding_format"] for entry in simulator.log(PATH)] == ["base64", "float"]
    for ours, theirs in zip(answer.vectors, plain.data, strict=True):
        assert ours == pytest.approx(theirs.embedding, abs=1e-6)


def test_a_shorter_vector_can_be_asked_for(simulator: Simulator) -> None:
    vector = embed(simulator, replace(ASKED, dimensions=256)).vectors[0]

    assert len(vector) == 256
    assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-6)


def test_a_server_that_does_not_shorten_is_not_asked_again(simulator: Simulator) -> None:
    simulator.fault(PATH, status=200, body=items([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [1.0, 2.0, 5.0]))

    error = fail(simulator, replace(ASKED, dimensions=2))

    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "embedding_invalid", True)
    assert "3 numbers" in str(error)


def test_usage_is_what_the_vendor_counted(simulator: Simulator) -> None:
    usage = embed(simulator).usage

    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (11, 0, False)


def test_a_server_that_knows_no_base64_is_read_too(simulator: Simulator) -> None:
    answer = embed(simulator, base=simulator.own_url)

    assert {len(vector) for vector in answer.vectors} == {64}


def test_a_vendor_that_counts_nothing_is_guessed_at_and_marked(simulator: Simulator) -> None:
    simulator.fault(PATH, status=200, body={"data": [{"index": 0, "embedding": packed(1.0)}]})

    usage = embed(simulator, replace(ASKED, texts=("four words of text",))).usage

    assert (usage.estimated, usage.input_tokens) == (True, 5)


def test_vectors_are_put_in_the_texts_order(simulator: Simulator) -> None:
    body = items(packed(1.0), packed(2.0))
    body["data"].reverse()
    simulator.fault(PATH, status=200, body=body)

    assert embed(simulator, replace(ASKED, texts=("a", "b"))).vectors == ((1.0,), (2.0,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"texts": ()}, "0 texts"),
        ({"texts": ("x",) * 2049}, "2049 texts were given, and one request takes 1 to 2048"),
        ({"texts": ("a", "", "b")}, "text 2 of 3 is empty"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_what_the_vendor_would_refuse_is_not_sent(simulator: Simulator, change: dict[str, Any], said: str) -> None:
    error = fail(simulator, replace(ASKED, **change))

    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "embedding_invalid", False)
    assert said in str(error)
    assert simulator.count(PATH) == 0


def test_as_many_texts_as_one_request_takes_are_taken(simulator: Simulator) -> None:
    assert len(embed(simulator, replace(ASKED, texts=("x",) * 2048, dimensions=2)).vectors) == 2048


@pytest.mark.parametrize(
    "body",
    [
        items(packed(1.0)),
        items(packed(1.0), packed(1.0, 2.0)),
        items(packed(1.0), packed(float("nan"))),
        items(packed(1.0), "no base64!"),
        items(packed(1.0), "AAA="),
        items(packed(1.0), None),
        items(packed(1.0), ["x"]),
        items("", ""),
        {"data": [{"embedding": packed(1.0)}] * 2},
        {"data": 5},
        {},
        "[]",
        "<html>welcome</html>",
    ],
)
def test_anything_but_one_vector_a_text_is_no_answer(simulator: Simulator, body: Any) -> None:
    simulator.fault(PATH, status=200, body=body, times=None)

    error = fail(simulator, replace(ASKED, texts=("a", "b")))

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "unreadable_answer", True)
    assert simulator.count(PATH) == 1


def test_an_error_inside_a_200_is_an_error(simulator: Simulator) -> None:
    simulator.fault(PATH, status=200, body={"error": {"code": 402, "message": "pay"}})

    assert fail(simulator).code == "quota"


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp, above a megabyte; it is off
@pytest.mark.parametrize(
    ("request_", "key", "code", "blame"),
    [
        (replace(ASKED, model="text-embedding-9"), "k", "model_gone", Blame.RETIRED),
        (replace(ASKED, model="gpt-6-luna"), "k", "model_gone", Blame.RETIRED),
        (replace(ASKED, dimensions=4000), "k", "invalid_value", Blame.NONE),
        (replace(ASKED, texts=("x" * 40_000,)), "k", "invalid_value", Blame.NONE),
        (replace(ASKED, texts=("x" * 32_000,) * 40), "k", "invalid_value", Blame.NONE),
        (ASKED, "invalid", "auth", Blame.PROVIDER),
    ],
)
def test_what_the_vendor_refuses_is_asked_once(
    simulator: Simulator, request_: EmbeddingRequest, key: str, code: str, blame: Blame
) -> None:
    error = fail(simulator, request_, key=key)

    assert (type(error), error.code, error.details["blame"]) == (PersistentError, code, blame)
    assert simulator.count(PATH) == 1
