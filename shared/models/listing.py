"""The models of an endpoint, listed without cost."""

import asyncio
from typing import Final

from openai import OpenAIError, Timeout

from shared.errors import Transient
from shared.models.client import create_client
from shared.models.faults import step_error, timeout_error

_WITHIN_S: Final = 15.0


async def list_models(*, api_key: str | None, base_url: str | None, model: str) -> frozenset[str]:
    """Return the names of the models that this key can use. Raises `StepError`s whose texts name `model`."""
    async with create_client(api_key=api_key, base_url=base_url, timeout=Timeout(_WITHIN_S)) as endpoint:
        try:
            async with asyncio.timeout(_WITHIN_S):
                return frozenset([one.id async for one in endpoint.models.list()])
        except TimeoutError as error:
            raise timeout_error(model) from error
        except OpenAIError as error:
            raise step_error(error, model=model, secret=api_key or "") from error
        except (TypeError, AttributeError, ValueError) as error:
            raise Transient("bad_response", f"The endpoint of {model} sent no list of models.") from error
