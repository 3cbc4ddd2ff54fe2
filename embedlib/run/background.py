"""Coroutines beside a driver's loop, and the queue by which they tell it what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from embedlib.run.events import Event


class Background:
    """Work that runs beside a loop and ends with it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine run beside the loop.

        Parameters
        ----------
        work : coroutine
            What it raises comes out of `event`.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def report(self, event: Event) -> None:
        """Hand an event to the loop.

        Parameters
        ----------
        event : Event
            What happened.
        """
        self._queue.put_nowait(event)

    async def event(self) -> Event:
        """Wait for the next event.

        Returns
        -------
        event : Event
            In the order in which they were reported.
        """
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def cancel(self) -> None:
        """End all that still runs."""
        for task in self._tasks:
            task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._queue.put_nowait(error)
