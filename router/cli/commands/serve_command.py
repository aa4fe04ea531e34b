"""``mitsumori serve``: the service itself."""

from __future__ import annotations

from router.cli.commands.settings_options import takes_settings
from router.logs import announce, close, configure
from router.processes.supervisor import serve_by_processes
from router.rpc.server import serve as serve_alone
from router.rpc.settings_change import SettingsFile
from router.settings import Settings

__all__ = ["serve"]


@takes_settings
def serve(settings: Settings, file: SettingsFile | None) -> None:
    """Serve Route over gRPC until SIGTERM, then finish the calls in flight.

    Every setting can also be set in the settings file, or in the environment as MITSUMORI_PORT and so on;
    those without a flag only there: canary, conversations, correct_by, health, load_shares, miss_costs,
    prompt_key, provider_limits, quality_targets, retention, shadow.
    """
    several = settings.processes > 1
    configure(settings.log_level, settings.log_format, process="supervisor" if several else "")
    run = serve_by_processes if several else serve_alone
    try:
        run(settings, file, on_ready=lambda address: announce(f"serving on {address}"))
    finally:
        close()
