"""Who may open an asset, and what they get; what does not lead to one leads nowhere else."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests

from app.assets.model import SIGNED_FOR_S, Asset, hash_of, run_holder, sign, signed_path
from app.runs.model import new_run_id
from simulator.media_files import make_mp4, make_png
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.serving import serving
from tests.engine.trial import Trial, open_trial

ANN, BOB, BOSS = "ann-secret", "bob-secret", "boss-secret"
REDIS_NUMBER = 250
FILM = make_mp4(16, 9, 2.5, "a film")


@pytest.fixture(scope="module")
def system(
    servers: Servers, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trial, str, Path]]:
    """A door without workers."""
    with cloned_database(servers, template) as database_url:
        folder = tmp_path_factory.mktemp("door")
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "API_TOKENS": f"ann:client:{ANN},bob:client:{BOB},boss:admin:{BOSS}",
        }
        with open_trial(environment, folder) as trial, serving(trial) as url:
            yield trial, url, folder


@pytest.fixture
def film(system: tuple[Trial, str, Path]) -> Asset:
    """A film of Ann's."""
    return system[0].application.assets.keep(FILM, "env:ann", run_holder(new_run_id()))


def get(url: str, token: str | None = None, **headers: str) -> requests.Response:
    given = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, headers={**given, **headers}, timeout=10)


def key_of(system: tuple[Trial, str, Path]) -> bytes:
    return (system[2] / "assets.key").read_bytes().strip()


def test_its_owner_and_an_administrator_open_it_and_nobody_else(system: tuple[Trial, str, Path], film: Asset) -> None:
    url = f"{system[1]}/assets/{film.hash}"
    for token in (ANN, BOSS):
        answer = get(url, token)
        assert (answer.status_code, answer.content) == (200, FILM)
    assert (get(url, BOB).status_code, get(url, BOB).json()["code"]) == (404, "asset_not_found")
    assert get(url).status_code == 401
    assert get(url, "wrong").status_code == 403


def test_the_same_content_of_two_owners_is_each_ones_own(system: tuple[Trial, str, Path]) -> None:
    trial, url, folder = system
    content = make_png(3, 3, "shared")
    for owner in ("env:ann", "env:bob"):
        trial.application.assets.keep(content, owner, run_holder(new_run_id()))
    address = f"{url}/assets/{hash_of(content)}"
    assert get(address, ANN).content == get(address, BOB).content == content
    assert len(list((folder / "assets").glob(f"??/??/{hash_of(content)}"))) == 1


def test_nothing_of_it_runs_or_loads_in_a_browser(system: tuple[Trial, str, Path], film: Asset) -> None:
    headers = get(f"{system[1]}/assets/{film.hash}", ANN).headers
    assert headers["Content-Type"] == "video/mp4"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Content-Disposition"] == f'inline; filename="{film.hash[:16]}.mp4"'
    assert headers["Cache-Control"].startswith("private")


def test_a_signed_address_opens_one_asset_for_seven_days(system: tuple[Trial, str, Path], film: Asset) -> None:
    trial, url, _ = system
    address = trial.application.assets.address(film.hash)
    answer = get(url + address)
    assert (answer.status_code, answer.content) == (200, FILM)
    assert get(url + address, BOB).status_code == 200
    key, now = key_of(system), time.time()
    assert get(url + signed_path(key, film.hash, now - SIGNED_FOR_S + 7200)).status_code == 200
    assert get(url + signed_path(key, film.hash, now - SIGNED_FOR_S - 3600)).status_code == 404


