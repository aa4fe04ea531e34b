"""A run: many tasks of paid calls at a time, until all are done, the budget ends, or somebody interrupts."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from router.core.errors import MitsumoriError
from training.calls.paid_calls import NotAsked, PaidCalls
from training.calls.reply import internal_fault

__all__ = ["INTERRUPTED", "run_tasks"]

INTERRUPTED = "it was interrupted"
"""Why a run stops that somebody interrupted."""

_AWAITED = "interrupted: calls under way are awaited, for they are paid for; once more ends at once"

Task = Callable[[], Awaitable[None]]


@contextmanager
def _interruptible(calls: PaidCalls, notify: Callable[[str], None]) -> Iterator[None]:
    """The first interrupt stops the run, and what is under way is awaited; the second one ends it at once."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    known = (signal.SIGINT, signal.SIGTERM)

    def interrupted() -> None:
        if calls.stopped and current is not None:
            current.cancel()
            return
        calls.stop(INTERRUPTED)
        notify(_AWAITED)

    try:
        for one in known:
            loop.add_signal_handler(one, interrupted)
    except (ValueError, RuntimeError):  # not the main thread: whoever runs it handles signals
        yield
        return
    try:
        yield
    finally:
        for one in known:
            loop.remove_signal_handler(one)


async def run_tasks(
    calls: PaidCalls,
    tasks: Iterable[Task],
    *,
    concurrency: int,
    done: Callable[[], None],
    notify: Callable[[str], None],
) -> Counter[str]:
    """Run tasks in their order, some at a time.

    Args:
        calls: by which the tasks ask; once it is stopped, no further task begins.
        tasks: each asks models, and keeps what it learns.
        concurrency: tasks at a time, ≥ 1.
        done: is called after each task.
        notify: tells the user something.

    Returns:
        Why tasks were not done, with how many each.

    Raises:
        MitsumoriError: the journal cannot be written.
    """
    left: Counter[str] = Counter()
    pending = iter(tasks)

    async def work() -> None:
        for task in pending:
            try:
                await task()
            except NotAsked as why:
                left[str(why)] += 1
            except MitsumoriError:
                raise
            except Exception as error:  # noqa: BLE001 - the other tasks go on, and it is told in the end
                left[internal_fault(error)] += 1
            done()

    with _interruptible(calls, notify):
        workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if not calls.stopped:  # cancelled from outside, not by a second interrupt
                raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return left
