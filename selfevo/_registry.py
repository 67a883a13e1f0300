"""What Inspect finds under the name `selfevo` (entry point): loads no torch."""

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="selfevo")
def checkpoint_api() -> type[ModelAPI]:
    """The local provider, imported when a `selfevo/...` model is first asked for."""
    from selfevo.provider import CheckpointAPI

    return CheckpointAPI
