"""Who generates: the local provider, or vLLM.

```yaml
generation: vllm                     # `make vllm-env` once; one server a run, started when needed
```

vLLM pins its own torch and transformers, so it lives in an environment of its own and is asked over
HTTP. Training, the reference model of the bits and everything else stay in this process.
"""

import os
import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from selfevo.errors import UsageError
from selfevo.section import Count, Section

PYTHON: Final = "SELFEVO_VLLM"
"""Environment variable: the Python of an environment with vLLM."""
ENVIRONMENT: Final = Path(".venv-vllm/bin/python")
"""What `make vllm-env` makes, seen from the working directory."""
_OPTION: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
OWN_OPTIONS: Final = frozenset(
    {
        "api-key",
        "dtype",
        "enable-lora",
        "host",
        "max-lora-rank",
        "max-model-len",
        "model",
        "port",
        "served-model-name",
    }
)
"""Server arguments that the run sets itself, or that have a key of their own."""


class GenerationConfig(Section):
    """Who writes the replies of the model under training; a plain string names the provider."""

    provider: Literal["selfevo", "vllm"] = "selfevo"
    """`selfevo`: the local provider, in this process; `vllm`: a vLLM server."""
    python: Path | None = None
    """Python of the environment with vLLM; None: `SELFEVO_VLLM`, else `.venv-vllm/bin/python`."""
    endpoints: tuple[str, ...] = ()
    """vLLM servers that run already, such as `http://gpu1:8000`: none is started, requests spread
    over these. They serve the base model, load adapters at run time and see the run folder."""
    context_length: Count | None = None
    """Tokens of prompt and reply together; None: as many as the model reads."""
    server: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """More arguments of `vllm serve`, such as `gpu_memory_utilization: 0.8`; true is a flag."""

    @model_validator(mode="before")
    @classmethod
    def _named_by_its_provider(cls, value: Any) -> Any:
        return {"provider": value} if isinstance(value, str) else value

    @field_validator("endpoints")
    @classmethod
    def _are_addresses(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if not re.match(r"https?://[^/]", endpoint):
                raise ValueError(f"'{endpoint}' is no address; write http://HOST:PORT")
        if len(set(endpoints)) < len(endpoints):
            raise ValueError("an endpoint stands there twice; name it once")
        return tuple(endpoint.rstrip("/").removesuffix("/v1") for endpoint in endpoints)

    @field_validator("server")
    @classmethod
    def _are_options(cls, server: dict[str, Any]) -> dict[str, Any]:
        for option in server:
            if not _OPTION.fullmatch(option):
                raise ValueError(f"'{option}' is no option; write it as gpu_memory_utilization")
            if option.replace("_", "-") in OWN_OPTIONS:
                raise ValueError(f"'{option}' is set by the run; leave it out")
        return server

    @model_validator(mode="after")
    def _only_vllm_has_servers(self) -> "GenerationConfig":
        if self.provider != "vllm":
            for key in ("python", "endpoints", "context_length", "server"):
                if getattr(self, key):
                    raise ValueError(f"'{key}' is only for provider vllm; set provider: vllm")
        elif self.endpoints and (self.python or self.context_length or self.server):
            raise ValueError(
                "with endpoints nothing is started; leave python, context_length and server out"
            )
        return self


def vllm_python(config: GenerationConfig) -> Path:
    """The Python of the environment with vLLM.

    Raises:
        UsageError: there is none.
    """
    named = config.python or os.environ.get(PYTHON)
    python = Path(named or ENVIRONMENT).expanduser()
    if not python.is_file():
        origin = "generation.python" if config.python else PYTHON if named else "generation: vllm"
        raise UsageError(
            f"{origin}: {python} is not there; `make vllm-env` sets up an environment with vLLM, "
            f"or name the Python of yours (generation.python or {PYTHON})"
        )
    return python.absolute()


def require_generator(config: GenerationConfig) -> None:
    """Refuse now what would fail after the training.

    Raises:
        UsageError: the recipe wants vLLM, and there is no environment with it.
    """
    if config.provider == "vllm" and not config.endpoints:
        vllm_python(config)
