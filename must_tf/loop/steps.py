"""A step, one command of `must`, and its execution: only if it is not done yet.

`steps.json` remembers every step that was begun: what it was made from, and once it is finished a hash of its command,
its settings and its input. A step whose hash is the same is passed over. If its input has other content now, its output
is removed and made again, or only the parts that were made from what has changed. If its command or settings changed,
the command runs again, and decides itself whether it goes on or refuses the folder.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import yaml

from must_tf.common import files, subprocesses
from must_tf.common.errors import INTERRUPTED, UserError
from must_tf.common.progress import clock
from must_tf.common.shared_process import CommandProcesses, option_for
from must_tf.loop import made_from
from must_tf.pseudo_gate import verdict
from must_tf.serving import saved_model
from must_tf.tasks import discover

DONE, LOGS = "steps.json", "logs"
TAIL = 20  # lines of a failed step's log that are shown
MANY = 1000  # processes: as many as there are jobs
PAUSE_SECONDS = 1.0  # between two attempts to end the steps that run
REFUSED = 1  # exit code of a step that finished, but whose result should not be used

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
      name: shown, and the name of its log.
      words: the command's words after `must`.
      output: the folder that it writes.
      files: {path: content} of YAML files to write before it starts. They are made only then, because some depend on
        the results of earlier steps.
      needs: outputs of earlier steps that it reads.
      images: number of images that it reads; of a training, of one epoch.
      state: returns a text that changes with the input that is not the loop's own.
      takes_jobs: whether the command itself runs several things at once with --jobs, and divides the cores among them.
        The step is done then, whatever the number was.
      processes: how many processes may run steps like this one at a time, see `shared_process`; 0: it has its own.
        In a list they are of one command: some set variables of their process, as `must check` hides its GPUs.
      parts: {output of an earlier step, or "" for `state`: patterns below `output` of what is made from it}, if the
        output has parts that are made from different input. The command adds parts that are missing.
    """

    name: str
    words: tuple[str, ...]
    output: str
    files: Mapping[str, Callable[[], Values]] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    images: int = 0
    state: Callable[[], str] = str
    takes_jobs: bool = False
    processes: int = 0
    parts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def text(self) -> str:
        """The command as you would type it."""
        return _typed(self.words)

    @property
    def process(self) -> str:
        """The kind of its process, see `shared_process.option_for`."""
        return option_for(self.words, self.processes > 0)


def _typed(words: Sequence[str]) -> str:
    return shlex.join(("must", *words))


