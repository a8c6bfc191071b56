"""The command `must run`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

from must_tf.common import command_line, interrupts, process_setup
from must_tf.common.command_line import flag
from must_tf.common.errors import Mistakes, UserError, exit_on_user_error
from must_tf.loop import plan_file

if TYPE_CHECKING:
    from must_tf.loop.settings import Machine


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Runs the whole loop of a plan file: convert, train teachers, label, train a student, export, report.

    Every step prints its command. Steps that are done are passed over: run the same command again to continue.
    Exit code: 0; 2 if the plan does not fit or a step failed; 130 after Ctrl-C, 143 after SIGTERM.
    """

    plan: Annotated[str, command_line.argument("PLAN", "YAML file: docs/run.md, and all keys in must_tf/loop/plan.py.")]
    out: Annotated[str, flag("--out", "Folder of all results, instead of the plan's.")] = ""
    dry_run: Annotated[bool, flag("--dry_run", "Check the plan and print its steps, with minutes and gigabytes.")] = (
        False
    )
    until: Annotated[str, flag("--until", "Stop after this step.", "STEP")] = ""
    only: Annotated[str, flag("--only", "Run this step only.", "STEP")] = ""
    force: Annotated[bool, flag("--force", "Train on pseudo labels even if they are judged unfit.")] = False
    jobs: Annotated[int, flag("--jobs", "Steps to run at once, where none needs another; each needs its memory.")] = 1


def run() -> int:
    """Runs the command `must run`; returns its exit code."""
    process_setup.prepare()
    flags = command_line.parse(RunFlags, sys.argv[1:], "must run", "plan.yaml")
    code = exit_on_user_error(lambda: execute(flags))
    if code in (interrupts.INTERRUPTED, interrupts.TERMINATED) and not flags.dry_run:
        print("The same command continues from here.", file=sys.stderr)
    return code


def _machine() -> Machine:
    """Returns the devices for the steps. This process leaves them alone: it would take the memory of all GPUs."""
    shown = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # the steps report a missing GPU themselves
    try:
        import tensorflow as tf

        from must_tf.common import devices
        from must_tf.loop.settings import Machine

        machine = Machine(devices.tensorflow_gpus())
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun to use them
            tf.config.set_visible_devices([], "GPU")
        tf.constant(0)  # TensorFlow looks for devices now, and not after its log level is restored
    finally:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = shown
    return machine


def execute(flags: RunFlags) -> int:
    """Executes a plan and writes its report. Returns the exit code.

    Raises:
      UserError: the plan does not fit, or a step failed.
    """
    if flags.only and flags.until:
        raise UserError("--only runs one step and --until all up to one. Give only one of them.")
    if flags.jobs < 1:
        raise UserError(f"--jobs {flags.jobs} must be at least 1.")
    started = time.monotonic()
    plan, mistakes = plan_file.parse(flags.plan, flags.out)
    are_told = _tell(mistakes)
    machine = _machine()
    with process_setup.importing():
        from must_tf.common import folder_lock, own_folder
        from must_tf.loop import report, steps
        from must_tf.loop import run as run_lib

    others = Mistakes()
    with others.collected():
        own_folder.require(plan.out, (steps.DONE,), known=("*.yaml", "*.yml"))
    expected = run_lib.expect(plan, machine, flags.force, others)
    if are_told:
        print("No other mistakes were found in the parts that can be read.", file=sys.stderr)
        return 2
    options = run_lib.RunOptions(flags.until, flags.only, flags.force, flags.jobs)
    run_lib.check_step(options, [step.name for step in expected.steps])
    if flags.dry_run:
        from must_tf.loop import dry_run

        dry_run.show(expected)
        return 0
    with folder_lock.held(plan.out):
        steps.claim(plan.out)
        report.mark_unfinished(plan)
        execution = run_lib.Execution(expected, options)
        try:
            trainings = execution.run()
        except run_lib.Stopped as stopped:
            print(f"\n{stopped}")
            return 0
        if not flags.only:
            report.write(trainings, execution.seconds, time.monotonic() - started)
    return 0


def _tell(mistakes: Mistakes) -> bool:
    """Prints the mistakes that were found so far, if any: looking for others takes TensorFlow, and thus a while."""
    try:
        mistakes.raise_all()
    except UserError as error:
        print(f"error: {error}\nLooking for other mistakes ...", file=sys.stderr, flush=True)
        return True
    return False