def test_a_signature_that_was_tampered_with_opens_nothing(system: tuple[Trial, str, Path], film: Asset) -> None:
    trial, url, _ = system
    other = trial.application.assets.keep(make_png(2, 2, "other"), "env:bob", run_holder(new_run_id()))
    address = trial.application.assets.address(film.hash)
    expires = address.partition("expires=")[2].partition("&")[0]
    signature = address.partition("signature=")[2]
    key, now = key_of(system), int(time.time())
    far = now + 40 * 86_400
    tampered = [
        f"/assets/{other.hash}?expires={expires}&signature={signature}",
        f"/assets/{film.hash}?expires={int(expires) + 1}&signature={signature}",
        f"/assets/{film.hash}?expires={expires}&signature={signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
        f"/assets/{film.hash}?expires={expires}&signature={signature.upper()}0",
        f"/assets/{film.hash}?expires={expires}&signature=",
        f"/assets/{film.hash}?expires={expires}&signature=%00",
        f"/assets/{film.hash}?expires={expires}&signature=%ff%fe",
        f"/assets/{film.hash}?expires={expires}&signature=\u00e4",
        f"/assets/{film.hash}?signature={signature}",
        f"/assets/{film.hash}?expires=&signature={signature}",
        f"/assets/{film.hash}?expires=-1&signature={sign(key, film.hash, -1)}",
        f"/assets/{film.hash}?expires=\u0661\u0662&signature={signature}",
        f"/assets/{film.hash}?expires=1e9&signature={signature}",
        f"/assets/{film.hash}?expires={expires}.0&signature={signature}",
        f"/assets/{film.hash}?expires={'9' * 100}&signature={signature}",
        f"/assets/{film.hash}?expires={far}&signature={sign(key, film.hash, far)}",
        f"/assets/{film.hash}?expires={now - 1}&signature={sign(key, film.hash, now - 1)}",
        f"/assets/{film.hash}?expires={expires}&signature={sign(b'', film.hash, int(expires))}",
        f"/assets/{film.hash}?expires={expires}&expires={far}&signature={signature}x",
        f"/assets/{'0' * 64}?expires={expires}&signature={sign(key, '0' * 64, int(expires))}",
    ]
    for path in tampered:
        assert get(url + path).status_code in {400, 404, 422}, path


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../assets.key",
        "/assets/..%2fassets.key",
        "/assets/%2e%2e/assets.key",
        "/assets/..%5cassets.key",
        "/assets/%2fetc%2fpasswd",
        "/assets/" + "../" * 12 + "etc/passwd",
        "/assets/" + "A" * 64,
        "/assets/" + "0" * 63,
        "/assets/" + "0" * 65,
        "/assets/" + "0" * 62 + "%0a",
        "/assets/aa/bb/" + "0" * 64,
        "/assets/",
        "/assets/.",
        "/assets/" + "\u0660" * 64,
        "/assets/" + "x" * 20_000,
    ],
)
def test_only_a_hash_leads_to_a_file(system: tuple[Trial, str, Path], film: Asset, path: str) -> None:
    del film  # so that there is a key to be had
    system[0].application.assets.address("0" * 64)
    place = urlsplit(system[1])
    for query in ("", "?expires=9&signature=0"):
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=10)
        connection.putrequest("GET", quote(path, safe="/%.") + query, skip_host=False)
        connection.putheader("Authorization", f"Bearer {BOSS}")
        connection.endheaders()
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status in {308, 400, 404, 414}, path
        assert key_of(system) not in said
        assert b"root:" not in said


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1), ("bytes=5-9", 206, 5, 10), ("bytes=10-", 206, 10, None), ("bytes=-7", 206, -7, None),
        ("bytes=0-999999999999", 206, 0, None), ("bytes=999999-", 416, 0, 0), ("bytes=9-5", 416, 0, 0),
        ("bytes=-0", 416, 0, 0), ("bytes=a-b", 416, 0, 0), ("lines=1-2", 416, 0, 0), ("bytes=0-1,3-4", 416, 0, 0),
        ("bytes=" + ",".join("0-" for _ in range(500)), 416, 0, 0), ("bytes", 416, 0, 0),
        ("bytes=--5", 416, 0, 0), ("bytes=0x1-0x2", 416, 0, 0), ("bytes=" + "9" * 5000 + "-", 416, 0, 0),
    ],
)  # fmt: skip
def test_a_range_is_given_or_refused_and_never_more_than_the_file(
    system: tuple[Trial, str, Path], film: Asset, asked: str, status: int, start: int, end: int | None
) -> None:
    answer = get(f"{system[1]}/assets/{film.hash}", ANN, Range=asked)
    if status == 206:
        assert (answer.status_code, answer.content) == (206, FILM[start:end])
        assert answer.headers["Content-Range"].endswith(f"/{len(FILM)}")
    else:
        # RFC 9110 lets a server ignore what it cannot read.
        assert answer.status_code in {200, 416}, answer.headers
        assert answer.status_code == 416 or answer.content == FILM


def test_who_has_it_already_is_sent_nothing(system: tuple[Trial, str, Path], film: Asset) -> None:
    first = get(f"{system[1]}/assets/{film.hash}", ANN)
    again = get(f"{system[1]}/assets/{film.hash}", ANN, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    # Not even so does a stranger learn that it is there.
    assert get(f"{system[1]}/assets/{film.hash}", BOB, **{"If-None-Match": first.headers["ETag"]}).status_code == 404


def test_files_and_key_are_for_this_systems_user_alone(system: tuple[Trial, str, Path], film: Asset) -> None:
    trial, _, folder = system
    trial.application.assets.address(film.hash)
    path = trial.application.assets.path_of(film)
    assert path == folder / "assets" / film.hash[:2] / film.hash[2:4] / film.hash
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (folder / "assets").stat().st_mode & 0o777 == 0o700
    assert (folder / "assets.key").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_lost_is_not_found_rather_than_a_fault(system: tuple[Trial, str, Path]) -> None:
    trial, url, _ = system
    asset = trial.application.assets.keep(make_png(9, 9, "lost"), "env:ann", run_holder(new_run_id()))
    trial.application.assets.path_of(asset).unlink()
    assert get(f"{url}/assets/{asset.hash}", ANN).status_code == 404
    trial.application.assets.keep(make_png(9, 9, "lost"), "env:ann", run_holder(new_run_id()))
    assert get(f"{url}/assets/{asset.hash}", ANN).status_code == 200