class StepRunner:
    """Executes steps one after the other, and remembers in the file `done` of the folder `out` which are done."""

    def __init__(self, out: str, done: str = DONE):
        self._out = out
        self._path = os.path.join(out, done)
        self._jobs = 1
        self._done = _read_done(self._path)
        self._hashes: dict[str, str] = {}  # output -> hash of the step that writes it
        self._started = time.monotonic()
        self._writing = threading.Lock()
        self._is_ending = threading.Event()  # a step failed: no other begins
        self._processes = CommandProcesses()
        self._sharing: Mapping[str, int] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Returns {step: seconds} of the steps that are done, also those of attempts that were interrupted."""
        return {name: entry["seconds"] for name, entry in self._done.items() if "hash" in entry}

    def skip(self, step: Step) -> None:
        """Passes over a step: those that follow take its output as it is."""
        self._hashes[step.output] = self._done.get(step.name, {}).get("hash", "")

    def run_all(self, steps: Sequence[tuple[str, Step]], jobs: int, sharing: Mapping[str, int] | None = None) -> None:
        """Executes steps as `run` does, in their order, or up to `jobs` at once where none needs another's output.

        Args:
          steps: (place, step) of each.
          jobs: the number of steps at once. If one fails, the others are ended: the same command goes on with them.
          sharing: numbers of the steps that may run beside each, see `unordered`.

        Raises:
          UserError: one of them failed.
        """
        self._jobs = jobs
        self._sharing = sharing or {}
        try:
            if jobs == 1:
                for place, step in steps:
                    self._processes.end({step.process})
                    self.run(step, place)
            else:
                self._run_at_once(steps)
        finally:
            self._processes.end()

    def _run_at_once(self, steps: Sequence[tuple[str, Step]]) -> None:
        jobs = self._jobs
        waiting, running = list(steps), dict[Future[None], tuple[str, Step]]()
        with ThreadPoolExecutor(jobs) as pool:
            try:
                while waiting or running:
                    unfinished = {step.output for _, step in (*waiting, *running.values())}
                    ready = [entry for entry in waiting if not unfinished & {*entry[1].needs}]
                    for place, step in ready:
                        others = sum(other.processes > 0 for _, other in running.values())
                        if len(running) == jobs or 0 < step.processes <= others:
                            continue
                        waiting.remove((place, step))
                        running[pool.submit(self.run, step, place, step.name)] = place, step
                    self._processes.end({step.process for _, step in running.values()})
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        del running[future]
                        future.result()
            except BaseException:
                self._is_ending.set()
                left = {*running}
                while left:
                    subprocesses.end_all()  # once more if a step was about to begin
                    left = wait(left, timeout=PAUSE_SECONDS).not_done
                raise

    def run(self, step: Step, place: str, name: str = "") -> None:
        """Executes a step unless it is done.

        Args:
          step: the step.
          place: shown before its name, like "3/9".
          name: shown before its progress.

        Raises:
          UserError: it failed.
        """
        contents = {path: yaml.safe_dump(make(), sort_keys=False) for path, make in step.files.items()}
        state = step.state()
        digest = self._hashes[step.output] = self._hash(step, contents, state)
        print(f"\n[{place}] {step.name}  (at {clock(time.monotonic() - self._started)})", flush=True)
        before = self._done.get(step.name)
        if before and before.get("hash") == digest and os.path.exists(step.output):
            print(f"  {name}: done already" if name else "  done already", flush=True)
            return
        source, parts = made_from.of_step(step, state), made_from.of_parts(step, state)
        if before and before.get("from", source) != source:
            made_from.remove_changed(step, before["parts"], parts)
        for path, content in contents.items():
            files.write_whole(path, content.encode())
        if os.path.exists(os.path.join(step.output, saved_model.NAME)):
            shutil.rmtree(step.output)  # an export of this plan: of what has changed since, or of a run that was killed
        seconds = self._seconds_before(step, source)
        if seconds is None:
            made_from.remove(self._log(step))
            seconds = 0.0
        # Parts that the plan has no longer stay known: they may come back.
        about = {"from": source, "parts": {**(before["parts"] if before else {}), **parts}}
        asked = made_from.short_hash((step.words, sorted(contents.items())))
        about["asked"] = (before or {}).get("asked", asked) if os.path.exists(step.output) else asked
        self._remember(step, {**about, "seconds": seconds})  # and not its hash: the command may be killed
        started = time.monotonic()
        try:
            self._call(step, name, is_changed=about["asked"] != asked)
        finally:
            seconds = round(seconds + time.monotonic() - started, 1)
            self._remember(step, {**about, "seconds": seconds})
        self._remember(step, {"hash": digest, **about, "asked": asked, "seconds": seconds})

    def _seconds_before(self, step: Step, source: str) -> float | None:
        """Returns the time that the step has taken already, or None unless it goes on with what it has made.

        The time is 0 if a kill ended this process, too, in the first attempt.
        """
        before = self._done.get(step.name, {})
        return before.get("seconds", 0.0) if before.get("from") == source and "hash" not in before else None

    def _remember(self, step: Step, entry: Mapping[str, Any]) -> None:
        """Notes what is known of a step."""
        with self._writing:
            self._done = {**self._done, step.name: dict(entry)}
            files.write_json(self._path, self._done)

    def _hash(self, step: Step, contents: Mapping[str, str], state: str) -> str:
        """Returns a hash of everything that the step's result depends on."""
        inputs = [self._hashes[path] if path in self._hashes else made_from.foreign_state(path) for path in step.needs]
        return made_from.short_hash((step.words, sorted(contents.items()), state, inputs))

    def _log(self, step: Step) -> str:
        return os.path.join(self._out, LOGS, f"{step.name.replace(' ', '-')}.log")

    def _call(self, step: Step, name: str, is_changed: bool) -> None:
        """Runs the command: all output goes to a log, its progress to the terminal. `is_changed`: see `_ending`."""
        if self._is_ending.is_set():
            raise UserError(f"step {step.name!r} was not begun, because another one failed.")
        divides = step.takes_jobs or step.processes > 0  # the cores, itself
        jobs = 1 if divides else min(self._jobs, self._sharing.get(step.name, 0) + 1)
        more = ("--jobs", str(self._jobs)) if step.takes_jobs and self._jobs > 1 else ()
        words = [*step.words, *more]
        print(f"  {subprocesses.shown(_typed(words), jobs)}", flush=True)
        log = self._log(step)
        code = self._processes.follow(words, log, name, jobs, step.processes > 0)
        if code == INTERRUPTED or code == -2:
            raise KeyboardInterrupt
        if code and self._is_ending.is_set():
            raise UserError(f"step {step.name!r} was ended, because another one failed.")
        if code:
            # If others run beside it, theirs may have come between its own.
            last = subprocesses.last_lines if name else subprocesses.unseen_lines
            for line in last(log, TAIL):
                print(line, file=sys.stderr)
            raise UserError(f"step {step.name!r} {_ending(code, step, is_changed)} Its whole output is in {log}.")
        for reasons in verdict.unfit(step.output, discover()) if step.words[0] == "label" else ():  # with --force
            print(f"  unfit: {reasons}", flush=True)


