"""Every setting of the service in one typed place.

In order of precedence: command-line flags, environment variables (``MITSUMORI_PORT=…``), a YAML file
named by ``--config`` or ``MITSUMORI_CONFIG``, the defaults below.
"""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from platformdirs import user_cache_path, user_data_path
from pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from router.classifier.mlflow_registry import RegistryAddress, is_registry_address
from router.core.errors import InvalidInput
from router.core.types import QualityTargets
from router.decision_log.record import PromptLogKind
from router.paths import DEFAULT_BUNDLE, ENCODERS
from router.routing.background_jobs import RetentionRule

__all__ = ["Settings", "load_settings"]

_PREFIX = "MITSUMORI_"


_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _QualityTargets(QualityTargets):
    """The targets, checked as settings are."""

    low: _Share = QualityTargets.low
    medium: _Share = QualityTargets.medium
    high: _Share = QualityTargets.high


class Settings(BaseSettings):
    """Settings of ``mitsumori serve``."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid")

    bundle: Path | RegistryAddress = Field(
        default=DEFAULT_BUNDLE,
        description="directory of the bundle to serve, or its address in the registry:"
        " models:/NAME@ALIAS or models:/NAME/VERSION",
    )
    registry: str = Field(
        default="",
        description="http(s) address of the MLflow server whose registry has the bundle; unset:"
        " MLFLOW_TRACKING_URI",
    )
    registry_cache: Path = Field(
        default=user_cache_path("mitsumori") / "bundles",
        description="where bundles of a registry are kept, for a start without it",
    )
    reload_every_s: float = Field(
        default=30,
        ge=0,
        le=86400,
        description="how often a changed bundle is looked for, seconds; 0: only at SIGHUP",
    )
    encoders: Path = Field(default=ENCODERS, description="folder of the encoders bundles name")
    catalog: Path | None = Field(default=None, description="catalog file; unset: the shipped one")
    tokenizer_dir: Path | None = Field(
        default=None, description="where tokenizer files are unpacked; unset: the user's cache"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=50051, ge=0, le=65535, description="port; 0 takes a free one")
    workers: int = Field(default=4, ge=1, le=256, description="threads that answer calls")
    max_prompt_bytes: int = Field(
        default=1 << 20, ge=1, le=64 << 20, description="most UTF-8 bytes of one prompt"
    )
    quality_targets: _QualityTargets = _QualityTargets()
    quote_ttl_s: float = Field(
        default=300, gt=0, le=86400, description="how long a quote stands, seconds"
    )
    ledger: str = Field(
        default=f"sqlite:{user_data_path('mitsumori') / 'ledger.sqlite'}",
        description="where limits and holds are kept: memory:, sqlite:PATH or postgresql://…",
    )
    strict: bool = Field(
        default=False, description="hold the worst case instead of the 90th percentile"
    )
    hold_ttl_s: float = Field(
        default=600, gt=0, le=7 * 86400, description="how long a hold waits for its report, seconds"
    )
    log_prompts: PromptLogKind = Field(
        default="off",
        description="what the decision log keeps of prompts: off, hash (keyed), embedding (the"
        " encoder's vector, which can partly be turned back into text), redacted (the text without"
        " addresses, numbers and secrets; names of people stay), or text",
    )
    prompt_key: SecretStr = Field(
        default=SecretStr(""),
        description="keys the hash of prompts; needed for log_prompts: hash, kept beside embedding"
        " and redacted where given",
    )
    correct_from: int = Field(
        default=5_000,
        ge=0,
        le=100_000,
        description="how many of the newest settled decisions correct token counts and output lengths;"
        " 0: quotes are never corrected",
    )
    correct_by: tuple[str, ...] = Field(
        default=("tenant", "team", "project"),
        description="labels, from the widest scope to the narrowest, that have corrections of their own",
    )
    retention: list[RetentionRule] = Field(
        default=[],
        description="when decisions are erased from the log; each rule erases what it matches, so that"
        " the shortest wins; none: never",
    )
    expire_every_s: float = Field(
        default=5, ge=0.1, le=3600, description="how often run-out holds are given back, seconds"
    )
    reflection: bool = Field(default=True, description="offer gRPC reflection")
    drain_s: float = Field(
        default=10, ge=0, le=600, description="seconds that calls in flight get at SIGTERM"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @field_validator("log_prompts", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        # YAML reads a bare off as false.
        return "off" if value is False else value

    @field_validator("bundle", mode="before")
    @classmethod
    def _bundle_may_be_registered(cls, value: Any) -> Any:
        # A path has lost nothing of an address: its one slash stays.
        text = str(value)
        if not is_registry_address(text):
            return value
        try:
            return RegistryAddress.parse(text)
        except InvalidInput as error:
            raise ValueError(error.message) from None

    @model_validator(mode="after")
    def _registered_bundles_have_a_registry(self) -> Settings:
        if isinstance(self.bundle, RegistryAddress) and not self.registry:
            self.registry = os.environ.get("MLFLOW_TRACKING_URI", "")
            if not self.registry:
                raise ValueError(
                    f"bundle {self.bundle} needs registry, the address of an MLflow server"
                )
        return self

    @model_validator(mode="after")
    def _hash_has_a_key(self) -> Settings:
        if self.log_prompts == "hash" and not self.prompt_key.get_secret_value():
            raise ValueError("log_prompts: hash needs prompt_key, or anyone could test a prompt")
        return self


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise InvalidInput(
            f"the settings file {path} is not there or not readable", field="config"
        ) from None
    except (yaml.YAMLError, UnicodeError):
        raise InvalidInput(f"the settings file {path} is not valid YAML", field="config") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidInput(
            f"the settings file {path} must hold settings by name, such as `port: 50051`",
            field="config",
        )
    return values


def load_settings(*, config: Path | None = None, **flags: Any) -> Settings:
    """Settings from flags (``None`` means not given), environment and file.

    Raises:
        InvalidInput: a value is wrong or the file is missing; names the setting and where it can be
            set.
    """
    chosen = os.environ.get(f"{_PREFIX}CONFIG")
    values = _read_file(config or (Path(chosen) if chosen else None))

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return (init_settings, env_settings, InitSettingsSource(settings_cls, values))

    try:
        return Sourced(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        # A line of a list has no flag and no variable of its own.
        named = takewhile(lambda part: isinstance(part, str), first["loc"])
        whole = ".".join(map(str, named)) or "settings"
        raise InvalidInput(
            f"setting {name}: {first['msg']}; set it by --{whole.replace('_', '-')}, "
            f"{_PREFIX}{whole.upper().replace('.', '__')} or in the settings file",
            field=name,
        ) from None
    except SettingsError as error:
        # Its text names the setting and not the value; what is wrong is always the JSON.
        raise InvalidInput(
            f"{error}; in the environment, lists and groups are written as JSON", field="settings"
        ) from None
