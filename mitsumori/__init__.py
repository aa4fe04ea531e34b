"""The client of the service, its values and errors.

with Router("localhost:50051") as router:
    decision = router.route("Prove that there are infinitely many primes.", scope={"team": "search"})
    print(decision.model, decision.quote.price.expected)
"""

from mitsumori.addresses import DEFAULT_ADDRESS
from mitsumori.admin import Admin
from mitsumori.client import OUTCOMES, Outcome, Router
from mitsumori.credentials import Tls
from mitsumori.decision import Decision, Option, Quote, Settlement, TaskStatus
from mitsumori.errors import CallFailed, InvalidArgument
from mitsumori.explanation import Explanation
from mitsumori.money import Amount, Usd
from mitsumori.rate_limits import rate_limits_from_headers
from mitsumori.request import Importance, Message, Prompt, route_request
from mitsumori.task import Task, TaskQuote

__all__ = [
    "DEFAULT_ADDRESS",
    "OUTCOMES",
    "Admin",
    "Amount",
    "CallFailed",
    "Decision",
    "Explanation",
    "Importance",
    "InvalidArgument",
    "Message",
    "Option",
    "Outcome",
    "Prompt",
    "Quote",
    "Router",
    "Settlement",
    "Task",
    "TaskQuote",
    "TaskStatus",
    "Tls",
    "Usd",
    "rate_limits_from_headers",
    "route_request",
]
