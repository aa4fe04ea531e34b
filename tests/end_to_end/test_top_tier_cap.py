"""A cap on the share of the top tier, from the command line to the replies of a running server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from typer.testing import CliRunner

from mitsumori.v1 import router_pb2
from router.cli.main import app
from tests.end_to_end.test_hot_reload import followed

PROOF = "Prove that there are infinitely many primes congruent to 3 modulo 4, case {}."


def test_no_more_than_a_quarter_of_a_team_s_calls_get_the_top_tier(tmp_path: Path) -> None:
    with followed(tmp_path) as (server, client):
        words = ["limits", "set", "cap", "--share", "25%", "--free", "1", "--unit", "requests"]
        words += ["--window", "day", "--scope", "team=*", "--scope", "tier=high"]
        run = CliRunner()
        made = run.invoke(app, [*words, "--server", server.address])
        assert made.exit_code == 0, made.output
        replies = [
            client.route(
                PROOF.format(number), scope={"team": "blue"}, willingness_to_pay_usd=100
            ).message
            for number in range(12)
        ]
        tiers = Counter(reply.chosen.tier for reply in replies)
        assert tiers["high"] == 3
        assert [reply.chosen.tier == "high" for reply in replies[:4]] == [True, False, False, False]
        capped = [
            reply
            for reply in replies
            if any(each.code == router_pb2.REASON_CODE_TOP_TIER_CAPPED for each in reply.reasons)
        ]
        assert [reply.chosen.tier for reply in capped] == [
            reply.chosen.tier for reply in replies if reply.chosen.tier != "high"
        ]
        # Another team has a share of its own.
        other = client.route(
            PROOF.format(0), scope={"team": "red"}, willingness_to_pay_usd=100
        ).message
        assert other.chosen.tier == "high"
        (status,) = other.limits
        assert (status.limit.share, status.limit.free, status.held, status.whole) == (0.25, 1, 1, 1)
        asked = ["limits", "list", "--label", "team=blue", "--label", "tier=high", "--json"]
        shown = run.invoke(app, [*asked, "--server", server.address])
        assert shown.exit_code == 0, shown.output
        (row,) = json.loads(shown.output)
        assert (row["held"], row["whole"], row["limit"]["share"]) == ("3", "12", 0.25)
