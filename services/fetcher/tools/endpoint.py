"""HTTP client of a search API that the operator configured.

Its address is trusted and not checked by the guard, so a search engine on this machine needs no permission; its answers
are not trusted. Keys go into headers, and error messages have no URL, header or body, so they cannot have a key.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import httpx2
import msgspec

from services.fetcher.web.download import is_throttled, wait_s
from shared.errors import Terminal, Throttled, Transient

MAX_BYTES: Final = 5 * 1024 * 1024
_TIMEOUT: Final = httpx2.Timeout(20.0, connect=5.0)
_T = TypeVar("_T")


class Endpoint:
    """The API of one tool. Raises `Terminal`, `Throttled` and `Transient` with codes that begin
    with the tool's name.
    """

    def __init__(self, tool: str, url: str, *, agent: str, headers: Mapping[str, str] | None = None) -> None:
        self._tool = tool
        self._url = url
        self._http = httpx2.AsyncClient(
            timeout=_TIMEOUT, trust_env=False, headers={"User-Agent": agent, **(headers or {})}
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def get(self, parameters: Mapping[str, str], type_: type[_T]) -> _T:
        """Send a GET with these parameters and decode the JSON of the answer."""
        return self._decoded(await self.fetch("GET", params=dict(parameters)), type_)

    async def post(self, body: Mapping[str, Any], type_: type[_T]) -> _T:
        """Send a POST of this JSON and decode the JSON of the answer."""
        return self._decoded(await self.fetch("POST", json=dict(body)), type_)

    async def fetch(self, method: str, **how: Any) -> bytes:
        """Send a request and return the body, at most `MAX_BYTES`. `how` are arguments of httpx2's `stream`."""
        try:
            async with self._http.stream(method, self._url, **how) as response:
                self._check(response)
                data = bytearray()
                async for chunk in response.aiter_bytes(64 * 1024):
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise Terminal(
                            f"{self._tool}_too_large", f"{self._tool} answered with more than {MAX_BYTES:,} bytes."
                        )
                return bytes(data)
        except httpx2.TimeoutException as error:
            raise Transient(f"{self._tool}_timeout", f"{self._tool} did not answer in time.") from error
        except httpx2.HTTPError as error:
            raise Transient(f"{self._tool}_unreachable", f"{self._tool} could not be reached.") from error

    def _check(self, response: httpx2.Response) -> None:
        """Raise the fault of an answer that is no success."""
        status = response.status_code
        if is_throttled(status, response.headers):
            seconds = wait_s(response.headers)
            text = f"{self._tool} asks to wait {seconds:.0f} s."
            raise Throttled(f"{self._tool}_throttled", text, retry_after=seconds)
        if status >= 500:
            raise Transient(f"{self._tool}_server", f"{self._tool} answered {status}.")
        if status in {401, 403}:
            raise Terminal(f"{self._tool}_refused", f"{self._tool} answered {status}: access is denied.")
        if not response.is_success:
            raise Terminal(f"{self._tool}_{status}", f"{self._tool} answered {status}.")

    def _decoded(self, data: bytes, type_: type[_T]) -> _T:
        """Decode JSON of this type. Raise `Transient` if it is something else."""
        try:
            return msgspec.json.decode(data, type=type_)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Transient(f"{self._tool}_answer", f"{self._tool} did not answer in the format of its API.") from error
