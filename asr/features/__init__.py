"""Front-ends by name, from waveforms to features: one new file here is one new front-end. Also SpecAugment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from asr.features.base import FRONTENDS, BaseFrontendConfig, Frontend, FrontendStream
from asr.registry import import_siblings

import_siblings(__name__, __path__)


def upgrade_frontend(data: Any) -> Any:
    """The configuration of a front-end as asr 0.1 wrote it, {features: {name: ..., ...}, cmvn: ...}, in today's form.

    Today's form comes back as it is; without a name it is an fbank.
    """
    if not isinstance(data, dict):
        return data
    former = data.get("features")
    if not isinstance(former, dict):
        return {"name": "fbank", **data}
    return {"name": "fbank", **former, **{key: value for key, value in data.items() if key != "features"}}


if TYPE_CHECKING:
    FrontendConfig = BaseFrontendConfig
else:
    FrontendConfig = Annotated[FRONTENDS.config_union(), BeforeValidator(upgrade_frontend)]


def build_frontend(config: BaseFrontendConfig) -> Frontend:
    """The front-end that a configuration describes, without statistics yet."""
    frontend: Frontend = FRONTENDS.part(config.name)(config)
    return frontend


__all__ = [
    "FRONTENDS",
    "Frontend",
    "FrontendConfig",
    "FrontendStream",
    "build_frontend",
    "upgrade_frontend",
]
