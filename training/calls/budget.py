"""The budget of a run: the worst case of a call is held before it is sent, so that no run passes it."""

from __future__ import annotations

import asyncio

__all__ = ["Budget"]


class Budget:
    """Money of a run, nano-dollars. One event loop uses it.

    Holds are granted in the order in which they are asked for. Where the next one does not fit, it waits
    for the calls under way, which rarely take what they hold.
    """

    def __init__(self, total: int, spent: int = 0) -> None:
        """``total`` ≥ 0 for all runs of a journal together; ``spent`` ≥ 0 by earlier ones."""
        self.total = total
        self.spent = spent
        self._held = 0
        self._open = 0
        self._order = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def left(self) -> int:
        """What is neither spent nor held; below 0 after a provider ignored the limit of a call."""
        return self.total - self.spent - self._held

    async def hold(self, amount: int) -> bool:
        """Hold the worst case of a call, ≥ 0; ``False`` where it does not fit, even once all are settled."""
        async with self._order:
            while amount > self.left:
                if not self._open:
                    return False
                self._freed.clear()
                await self._freed.wait()
            self._held += amount
            self._open += 1
            return True

    def settle(self, held: int, booked: int) -> None:
        """Give a hold back, and book what the call may have cost.

        Args:
            held: the amount of the hold.
            booked: ≥ 0; more than ``held`` only where the provider ignored the limit of the call.
        """
        self._held -= held
        self._open -= 1
        self.spent += booked
        self._freed.set()
