"""``mitsumori serve``: the service itself."""

from __future__ import annotations

from router.cli.commands.settings_options import takes_settings
from router.logs import announce, close, configure
from router.rpc.server import serve as run_server
from router.rpc.settings_change import SettingsFile
from router.settings import Settings

__all__ = ["serve"]


@takes_settings
def serve(settings: Settings, file: SettingsFile | None) -> None:
    """Serve Route over gRPC until SIGTERM, then finish the calls in flight.

    Every setting can also be set in the settings file, or in the environment as MITSUMORI_PORT and so on.
    """
    configure(settings.log_level, settings.log_format)
    try:
        run_server(settings, file, on_ready=lambda address: announce(f"serving on {address}"))
    finally:
        close()
