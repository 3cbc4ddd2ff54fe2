"""What becomes of attempts that do not come to their end: begun again, given up, or beaten."""

from __future__ import annotations

from embedlib.run.backlog import Backlog
from embedlib.run.events import (
    Action,
    Bisect,
    Cancel,
    Forget,
    Recycle,
    Replace,
    Stop,
    WorkerLost,
)
from embedlib.run.flow import Attempt, Flow
from embedlib.run.staff import Staff
from embedlib.run.tries import MAX_ATTEMPTS, Loss, Tries


class Losses:
    """Takes attempts back in one run.

    Parameters
    ----------
    backlog : Backlog
        Where a shard goes that is to be done again.
    staff : Staff
        Who is gone, or free again.
    flow : Flow
        What is under way.
    tries : Tries
        Knows which try was the last.
    """

    def __init__(self, *, backlog: Backlog, staff: Staff, flow: Flow, tries: Tries) -> None:
        self._backlog = backlog
        self._staff = staff
        self._flow = flow
        self._tries = tries
        self._beaten: set[tuple[str, str]] = set()  # attempts whose part of a model comes too late

    def lose(self, loss: WorkerLost, *, may_search: bool) -> list[Action]:
        """Take back what a worker held.

        Parameters
        ----------
        loss : WorkerLost
            Who, and why; one that is not known is left out.
        may_search : bool
            Whether shards that cost too many of them may be searched.

        Returns
        -------
        actions : list of Action
            A `Stop` among them when a try was the last.
        """
        worker_id = loss.worker_id
        attempt_id = self._staff.lose_decoder(worker_id)
        slot = self._staff.lose_slot(worker_id)
        if attempt_id is not None:
            actions = self._suspect(attempt_id, loss, may_search) + self.fail(attempt_id, loss)
        elif slot is not None:
            model, held, was_decoding = slot
            suspects = held if was_decoding else ()
            actions = [each for name in suspects for each in self._suspect(name, loss, may_search)]
            actions += self._lose_model(model, held, loss)
        else:
            return []
        return [*actions, Replace(worker_id)] if self._staff.is_missed(worker_id) else actions

    def fail(self, attempt_id: str, loss: Loss) -> list[Action]:
        """Give up an attempt whose workers live.

        Parameters
        ----------
        attempt_id : str
            Which; one that has ended is left out.
        loss : WorkerLost or AttemptFailed
            Why.

        Returns
        -------
        actions : list of Action
            A `Stop` among them when it was the last try.
        """
        attempt = self._flow.attempts.get(attempt_id)
        if attempt is None:
            return []
        actions: list[Action] = []
        for model, slot_id in list(attempt.slots.items()):
            self._staff.leave(attempt, model)
            actions.append(Forget(attempt_id, slot_id))
            actions += self._again(attempt, model, loss)
        return actions + self._close(attempt)

    def beat(self, attempt_id: str, model: str) -> list[Action]:
        """Take a model out of an attempt whose twin was faster.

        Parameters
        ----------
        attempt_id : str
            Which; one that is not there is left out.
        model : str
            The model.

        Returns
        -------
        actions : list of Action
            The worker that the attempt waited for is recycled if nothing is left of the attempt:
            it may never answer.
        """
        attempt = self._flow.attempts.get(attempt_id)
        if attempt is None or model not in attempt.slots:
            return []
        _, worker_id = attempt.stage
        if not attempt.is_decoding:  # its part is being written, or made by a worker on its own
            self._beaten.add((attempt_id, model))
        actions: list[Action] = [Forget(attempt_id, attempt.slots[model])]
        self._staff.leave(attempt, model)
        actions += self._flow.done_with_all(attempt, model)
        if not attempt.slots:
            self._staff.retire(worker_id, Recycle)
            actions += self._close(attempt)
        return actions

    def was_beaten(self, attempt_id: str, model: str) -> bool:
        """Say whether a part comes too late; to be asked once.

        Parameters
        ----------
        attempt_id : str
            Whose part it is.
        model : str
            The model.

        Returns
        -------
        was_beaten : bool
            Whether its file is to be deleted.
        """
        was_beaten = (attempt_id, model) in self._beaten
        self._beaten.discard((attempt_id, model))
        return was_beaten

    def _lose_model(self, model: str, held: tuple[str, ...], loss: WorkerLost) -> list[Action]:
        actions: list[Action] = []
        for attempt in map(self._flow.attempts.__getitem__, held):
            self._staff.leave(attempt, model)
            actions += self._again(attempt, model, loss)
            actions += self._flow.done_with_all(attempt, model)
            if not attempt.slots:
                actions += self._close(attempt)
        return actions

    def _close(self, attempt: Attempt) -> list[Action]:
        """Give up an attempt, with all that it holds."""
        cancel = [Cancel(attempt.attempt_id)] if attempt.is_decoding else []
        self._staff.end_decode(attempt)
        return [*cancel, *self._flow.close(attempt)]

    def _again(self, attempt: Attempt, model: str, loss: Loss) -> list[Action]:
        """Put a (model, shard) back, to rest, or stop the run at the limit."""
        shard_id, twin = attempt.shard_id, self._flow.attempts.get(attempt.twin_id)
        is_with_twin = twin is not None and model in twin.slots
        if is_with_twin or not self._tries.is_wanted(shard_id, model):
            return []
        if self._tries.may_try_again(shard_id, model, loss):
            self._backlog.rest(shard_id, model)
            return []
        return [Stop(f"shard {shard_id} of {model} failed {MAX_ATTEMPTS} times: {loss.reason}")]

    def _suspect(self, attempt_id: str, loss: WorkerLost, may_search: bool) -> list[Action]:
        """Count a worker that was lost over a shard, and have the shard searched in time."""
        attempt = self._flow.attempts.get(attempt_id)
        if attempt is None or loss.is_accident:
            return []
        if not (self._tries.is_suspect(attempt.shard_id) and may_search):
            return []
        self._backlog.hold(attempt.shard_id)
        return [Bisect(attempt.shard_id)]
