"""The SDK's client for one endpoint, set so that no response header decides how the body is decoded."""

from typing import Final

from httpx2 import AsyncClient, Response
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

from shared.models.prices import OPENAI_URL

_NO_KEY: Final = "none"


def create_client(
    *,
    api_key: str | None,
    base_url: str | None,
    timeout: Timeout,
    http_client: AsyncClient | None = None,
) -> AsyncOpenAI:
    """Return a client without retries. Without `api_key` a placeholder is sent, never a key from the environment."""
    http = http_client or DefaultAsyncHttpxClient()
    hooks = http.event_hooks
    http.event_hooks = {**hooks, "response": [_force_utf8, *hooks["response"]]}
    return AsyncOpenAI(
        api_key=api_key or _NO_KEY,
        base_url=base_url or OPENAI_URL,
        timeout=timeout,
        max_retries=0,
        http_client=http,
    )


async def _force_utf8(response: Response) -> None:
    """Decode the response as UTF-8: the charset of `Content-Type` may name any codec, and some of them raise."""
    response.encoding = "utf-8"
