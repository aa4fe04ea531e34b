"""What callers import: the client of the service, its values and errors, and the protocol's messages.

with Router("localhost:50051") as router:
    decision = router.route("Prove that there are infinitely many primes.", scope={"team": "search"})
    print(decision.model, decision.quote.price.expected)
"""

from mitsumori.client import OUTCOMES, Admin, Outcome, Router
from mitsumori.decision import Decision, Option, Quote, Settlement
from mitsumori.errors import CallFailed, InvalidArgument
from mitsumori.money import Usd
from mitsumori.request import Message, route_request
from mitsumori.retrying_channel import DEFAULT_ADDRESS

__all__ = [
    "DEFAULT_ADDRESS",
    "OUTCOMES",
    "Admin",
    "CallFailed",
    "Decision",
    "InvalidArgument",
    "Message",
    "Option",
    "Outcome",
    "Quote",
    "Router",
    "Settlement",
    "Usd",
    "route_request",
]
