"""One HTTP POST to an endpoint within a time limit. Only status and `Retry-After` of the answer are read, never its
body.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import httpx2

from services.notifier import guard
from services.notifier.schedule import Answer
from shared.contracts.evidence import Failure
from shared.errors import StepError, Terminal
from shared.runtime import clock
from shared.runtime.endpoints import Network
from shared.runtime.headers import retry_after_s

WITHIN_S: Final = 15.0
"""Seconds for the whole request: name, connection, TLS, sending, and the head of the answer."""
_CONNECT_S: Final = 5.0
_ADDRESSES: Final = 3
_PORTS: Final = {"http": 80, "https": 443}
_TOO_MANY: Final = (429, 503)


class Send(Protocol):
    """Sends a message once. Never raises: every failure is an `Answer` with an error."""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer: ...


class Sender:
    """Sends to public addresses and to those that the operator allows. Follows no redirect and uses no proxy."""

    def __init__(self, allow: Sequence[Network], *, within_s: float = WITHIN_S) -> None:
        self._allow = tuple(allow)
        self._within_s = within_s
        self._tls = httpx2.create_ssl_context(trust_env=False)

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST `body` to `url` and return the answer, within `within_s` seconds in all. Never raises."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._within_s):
                status, retry_after_s = await self._post(httpx2.URL(url), headers, body)
        except TimeoutError:
            error = Failure("timeout", f"The endpoint did not answer within {self._within_s:g} s.")
            return Answer(error=error, duration_s=_since(began))
        except StepError as fault:
            return Answer(error=Failure(fault.code, fault.message), duration_s=_since(began))
        except Exception as fault:
            # Only the kind of the fault: its text may have the URL in it, and that may be a secret.
            error = Failure("not_reached", f"The endpoint could not be reached ({type(fault).__name__}).")
            return Answer(error=error, duration_s=_since(began))
        return Answer(status=status, retry_after_s=retry_after_s, duration_s=_since(began))

    async def _post(self, url: httpx2.URL, headers: Mapping[str, str], body: bytes) -> tuple[int, float]:
        """Resolve the host and send to the first of three addresses that accepts a connection. Return status and
        seconds to wait.

        Raises `Terminal` for plain http to an address that is not allowed, and what `httpx2` raises.
        """
        addresses = await guard.resolve_allowed(url.host, url.port or _PORTS[url.scheme], allow=self._allow)
        if url.scheme == "http" and not all(guard.is_allowed(address, self._allow) for address in addresses):
            raise Terminal("not_encrypted", "Plain http goes only to addresses that `allow` names; use https.")
        tried = addresses[:_ADDRESSES]
        for address in tried:
            try:
                return await self._post_to(address, url, headers, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if address == tried[-1]:
                    raise
        raise Terminal("no_address", "The host has no address.")

    async def _post_to(
        self, address: guard.Address, url: httpx2.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, float]:
        """Send to this address with the `Host` header and TLS name of the URL. Return status and seconds to wait."""
        timeout = httpx2.Timeout(self._within_s, connect=_CONNECT_S)
        host = url.netloc.decode("ascii")
        async with (
            httpx2.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=timeout) as http,
            http.stream(
                "POST",
                url.copy_with(host=str(address)),
                content=body,
                headers={**headers, "Host": host, "Connection": "close"},
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            ) as response,
        ):
            return response.status_code, _retry_after_s(response)


def _retry_after_s(response: httpx2.Response) -> float:
    """Seconds that a 429 or 503 asks to wait; 0 for other statuses and for a missing or unreadable header."""
    is_asked = response.status_code in _TOO_MANY
    return (retry_after_s(response.headers, now=clock.now()) or 0.0) if is_asked else 0.0


def _since(began: float) -> float:
    """Seconds since `began`, a reading of the loop's clock, to the millisecond."""
    return round(asyncio.get_running_loop().time() - began, 3)
