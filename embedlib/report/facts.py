"""What a report knows beside the scores: the tasks, and the numbers of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from embedlib.models.registry import paper_models
from embedlib.tasks.paper import PaperScore, paper_scores, paper_tasks
from embedlib.tasks.registry import task, task_names
from embedlib.tasks.task import Task

GROUPS = ("genre", "mood", "miscellaneous")
"""Groups of tasks in the order of the paper's tables."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of tasks and models, whatever was scored.

    Attributes
    ----------
    tasks : mapping of str to Task
        By name, in the order of the tables; a task of the user's own may be missing.
    paper : mapping of (str, str) to PaperScore
        By task and model.
    models : tuple of str
        Those that come first, in the order of the tables.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    paper: Mapping[tuple[str, str], PaperScore] = field(default_factory=dict)
    models: tuple[str, ...] = ()

    def group(self, name: str) -> str:
        """Give the group of a task; ``own`` where nothing is known of it."""
        return self.tasks[name].group if name in self.tasks else "own"

    def task_place(self, name: str) -> tuple[int, str, int, str]:
        """Give what tasks are sorted by: by group, then in the order of the facts, then by name."""
        group, names = self.group(name), list(self.tasks)
        order = GROUPS.index(group) if group in GROUPS else len(GROUPS)
        return order, group, names.index(name) if name in names else len(names), name

    def model_place(self, name: str) -> tuple[int, str]:
        """Give what models are sorted by."""
        return self.models.index(name) if name in self.models else len(self.models), name


def shipped_facts() -> Facts:
    """Read what embedlib and installed packages know.

    Returns
    -------
    facts : Facts
        Tasks of the paper first.

    Raises
    ------
    ConfigError
        If the file of a task is wrong.
    """
    of_paper = [each.task for each in paper_tasks()]
    names = [*of_paper, *(name for name in task_names() if name not in of_paper)]
    return Facts(
        tasks={name: task(name) for name in names},
        paper={(score.task, score.model): score for score in paper_scores()},
        models=paper_models(),
    )