def unordered(steps: Sequence[Step]) -> dict[str, int]:
    """Returns {name of a step: how many others neither need it nor are needed by it}. The steps are in their order.

    No more than these can run beside it; often fewer do, where some of them need each other. Sums are rounded
    differently with another number of threads. So that depends on the plan alone, and not on which step happens to run
    beside another.
    """
    before: dict[str, set[str]] = {}  # output -> outputs of all earlier steps that it is made from
    for step in steps:
        before[step.output] = {path for need in step.needs if need in before for path in (need, *before[need])}
    follow = collections.Counter(path for paths in before.values() for path in paths)
    return {step.name: len(steps) - 1 - len(before[step.output]) - follow[step.output] for step in steps}


def claim(out: str, done: str = DONE) -> None:
    """Marks the folder as one of `must run`, or of another program, by an empty list of the steps that are done."""
    path = os.path.join(out, done)
    if not os.path.exists(path):
        files.write_json(path, {})


def _read_done(path: str) -> dict[str, dict[str, Any]]:
    """Returns what is known of the steps. One of which nothing is known, or whose entry is damaged, is done again."""
    done: dict[str, Any] = {}
    with contextlib.suppress(UserError):
        done = files.read_json(path) if os.path.exists(path) else {}
    known: dict[str, dict[str, Any]] = {
        name: {"parts": {}} | entry for name, entry in done.items() if isinstance(entry, dict)
    }
    return {name: entry for name, entry in known.items() if "seconds" in entry and isinstance(entry["parts"], dict)}


def _ending(code: int, step: Step, is_changed: bool) -> str:
    """Says how a step failed. `is_changed`: its output was begun by another command, or with other settings."""
    if code < 0:
        return f"was killed by signal {-code}; the same command goes on. Signal 9 often means that memory ran out."
    if code == REFUSED and step.words[0] == "label":
        return "gave labels that are unfit to train on, for the reasons above. To train on them, add --force."
    remedy = f" The plan has changed since {step.output} was begun. To start it again, delete that folder."
    return f"failed with exit code {code}.{remedy if is_changed else ''}"
